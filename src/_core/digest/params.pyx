"""Parameters of Digest credentials and challenges (RFC 7616, 3.3 and 3.4; RFC 3261, 25.1).

Grammar (LWS may stand around every "=" and ",")::

    credentials, challenge = "Digest" LWS param *( "," param )   empty elements between commas are passed over
    param                  = token "=" ( token / quoted-string / ext-value )
    ext-value              = "UTF-8'" [ language ] "'" *( pct-encoded / attr-char )    of a name with "*": RFC 8187

Names stand in any case and order, each at most once.

Parsing fills spans and touches no Python object; values become ``str`` when they are asked for.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t
from libc.string cimport memset

from auth_diameter._core.base.chars cimport (
    AD_HEX, AD_TOKEN, ad_find_control, ad_is, hex_value, is_lws, is_word, skip_lws, take_class, take_quoted,
    unquote,
)
from auth_diameter._core.base.span cimport Reader, Span, equal_nocase, lower
from auth_diameter._core.base.text cimport text_of

from auth_diameter._core.errors import ParseError

cdef dict _REASONS = {
    OTHER_SCHEME: "not the Digest scheme",
    NO_PARAMETER: "no parameters after the scheme",
    NO_NAME: "a parameter's name expected",
    NO_EQUAL: "'=' expected after a parameter's name",
    NO_VALUE: "a token or quoted string expected after '='",
    BAD_QUOTED_STRING: "quoted string not closed, or with a character that may not stand in it",
    NO_COMMA: "',' expected after a parameter",
    DUPLICATE: "parameter given twice",
    TOO_LONG: "parameter of more than 1024 bytes",
    TOO_MANY: "more than 16 unknown parameters",
    MISSING: "username, realm, nonce, uri or response missing",
    BAD_RESPONSE: "response is not 32 (MD5) or 64 (SHA-2) hexadecimal digits",
    BAD_NC: "nc is not 8 hexadecimal digits",
    BAD_QOP: "qop names more than one value, or lacks nc or cnonce",
    BOTH_USERNAMES: "both username and username* given",
    BAD_EXT_VALUE: "username* is not UTF-8''percent-encoded",
    CONTROL: "control character",
}

# Which value a refusal is about, where that is to be told apart.
cdef dict _PARAMETERS = {BAD_RESPONSE: "response", BAD_NC: "nc", BAD_QOP: "qop"}


cdef object parse_error(int status, size_t offset, str where):
    """The exception for what `parse_credentials` or `parse_challenge` said."""
    return ParseError(f"{where}: {_REASONS[status]}", offset, parameter=_PARAMETERS.get(status))


cdef int parse_params(Span text, DigestFields *out, size_t *offset) noexcept nogil:
    """Scheme and parameters into `out`; a Status, and where it was found, as `offset` into text."""
    cdef Reader r
    cdef Span name, value
    cdef Span extension[MAX_EXTENSIONS]
    cdef bint escaped
    cdef int extensions = 0, field, status = OK, found = 0, i
    memset(out, 0, sizeof(DigestFields))
    r.p = text.p
    r.end = text.p + text.n
    skip_lws(&r)
    while r.end > r.p and is_lws((r.end - 1)[0]):
        r.end -= 1
    out.raw.p = r.p
    out.raw.n = <size_t>(r.end - r.p)
    if not take_class(&r, AD_TOKEN, &name) or not is_word(name, "Digest", 6) or (
            r.p < r.end and not is_lws(r.p[0])):
        offset[0] = 0
        return OTHER_SCHEME
    while True:
        skip_lws(&r)
        if r.p == r.end:
            break
        if r.p[0] == c',':    # an empty element of the list: RFC 9110, 5.6.1.2
            r.p += 1
            continue
        if not take_class(&r, AD_TOKEN, &name):
            status = NO_NAME
            break
        skip_lws(&r)
        if r.p == r.end or r.p[0] != c'=':
            status = NO_EQUAL
            break
        r.p += 1
        skip_lws(&r)
        escaped = False
        if r.p < r.end and r.p[0] == c'"':
            if not take_quoted(&r, &value, &escaped):
                status = BAD_QUOTED_STRING
                break
        elif not take_value(&r, name, &value):
            status = NO_VALUE
            break
        if not value.n <= MAX_PARAMETER:
            r.p = value.p
            status = TOO_LONG
            break
        skip_lws(&r)
        if r.p < r.end and r.p[0] != c',':
            status = NO_COMMA
            break
        found += 1
        field = field_of(name)
        if field < FIELD_COUNT:
            if out.value[field].p != NULL:
                r.p = name.p
                status = DUPLICATE
                break
            out.value[field] = value
            if escaped:
                out.escaped |= 1u << field
        else:
            for i in range(extensions):
                if equal_nocase(extension[i], name):
                    status = DUPLICATE
            if status == OK and extensions == MAX_EXTENSIONS:
                status = TOO_MANY
            if status != OK:
                r.p = name.p
                break
            extension[extensions] = name
            extensions += 1
    if status == OK and found == 0:
        status = NO_PARAMETER
    offset[0] = <size_t>(r.p - text.p)
    classify_algorithm(out)
    return status


cdef Field field_of(Span name) noexcept nogil:
    """The Field of that name (any case), or FIELD_COUNT: its length and one letter leave one candidate."""
    cdef uint8_t first = lower(name.p[0])
    if name.n == 2:
        return NC if is_word(name, "nc", 2) else FIELD_COUNT
    if name.n == 3:
        if first == c'u':
            return URI if is_word(name, "uri", 3) else FIELD_COUNT
        return QOP if is_word(name, "qop", 3) else FIELD_COUNT
    if name.n == 5:
        if first == c'r':
            return REALM if is_word(name, "realm", 5) else FIELD_COUNT
        if first == c'n':
            return NONCE if is_word(name, "nonce", 5) else FIELD_COUNT
        return STALE if is_word(name, "stale", 5) else FIELD_COUNT
    if name.n == 6:
        if first == c'c':
            return CNONCE if is_word(name, "cnonce", 6) else FIELD_COUNT
        if first == c'o':
            return OPAQUE if is_word(name, "opaque", 6) else FIELD_COUNT
        return DOMAIN if is_word(name, "domain", 6) else FIELD_COUNT
    if name.n == 7:
        return CHARSET if is_word(name, "charset", 7) else FIELD_COUNT
    if name.n == 8:
        if first == c'r':
            return RESPONSE if is_word(name, "response", 8) else FIELD_COUNT
        if is_word(name, "userhash", 8):
            return USERHASH
        return USERNAME if is_word(name, "username", 8) else FIELD_COUNT
    if name.n == 9:
        if first == c'a':
            return ALGORITHM if is_word(name, "algorithm", 9) else FIELD_COUNT
        return USERNAME_STAR if is_word(name, "username*", 9) else FIELD_COUNT
    return FIELD_COUNT


cdef void classify_algorithm(DigestFields *f) noexcept nogil:
    cdef Span name = f.value[ALGORITHM]
    cdef Span suffix
    f.algorithm = MD5           # RFC 7616, 3.3: "if not present, MD5"
    f.sess = False
    if name.p == NULL:
        return
    if name.n > 5:
        suffix.p = name.p + name.n - 5
        suffix.n = 5
        if is_word(suffix, "-sess", 5):
            f.sess = True
            name.n -= 5
    if is_word(name, "MD5", 3):
        f.algorithm = MD5
    elif is_word(name, "SHA-256", 7):
        f.algorithm = SHA_256
    elif is_word(name, "SHA-512-256", 11):
        f.algorithm = SHA_512_256
    else:
        f.algorithm = ALGORITHM_UNKNOWN


cdef bint take_value(Reader *r, Span name, Span *out) noexcept nogil:
    """A value without quotes: a token; where the name ends with "*" an ext-value (RFC 8187, 3.2), "$" and all."""
    if (name.p + name.n - 1)[0] != c'*':
        return take_class(r, AD_TOKEN, out)
    out.p = r.p
    while r.p < r.end and (ad_is(r.p[0], AD_TOKEN) or is_attr_char_alone(r.p[0])):
        r.p += 1
    out.n = <size_t>(r.p - out.p)
    return out.n > 0


cdef inline bint is_attr_char_alone(uint8_t c) noexcept nogil:
    """Whether it is an attr-char (RFC 8187, 3.2.1), but not of a token as RFC 3261 has it: # $ & ^ |"""
    return c == c'#' or c == c'$' or c == c'&' or c == c'^' or c == c'|'


