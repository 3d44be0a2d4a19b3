"""The way of a SipRequest through a client of asyncio that asks DISC: from the call of a function to its Decision.

::

    authorize(request, realm) ─► ask_about ─► Penalties ─► Question ─► Wire      answer ─► cause_of ─► Penalties
                                     │            │           │ none takes it               │            │
                                     ▼            ▼           ▼                             ▼            ▼
                                  policy: refuse, hold, place                            policy       Decision
                                                                                                         │
                                                                                                         ▼
                                                                                                     callback

Here is what happens for right credentials. The policy, an object of Python, decides all else: it refuses, holds
and places questions, and takes the Answers that let nobody in. It uses the same functions on the same structs.
"""

cimport cython
from cpython.ref cimport PyObject
from libc.stdint cimport uint8_t

from auth_diameter._core.auth.answer cimport AnswerFields
from auth_diameter._core.auth.decision cimport Decision
from auth_diameter._core.auth.question cimport Question, new_question
from auth_diameter._core.auth.rulings cimport CAUSE_AUTHORIZED
from auth_diameter._core.digest.credentials cimport Credentials, new_credentials
from auth_diameter._core.digest.params cimport MAX_PARAMETER, NONCE, plain_value
from auth_diameter._core.path.counts cimport Decisions, count
from auth_diameter._core.path.decide cimport ASK, Asking, ask_about, cause_of, is_bypassed
from auth_diameter._core.path.delegated cimport DelegatedJudge, Judged, is_right, question_judged
from auth_diameter._core.path.in_flight cimport InFlight
from auth_diameter._core.path.wire cimport Wire
from auth_diameter._core.sip.parse cimport SipMessage
from auth_diameter._core.sip.request cimport SipRequest
from auth_diameter._core.state.nonce_watch cimport NonceIssuers
from auth_diameter._core.state.penalties cimport ADMITTED, Attempt, Penalties


