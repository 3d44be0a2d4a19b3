"""Datagrams to be sent together, for compiled code."""

from libc.stdint cimport uint8_t, uint64_t

from auth_diameter._core.net.addresses cimport Address, iovec, mmsghdr

cdef enum:
    BATCH = 64              # datagrams in one call; with more, the cost of the call itself no longer matters
    QUEUE = 256             # datagrams that wait to be sent
    CONTROL = 32            # bytes of the control message that names the size of the parts


cdef class Departures:
    cdef int fd
    cdef public bint segments   # whether runs of equal datagrams are given to the kernel as one
    cdef size_t most_segment    # bytes of a part; larger ones do not fit the path to some address
    cdef int count              # datagrams that wait
    cdef iovec parts[QUEUE]     # their bytes
    cdef Address to[QUEUE]      # their addresses
    cdef readonly uint64_t sent     # datagrams so far
    cdef readonly uint64_t lost     # that the kernel refused
    cdef mmsghdr messages[BATCH]
    cdef int first[BATCH]       # of each message: its first datagram
    cdef uint8_t control[BATCH][CONTROL]

    cdef void add(self, uint8_t *data, size_t n, const Address *to) noexcept nogil
    cdef void flush(self) noexcept nogil
    cdef int fill(self, int start, int *end) noexcept nogil
    cdef int run_from(self, int start) noexcept nogil
    cdef bint is_same_address(self, int a, int b) noexcept nogil
    cdef void refused(self, int start, int n, int error) noexcept nogil
