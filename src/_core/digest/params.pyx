"""Parameters of Digest credentials and challenges (RFC 7616, 3.3 and 3.4; RFC 3261, 25.1).

Grammar (LWS may stand around every "=" and ",")::

    credentials, challenge = "Digest" LWS param *( "," param )   empty elements between commas are passed over
    param                  = token "=" ( token / quoted-string / ext-value )
    ext-value              = "UTF-8'" [ language ] "'" *( pct-encoded / attr-char )    of a name with "*": RFC 8187

Names are in any case and order, each at most once.

Parsing fills spans and touches no Python object. A value becomes ``str`` when it is read.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t

from auth_diameter._core.base.chars cimport (
    AD_TOKEN, ad_find_control, ad_is, escaped_byte, is_escape, is_lws, is_word, skip_lws, take_class, take_quoted,
    trim, unquote,
)
from auth_diameter._core.base.params cimport AD_PARAMS, ad_param, ad_split_params
from auth_diameter._core.base.span cimport Reader, Span, between, equal_nocase, lower, reader_of
from auth_diameter._core.base.text cimport as_bytes, span_of_bytes, text_of
from auth_diameter._core.base.vectors cimport SCAN_BYTES, SCAN_VECTORS, Scan, ad_has_vectors, best_scan
from auth_diameter._core.base.zero cimport ad_zero
from auth_diameter._core.digest.algorithms cimport ALGORITHM_UNKNOWN, MD5, AlgorithmIndex, ad_algorithms

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

# The parameter at fault, for errors that name one.
cdef dict _PARAMETERS = {BAD_RESPONSE: "response", BAD_NC: "nc", BAD_QOP: "qop"}


cdef object parse_error(int status, size_t offset, str where):
    """The ParseError for a status that `parse_params` or `check_credentials` returned."""
    return ParseError(f"{where}: {_REASONS[status]}", offset, parameter=_PARAMETERS.get(status))


cdef bytes parse_value(object value, str where, DigestFields *out, size_t *offset):
    """Scheme and parameters of a whole header value, str or bytes-like, from Python.

    Returns:
        The bytes that `out` points into.

    Raises:
        ParseError: the scheme is not Digest, or the grammar is broken.
    """
    cdef bytes data = as_bytes(value, "value")
    cdef Py_ssize_t bad = find_bad_control(data)
    cdef int status
    if bad >= 0:
        raise parse_error(CONTROL, bad, where)
    status = parse_params(span_of_bytes(data), out, offset)
    if status != OK:
        raise parse_error(status, offset[0], where)
    return data


cdef int parse_params(Span text, DigestFields *out, size_t *offset) noexcept nogil:
    """Scheme and parameters of a whole header value.

    Returns:
        OK, OTHER_SCHEME, or a negative status, with `offset` into `text`.
    """
    return parse_params_by(text, out, offset, best_scan())


cdef int parse_params_by(Span text, DigestFields *out, size_t *offset, Scan scan) noexcept nogil:
    """The same, with parameters split in a way that the caller chooses; the machine must have it."""
    cdef Reader r
    cdef Span name, value
    cdef Extensions extensions
    cdef bint escaped
    cdef int status = NO_PARAMETER, found
    ad_zero(out, sizeof(DigestFields))
    extensions.count = 0
    out.raw = text
    trim(&out.raw)
    r = reader_of(out.raw)
    if not take_class(&r, AD_TOKEN, &name) or not is_word(name, "Digest", 6) or (
            r.p < r.end and not is_lws(r.p[0])):
        offset[0] = 0
        return OTHER_SCHEME
    skip_lws(&r)
    while True:
        if scan == SCAN_VECTORS:
            found = take_plain_parameters(&r, &extensions, out)
            if found < 0:
                break
            if found > 0:
                status = OK
        # What the vectors leave, one parameter of it
        found = take_parameter(&r, &name, &value, &escaped)
        if found > 0:
            found = keep_parameter(name, value, escaped, &extensions, out)
            if found < 0:
                r.p = name.p
        if found <= 0:
            break
        status = OK
    offset[0] = <size_t>(r.p - text.p)
    classify_algorithm(out)
    return found if found < 0 else status


cdef struct Extensions:
    # Names of unknown parameters so far
    Span name[MAX_EXTENSIONS]
    int count


cdef inline int take_plain_parameters(Reader *r, Extensions *extensions, DigestFields *out) noexcept nogil:
    """The next parameters that have the common form of params.h, up to the first that has not.

    Returns:
        How many; or a negative status, with the Reader at the parameter.
    """
    cdef ad_param params[AD_PARAMS]
    cdef Span name, value
    cdef int n = ad_split_params(out.raw.p, &r.p, r.end, MAX_PARAMETER, params), i, status
    for i in range(n):
        name = between(params[i].name, params[i].name_end)
        value = between(params[i].value, params[i].value_end)
        status = keep_parameter(name, value, False, extensions, out)
        if status < 0:
            r.p = name.p
            return status
    return n


cdef inline int take_parameter(Reader *r, Span *name, Span *value, bint *escaped) noexcept nogil:
    """The next parameter, up to its comma or the end; 0 at the end."""
    escaped[0] = False
    skip_lws(r)
    while r.p < r.end and r.p[0] == c',':   # an empty element of the list: RFC 9110, 5.6.1.2
        r.p += 1
        skip_lws(r)
    if r.p == r.end:
        return 0
    if not take_class(r, AD_TOKEN, name):
        return NO_NAME
    skip_lws(r)
    if r.p == r.end or r.p[0] != c'=':
        return NO_EQUAL
    r.p += 1
    skip_lws(r)
    if r.p < r.end and r.p[0] == c'"':
        if not take_quoted(r, value, escaped):
            return BAD_QUOTED_STRING
    elif not take_value(r, name[0], value):
        return NO_VALUE
    if not value.n <= MAX_PARAMETER:
        r.p = value.p
        return TOO_LONG
    skip_lws(r)
    if r.p < r.end and r.p[0] != c',':
        return NO_COMMA
    return OK


cdef inline int keep_parameter(Span name, Span value, bint escaped, Extensions *extensions,
                               DigestFields *out) noexcept nogil:
    """Stores a parameter; of an unknown one the name alone, to find duplicates."""
    cdef Field field = field_of(name)
    cdef int i
    if field < FIELD_COUNT:
        if out.value[field].p != NULL:
            return DUPLICATE
        out.value[field] = value
        if escaped:
            out.escaped |= 1u << field
        return OK
    for i in range(extensions.count):
        if equal_nocase(extensions.name[i], name):
            return DUPLICATE
    if extensions.count == MAX_EXTENSIONS:
        return TOO_MANY
    extensions.name[extensions.count] = name
    extensions.count += 1
    return OK


cdef Field field_of(Span name) noexcept nogil:
    """The Field of that name in any case, or FIELD_COUNT; length and first letter leave one candidate."""
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
        if is_word(name, "username", 8):
            return USERNAME
        return USERHASH if is_word(name, "userhash", 8) else FIELD_COUNT
    if name.n == 9:
        if first == c'a':
            return ALGORITHM if is_word(name, "algorithm", 9) else FIELD_COUNT
        return USERNAME_STAR if is_word(name, "username*", 9) else FIELD_COUNT
    return FIELD_COUNT


cdef void classify_algorithm(DigestFields *f) noexcept nogil:
    """Sets `algorithm` and `sess` from the parameter."""
    cdef Span name = f.value[ALGORITHM]
    cdef Span suffix
    cdef AlgorithmIndex i
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
    f.algorithm = ALGORITHM_UNKNOWN
    for i in range(ALGORITHM_UNKNOWN):
        if is_word(name, ad_algorithms[i].name, ad_algorithms[i].name_size):
            f.algorithm = i
            return


cdef inline bint take_value(Reader *r, Span name, Span *out) noexcept nogil:
    """A value without quotes: a token, or an ext-value (RFC 8187, 3.2) if the name ends with "*"."""
    if (name.p + name.n - 1)[0] != c'*':
        return take_class(r, AD_TOKEN, out)
    out.p = r.p
    while r.p < r.end and (ad_is(r.p[0], AD_TOKEN) or is_attr_char_alone(r.p[0])):
        r.p += 1
    out.n = <size_t>(r.p - out.p)
    return out.n > 0


cdef inline bint is_attr_char_alone(uint8_t c) noexcept nogil:
    """Whether it is an attr-char (RFC 8187, 3.2.1) that no token of RFC 3261 may hold: # $ & ^ |"""
    return c == c'#' or c == c'$' or c == c'&' or c == c'^' or c == c'|'


