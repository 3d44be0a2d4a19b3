"""The way of a SipRequest through a client that has the users itself, for compiled code."""

from libc.stdint cimport uint64_t

from auth_diameter._core.auth.decision cimport Decision
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.path.decide cimport Asking
from auth_diameter._core.path.batch cimport Batch
from auth_diameter._core.path.inquiry cimport Case
from auth_diameter._core.path.objects cimport ObjectPath
from auth_diameter._core.path.realm cimport Realm
from auth_diameter._core.path.verify cimport Judge
from auth_diameter._core.sip.parse cimport SipMessage
from auth_diameter._core.sip.request cimport SipRequest

cdef enum:
    MOST = 64               # requests that are decided on together


cdef struct Asked:
    # A request that is decided on
    SipMessage *message     # that of its SipRequest, or one of the round's
    Span unread             # its bytes, if they are to be parsed; otherwise p is NULL
    bint is_malformed       # whether they cannot be
    uint64_t fingerprint[2]
    Span source             # the host that it came from
    Asking asking
    Case *case              # NULL: the policy decides


cdef class Round:
    # Requests that are decided on together
    cdef size_t count
    cdef bint proxy                 # whether a proxy authenticates, not a UAS
    cdef object realm_text          # as the caller gave it
    cdef Realm realm
    cdef Batch batch
    cdef list requests              # of `room` places: each the SipRequest, or its bytes
    cdef list realms                # of `room` places: the owners of the realms
    cdef size_t room                # for requests
    cdef Asked *asked
    cdef SipMessage *messages       # of those that are bytes

    cdef SipRequest request_at(self, size_t i)


cdef class LocalObjects(ObjectPath):
    cdef Judge judge
    cdef object clock               # function that returns seconds since 1970
    cdef bint waits                 # whether the store waits
    cdef list spare                 # Rounds for the next calls, or None; most threads have a place of their own
    cdef list small                 # Rounds of one request, if the store waits

    cdef Round begin_round(self, object realm, bint proxy)
    cdef int fill_round(self, Round round, object realm, bint proxy) except -1
    cdef int empty_round(self, Round round) except -1
    cdef int end_round(self, Round round) except -1
    cdef int put_away(self, Round round) except -1
    cdef Decision decide_one(self, object request, object realm, bint proxy)
    cdef int take(self, Round round, object request) except -1
    cdef void read(self, Round round) noexcept nogil
    cdef bint judge_round(self, Round round) noexcept nogil
    cdef Decision decision_at(self, Round round, size_t i)
