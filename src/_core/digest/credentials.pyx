"""Digest authentication: credentials, challenges, responses (RFC 7616; RFC 3261, section 22; RFC 8760).

Grammar (RFC 7616, 3.4; RFC 3261, 25.1; LWS may stand around every "=" and ",")::

    credentials = "Digest" LWS param *( "," param )     empty elements between commas are passed over
    param       = token "=" ( token / quoted-string )   names in any case and order, each at most once
    response    = 32LHEX / 64LHEX                       as long as the algorithm makes it, where that is known;
                                                        upper case is taken too, some telephones send it
    nc          = 8LHEX
    qop         = "auth" / "auth-int" / token           one, chosen by the client; wants cnonce and nc

Parsing fills spans and touches no Python object; values become ``str`` when they are asked for.
"""

import re

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset

from auth_diameter._core.base.chars cimport (
    AD_HEX, AD_TOKEN, ad_find_control, ad_find_quote, ad_is, hex_value, is_lws, is_word, skip_byte, skip_lws,
    take_class, take_quoted, unquote,
)
from auth_diameter._core.base.span cimport Reader, Span, between, equal_nocase, lower
from auth_diameter._core.base.text cimport as_bytes, borrow, text_of

from auth_diameter._core.errors import ConfigError, ParseError

_TOKEN = re.compile(r"[\w\-.!%*+`'~]+", re.ASCII).fullmatch     # RFC 3261, 25.1
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


cdef dict _ALGORITHM_NAMES = {MD5: "MD5", SHA_256: "SHA-256", SHA_512_256: "SHA-512-256"}
cdef dict _SESS_NAMES = {algorithm: f"{name}-sess" for algorithm, name in _ALGORITHM_NAMES.items()}
cdef frozenset _KNOWN = frozenset(_ALGORITHM_NAMES.values())
cdef dict _QOP_NAMES = {QOP_NONE: None, QOP_AUTH: "auth", QOP_AUTH_INT: "auth-int", QOP_UNKNOWN: ""}
# Which value a refusal is about, where that is to be told apart.
cdef dict _PARAMETERS = {BAD_RESPONSE: "response", BAD_NC: "nc", BAD_QOP: "qop"}


cdef object parse_error(int status, size_t offset, str where):
    """The exception for what `parse_credentials` or `parse_challenge` said."""
    return ParseError(f"{where}: {_REASONS[status]}", offset, parameter=_PARAMETERS.get(status))


# ---------------------------------------------------------------------------------- parsing


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


cdef bint is_response(Span s) noexcept nogil:
    """Whether it has the form of a response, of MD5 or SHA-2."""
    return (s.n == 32 or s.n == 64) and all_hex(s)


cdef bint all_hex(Span s) noexcept nogil:
    cdef size_t i
    for i in range(s.n):
        if not ad_is(s.p[i], AD_HEX):
            return False
    return True


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


cdef int parse_credentials(Span text, DigestFields *out, size_t *offset) noexcept nogil:
    """Digest credentials from a header's value, whole, into `out`.

    OK, OTHER_SCHEME, or a negative Status with `offset` into `text`. A missing realm is no error
    here: it matches no realm, and the credentials are passed over.
    """
    cdef int status = parse_params(text, out, offset)
    return status if status != OK else check_credentials(text, out, offset)


cdef int check_credentials(Span text, DigestFields *out, size_t *offset) noexcept nogil:
    """Whether what `parse_params` read are credentials as RFC 7616, 3.4 has them; a Status."""
    cdef Span response, nc, qop
    if out.value[QOP].n == 0:
        # No value stands for no parameter: old clients send qop="" where none was offered.
        out.value[QOP].p = NULL
    response = out.value[RESPONSE]
    nc = out.value[NC]
    qop = out.value[QOP]
    if out.value[USERNAME].p != NULL and out.value[USERNAME_STAR].p != NULL:
        return BOTH_USERNAMES
    if out.value[USERNAME_STAR].p != NULL and not is_ext_value(out.value[USERNAME_STAR]):
        return BAD_EXT_VALUE
    if (out.value[USERNAME].p == NULL and out.value[USERNAME_STAR].p == NULL) or (
            out.value[NONCE].p == NULL or out.value[URI].p == NULL or response.p == NULL):
        return MISSING
    if not is_response(response) or (
            out.algorithm != ALGORITHM_UNKNOWN and (response.n == 32) != (out.algorithm == MD5)):
        offset[0] = <size_t>(response.p - text.p)
        return BAD_RESPONSE
    if nc.p != NULL and (nc.n != 8 or not all_hex(nc)):
        offset[0] = <size_t>(nc.p - text.p)
        return BAD_NC
    out.qop = QOP_NONE
    if qop.p != NULL:
        offset[0] = <size_t>(qop.p - text.p)
        if nc.p == NULL or out.value[CNONCE].p == NULL or not is_single_token(qop):
            return BAD_QOP
        if is_word(qop, "auth", 4):
            out.qop = QOP_AUTH
        elif is_word(qop, "auth-int", 8):
            out.qop = QOP_AUTH_INT
        else:
            out.qop = QOP_UNKNOWN
    return OK


