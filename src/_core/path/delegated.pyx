"""Questions that are judged here, since their nonce came with HA1 (RFC 4740, 6.3)."""

cimport cython
from libc.stdint cimport uint8_t

from auth_diameter._core.auth.question cimport Question
from auth_diameter._core.digest.params cimport MAX_PARAMETER, NONCE, plain_value
from auth_diameter._core.path.batch cimport empty_batch, new_batch
from auth_diameter._core.path.inquiry cimport STAGE_DONE, Case, inquiry_of_question
from auth_diameter._core.path.outcome cimport FAILED, OUTCOME_NONE

@cython.final
cdef class DelegatedJudge:
    """Judges questions whose nonce came with HA1; not for use by several threads at once.

    Args:
        judge: Judge with `delegations`.
    """

    def __cinit__(self, Judge judge not None):
        if judge.delegations is None:
            raise TypeError("judge: has no delegations")
        self.judge = judge
        self.batch = new_batch(1, 0.0)

    def outcome(self, Question question not None, double now):
        """The outcome of a question, int, the value of an Outcome; 0: its nonce is not known here.

        Args:
            question: Question with credentials.
            now: seconds, of the clock of the delegations.
        """
        return self.outcome_of(question, now)

    cdef int outcome_of(self, Question question, double now) except -1:
        cdef uint8_t room[MAX_PARAMETER]
        cdef Batch batch = self.batch
        cdef Case *case
        cdef int outcome = FAILED
        if question.credentials is None or not self.judge.delegations.knows(
                plain_value(&question.credentials.fields, NONCE, room)):
            return OUTCOME_NONE
        batch.work.now = now
        case = batch.add()
        try:
            inquiry_of_question(question, &batch.work.scratch, &case.ask)
            if self.judge.judge_to_the_end(&batch.work) and case.stage == STAGE_DONE:
                outcome = case.outcome
        finally:
            empty_batch(batch)
        return outcome
