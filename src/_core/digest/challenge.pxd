"""Digest challenges for compiled code."""

from libc.stdint cimport uint8_t

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.digest.params cimport DigestFields

cdef enum:
    MOST_KNOWN = 256        # bytes of a challenge that is remembered
    MAX_NEXTNONCE = 256     # bytes


cdef struct KnownChallenge:
    # A challenge that was accepted; all zeros: none was
    uint8_t text[MOST_KNOWN]
    size_t n                # bytes of it
    size_t nonce            # index of the nonce's value, between quotes and without quoted-pairs
    size_t nonce_size       # bytes of that


cdef bint is_challenge(Span text, KnownChallenge *known) noexcept nogil
cdef bint is_stale_challenge(Span text) noexcept nogil
cdef bint read_challenge(Span text, DigestFields *out) noexcept nogil


cdef inline bint is_nextnonce(Span s) noexcept nogil:
    """Whether it can be a nextnonce that needs no escapes: printable ASCII without quote and backslash."""
    cdef size_t i
    for i in range(s.n):
        if s.p[i] <= c' ' or s.p[i] >= 127 or s.p[i] == c'"' or s.p[i] == c'\\':
            return False
    return 0 < s.n <= MAX_NEXTNONCE