cdef bint answers_nothing(const DigestFields *fields) noexcept nogil:
    """Whether nonce or response are empty or left out of what `parse_params` read: as no credentials.

    So says an IMS telephone's first REGISTER who it is, before there is a challenge (3GPP TS 24.229,
    5.1.1.2), and a later one, with auts, that it wants another (RFC 3310, 3.4).
    """
    return fields.value[NONCE].n == 0 or fields.value[RESPONSE].n == 0


cdef bint is_of_other_realm(Span text, Span realm) noexcept nogil:
    """Whether credentials that `parse_params` refused name realms that can be read, and `realm` is none.

    Such are meant for somebody else, who may well read them (RFC 3261, 22.3). Of what stands between two
    commas, outside quotes, a realm is read if it is one; what else is there does not matter.
    """
    cdef Reader r
    cdef Span name, value
    cdef bint found = False
    r.p = text.p
    r.end = text.p + text.n
    while r.p < r.end:
        skip_lws(&r)
        if take_class(&r, AD_TOKEN, &name):
            if is_word(name, "Digest", 6) and r.p < r.end and is_lws(r.p[0]):
                continue    # the scheme; it stands in the middle, too, where somebody has joined two fields
            if is_word(name, "realm", 5) and skip_byte(&r, c'=') and take_any_value(&r, &value):
                found = True
                if equal_plain(value, realm):
                    return False
        skip_element(&r)
    return found


cdef bint take_any_value(Reader *r, Span *out) noexcept nogil:
    """A token, or a quoted string up to its end, whatever characters are in it."""
    if r.p == r.end or r.p[0] != c'"':
        return take_class(r, AD_TOKEN, out)
    out.p = r.p + 1
    if not skip_quoted(r):
        return False
    out.n = <size_t>(r.p - 1 - out.p)
    return True


cdef bint skip_quoted(Reader *r) noexcept nogil:
    """Passes over a quoted string, or over all that is left: then it has no end, and False."""
    r.p += 1
    while r.p < r.end:
        r.p = ad_find_quote(r.p, r.end)
        if r.p == r.end:
            return False
        if r.p[0] == c'"':
            r.p += 1
            return True
        r.p += 2 if r.p[0] == c'\\' and 2 <= r.end - r.p else 1
    return False


cdef void skip_element(Reader *r) noexcept nogil:
    """Passes over what is left up to the next comma outside quotes, and that comma."""
    while r.p < r.end and r.p[0] != c',':
        if r.p[0] == c'"':
            skip_quoted(r)
        else:
            r.p += 1
    if r.p < r.end:
        r.p += 1


cdef bint equal_plain(Span quoted, Span plain) noexcept nogil:
    """Whether what stood between quotes means `plain`, in any case of its letters."""
    cdef uint8_t room[MAX_PARAMETER]
    cdef Span value
    if not quoted.n <= MAX_PARAMETER:
        return False    # a longer one is nobody's that we know
    value.n = unquote(quoted, room)
    value.p = room
    return equal_nocase(value, plain)


cdef bint is_single_token(Span s) noexcept nogil:
    """Whether it is one token, and no list of them, which only a challenge may hold."""
    cdef size_t i
    for i in range(s.n):
        if not ad_is(s.p[i], AD_TOKEN):
            return False
    return s.n > 0


cdef bint is_for_realm(const DigestFields *fields, Span realm) noexcept nogil:
    """Whether these credentials are for `realm` (any case, as SIP domains compare)."""
    cdef uint8_t room[MAX_PARAMETER]
    return fields.value[REALM].p != NULL and equal_nocase(plain_value(fields, REALM, room), realm)


cdef Span plain_value(const DigestFields *fields, Field field, uint8_t *room) noexcept nogil:
    """The value without quoted-pairs; `room`, MAX_PARAMETER bytes, takes it where there are any."""
    cdef Span s = fields.value[field]
    if fields.escaped & (1u << field):
        s.n = unquote(s, room)
        s.p = room
    return s


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


# ---------------------------------------------------------------------------------- objects


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


