"""Nonce counts for compiled code."""

from libc.stdint cimport uint32_t, uint64_t

from auth_diameter._core.base.shared cimport ad_shared_lock
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
    RETRANSMITTED = 32  # seconds in which a request is retransmitted: 64 × T1 (RFC 3261, 17.1.2.2)
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


cdef struct Book:
    # All that changes, in memory that is shared over a fork. Behind it lie the index and the ring.
    ad_shared_lock lock
    double forgotten        # the latest creation time of a forgotten nonce
    double latest           # that of a remembered or forgotten one
    uint64_t room           # places of the ring, a power of two
    uint64_t first          # the place of the oldest, counted up until the ring grows
    uint64_t end            # behind the newest
    bint lost               # all was forgotten, and `forgotten` does not say so yet


cdef class NonceUses:
    # Any thread may call the functions without the GIL at any time, and so may any process that was forked since.
    # What follows is set before a fork, and never changes: all processes have the same secret and settings.
    cdef double lifetime, ahead
    cdef uint64_t most
    cdef uint32_t limit
    cdef uint64_t secret[2]
    cdef uint64_t largest       # places that there is room for, a power of two
    cdef Book *book             # NULL until there is memory
    cdef uint32_t *index        # 2 × room places, by hash: place in the ring + 1, 0 for none
    cdef UsedNonce *ring        # in the order in which they were first used

    cdef int take_use(self, Span nonce, const Binding *bound, uint32_t count, uint64_t mark,
                      double now) noexcept nogil
    cdef int add_use(self, Span nonce, const Binding *bound, uint32_t count, uint64_t mark, double now,
                     double made) noexcept nogil
    # Whether a nonce was used before, with this binding, and has not expired: so it is one of ours
    cdef bint is_in_use(self, Span nonce, const Binding *bound, double now) noexcept nogil
    # Forgets what retransmissions of a use are known by: shared state knows the count from elsewhere
    cdef void disown_use(self, Span nonce, uint32_t count, uint64_t mark) noexcept nogil
    cdef uint64_t mark_of(self, uint32_t serial, Span session, Span response) noexcept nogil
    cdef void name_of(self, Span nonce, uint64_t *out) noexcept nogil
    cdef size_t size(self) noexcept nogil
    cdef void take_lock(self) noexcept nogil
    cdef void give_lock(self) noexcept nogil
    cdef void forget_all(self) noexcept nogil
    cdef bint is_forgotten(self, double made, double now) noexcept nogil
    cdef uint64_t mask(self) noexcept nogil
    cdef UsedNonce *at(self, uint64_t place) noexcept nogil
    cdef UsedNonce *find(self, const uint64_t *name) noexcept nogil
    cdef UsedNonce *append(self, const uint64_t *name) noexcept nogil
    cdef bint grow(self) noexcept nogil
    cdef void put_index(self, const UsedNonce *found, uint64_t place) noexcept nogil
    cdef void make_room(self, double now) noexcept nogil
    cdef void forget_first(self) noexcept nogil
