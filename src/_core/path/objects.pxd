"""The way of a SipRequest through a client of asyncio, for compiled code."""

from auth_diameter._core.auth.answer cimport AnswerFields
from auth_diameter._core.auth.decision cimport Decision
from auth_diameter._core.auth.question cimport Question
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.path.counts cimport Decisions
from auth_diameter._core.path.decide cimport Asking
from auth_diameter._core.path.in_flight cimport Concluder, InFlight
from auth_diameter._core.sip.request cimport SipRequest
from auth_diameter._core.state.nonce_watch cimport NonceIssuers
from auth_diameter._core.state.penalties cimport Penalties


cdef class ObjectPath(Concluder):
    cdef InFlight in_flight
    cdef Penalties penalties        # None: guesses are not counted
    cdef Decisions decisions
    cdef NonceIssuers watch         # None: with a single DISC
    cdef object policy              # what Python decides, see objects.pyx
    cdef Py_ssize_t most_bytes      # bytes in flight from which on the policy places a question
    cdef double timeout             # seconds of a question
    cdef size_t max_question        # bytes of a question
    cdef bint tells_source          # whether DISC is told where a request came from
    cdef dict realms                # for each realm a REALM_…, or the function that expands it
    cdef list decided               # Questions and the Decisions on them in turn, not handed out so far
    cdef str last_realm             # the realm of the last question
    cdef bytes last_bytes           # the same; as text it may hold what UTF-8 cannot
    cdef public bint is_sending     # whether what was written is going to be sent

    cdef object begin(self, SipRequest request, object realm, bint proxy, object callback, double now)
    cdef object realm_of(self, SipRequest request, object realm, Asking *asking)
    cdef str realm_text(self, Span realm)
    cdef bint may_write(self, Question question, double now) except -1
    cdef int note_login(self, Question question, double now) except -1
    cdef int finish(self, Question question, Decision decision) except -1
    cdef int call(self, object callback, Decision decision) except -1
    cdef int settle(self, object future, object result) except -1


cdef class Several:
    # Decisions that are waited for together
    cdef list decisions             # None where there is none so far
    cdef Py_ssize_t left
    cdef object future              # of asyncio; the list is its result


cdef class PlaceAmongSeveral:
    cdef Several several
    cdef Py_ssize_t index


cdef class Pending:
    cdef ObjectPath path
    cdef object asked               # SipRequest or bytes, or with `many` an iterable of them
    cdef object realm
    cdef object iterator            # of the future, once it has begun
    cdef bint proxy, many

    cdef object begin(self)
