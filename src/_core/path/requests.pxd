"""The way of a request through a SIP server, for compiled code."""

from libc.stdint cimport uint8_t, uint64_t

from auth_diameter._core.auth.answer cimport AnswerFields
from auth_diameter._core.auth.question cimport Question
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.net.departures cimport Departures
from auth_diameter._core.path.counts cimport Decisions
from auth_diameter._core.path.in_flight cimport SlotOwner
from auth_diameter._core.path.notes cimport Notes
from auth_diameter._core.path.realm cimport Realm
from auth_diameter._core.path.slot cimport Slot
from auth_diameter._core.path.slots cimport Slots
from auth_diameter._core.sip.contacts cimport MOST_CONTACTS, Binding
from auth_diameter._core.sip.request cimport SipRequest
from auth_diameter._core.state.transactions cimport Transactions

cdef enum:
    # What became of a datagram
    DONE, IN_FLIGHT, ODD


cdef class RequestPath(SlotOwner):
    cdef Transactions transactions
    cdef Decisions decisions
    cdef readonly Departures departures
    cdef object adopt               # function of a Question that a slot became
    cdef int fd
    # Settings
    cdef size_t max_size            # bytes of a request
    cdef int max_headers            # header fields of a request
    cdef size_t amplification       # bytes of a refusal, in times those of its request
    cdef size_t one_challenge       # bytes that a refusal with one challenge may always have
    cdef Realm realm
    cdef public bint is_open        # whether new requests are judged here; if not, all are odd
    # Working memory
    cdef Slots slots
    cdef Notes notes                # refusals for the log
    cdef Binding bindings[MOST_CONTACTS]
    cdef uint64_t unsent_from       # position in the ring of the oldest reply that waits to be sent
    # Counts
    cdef readonly Py_ssize_t in_slots       # requests that a back end is asked about
    cdef readonly uint64_t received         # datagrams
    cdef readonly uint64_t retransmissions
    cdef readonly uint64_t slow             # requests and answers that Python handled

    # What a back end does
    cdef int begin_turn(self) except -1
    cdef int ask(self, Slot *s, double now) noexcept nogil
    cdef void judge_turn(self, double now) noexcept nogil
    cdef int end_turn(self, double now) except -1

    cdef void take_datagram(self, int i, double now) noexcept nogil
    cdef int begin(self, Slot *s, double now) noexcept nogil
    cdef int judge(self, Slot *s, double now) noexcept nogil
    cdef bint reply(self, Slot *s, int cause, const AnswerFields *says) noexcept nogil
    cdef uint8_t *reserve(self, size_t room, uint64_t *at) noexcept nogil
    cdef void send(self, const Slot *s, const uint8_t *reply, uint64_t at, size_t size, int port) noexcept nogil
    cdef SipRequest request_of(self, Slot *s)
    cdef Question question_about(self, Slot *s, bint tells_source)


cdef inline Span host_of(const Slot *s) noexcept nogil:
    """The host that a request came from."""
    return Span(<const uint8_t *>s.host, s.host_size)
