"""Credentials that are judged here, since their nonce came with HA1 (RFC 4740, 6.3).

A request is judged in place. Then it needs no Question if its credentials are right, and no SipRequest if it is of
bytes. The Question is judged where more is needed: the hash of the body, or somebody who is told of the REGISTER::

    request ──► judge_message ─┬─► the outcome: let in, refused, or the nonce is used up
                               ├─► OUTCOME_NONE: the server is to be asked
                               └─► not judged, and nothing has happened
    Question ─► outcome_of ────┬─► the outcome
                               └─► OUTCOME_NONE
"""

cimport cython
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcmp, memcpy

from auth_diameter._core.auth.question cimport Question, new_question
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport text_of
from auth_diameter._core.diameter.aor cimport address_of
from auth_diameter._core.digest.credentials cimport new_credentials
from auth_diameter._core.digest.params cimport MAX_PARAMETER, NONCE, QOP_AUTH_INT, plain_value
from auth_diameter._core.path.batch cimport empty_batch, new_batch
from auth_diameter._core.path.inquiry cimport STAGE_DONE, Case, inquiry_of_message, inquiry_of_question
from auth_diameter._core.path.outcome cimport FAILED, FOREIGN_NONCE, OUTCOME_NONE, UNKNOWN_USER, WRONG_DIGEST
from auth_diameter._core.sip.fingerprint cimport fingerprint_of
from auth_diameter._core.sip.parse cimport METHOD_REGISTER, SipMessage
from auth_diameter._core.sip.request cimport SipRequest, host_of_source
from auth_diameter._core.state.delegations cimport Delegated
from auth_diameter._core.state.keys cimport account_of
from auth_diameter._core.state.penalties cimport ADMITTED, ENDED, MUST_WAIT, REFUSED


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

    cdef bint judge_message(self, const SipMessage *m, const Asking *asking, SipRequest request,
                            Penalties penalties, double now, Judged *out) except -1:
        cdef bint judged
        out.outcome = OUTCOME_NONE
        out.trial.state = ENDED
        if asking.credentials.qop == QOP_AUTH_INT or (self.tells_registrations and m.method == METHOD_REGISTER):
            return False
        # No Python object is made meanwhile, so no other thread goes on.
        with cython.critical_section(self):
            try:
                self.of_message.work.now = now
                judged = self.judge_here(m, asking, request, penalties, out)
            finally:
                empty_batch(self.of_message)
        return judged

    cdef bint judge_here(self, const SipMessage *m, const Asking *asking, SipRequest request, Penalties penalties,
                         Judged *out) except -1:
        cdef uint8_t room[MAX_PARAMETER]
        cdef uint64_t fingerprint[2]
        cdef Span source = Span(NULL, 0)
        cdef Batch batch = self.of_message
        cdef Delegated given
        cdef Case *case
        if (self.judge.delegations.find(
                plain_value(&asking.credentials, NONCE, room), &batch.work.scratch, &given) <= 0
                or not is_about(m, given.address)):
            return False
        if request is None:
            fingerprint_of(m.start, m.size, source, 0, 0, 0, fingerprint)
        else:
            source = host_of_source(request)
            memcpy(fingerprint, request.fingerprint(), sizeof(fingerprint))
        # From here on nothing raises: an attempt without an end would hold up its user.
        if penalties is not None and request is not None and request.source is not None:
            if penalties.begin_trial(
                    account_of(&asking.credentials, room), asking.realm, penalties.network_of(source),
                    batch.work.now, &out.trial) in (REFUSED, MUST_WAIT):
                out.trial.state = ENDED
                return False
        case = batch.add()
        out.outcome = FAILED
        if inquiry_of_message(m, asking, source, fingerprint, &batch.work.scratch, &case.ask):
            out.outcome = self.judge_case(batch, &given)
        return True

    cdef int judge_case(self, Batch batch, const Delegated *given) noexcept:
        cdef const Case *case = &batch.work.cases[0]
        if not self.judge.judge_to_the_end(&batch.work) or case.stage != STAGE_DONE:
            return FAILED
        # It may be right with another HA1, which the server knows; or what came with the nonce was just forgotten.
        if case.outcome == UNKNOWN_USER or case.outcome == FOREIGN_NONCE or (
                case.outcome == WRONG_DIGEST and is_same(case.username, given.other_name)):
            return OUTCOME_NONE
        return case.outcome

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
        if question.credentials is None:
            return OUTCOME_NONE
        batch.work.now = now
        try:
            if (self.judge.delegations.find(
                    plain_value(&question.credentials.fields, NONCE, room), &batch.work.scratch, &given) <= 0
                    or not is_about(&question.request.m, given.address)):
                return OUTCOME_NONE
            inquiry_of_question(question, &batch.work.scratch, &batch.add().ask)
            return self.judge_case(batch, &given)
        finally:
            empty_batch(batch)


cdef Question question_judged(SipRequest request, const Asking *asking, bint tells_source, Penalties penalties,
                              Judged *judged, double now):
    cdef Question question
    try:
        question = new_question(request, text_of(asking.realm), new_credentials(request.data, &asking.credentials),
                                asking.proxy, tells_source)
        if judged.trial.state == ADMITTED:
            question.attempt = penalties.attempt_of(&judged.trial)
    except BaseException:
        if judged.trial.state == ADMITTED:
            penalties.neither_trial(&judged.trial, now)
        raise
    return question


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
