"""The way of a request through a SIP server that asks DISC, for compiled code."""

from auth_diameter._core.auth.answer cimport AnswerFields
from auth_diameter._core.path.in_flight cimport InFlight
from auth_diameter._core.path.requests cimport RequestPath
from auth_diameter._core.path.slot cimport Slot
from auth_diameter._core.state.delegations cimport Delegations
from auth_diameter._core.state.nonce_watch cimport NonceIssuers
from auth_diameter._core.state.penalties cimport Penalties


cdef class RemoteRequests(RequestPath):
    cdef InFlight in_flight
    cdef Penalties penalties        # None: guesses are not counted
    cdef NonceIssuers watch         # None: with a single DISC
    cdef Delegations delegations    # None: servers judge all credentials
    cdef double timeout             # seconds of a question
    cdef size_t max_question        # bytes of a question
    cdef bint tells_source          # whether DISC is told where a request came from

    cdef int admit(self, Slot *s, double now) noexcept nogil
    cdef void end_trial(self, Slot *s, int cause, int refused, double now) noexcept nogil
    cdef void note_nonces(self, const Slot *s, int cause, const AnswerFields *says, double now) noexcept nogil
    cdef void ended(self, const Slot *s) noexcept nogil
