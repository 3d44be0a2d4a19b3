"""Nonces for compiled code."""

from libc.stdint cimport uint8_t, uint64_t

from auth_diameter._core.base.lock cimport ad_lock
from auth_diameter._core.base.sha2 cimport ad_hmac_key
from auth_diameter._core.base.span cimport Span

cdef enum:
    # The state of a nonce that a client has sent; NonceState has them for Python
    NONCE_FRESH = 1
    NONCE_EXPIRED
    NONCE_FOREIGN   # of no known key, or for another realm, algorithm or source

cdef enum:
    NONCE_SIZE = 56


cdef struct Binding:
    # What a nonce is good for
    Span realm          # in any case
    Span algorithm      # as RFC 7616 spells it
    Span source         # the address of the only UAC that may use it; n is 0 for any


cdef double nonce_made_at(Span nonce) noexcept nogil
cdef tuple bind(Binding *out, str realm, str algorithm, str source)


cdef class Nonces:
    # Any thread may call the functions without the GIL at any time. `use` changes the keys of one process alone.
    cdef ad_lock lock
    cdef ad_hmac_key *keys      # the first makes nonces, all recognise them
    cdef size_t count
    # The salt of the next nonce, in memory that is shared over a fork: no two processes use one twice
    cdef uint64_t *salt
    cdef readonly double lifetime
    cdef readonly double remembered

    cdef void put_nonce(self, uint8_t *out, const Binding *bound, double now) noexcept nogil
    cdef int check_nonce(self, Span nonce, const Binding *bound, double now) noexcept nogil
    cdef bint copy_key(self, size_t index, ad_hmac_key *out) noexcept nogil
