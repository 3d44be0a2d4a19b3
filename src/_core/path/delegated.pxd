"""Credentials that are judged here, since their nonce came with HA1, for compiled code."""

from auth_diameter._core.auth.question cimport Question
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.path.batch cimport Batch
from auth_diameter._core.path.decide cimport Asking
from auth_diameter._core.path.verify cimport Judge
from auth_diameter._core.sip.parse cimport SipMessage
from auth_diameter._core.sip.request cimport SipRequest
from auth_diameter._core.state.penalties cimport Penalties


cdef class DelegatedJudge:
    cdef Judge judge
    cdef bint tells_registrations   # whether somebody is to be told of each REGISTER that is let in
    cdef Batch batch        # of one case, used again and again, for `outcome_of`
    cdef Batch of_message   # the same for `lets_in`

    # Whether the credentials of a request are right by what came with their nonce, and no guesses before them
    # forbid it. If not, this says nothing, and nothing has happened: `outcome_of` a Question says it. `source.n`
    # is 0 if it is not known, and `request` is None if nobody has the request as an object. Any thread may call it
    # at any time.
    cdef bint lets_in(self, const SipMessage *m, const Asking *asking, Span source, SipRequest request,
                      Penalties penalties, double now) except -1
    cdef bint is_right(self, const SipMessage *m, const Asking *asking, Span source, SipRequest request,
                       Penalties penalties) except -1
    # The outcome of a question, one of OUTCOME_…; OUTCOME_NONE: the server is to be asked
    cdef int outcome_of(self, Question question, double now) except -1
