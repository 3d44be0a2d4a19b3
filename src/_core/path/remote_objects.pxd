"""The way of a SipRequest through a client of asyncio that asks DISC, for compiled code."""

from auth_diameter._core.auth.answer cimport AnswerFields
from auth_diameter._core.auth.decision cimport Decision
from auth_diameter._core.auth.question cimport Question
from auth_diameter._core.path.decide cimport Asking
from auth_diameter._core.path.in_flight cimport InFlight
from auth_diameter._core.path.objects cimport ObjectPath
from auth_diameter._core.path.delegated cimport DelegatedJudge, Judged
from auth_diameter._core.sip.request cimport SipRequest
from auth_diameter._core.state.nonce_watch cimport NonceIssuers
from auth_diameter._core.state.penalties cimport Penalties


cdef class RemoteObjects(ObjectPath):
    cdef InFlight in_flight
    cdef Penalties penalties        # None: guesses are not counted
    cdef NonceIssuers watch         # None: with a single DISC
    cdef DelegatedJudge delegated   # None: servers judge all credentials
    cdef Py_ssize_t most_bytes      # bytes in flight from which on the policy places a question
    cdef double timeout             # seconds of a question
    cdef size_t max_question        # bytes of a question
    cdef bint tells_source          # whether DISC is told where a request came from
    cdef list decided               # Questions and the Decisions on them in turn, not handed out so far
    cdef public bint is_sending     # whether what was written is going to be sent

    cdef object conclude_judged(self, SipRequest request, const Asking *asking, Judged *judged, object callback,
                                double now)
    cdef object go_on(self, object found, object callback, double now)
    cdef bint may_write(self, Question question, double now) except -1
    cdef int finish(self, Question question, Decision decision, bint at_once) except -1


cdef bint lets_in(Question question, const AnswerFields *says) noexcept
cdef int note_login(Penalties penalties, NonceIssuers watch, Question question, double now) except -1
