"""Questions that are judged here, since their nonce came with HA1, for compiled code."""

from auth_diameter._core.auth.question cimport Question
from auth_diameter._core.path.batch cimport Batch
from auth_diameter._core.path.verify cimport Judge


cdef class DelegatedJudge:
    cdef Judge judge
    cdef Batch batch        # of one case, used again and again

    # The outcome of a question, one of OUTCOME_…; OUTCOME_NONE: the server is to be asked
    cdef int outcome_of(self, Question question, double now) except -1
