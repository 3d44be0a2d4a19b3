"""Parameters of Digest credentials and challenges as spans into the header field they came in."""

from libc.stdint cimport uint8_t, uint32_t

from auth_diameter._core.base.chars cimport unquote
from auth_diameter._core.base.span cimport Span, equal_nocase
from auth_diameter._core.base.vectors cimport Scan
from auth_diameter._core.digest.algorithms cimport AlgorithmIndex

ctypedef int Field

cdef enum:
    # Parameters of a Digest header: RFC 7616, 3.3 and 3.4
    USERNAME, USERNAME_STAR, REALM, NONCE, URI, RESPONSE, ALGORITHM, CNONCE, NC, QOP, OPAQUE, USERHASH
    STALE, DOMAIN, CHARSET
    FIELD_COUNT

ctypedef int Qop

cdef enum:
    QOP_NONE, QOP_AUTH, QOP_AUTH_INT, QOP_UNKNOWN

cdef enum:
    # Status that `parse_params` and `check_credentials` return
    OK = 1
    OTHER_SCHEME = 0
    NO_PARAMETER = -1
    NO_NAME = -2
    NO_EQUAL = -3
    NO_VALUE = -4
    BAD_QUOTED_STRING = -5
    NO_COMMA = -6
    DUPLICATE = -7
    TOO_LONG = -8
    TOO_MANY = -9
    MISSING = -10
    BAD_RESPONSE = -11
    BAD_NC = -12
    BAD_QOP = -13
    BOTH_USERNAMES = -14
    BAD_EXT_VALUE = -15
    CONTROL = -16


cdef enum:
    # Bounds memory; nonces in the field have up to 150 bytes.
    MAX_PARAMETER = 1024
    # Unknown parameters are compared with each other to find duplicates.
    MAX_EXTENSIONS = 16


cdef struct DigestFields:
    Span raw                    # the whole header value, scheme included, without LWS around it
    Span value[FIELD_COUNT]     # without quotes; p is NULL if the parameter is missing
    uint32_t escaped            # a bit for each Field: whether it holds quoted-pairs or folds
    bint sess
    AlgorithmIndex algorithm
    Qop qop


cdef bytes parse_value(object value, str where, DigestFields *out, size_t *offset)
cdef int parse_params(Span text, DigestFields *out, size_t *offset) noexcept nogil
cdef int parse_params_by(Span text, DigestFields *out, size_t *offset, Scan scan) noexcept nogil
cdef void classify_algorithm(DigestFields *f) noexcept nogil
cdef bint same_fields(const DigestFields *a, const DigestFields *b) noexcept nogil
cdef bint is_ext_value(Span s) noexcept nogil
cdef uint8_t *put_ext_value(uint8_t *q, Span value) noexcept nogil
cdef str text_value(const DigestFields *fields, Field field)
cdef tuple parameter_pairs(const DigestFields *fields)
cdef object parse_error(int status, size_t offset, str where)


cdef inline Span plain_value(const DigestFields *fields, Field field, uint8_t *room) noexcept nogil:
    """The value without quoted-pairs; if it has any, it is written to `room`, MAX_PARAMETER bytes."""
    cdef Span s = fields.value[field]
    if fields.escaped & (1u << field):
        s.n = unquote(s, room)
        s.p = room
    return s


cdef inline bint is_true(const DigestFields *fields, Field field) noexcept nogil:
    """Whether a parameter is there and is "true", in letters of any case."""
    cdef uint8_t room[MAX_PARAMETER]
    return fields.value[field].p != NULL and equal_nocase(
        plain_value(fields, field, room), Span(<const uint8_t *>"true", 4))
