"""The way of a SipRequest through a client of worker processes, for compiled code."""

from auth_diameter._core.auth.decision cimport Decision
from auth_diameter._core.auth.question cimport Question
from auth_diameter._core.path.in_flight cimport InFlight
from auth_diameter._core.path.objects cimport ObjectPath
from auth_diameter._core.path.wire cimport Wire
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
    cdef object clock               # function that returns seconds
    cdef double timeout             # seconds of a question
    cdef size_t max_question        # bytes of a question
    cdef bint tells_source          # whether DISC is told where a request came from
    cdef public double calm_until   # when Python has something to do before the next question
    cdef public long long seen      # the version of the breakers that Python has seen
    cdef Trial *reading             # of the question whose answer is being read here; NULL: Python reads
    cdef Decision decision          # on that answer

    cdef Wire calm_wire(self, double now)
    cdef Question for_python(self, Question question, Trial *trial)
    cdef object converse(self, Question question, Wire wire, Trial *trial, double now)
    cdef int place_of(self, Wire wire) noexcept
