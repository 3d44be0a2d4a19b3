"""The datagrams of a SIP server on one UDP socket, for compiled code."""

from libc.stdint cimport uint8_t, uint64_t

from auth_diameter._core.net.addresses cimport Address
from auth_diameter._core.net.departures cimport Departures
from auth_diameter._core.path.in_flight cimport SlotOwner
from auth_diameter._core.path.slots cimport Slots
from auth_diameter._core.sip.request cimport SipRequest
from auth_diameter._core.state.transactions cimport Entry, Transactions


cdef class DatagramPath(SlotOwner):
    cdef Transactions transactions
    cdef readonly Departures departures
    cdef int fd
    # Settings
    cdef size_t max_size            # bytes of a request
    cdef int max_headers            # header fields of a request
    cdef size_t amplification       # bytes of a refusal, in times those of its request
    cdef public bint is_open        # whether new requests are handled here; if not, all are odd
    cdef bint is_closed             # whether the socket is no longer to be used
    # Working memory
    cdef Slots slots
    cdef uint64_t unsent_from       # position in the ring of the oldest reply that waits to be sent
    # Counts
    cdef readonly uint64_t received         # datagrams
    cdef readonly uint64_t retransmissions
    cdef readonly uint64_t slow             # requests and answers that Python handled

    # What becomes of the datagrams
    cdef int begin_turn(self) except -1
    cdef void take_datagram(self, int i, double now) noexcept nogil
    cdef void judge_turn(self, double now) noexcept nogil
    cdef int end_turn(self, double now) except -1

    cdef bint answer_to(self, SipRequest request, bytes reply, size_t most, Address *source) except -1
    cdef void send_again(self, const Entry *entry, const Address *source) noexcept nogil
    cdef uint8_t *reserve(self, size_t room, uint64_t *at) noexcept nogil
    cdef void send(self, const uint8_t *reply, uint64_t at, size_t size, const Address *source,
                   int port) noexcept nogil
