"""Records for shared state, for compiled code; sharing.pyx has their layout."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from auth_diameter._core.base.lock cimport ad_lock
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.state.keys cimport Network
from auth_diameter._core.state.tallies cimport Standing

cdef enum:
    # What a record asks for
    SHARE_RIGHT = 1     # a right digest, to be let in
    SHARE_WRONG         # a guess
    SHARE_NEITHER       # a right digest that is refused: only whether there is a penalty
    SHARE_LOGIN = 0x80  # added to SHARE_RIGHT: a login that the others should know of

cdef enum:
    # What the state says about a record
    SHARED_FIRST = 1
    SHARED_AGAIN
    SHARED_REPLAYED
    SHARED_EXPIRED
    SHARED_PENALIZED
    SHARED_WRONG
    SHARED_NOTHING

cdef enum:
    HEADER_SIZE = 16
    RECORD_SIZE = 49
    STANDINGS_SIZE = 10


cdef struct Shared:
    # What the state says about a question
    int code
    Standing user
    Standing source


cdef class Sharing:
    cdef ad_lock lock
    cdef uint64_t secret[2]     # of users and sources; the same wherever the first nonce key is the same
    cdef uint32_t lifetime
    cdef uint32_t limit
    cdef int reachable          # whether the state answers; else the local memory decides

    cdef void copy_secret(self, uint64_t *out) noexcept nogil
    cdef void put_header(self, uint8_t *out, double now) noexcept nogil


cdef void put_record(uint8_t *out, int kind, uint64_t user, uint64_t source) noexcept nogil
cdef void put_use(uint8_t *out, Span nonce, uint32_t count, uint32_t serial, Span session,
                  Span response) noexcept nogil
cdef bint is_reply(const uint8_t *records, size_t count, const uint8_t *reply, size_t size) noexcept nogil
cdef size_t read_reply(const uint8_t *reply, size_t count, size_t i, size_t details, Shared *out) noexcept nogil