cdef bint is_ext_value(Span s) noexcept nogil:
    """ext-value of RFC 8187, 3.2.1, with the one charset that RFC 7616, 3.4 allows.

    value-chars = *( pct-encoded / attr-char ); attr-char is a token's, but for "*", "'" and "%".
    """
    cdef size_t i = 6
    if s.n < 7 or not is_word(Span(s.p, 6), "UTF-8'", 6):
        return False
    while i < s.n and s.p[i] != c'\'':
        i += 1
    if i == s.n:
        return False
    i += 1
    while i < s.n:
        if s.p[i] == c'%':
            if not 2 < s.n - i or not ad_is(s.p[i + 1], AD_HEX) or not ad_is(s.p[i + 2], AD_HEX):
                return False
            i += 2
        elif s.p[i] == c'*' or s.p[i] == c'\'' or not (ad_is(s.p[i], AD_TOKEN) or is_attr_char_alone(s.p[i])):
            return False
        i += 1
    return True


cdef uint8_t *put_ext_value(uint8_t *q, Span value) noexcept nogil:
    """The bytes that an ext-value (RFC 8187, 3.2.1; `is_ext_value`) stands for; returns the end."""
    cdef const uint8_t *p = value.p + 6     # UTF-8'
    cdef const uint8_t *end = value.p + value.n
    while p[0] != c'\'':
        p += 1
    p += 1
    while p < end:
        if p[0] == c'%':
            q[0] = <uint8_t>(hex_value(p[1]) * 16 + hex_value(p[2]))
            p += 2
        else:
            q[0] = p[0]
        q += 1
        p += 1
    return q


