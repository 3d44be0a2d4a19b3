"""Recent requests and their replies, for compiled code."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum:
    LEAST_ROOM = 1 << 20            # bytes for replies: enough for many of 64 KiB
    MOST_KEPT = LEAST_ROOM // 4     # bytes of one reply
    WAYS = 7                        # requests of a set; a search that finds nothing reads 32 bytes

cdef struct Entry:
    # A request and the place of its reply
    uint64_t fingerprint[2]
    double until            # seconds, monotonic
    uint64_t reply_at       # position of the reply in the ring
    uint32_t reply_size     # 0: none yet, or none at all
    uint32_t reply_port

cdef struct Marks:
    # The index of a set; apart from the entries, so that all of it fits into a cache
    uint32_t mark[WAYS]     # a quarter of each fingerprint
    uint32_t next           # the oldest entry


cdef class Transactions:
    cdef uint8_t *ring
    cdef Marks *marks       # of each set
    cdef Entry *entries     # WAYS of each set
    cdef uint64_t room      # a multiple of 8
    cdef uint64_t head      # position of the next byte: it only grows, and the ring wraps
    cdef uint64_t count     # of sets, a power of two
    cdef double lifetime

    cdef const Entry *known(self, const uint64_t *fingerprint, double now) noexcept nogil
    cdef const uint8_t *reply_of(self, const Entry *entry) noexcept nogil
    cdef uint8_t *reserve(self, size_t size) noexcept nogil
    cdef void keep(self, const uint64_t *fingerprint, const uint8_t *place, size_t size, int port) noexcept nogil
    cdef Entry *search(self, const uint64_t *fingerprint) noexcept nogil
    cdef Entry *replace_oldest(self, const uint64_t *fingerprint) noexcept nogil
    cdef bint has_reply(self, const Entry *entry) noexcept nogil
