"""The circuit breakers that forked processes have in common, for compiled code."""

from libc.stdint cimport uint64_t

from auth_diameter._core.base.shared cimport ad_shared_lock

cdef enum:
    MOST_PEERS = 64


cdef struct Breaker:
    uint64_t key            # a hash of the peer's address; 0: the place is free
    int state
    double rest_until       # when the next probe may be sent
    double asked_at         # when the first question was asked after which nothing came, if after `heard_at`
    double heard_at         # when a byte last came


cdef struct Board:
    ad_shared_lock lock
    uint64_t version        # grows with each change of a state
    Breaker breakers[MOST_PEERS]


cdef class Breakers:
    cdef Board *board       # NULL until there is memory
    cdef uint64_t secret[2]

    # As the method `heard`, for a place that `place_of` has returned
    cdef void note_heard(self, int place, double now) noexcept nogil
    cdef Breaker *at(self, int place) except NULL
    cdef void take_lock(self) noexcept nogil
    cdef void give_lock(self) noexcept nogil
