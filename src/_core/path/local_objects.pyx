"""The way of a SipRequest through a client that has the users itself: from the call of a function to its Decision.

::

    bytes ─► parse_request ─► ask_about ─► Judge ─► cause_of ─► Decision
                                  │          │ lacks keys   │
                                  ▼          ▼              ▼
                       policy: decide      finish        conclude

The requests of one call are parsed and judged together in a Round, without the GIL. Right credentials need no more
than this, and bytes no SipRequest. The policy, an object of Python, decides all else by the same functions on the
same structs.
"""

from functools import partial

cimport cython
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree
from cpython.pythread cimport PyThread_get_thread_ident
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from auth_diameter._core.auth.answer cimport AnswerFields, new_answer
from auth_diameter._core.auth.decision cimport Decision
from auth_diameter._core.auth.question cimport new_question
from auth_diameter._core.auth.rulings cimport CAUSE_AUTHORIZED
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport span_of_bytes, text_of
from auth_diameter._core.digest.credentials cimport Credentials, new_credentials, user_text
from auth_diameter._core.digest.params cimport QOP_AUTH_INT
from auth_diameter._core.path.batch cimport empty_batch, new_batch
from auth_diameter._core.path.counts cimport Decisions
from auth_diameter._core.path.decide cimport ASK, ask_about, cause_of, is_bypassed
from auth_diameter._core.path.inquiry cimport STAGE_DONE, Case, Work, inquiry_of_message
from auth_diameter._core.path.objects cimport bytes_of
from auth_diameter._core.path.realm cimport REALM_TEMPLATE, set_realm
from auth_diameter._core.path.verify cimport Judge
from auth_diameter._core.sip.fingerprint cimport fingerprint_of
from auth_diameter._core.sip.parse cimport SipMessage, clear_request, parse_request, release_request
from auth_diameter._core.sip.request cimport SipRequest, host_of_source, request_with

cdef enum:
    SPARE_BITS = 4          # of the number of rounds that are kept for the next calls


cdef inline Py_ssize_t place_of_thread() noexcept:
    """Where the spare round of this thread is kept: what another core has used takes longer to write to."""
    return <Py_ssize_t>(<uint64_t>PyThread_get_thread_ident() * 0x9E3779B97F4A7C15u >> (64 - SPARE_BITS))


