"""The way of a request through a SIP server, for compiled code."""

from libc.stdint cimport uint8_t

from auth_diameter._core.auth.answer cimport AnswerFields
from auth_diameter._core.auth.question cimport Question
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.path.counts cimport Decisions
from auth_diameter._core.path.datagrams cimport DatagramPath
from auth_diameter._core.path.notes cimport Notes
from auth_diameter._core.path.realm cimport Realm
from auth_diameter._core.path.slot cimport Slot
from auth_diameter._core.sip.contacts cimport MOST_CONTACTS, Binding
from auth_diameter._core.sip.request cimport SipRequest

cdef enum:
    # What became of a datagram
    DONE, IN_FLIGHT, ODD


cdef class RequestPath(DatagramPath):
    cdef Decisions decisions
    cdef object adopt               # function of a Question that a slot became
    # Settings
    cdef size_t one_challenge       # bytes that a refusal with one challenge may always have
    cdef Realm realm
    # Working memory
    cdef Notes notes                # refusals for the log
    cdef Binding bindings[MOST_CONTACTS]
    # Counts
    cdef readonly Py_ssize_t in_slots       # requests that a back end is asked about

    # What a back end does
    cdef int ask(self, Slot *s, double now) noexcept nogil

    cdef int begin(self, Slot *s, double now) noexcept nogil
    cdef int judge(self, Slot *s, double now) noexcept nogil
    cdef bint reply(self, Slot *s, int cause, const AnswerFields *says) noexcept nogil
    cdef SipRequest request_of(self, Slot *s)
    cdef Question question_about(self, Slot *s, bint tells_source)


cdef inline Span host_of(const Slot *s) noexcept nogil:
    """The host that a request came from."""
    return Span(<const uint8_t *>s.host, s.host_size)
