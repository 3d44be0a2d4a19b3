"""The watch on the nonces of several DISC, for compiled code."""

from libc.stdint cimport uint64_t

from auth_diameter._core.base.lock cimport ad_lock
from auth_diameter._core.base.span cimport Span

cdef enum:
    ISSUED_SETS = 32
    ISSUED_WAYS = 8


cdef struct Issued:
    # A nonce that no client has used yet
    uint64_t key            # a hash of the nonce; 0: the place is free
    double at               # when it was issued, seconds
    int issuer              # the number of the DISC


cdef class NonceIssuers:
    cdef ad_lock lock       # each function takes it itself
    cdef int stage          # WATCHING, DUE or TOLD
    cdef int issuer         # once it is DUE: the DISC that issued the last nonce refused
    cdef int refuser        # and the DISC that refused it
    cdef int refused        # nonces refused by another DISC than their issuer
    cdef int taken          # nonces accepted by another DISC than their issuer
    cdef size_t count       # of nonces remembered
    cdef double first       # when the oldest of them was issued
    cdef uint64_t secret[2]
    cdef Issued issued[ISSUED_SETS * ISSUED_WAYS]

    # `used` is the nonce of the credentials, without quoted-pairs; its p is NULL without credentials. `peer` is
    # the number of the DISC that answered, 0 or more.
    cdef void saw_authorized(self, Span used, int peer, double now) noexcept nogil
    cdef void saw_challenges(
        self, Span used, int peer, const Span *challenges, size_t count, double now) noexcept nogil
    # Whether `take_warning` has a warning, once for all.
    cdef bint is_warning_due(self) noexcept nogil

    cdef uint64_t key_of(self, Span nonce) noexcept nogil
    # For a caller that has the lock
    cdef int take(self, uint64_t key, int peer, double now) noexcept nogil
    cdef void put(self, uint64_t key, int peer, double now) noexcept nogil
    cdef void forget_all(self) noexcept nogil
