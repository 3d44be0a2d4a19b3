"""Credentials that are judged here, since their nonce came with HA1 (RFC 4740, 6.3).

Right ones need no Question, and of a request of bytes no SipRequest::

    request ──► lets_in ─┬─► the credentials are right
                         └─► it says nothing, and nothing has happened
    Question ─► outcome ─┬─► let in, refused, or its nonce is used up
                         └─► the server is to be asked
"""

cimport cython
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcmp, memcpy

from auth_diameter._core.auth.question cimport Question
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport text_of
from auth_diameter._core.diameter.aor cimport address_of
from auth_diameter._core.digest.params cimport MAX_PARAMETER, NONCE, QOP_AUTH_INT, plain_value
from auth_diameter._core.path.batch cimport empty_batch, new_batch
from auth_diameter._core.path.inquiry cimport STAGE_DONE, Case, inquiry_of_message, inquiry_of_question
from auth_diameter._core.path.outcome cimport (
    AUTHORIZED, FAILED, OUTCOME_NONE, RETRANSMITTED, UNKNOWN_USER, WRONG_DIGEST,
)
from auth_diameter._core.sip.fingerprint cimport fingerprint_of
from auth_diameter._core.sip.parse cimport METHOD_REGISTER, SipMessage
from auth_diameter._core.sip.request cimport SipRequest
from auth_diameter._core.state.delegations cimport Delegated
from auth_diameter._core.state.keys cimport account_of
from auth_diameter._core.state.penalties cimport ENDED, MUST_WAIT, REFUSED
from auth_diameter._core.state.tallies cimport Trial


@cython.final
cdef class DelegatedJudge:
    """Judges credentials whose nonce came with HA1.

    Args:
        judge: Judge with `delegations`.
        tells_registrations: whether somebody is to be told of each REGISTER that is let in.
    """

    def __cinit__(self, Judge judge not None, *, bint tells_registrations):
        if judge.delegations is None:
            raise TypeError("judge: has no delegations")
        self.judge = judge
        self.tells_registrations = tells_registrations
        self.batch = new_batch(1, 0.0)
        self.of_message = new_batch(1, 0.0)

    cdef bint lets_in(self, const SipMessage *m, const Asking *asking, Span source, SipRequest request,
                      Penalties penalties, double now) except -1:
        cdef bint right
        if asking.credentials.qop == QOP_AUTH_INT or (self.tells_registrations and m.method == METHOD_REGISTER):
            return False
        # No Python object is made meanwhile, so no other thread goes on.
        with cython.critical_section(self):
            try:
                self.of_message.work.now = now
                right = self.is_right(m, asking, source, request, penalties)
            finally:
                empty_batch(self.of_message)
        return right

    cdef bint is_right(self, const SipMessage *m, const Asking *asking, Span source, SipRequest request,
                       Penalties penalties) except -1:
        cdef uint8_t room[MAX_PARAMETER]
        cdef uint64_t fingerprint[2]
        cdef Batch batch = self.of_message
        cdef Delegated given
        cdef Trial trial
        cdef Case *case
        cdef bint right
        if (self.judge.delegations.find(
                plain_value(&asking.credentials, NONCE, room), &batch.work.scratch, &given) <= 0
                or not is_about(m, given.address)):
            return False
        trial.state = ENDED
        if penalties is not None and source.n and penalties.begin_trial(
                account_of(&asking.credentials, room), asking.realm, penalties.network_of(source), batch.work.now,
                &trial) in (REFUSED, MUST_WAIT):
            return False
        if request is not None:
            memcpy(fingerprint, request.fingerprint(), sizeof(fingerprint))
        else:
            fingerprint_of(m.start, m.size, Span(NULL, 0), 0, 0, 0, fingerprint)
        case = batch.add()
        right = (inquiry_of_message(m, asking, source, fingerprint, &batch.work.scratch, &case.ask)
                 and self.judge.judge_to_the_end(&batch.work) and case.stage == STAGE_DONE
                 and (case.outcome == AUTHORIZED or case.outcome == RETRANSMITTED))
        if trial.state == ENDED:
            return right
        if right:
            penalties.right_trial(&trial, batch.work.now)
        else:
            penalties.neither_trial(&trial, batch.work.now)
        return right

    def address_of(self, Question question not None):
        """The address that a REGISTER is about, ``user@host``, str; "": the question is about another request."""
        return text_of(address_registered(&question.request.m))

    def outcome(self, Question question not None, double now):
        """The outcome of a question, int, the value of an Outcome; 0: the server is to be asked.

        Its nonce is not known here, or came for another address or another user. Not for use by several threads
        at once.

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
                    or not is_about(&question.request.m, given.address)):
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


cdef inline Span address_registered(const SipMessage *m) noexcept:
    """``user@host`` of To in a REGISTER, which is its SIP-AOR (RFC 4740, 8.7); n is 0: it is another request."""
    return address_of(&m.to, False) if m.method == METHOD_REGISTER else Span(NULL, 0)


cdef inline bint is_about(const SipMessage *m, Span address) noexcept:
    """Whether a request may be judged by what came with a challenge for this address.

    A server has looked at no other one, and a user may register some addresses alone (8.8).
    """
    cdef Span asked = address_registered(m)
    return not asked.n or is_same(asked, address)


cdef inline bint is_same(Span a, Span b) noexcept nogil:
    return a.n == b.n and a.n != 0 and memcmp(a.p, b.p, a.n) == 0