@cython.final
@cython.freelist(256)
@cython.no_gc  # it holds no object that could hold it
cdef class Credentials:
    """Digest credentials as a request carries them (RFC 7616, 3.4; RFC 3261, 20.7 and 20.27).

    Made by ``Credentials.parse`` or ``SipRequest.credentials``; immutable. A value is ``str`` as
    it stood in the header, without quotes and quoted-pairs, or None where it was not given.
    """

    def __init__(self):
        raise TypeError("Credentials come from Credentials.parse(value) or SipRequest.credentials(realm)")

    @staticmethod
    def parse(value):
        """Reads the value of an Authorization or Proxy-Authorization header.

        :param value: str or bytes-like, from the scheme on: ``Digest username="alice", …``.
        :raises ParseError: it is not of the Digest scheme, breaks the grammar, gives a parameter
            twice, or lacks one that RFC 7616, 3.4 requires. The message holds no value.
        """
        cdef bytes data = as_bytes(value, "value")
        cdef Py_ssize_t bad = find_bad_control(data)
        cdef DigestFields fields
        cdef size_t offset = 0
        cdef int status
        if bad >= 0:
            raise parse_error(CONTROL, bad, "credentials")
        status = parse_credentials(
            Span(<const uint8_t *>PyBytes_AS_STRING(data), <size_t>PyBytes_GET_SIZE(data)), &fields, &offset)
        if status == OK and fields.value[REALM].p == NULL:
            status = MISSING
        if status != OK:
            raise parse_error(status, offset, "credentials")
        return new_credentials(data, &fields)

    cdef str text(self, Field field):
        cdef uint8_t room[MAX_PARAMETER]
        if self.fields.value[field].p == NULL:
            return None
        return text_of(plain_value(&self.fields, field, room))

    cdef str user(self):
        cdef uint8_t room[MAX_PARAMETER]
        cdef uint8_t plain[MAX_PARAMETER]
        if self.name is None:
            if self.fields.value[USERNAME_STAR].p == NULL:
                self.name = self.text(USERNAME) or ""   # of an object that nobody filled, too
            else:
                self.name = text_of(
                    between(plain, put_ext_value(plain, plain_value(&self.fields, USERNAME_STAR, room))))
        return self.name

    @property
    def username(self):
        return self.user()

    @property
    def realm(self):
        return self.text(REALM)

    @property
    def nonce(self):
        return self.text(NONCE)

    @property
    def uri(self):
        return self.text(URI)

    @property
    def response(self):
        return self.text(RESPONSE)

    @property
    def algorithm(self):
        return self.text(ALGORITHM)

    @property
    def cnonce(self):
        return self.text(CNONCE)

    @property
    def nc(self):
        return self.text(NC)

    @property
    def qop(self):
        return self.text(QOP)

    @property
    def opaque(self):
        return self.text(OPAQUE)

    @property
    def canonical_algorithm(self):
        """The algorithm as RFC 7616, 6.1 spells it, "MD5" where none is named; None for one that is not there."""
        return (_SESS_NAMES if self.fields.sess else _ALGORITHM_NAMES).get(self.fields.algorithm)

    @property
    def protection(self):
        """The qop as we know it: None, "auth" or "auth-int"; "" where it is another."""
        return _QOP_NAMES[self.fields.qop]

    @property
    def nonce_count(self):
        """nc as a number, int; 1 without qop, where a nonce serves once (RFC 7616, 3.4)."""
        cdef Span nc = self.fields.value[NC]
        cdef uint32_t count = 0
        cdef size_t i
        if self.fields.qop == QOP_NONE:
            return 1
        for i in range(nc.n):
            count = count << 4 | <uint32_t>hex_value(nc.p[i])
        return count

    @property
    def userhash(self):
        """Whether `username` is a hash of name and realm (RFC 7616, 3.4.4)."""
        return (self.text(USERHASH) or "").lower() == "true"

    @property
    def value(self):
        """The whole header value as bytes, as it came, scheme included."""
        return self.fields.raw.p[:self.fields.raw.n]

    @property
    def parameters(self):
        """All parameters as pairs (name in lower case, value), in order, unknown ones included."""
        return _parameters(&self.fields)

    def __repr__(self):
        return (f"<Credentials username={self.username!r} realm={self.realm!r} "
                f"algorithm={self.algorithm or 'MD5'} qop={self.qop}>")


cdef Credentials new_credentials(object owner, const DigestFields *fields):
    cdef Credentials self = Credentials.__new__(Credentials)
    self.owner = owner
    memcpy(&self.fields, fields, sizeof(DigestFields))
    return self