cdef bint is_ext_value(Span s) noexcept nogil:
    """Whether it is an ext-value of RFC 8187, 3.2.1, in UTF-8, the only charset of RFC 7616, 3.4.

    value-chars = *( pct-encoded / attr-char ); an attr-char is neither "*" nor "'" nor "%".
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
            if not is_escape(s.p + i, s.p + s.n):
                return False
            i += 2
        elif s.p[i] == c'*' or s.p[i] == c'\'' or not (ad_is(s.p[i], AD_TOKEN) or is_attr_char_alone(s.p[i])):
            return False
        i += 1
    return True


cdef uint8_t *put_ext_value(uint8_t *q, Span value) noexcept nogil:
    """Writes the decoded value of an ext-value that `is_ext_value` accepted (RFC 8187, 3.2.1).

    Returns:
        The end.
    """
    cdef const uint8_t *p = value.p + 6     # UTF-8'
    cdef const uint8_t *end = value.p + value.n
    while p[0] != c'\'':
        p += 1
    p += 1
    while p < end:
        if p[0] == c'%':
            q[0] = escaped_byte(p)
            p += 2
        else:
            q[0] = p[0]
        q += 1
        p += 1
    return q


cdef Py_ssize_t find_bad_control(bytes data) noexcept:
    """The index of a control character that is neither in a fold nor escaped; -1 if there is none."""
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


cdef str text_value(const DigestFields *fields, Field field):
    """The value as text without quotes and quoted-pairs; None if the parameter is missing."""
    cdef uint8_t room[MAX_PARAMETER]
    if fields.value[field].p == NULL:
        return None
    return text_of(plain_value(fields, field, room))


cdef tuple parameter_pairs(const DigestFields *fields):
    """All parameters as pairs; the header was accepted before, so that no step can fail."""
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


cdef bint same_fields(const DigestFields *a, const DigestFields *b) noexcept nogil:
    """Whether two results for the same bytes are the same in every field."""
    cdef Field field
    for field in range(FIELD_COUNT):
        if a.value[field].p != b.value[field].p or a.value[field].n != b.value[field].n:
            return False
    return (a.raw.p == b.raw.p and a.raw.n == b.raw.n and a.escaped == b.escaped and a.sess == b.sess
            and a.algorithm == b.algorithm and a.qop == b.qop)


def is_split_the_same(bytes data not None):
    """Whether both ways to split parameters give the same for a header value; for tests.

    Args:
        data: the value, from the scheme on.

    Returns:
        Bool; None where the machine has one way only.
    """
    cdef DigestFields one, other
    cdef size_t one_at = 0, other_at = 0
    cdef Span text = span_of_bytes(data)
    if not ad_has_vectors():
        return None
    return parse_params_by(text, &one, &one_at, SCAN_BYTES) == parse_params_by(
        text, &other, &other_at, SCAN_VECTORS) and one_at == other_at and same_fields(&one, &other)
