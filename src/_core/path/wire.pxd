"""One connection to a peer, for compiled code."""

from libc.stdint cimport uint8_t, uint32_t

from auth_diameter._core.diameter.stream cimport MessageStream


cdef class Wire(MessageStream):
    # One connection to a peer, without its socket; as a stream it has the answers that come
    cdef uint8_t *out               # bytes to be sent
    cdef size_t out_size
    cdef size_t out_room            # what `out` can hold
    cdef readonly size_t room       # bytes to be sent from which on no question is added
    cdef readonly int under_way     # questions on it without an answer
    cdef public int peer_number     # of its peer among those of the client
    cdef public int fd              # of its blocking socket, for compiled code that asks itself; -1: Python asks
    cdef public bint is_calm        # whether a question and its answer change nothing in its state machine
    cdef double asked               # when the first question since `heard` was sent; NaN: none was
    cdef double heard               # when the last byte came, of an answer in standard Diameter; NaN: none did
    cdef list others                # messages that are no answers to questions; None: there are none

    cdef uint8_t *reserve(self, size_t size) noexcept nogil
    cdef int add_other(self, bytes message) except -1
    cdef void drop_sent(self, size_t size) noexcept nogil


cdef uint32_t next_msgid() noexcept nogil