cdef tuple _parameters(const DigestFields *fields):
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


@cython.final
cdef class Challenge:
    """A Digest challenge (RFC 7616, 3.3; RFC 3261, 20.44): what WWW-Authenticate carries.

    :ivar realm: str. :ivar nonce: str. :ivar opaque: str or None.
    :ivar algorithm: str, "MD5" where none was named.
    :ivar qop: tuple of str, as offered; empty for an RFC 2069 challenge.
    :ivar stale: bool.
    """

    cdef object owner
    cdef DigestFields fields

    def __init__(self):
        raise TypeError("a Challenge comes from Challenge.parse(value)")

    @staticmethod
    def parse(value):
        """Reads the value of a WWW-Authenticate or Proxy-Authenticate header (str or bytes-like).

        :raises ParseError: another scheme, broken grammar, or no realm or nonce in it.
        """
        cdef bytes data = as_bytes(value, "value")
        cdef Challenge self
        cdef Py_ssize_t bad = find_bad_control(data)
        cdef DigestFields fields
        cdef size_t offset = 0
        cdef int status
        if bad >= 0:
            raise parse_error(CONTROL, bad, "challenge")
        status = parse_params(
            Span(<const uint8_t *>PyBytes_AS_STRING(data), <size_t>PyBytes_GET_SIZE(data)), &fields, &offset)
        if status != OK:
            raise parse_error(status, offset, "challenge")
        if fields.value[REALM].p == NULL or fields.value[NONCE].p == NULL:
            raise ParseError("challenge: realm or nonce missing", offset)
        self = Challenge.__new__(Challenge)
        self.owner = data
        self.fields = fields
        return self

    cdef str text(self, Field field):
        cdef uint8_t room[MAX_PARAMETER]
        if self.fields.value[field].p == NULL:
            return None
        return text_of(plain_value(&self.fields, field, room))

    @property
    def realm(self):
        return self.text(REALM)

    @property
    def nonce(self):
        return self.text(NONCE)

    @property
    def opaque(self):
        return self.text(OPAQUE)

    @property
    def algorithm(self):
        return self.text(ALGORITHM) or "MD5"

    @property
    def qop(self):
        return tuple(word.strip() for word in (self.text(QOP) or "").split(",") if word.strip())

    @property
    def stale(self):
        return (self.text(STALE) or "").lower() == "true"

    @property
    def parameters(self):
        """All parameters as pairs (name in lower case, value), in order, unknown ones included."""
        return _parameters(&self.fields)

    def __repr__(self):
        return f"<Challenge realm={self.realm!r} algorithm={self.algorithm} qop={self.qop} stale={self.stale}>"


cdef bint is_challenge(Span text) noexcept nogil:
    """Whether DISC's Challenge may become a header of ours: one line of the Digest scheme."""
    cdef DigestFields fields
    cdef size_t offset
    if ad_find_control(text.p, text.p + text.n) != text.p + text.n:
        return False
    return parse_params(text, &fields, &offset) == OK and (
        fields.value[REALM].p != NULL and fields.value[NONCE].p != NULL)


def quote(str value not None):
    """`value` as a quoted-string (RFC 3261, 25.1). :raises ConfigError: it holds a control character."""
    cdef Span s
    cdef const uint8_t *end
    _kept = borrow(value, &s, "value")
    end = s.p + s.n
    if ad_find_control(s.p, end) != end or "\t" in value:
        raise ConfigError("a quoted string takes no control characters")
    if ad_find_quote(s.p, end) != end:
        value = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{value}"'


def format_challenge(str realm not None, str nonce not None, *, str algorithm="MD5", qop=("auth",),
                     opaque=None, bint stale=False, bint userhash=False):
    """The value of a WWW-Authenticate header (RFC 7616, 3.3), str; it ends with a quoted parameter.

    :param qop: names to offer, in order; empty for an RFC 2069 challenge.
    :param userhash: whether the username may come hashed (RFC 7616, 3.4.4).
    :raises ConfigError: a value with a control character, or an algorithm that is no token.
    """
    if algorithm not in _KNOWN and not _TOKEN(algorithm):
        raise ConfigError(f"algorithm {algorithm!r}: not a token of RFC 3261, 25.1")
    cdef str text = f"Digest realm={quote(realm)}, nonce={quote(nonce)}"
    if stale:
        text += ", stale=true"
    if userhash:
        text += ", userhash=true"
    text += f", algorithm={algorithm}"
    if opaque is not None:
        text += f", opaque={quote(opaque)}"
    if qop:
        text += f", qop={quote(','.join(qop))}"
    return text
