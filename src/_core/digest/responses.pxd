"""Responses of Digest credentials by any algorithm, on spans and without Python objects (RFC 7616, 3.4.1)."""

from libc.stdint cimport uint8_t

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.digest.algorithms cimport SHA_2_DIGITS, AlgorithmIndex
from auth_diameter._core.digest.params cimport Qop

cdef enum:
    MAX_DIGITS = SHA_2_DIGITS


cdef struct Response:
    # What a response is a hash of, unquoted
    AlgorithmIndex algorithm
    bint sess
    Qop qop
    Span ha1            # hexadecimal, of either case
    Span method, uri, nonce
    Span nc, cnonce, qop_text   # p is NULL where the credentials have none
    Span body_hash      # hexadecimal, of qop=auth-int: RFC 7616, 3.4.3


cdef bint is_computable(const Response *r) noexcept nogil
cdef size_t put_response(uint8_t *out, const Response *r) noexcept nogil
cdef size_t put_hash(uint8_t *out, AlgorithmIndex algorithm, Span text) noexcept nogil
