"""The way of a SipRequest through a client of worker processes, for compiled code."""

from auth_diameter._core.auth.question cimport Question
from auth_diameter._core.path.in_flight cimport InFlight
from auth_diameter._core.path.objects cimport ObjectPath
from auth_diameter._core.path.realm cimport Realm
from auth_diameter._core.path.wire cimport Wire
from auth_diameter._core.sip.request cimport SipRequest
from auth_diameter._core.state.breakers cimport MOST_PEERS, Breakers
from auth_diameter._core.state.nonce_watch cimport NonceIssuers
from auth_diameter._core.state.penalties cimport Penalties
from auth_diameter._core.state.tallies cimport Trial


cdef class WorkerObjects(ObjectPath):
    cdef InFlight in_flight
    cdef Breakers breakers
    cdef int places[MOST_PEERS]     # of the peers among the breakers by their numbers
    cdef int place_count
    cdef Penalties penalties        # None: guesses are not counted
    cdef NonceIssuers watch         # None: with a single DISC
    cdef object clock               # function that returns seconds; None: the system's
    cdef double timeout             # seconds of a question
    cdef size_t max_question        # bytes of a question
    cdef bint tells_source          # whether DISC is told where a request came from
    cdef public double calm_until   # when Python has something to do before the next question
    cdef public long long seen      # the version of the breakers that Python has seen
    cdef Trial *reading             # of the question whose answer is being read here; NULL: Python reads
    cdef object found               # from that answer: Decision, or in a script the return code
    cdef bint in_script             # whether the return code is enough
    cdef list answered              # what Python is to take: (Question, Answer)
    cdef str known_text             # the realm of the last request as it was given, and what it is
    cdef Realm known

    cdef object judge(self, SipRequest request, object realm, bint proxy, bint in_script)
    cdef Realm realm_known(self, object text)
    cdef double now(self) except? -1

    cdef Wire calm_wire(self, double now)
    cdef Question for_python(self, Question question, Trial *trial)
    cdef object converse(self, Question question, Wire wire, Trial *trial, double now)
    cdef int place_of(self, Wire wire) noexcept
