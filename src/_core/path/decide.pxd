"""What is asked about a request, and what the answer means for it; for compiled code."""

from auth_diameter._core.auth.answer cimport AnswerFields
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.digest.params cimport DigestFields
from auth_diameter._core.sip.parse cimport SipMessage

cdef enum:
    ASK = -1            # instead of a CAUSE_…: a back end must be asked


cdef struct Asking:
    # What an authorize function asks about a request
    Span realm              # used for the authentication
    bint proxy              # whether the credentials are those of Proxy-Authorization
    bint has_credentials    # whether there are some for the realm
    DigestFields credentials


cdef bint is_bypassed(const SipMessage *m) noexcept nogil
cdef Span domain_of_user(const SipMessage *m, bint proxy) noexcept nogil
cdef int ask_about(const SipMessage *m, Asking *asking) noexcept nogil
cdef int cause_of(const AnswerFields *says, const DigestFields *credentials, bint is_group_check) noexcept nogil
cdef bint is_guess(int cause, int refused) noexcept nogil
