"""Questions that are judged here, since their nonce came with HA1 (RFC 4740, 6.3)."""

cimport cython
from libc.stdint cimport uint8_t
from libc.string cimport memcmp

from auth_diameter._core.auth.question cimport Question
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport text_of
from auth_diameter._core.diameter.aor cimport address_of
from auth_diameter._core.digest.params cimport MAX_PARAMETER, NONCE, plain_value
from auth_diameter._core.path.batch cimport empty_batch, new_batch
from auth_diameter._core.path.inquiry cimport STAGE_DONE, Case, inquiry_of_question
from auth_diameter._core.path.outcome cimport FAILED, OUTCOME_NONE, UNKNOWN_USER, WRONG_DIGEST
from auth_diameter._core.sip.parse cimport METHOD_REGISTER, SipMessage
from auth_diameter._core.state.delegations cimport Delegated


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

    def address_of(self, Question question not None):
        """The address that a REGISTER is about, ``user@host``, str; "": the question is about another request."""
        return text_of(address_registered(question))

    def outcome(self, Question question not None, double now):
        """The outcome of a question, int, the value of an Outcome; 0: the server is to be asked.

        Its nonce is not known here, or came for another address or another user.

        Args:
            question: Question with credentials.
            now: seconds, of the clock of the delegations.
        """
        return self.outcome_of(question, now)

    cdef int outcome_of(self, Question question, double now) except -1:
        cdef uint8_t room[MAX_PARAMETER]
        cdef Batch batch = self.batch
        cdef Delegated given
        cdef Case *case
        cdef int outcome = FAILED
        if question.credentials is None:
            return OUTCOME_NONE
        batch.work.now = now
        try:
            if (self.judge.delegations.find(
                    plain_value(&question.credentials.fields, NONCE, room), &batch.work.scratch, &given) <= 0
                    or not is_about(question, given.address)):
                return OUTCOME_NONE
            case = batch.add()
            inquiry_of_question(question, &batch.work.scratch, &case.ask)
            if self.judge.judge_to_the_end(&batch.work) and case.stage == STAGE_DONE:
                outcome = case.outcome
            if outcome == UNKNOWN_USER or (outcome == WRONG_DIGEST and is_same(case.username, given.other_name)):
                outcome = OUTCOME_NONE      # it may be right with another HA1, which the server knows
        finally:
            empty_batch(batch)
        return outcome


cdef inline Span address_registered(Question question) noexcept:
    """``user@host`` of To in a REGISTER, which is its SIP-AOR (RFC 4740, 8.7); n is 0: it is another request."""
    cdef const SipMessage *m = &question.request.m
    return address_of(&m.to, False) if m.method == METHOD_REGISTER else Span(NULL, 0)


cdef inline bint is_about(Question question, Span address) noexcept:
    """Whether a question may be judged by what came with a challenge for this address.

    A server has looked at no other one, and a user may register some addresses alone (8.8).
    """
    cdef Span asked = address_registered(question)
    return not asked.n or is_same(asked, address)


cdef inline bint is_same(Span a, Span b) noexcept nogil:
    return a.n == b.n and a.n != 0 and memcmp(a.p, b.p, a.n) == 0
