"""Nonce counts for compiled code."""

from libc.stdint cimport uint32_t, uint64_t

from auth_diameter._core.base.lock cimport ad_lock
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.state.nonces cimport Binding

cdef enum:
    # The meaning of a nonce with a count; the members of Use, by their values
    USE_UNKNOWN = 1     # a nonce that is not remembered
    USE_FIRST
    USE_AGAIN           # the retransmission of a request that was verified before
    USE_REPLAYED
    USE_EXPIRED

cdef enum:
    MARKS = 4           # latest uses of a nonce whose retransmissions are known


cdef struct Mark:
    double when         # seconds since 1970
    uint64_t mark       # of the request; 0: none
    uint32_t count


cdef struct UsedNonce:
    # A nonce that was used with correct credentials
    uint64_t name[2]    # a hash of the nonce
    uint64_t bound[2]   # a hash of realm, algorithm and source
    double made         # seconds since 1970
    uint64_t window     # bit n is the count n below the highest
    Mark marks[MARKS]
    uint32_t highest    # count
    uint32_t uses
    uint32_t next_mark
    uint32_t replays    # since the latest mark


cdef class NonceUses:
    # Any thread may call the functions without the GIL at any time.
    cdef ad_lock lock
    cdef double lifetime, ahead
    cdef uint64_t most
    cdef uint32_t limit
    cdef double forgotten       # the latest creation time of a forgotten nonce
    cdef uint64_t secret[2]
    cdef UsedNonce *ring        # in the order in which they were first used
    cdef uint64_t room          # places of the ring, a power of two
    cdef uint64_t first         # the place of the oldest, counted up for ever
    cdef uint64_t end           # behind the newest
    cdef uint32_t *index        # 2 × room places, by hash: place in the ring + 1, 0 for none

    cdef int take_use(self, Span nonce, const Binding *bound, uint32_t count, uint64_t mark,
                      double now) noexcept nogil
    cdef int add_use(self, Span nonce, const Binding *bound, uint32_t count, uint64_t mark, double now,
                     double made) noexcept nogil
    cdef uint64_t mark_of(self, uint32_t serial, Span session, Span response) noexcept nogil
    cdef void name_of(self, Span nonce, uint64_t *out) noexcept nogil
    cdef UsedNonce *find(self, const uint64_t *name) noexcept nogil
    cdef UsedNonce *append(self, const uint64_t *name) noexcept nogil
    cdef bint grow(self) noexcept nogil
    cdef void make_room(self, double now) noexcept nogil
    cdef void forget_first(self) noexcept nogil