cdef Py_ssize_t find_bad_control(bytes data) noexcept:
    """Index of a control character that is neither in a fold nor escaped; -1 where there is none."""
    cdef const uint8_t *start = <const uint8_t *>PyBytes_AS_STRING(data)
    cdef const uint8_t *end = start + PyBytes_GET_SIZE(data)
    cdef const uint8_t *p = start
    while True:
        p = ad_find_control(p, end)
        if p == end:
            return -1
        if p[0] == c'\r' and 3 <= end - p and p[1] == c'\n' and (p[2] == c' ' or p[2] == c'\t'):
            p += 3
        elif p[0] != c'\r' and p[0] != c'\n' and p > start and (p - 1)[0] == c'\\':
            p += 1
        else:
            return p - start


cdef tuple parameter_pairs(const DigestFields *fields):
    """Goes over a header once more; it was accepted before, so that no step can fail."""
    cdef Reader r
    cdef Span name, value
    cdef bint escaped
    cdef uint8_t room[MAX_PARAMETER]
    cdef list found = []
    if fields.raw.p == NULL:
        return ()
    value.p = NULL
    value.n = 0
    r.p = fields.raw.p + 6
    r.end = fields.raw.p + fields.raw.n
    while r.p < r.end:
        if not take_class(&r, AD_TOKEN, &name):
            r.p += 1
            continue
        while r.p[0] != c'=':
            r.p += 1
        r.p += 1
        skip_lws(&r)
        if r.p[0] == c'"':
            take_quoted(&r, &value, &escaped)
            if escaped:
                value.n = unquote(value, room)
                value.p = room
        else:
            take_value(&r, name, &value)
        found.append((text_of(name).lower(), text_of(value)))
    return tuple(found)
