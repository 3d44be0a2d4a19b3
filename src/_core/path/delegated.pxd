"""Credentials that are judged here, since their nonce came with HA1, for compiled code."""

from auth_diameter._core.auth.question cimport Question
from auth_diameter._core.path.batch cimport Batch
from auth_diameter._core.path.decide cimport Asking
from auth_diameter._core.path.outcome cimport AUTHORIZED, RETRANSMITTED
from auth_diameter._core.path.verify cimport Judge
from auth_diameter._core.sip.parse cimport SipMessage
from auth_diameter._core.sip.request cimport SipRequest
from auth_diameter._core.state.delegations cimport Delegated
from auth_diameter._core.state.penalties cimport Penalties
from auth_diameter._core.state.tallies cimport Trial


cdef struct Judged:
    int outcome             # OUTCOME_NONE: the server is to be asked
    Trial trial             # of the credentials; if it is ADMITTED, whoever has this ends it


cdef class DelegatedJudge:
    cdef Judge judge
    cdef bint tells_registrations   # whether somebody is to be told of each REGISTER that is let in
    cdef Batch batch        # of one case, used again and again, for `outcome_of`
    cdef Batch of_message   # the same for `judge_message`

    # Judges the credentials of a request by what came with their nonce. `request` is None if nobody has it as an
    # object. False: they are not judged, and nothing has happened; the Question says more. The reason may be the
    # guesses before them. Any thread may call it at any time.
    cdef bint judge_message(self, const SipMessage *m, const Asking *asking, SipRequest request,
                            Penalties penalties, double now, Judged *out) except -1
    # The outcome of a question, one of OUTCOME_…; OUTCOME_NONE: the server is to be asked
    cdef int outcome_of(self, Question question, double now) except -1

    cdef bint judge_here(self, const SipMessage *m, const Asking *asking, SipRequest request, Penalties penalties,
                         Judged *out) except -1
    cdef int judge_case(self, Batch batch, const Delegated *given) noexcept


cdef inline bint is_right(int outcome) noexcept nogil:
    return outcome == AUTHORIZED or outcome == RETRANSMITTED


# The Question about credentials that were judged; it has their attempt
cdef Question question_judged(SipRequest request, const Asking *asking, bint tells_source, Penalties penalties,
                              Judged *judged, double now)