@cython.final
cdef class RemoteObjects(ObjectPath):
    """The way of SipRequests through one client of asyncio. Not for use by several threads at once.

    Args:
        policy: what Python decides. Its methods are those of `ObjectPath`, and

            - refuse(request, realm, proxy, now): the Decision on a request that is not asked about;
            - refuse_penalized(question): the Decision on credentials that are refused because of guesses;
            - judge(question, now): the Decision on credentials whose nonce came with HA1, or the Question for the
              server;
            - judged(question, outcome, now): the same of credentials with that outcome, which are not let in;
            - released(): is called when held questions may be asked;
            - place(question): takes a Question with its callback that no connection takes at once;
            - is_in_task(): whether this is called in a task of asyncio, so that no other may go on;
            - written(): has the bytes of the Wires sent soon, and then sets `is_sending` to False.

        in_flight: InFlight of the client; this becomes its `concluder`.
        decisions: Decisions, in which the decisions are counted.
        penalties: Penalties, or None: guesses are not counted.
        watch: NonceIssuers, or None with a single DISC.
        delegated: DelegatedJudge, or None: servers judge all credentials.
        most_bytes: bytes of the requests in flight from which on the policy places the next one.
        timeout: seconds that a question may take.
        max_question: bytes that a question may have.
        tells_source: whether DISC is told where a request came from.

    Attributes:
        is_sending: bool, whether what was written is going to be sent.
    """

    def __cinit__(self, policy, InFlight in_flight not None, Decisions decisions not None, Penalties penalties,
                  NonceIssuers watch, DelegatedJudge delegated, *, Py_ssize_t most_bytes, double timeout,
                  size_t max_question, bint tells_source, **settings):
        self.in_flight = in_flight
        self.decisions = decisions
        self.penalties = penalties
        self.watch = watch
        self.delegated = delegated
        self.most_bytes = most_bytes
        self.timeout = timeout
        self.max_question = max_question
        self.tells_source = tells_source
        self.decided = []
        in_flight.concluder = self

    # ------------------------------------------------------------------ asking

    cdef object begin(self, SipRequest request, object realm, bint proxy, object callback, double now):
        cdef const SipMessage *m = &request.m
        cdef Asking asking
        cdef Judged judged
        cdef Question question
        cdef Credentials credentials = None
        asking.proxy = proxy
        asking.has_credentials = False
        _kept = self.expand_realm(self.realm_named(realm), request, &asking)
        if is_bypassed(m) or ask_about(m, &asking) != ASK:
            return self.policy.refuse(request, realm, proxy, now)
        if asking.has_credentials:
            if self.delegated is not None and self.delegated.judge_message(
                    m, &asking, request, self.penalties, now, &judged):
                return self.conclude_judged(request, &asking, &judged, callback, now)
            credentials = new_credentials(request.data, &asking.credentials)
        question = new_question(request, self.realm_text(asking.realm), credentials, proxy, self.tells_source)
        if self.in_flight.application.room_of(question) > self.max_question:
            return self.policy.refuse(request, realm, proxy, now)
        if credentials is not None and self.penalties is not None and request.source is not None:
            question.attempt = self.penalties.begin(
                credentials, question.realm_name, request.source, now, question)
            if question.attempt is not None and (<Attempt>question.attempt).is_refused:
                question.attempt = None
                return self.policy.refuse_penalized(question)
        if credentials is not None and self.delegated is not None and not is_held(question):
            return self.go_on(self.policy.judge(question, now), callback, now)
        return self.go_on(question, callback, now)

    cdef object conclude_judged(self, SipRequest request, const Asking *asking, Judged *judged, object callback,
                                double now):
        """The Decision on credentials that were judged here; None: the server is asked."""
        cdef Credentials credentials
        cdef Question question
        if not is_right(judged.outcome):
            question = question_judged(request, asking, self.tells_source, self.penalties, judged, now)
            return self.go_on(self.policy.judged(question, judged.outcome, now), callback, now)
        if judged.trial.state == ADMITTED:
            self.penalties.right_trial(&judged.trial, now)
        credentials = new_credentials(request.data, &asking.credentials)
        request.mark_authorized(credentials, asking.proxy)
        return self.go_on(self.authorized(credentials.user(), self.realm_text(asking.realm)), callback, now)

    cdef object go_on(self, object found, object callback, double now):
        """Asks a Question. A Decision was made here, so that others may have been released that were held."""
        cdef Question question
        if type(found) is not Question:
            if self.penalties is not None and self.penalties.any_released():
                self.policy.released()
            return found
        question = found
        question.callback = callback
        self.in_flight.size += <Py_ssize_t>question.request.m.size
        if self.in_flight.size <= self.most_bytes and self.may_write(question, now):
            if not self.is_sending:
                self.is_sending = True
                self.policy.written()
        else:
            self.policy.place(question)
        return None

    cdef bint may_write(self, Question question, double now) except -1:
        """Writes a question, unless it must wait, or the state machine of its connection must know.

        Returns:
            Whether it was written.
        """
        cdef PyObject *found
        if is_held(question):
            return False
        found = self.in_flight.best()
        if found == NULL or not takes_one(<Wire>found):
            return False
        question.flight.deadline = now + self.timeout
        self.in_flight.put(<Wire>found, question, now)
        return True

    # ------------------------------------------------------------------ answers

    cdef bint conclude(self, Question question, const AnswerFields *says, double now) except -1:
        cdef Decision decision
        if question.callback is None or not lets_in(question, says):
            return False
        note_login(self.penalties, self.watch, question, now)
        question.request.mark_authorized(question.credentials, question.proxy)
        decision = self.authorized(question.credentials.user(), question.realm_name)
        count(self.decisions, CAUSE_AUTHORIZED)
        # Its callback may ask again, so it is called once all answers of the read are taken.
        self.decided.append(question)
        self.decided.append(decision)
        return True

    def deliver(self):
        """Hands out the decisions on the answers of one read."""
        cdef list decided = self.decided
        cdef Py_ssize_t i
        cdef bint at_once
        if not decided:
            return
        self.decided = []
        at_once = not self.policy.is_in_task()
        for i in range(0, len(decided), 2):
            self.finish(decided[i], decided[i + 1], at_once)

    cdef int finish(self, Question question, Decision decision, bint at_once) except -1:
        """Ends a question with its decision; `at_once` as for `call`."""
        callback = question.callback
        question.callback = None
        self.in_flight.size -= <Py_ssize_t>question.request.m.size
        self.call(callback, decision, at_once)
        return 0

    def end(self, Question question not None, Decision decision not None):
        """Ends a question with the decision that Python has made."""
        self.decisions.add(decision.cause)
        self.finish(question, decision, False)


cdef bint lets_in(Question question, const AnswerFields *says) noexcept:
    """Whether an answer says that the credentials are right, and no more that would be passed on."""
    cdef Credentials credentials = question.credentials
    if credentials is None or question.is_group_check:
        return False
    if says.response_auth.p != NULL or says.nextnonce.p != NULL or says.user_name.p != NULL:
        return False
    return cause_of(says, &credentials.fields, False) == CAUSE_AUTHORIZED


cdef int note_login(Penalties penalties, NonceIssuers watch, Question question, double now) except -1:
    """Notes that credentials were right: for the penalties, and for the watch on nonces."""
    cdef uint8_t room[MAX_PARAMETER]
    if question.attempt is not None:
        penalties.right(question.attempt, now)
        question.attempt = None
    if watch is not None:
        watch.saw_authorized(plain_value(&question.credentials.fields, NONCE, room),
                             (<Wire>question.connection).peer_number, now)
    return 0


cdef inline bint is_held(Question question):
    return question.attempt is not None and (<Attempt>question.attempt).is_held


cdef inline bint takes_one(Wire wire) noexcept nogil:
    """Whether one more question on a connection changes nothing else."""
    return wire.is_calm and wire.out_size <= wire.room
