"""The response of Digest credentials by MD5, on spans and without Python objects (RFC 7616, 3.4.1)."""

from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from auth_diameter._core.base.chars cimport ad_copy
from auth_diameter._core.base.hex cimport ad_lower_hex, ad_same_hex
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.digest.algorithms cimport MD5_DIGITS
from auth_diameter._core.digest.credentials cimport Credentials


cdef struct Inputs:
    # The input of a response, unquoted: RFC 7616, 3.4.1
    uint8_t ha1[MD5_DIGITS]
    Span method, uri, nonce, nc, cnonce, qop
    bint with_qop
    bint body_hashed
    uint8_t body[MD5_DIGITS]    # hexadecimal, with qop=auth-int: RFC 7616, 3.4.3


cdef bint fill_inputs(Credentials c, Span method, Span ha1, Inputs *v, uint8_t *room) noexcept nogil
cdef void make_session_ha1(Inputs *v) noexcept nogil
cdef void response_md5(const Inputs *v, uint8_t *hex_out) noexcept nogil


cdef inline bint put_ha1(Inputs *v, Span ha1) noexcept nogil:
    """Copies HA1 in lower case; False if it has the length of another algorithm's."""
    if ha1.n != MD5_DIGITS:
        return False
    ad_lower_hex(v.ha1, ha1.p)
    return True


cdef inline uint8_t *put(uint8_t *q, Span s) noexcept nogil:
    ad_copy(q, s.p, s.n)
    return q + s.n


cdef inline uint8_t *put_colon(uint8_t *q, Span s) noexcept nogil:
    q = put(q, s)
    q[0] = c':'
    return q + 1


cdef inline size_t a2_size(const Inputs *v) noexcept nogil:
    return v.method.n + 1 + v.uri.n + (33 if v.body_hashed else 0)


cdef inline size_t prefix_size(const Inputs *v) noexcept nogil:
    """The size of the response's input before HA2."""
    return 33 + v.nonce.n + 1 + (v.nc.n + v.cnonce.n + v.qop.n + 3 if v.with_qop else 0)


cdef inline uint8_t *put_a2(uint8_t *q, const Inputs *v) noexcept nogil:
    q = put_colon(q, v.method)
    q = put(q, v.uri)
    if v.body_hashed:
        q[0] = c':'
        memcpy(q + 1, v.body, 32)
        q += 33
    return q


cdef inline uint8_t *put_prefix(uint8_t *q, const Inputs *v) noexcept nogil:
    memcpy(q, v.ha1, 32)
    q[32] = c':'
    q = put_colon(q + 33, v.nonce)
    if v.with_qop:
        q = put_colon(q, v.nc)
        q = put_colon(q, v.cnonce)
        q = put_colon(q, v.qop)
    return q


cdef inline bint same_response(Span given, const uint8_t *expected, size_t n) noexcept nogil:
    """Compares in constant time; `given` is hexadecimal, in either case."""
    return given.n == n and ad_same_hex(given.p, expected, n)