@cython.final
cdef class LocalObjects(ObjectPath):
    """The way of SipRequests through one client that has the users itself; thread-safe.

    Args:
        policy: what Python decides. Its methods are those of `ObjectPath`, and

            - decide(request, realm, proxy): the Decision on a request that is not judged here;
            - finish(batch, now): judges the questions of a batch that `Judge.may_judge` left, or that lack keys;
            - place(batch, done): the same for `ask` if the store waits: calls `done()` once the batch is done;
            - decide_later(request, realm, proxy, done): the Decision on a request that compiled code does not
              judge, for `ask` if the store waits; or None, and later it calls `done(decision)`;
            - conclude(question, answer, outcome): the Decision on a question with this Answer.

        judge: Judge, the rules.
        decisions: Decisions, in which the decisions are counted.
        clock: function that returns seconds since 1970.
        waits: whether the store waits; then `ask` and `ask_many` leave what lacks keys to `place`.
        max_size: bytes that a request may have.
        max_headers: header fields that a request may have.
    """

    def __cinit__(self, policy, Judge judge not None, Decisions decisions not None, clock, *, bint waits,
                  **settings):
        self.judge = judge
        self.decisions = decisions
        self.clock = clock
        self.waits = waits
        self.spare = [None] * (1 << SPARE_BITS)
        self.small = []

    def decide(self, request, realm, bint proxy):
        """The Decision on a request.

        Args:
            request: SipRequest or bytes.
            realm: str, which may contain pseudo-variables.
            proxy: whether a proxy authenticates, not a UAS.

        Raises:
            ConfigError: `realm` has an unknown pseudo-variable.
        """
        cdef Decision decision = self.decide_one(request, realm, proxy)
        self.add_up(decision)
        return decision

    def decide_many(self, requests, realm, bint proxy):
        """The Decisions on several requests, in their order, list.

        Args:
            requests: iterable of SipRequest or bytes.
            realm: as in `decide`.
            proxy: as in `decide`.

        Raises:
            ConfigError: `realm` has an unknown pseudo-variable.
        """
        # A copy: another thread may change the caller's list meanwhile.
        cdef list all_requests = list(requests), decisions = []
        cdef Py_ssize_t start, i
        cdef Round round
        cdef bint done
        for start in range(0, len(all_requests), MOST):
            round = self.begin_round(realm, proxy)
            try:
                for i in range(start, min(start + MOST, len(all_requests))):
                    self.take(round, all_requests[i])
                with nogil:
                    self.read(round)
                    done = self.judge_round(round)
                if not done:
                    self.policy.finish(round.batch, round.batch.work.now)
                for i in range(<Py_ssize_t>round.count):
                    decisions.append(self.decision_at(round, <size_t>i))
            finally:
                self.end_round(round)
        for decision in decisions:
            self.add_up(decision)
        return decisions

    def ask_many(self, requests, realm, bint proxy, future, double now):
        """As `ObjectPath.ask_many`; the requests are judged together."""
        if self.waits:
            ObjectPath.ask_many(self, requests, realm, proxy, future, now)
        else:
            self.settle(future, self.decide_many(requests, realm, proxy), False)

    cdef object begin(self, SipRequest request, object realm, bint proxy, object callback, double now):
        cdef Round round
        cdef bint placed = False
        if not self.waits:
            return self.decide_one(request, realm, proxy)
        round = self.small.pop() if self.small else new_round(1)
        self.fill_round(round, realm, proxy)
        try:
            self.take(round, request)
            self.read(round)
            if self.judge_round(round):
                if round.asked[0].case == NULL and not round.asked[0].is_malformed:
                    return self.policy.decide_later(round.request_at(0), realm, proxy,
                                                    partial(self.call_later, callback))
                return self.decision_at(round, 0)
            placed = True
        finally:
            if not placed:
                self.put_away(round)
        self.policy.place(round.batch, partial(self.conclude_round, round, callback))
        return None

    def call_later(self, callback, Decision decision not None):
        """Hands out a Decision that the policy was to make later."""
        self.add_up(decision)
        self.call(callback, decision, False)

    def conclude_round(self, Round round not None, callback):
        """Hands out the Decision on the request of a round whose batch is done; it was placed before."""
        cdef Decision decision
        try:
            decision = self.decision_at(round, 0)
        finally:
            self.put_away(round)
        self.add_up(decision)
        self.call(callback, decision, False)

    cdef int put_away(self, Round round) except -1:
        """Keeps a round of one request for another call."""
        self.empty_round(round)
        if len(self.small) < MOST:
            self.small.append(round)
        return 0

    cdef Decision decide_one(self, object request, object realm, bint proxy):
        """The Decision on one request, with the GIL: to give it away takes longer than to judge."""
        cdef Round round = self.begin_round(realm, proxy)
        try:
            self.take(round, request)
            self.read(round)
            if not self.judge_round(round):
                self.policy.finish(round.batch, round.batch.work.now)
            return self.decision_at(round, 0)
        finally:
            self.end_round(round)

    cdef Round begin_round(self, object realm, bint proxy):
        """A round without requests so far; `end_round` takes it back."""
        cdef Round round
        cdef Py_ssize_t place = place_of_thread()
        with cython.critical_section(self.spare):
            round = self.spare[place]
            self.spare[place] = None
        if round is None:
            round = new_round(MOST)
        self.fill_round(round, realm, proxy)
        return round

    cdef int fill_round(self, Round round, object realm, bint proxy) except -1:
        """Makes a round ready for requests."""
        round.realm = self.realm_named(realm)
        round.batch.work.now = self.clock()
        round.realm_text = realm
        round.proxy = proxy
        return 0

    cdef int end_round(self, Round round) except -1:
        """Keeps a round for another call."""
        self.empty_round(round)
        self.spare[place_of_thread()] = round
        return 0

    cdef int empty_round(self, Round round) except -1:
        """Lets go of what belongs to the requests."""
        cdef size_t i
        for i in range(round.count):
            if round.asked[i].unread.p != NULL:
                release_request(&round.messages[i])
            round.requests[i] = None
            round.realms[i] = None
        round.count = 0
        round.realm_text = round.realm = None
        empty_batch(round.batch)
        return 0

    cdef int take(self, Round round, object request) except -1:
        """Adds a request; one of bytes is read later, unless Python needs it for the realm."""
        cdef size_t i = round.count
        cdef Asked *one = &round.asked[i]
        cdef SipRequest taken
        cdef bytes data
        if type(request) is not SipRequest:
            data = bytes_of(request)
            request = data
            if round.realm.origin == REALM_TEMPLATE:
                taken = SipRequest.__new__(SipRequest)
                if taken.read(data, self.max_size, self.max_headers):
                    request = taken
        one.case = NULL
        one.is_malformed = False
        one.unread = Span(NULL, 0)
        one.source = Span(NULL, 0)
        one.asking.proxy = round.proxy
        one.asking.realm = Span(NULL, 0)
        if type(request) is SipRequest:
            taken = request
            one.message = &taken.m
            memcpy(one.fingerprint, taken.fingerprint(), sizeof(one.fingerprint))
            one.source = host_of_source(taken)
            if round.realm.origin == REALM_TEMPLATE:
                round.realms[i] = self.expand_realm(round.realm, taken, &one.asking)
        else:
            one.message = &round.messages[i]
            one.unread = span_of_bytes(data)
        round.requests[i] = request
        round.count += 1
        return 0

    cdef void read(self, Round round) noexcept nogil:
        """Parses the requests that are bytes, and finds the realms."""
        cdef Asked *one
        cdef size_t i
        for i in range(round.count):
            one = &round.asked[i]
            if one.unread.p != NULL:
                clear_request(one.message)
                one.is_malformed = not parse_request(
                    one.message, one.unread.p, one.unread.n, self.max_size, self.max_headers)
                if one.is_malformed:
                    continue
                fingerprint_of(one.message.start, one.message.size, Span(NULL, 0), 0, 0, 0, one.fingerprint)
            if round.realm.origin != REALM_TEMPLATE:
                set_realm(round.realm, one.message, &one.asking)

    cdef bint judge_round(self, Round round) noexcept nogil:
        """Judges what is asked about the requests.

        Returns:
            False if the policy is to finish it: keys are missing, or the store is to be looked at.
        """
        cdef Work *work = &round.batch.work
        cdef Asked *one
        cdef Case *case
        cdef size_t i
        for i in range(round.count):
            one = &round.asked[i]
            if one.is_malformed or is_bypassed(one.message) or ask_about(one.message, &one.asking) != ASK:
                continue
            if one.asking.has_credentials and one.asking.credentials.qop == QOP_AUTH_INT:
                continue
            case = round.batch.add()
            if inquiry_of_message(one.message, &one.asking, one.source, one.fingerprint, &work.scratch,
                                  &case.ask):
                one.case = case
            else:
                work.count -= 1
        if not self.judge.may_judge(work.now):
            return work.count == 0
        if not self.judge.judge_to_the_end(work):
            return False
        for i in range(work.count):
            if work.cases[i].stage != STAGE_DONE:
                return False
        return True

    cdef Decision decision_at(self, Round round, size_t i):
        """The Decision on a request of a round."""
        cdef const Asked *one = &round.asked[i]
        cdef const AnswerFields *says
        cdef Credentials credentials = None
        cdef SipRequest request
        if one.is_malformed:
            return self.policy.malformed(round.request_at(i).refusal())
        if one.case == NULL:
            return self.policy.decide(round.request_at(i), round.realm_text, round.proxy)
        if one.case.stage != STAGE_DONE:    # its answer would be that of an earlier request
            raise RuntimeError("the policy has not finished its batch")
        says = &one.case.answer
        if one.asking.has_credentials and says.response_auth.p == NULL and says.nextnonce.p == NULL and (
                says.user_name.p == NULL and cause_of(says, &one.asking.credentials, False) == CAUSE_AUTHORIZED):
            if one.unread.p == NULL:    # otherwise nobody has the request as an object
                request = round.request_at(i)
                request.mark_authorized(new_credentials(request.data, &one.asking.credentials), round.proxy)
            return self.authorized(user_text(&one.asking.credentials), text_of(one.asking.realm))
        request = round.request_at(i)
        if one.asking.has_credentials:
            credentials = new_credentials(request.data, &one.asking.credentials)
        question = new_question(request, text_of(one.asking.realm), credentials, round.proxy, False)
        return self.policy.conclude(question, new_answer(says), one.case.outcome)


@cython.final
cdef class Round:
    """Requests that are decided on together; for one thread at a time."""

    def __dealloc__(self):
        PyMem_RawFree(self.asked)
        PyMem_RawFree(self.messages)

    cdef SipRequest request_at(self, size_t i):
        """The SipRequest of that number; one of bytes is made now."""
        cdef Asked *one = &self.asked[i]
        if type(self.requests[i]) is not SipRequest:
            self.requests[i] = request_with(
                self.requests[i], one.message, NULL if one.is_malformed else one.fingerprint)
        return self.requests[i]


cdef Round new_round(size_t room):
    cdef Round round = Round.__new__(Round)
    round.batch = new_batch(room, 0.0)
    round.requests = [None] * <Py_ssize_t>room
    round.realms = [None] * <Py_ssize_t>room
    round.asked = <Asked *>PyMem_RawCalloc(room, sizeof(Asked))
    round.messages = <SipMessage *>PyMem_RawCalloc(room, sizeof(SipMessage))
    if round.asked == NULL or round.messages == NULL:
        raise MemoryError()
    round.room = room
    return round
