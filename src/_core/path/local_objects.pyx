"""The way of a SipRequest through a client that has the users itself: from the call of a function to its Decision.

::

    bytes ─► parse_request ─► ask_about ─► Judge ─► cause_of ─► Decision
                                  │          │ lacks keys   │
                                  ▼          ▼              ▼
                       policy: decide      finish        conclude

All requests of one call are parsed and judged together, without the GIL. Right credentials need no more than
this. The policy, an object of Python, decides all else by the same functions on the same structs.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.ref cimport PyObject
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from auth_diameter._core.auth.answer cimport AnswerFields, new_answer
from auth_diameter._core.auth.decision cimport Decision
from auth_diameter._core.auth.question cimport new_question
from auth_diameter._core.auth.rulings cimport CAUSE_AUTHORIZED
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport borrow, text_of
from auth_diameter._core.digest.credentials cimport Credentials, new_credentials
from auth_diameter._core.digest.params cimport QOP_AUTH_INT
from auth_diameter._core.path.batch cimport Batch, new_batch
from auth_diameter._core.path.counts cimport Decisions
from auth_diameter._core.path.decide cimport ASK, ask_about, cause_of, is_bypassed
from auth_diameter._core.path.inquiry cimport STAGE_DONE, inquiry_of_message
from auth_diameter._core.path.verify cimport Judge
from auth_diameter._core.sip.fingerprint cimport fingerprint_of
from auth_diameter._core.sip.parse cimport parse_request
from auth_diameter._core.sip.request cimport SipRequest

cdef enum:
    MOST = 64               # requests that are judged together


@cython.final
cdef class LocalObjects(ObjectPath):
    """The way of SipRequests through one client that has the users itself; thread-safe.

    Args:
        policy: what Python decides. Its methods are those of `ObjectPath`, and

            - decide(request, realm, proxy): the Decision on a request that is not judged here;
            - malformed(error): the Decision on bytes that are no SIP request;
            - finish(batch, now): judges the questions of a batch that `Judge.may_judge` left, or that lack keys;
            - conclude(question, answer, outcome): the Decision on a question with this Answer.

        judge: Judge, the rules.
        decisions: Decisions, in which the decisions are counted.
        clock: function that returns seconds since 1970.
        max_size: bytes that a request may have.
        max_headers: header fields that a request may have.
    """

    def __cinit__(self, policy, Judge judge not None, Decisions decisions not None, clock, *, size_t max_size,
                  int max_headers):
        self.judge = judge
        self.decisions = decisions
        self.clock = clock
        self.max_size = max_size
        self.max_headers = max_headers

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
        self.decisions.add(decision.cause)
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
        cdef Py_ssize_t count = len(all_requests), start
        for start in range(0, count, MOST):
            self.decide_some(all_requests, start, <size_t>min(count - start, MOST), realm, proxy, decisions)
        for decision in decisions:
            self.decisions.add((<Decision>decision).cause)
        return decisions

    def ask_many(self, requests, realm, bint proxy, future, double now):
        """As `ObjectPath.ask_many`; the requests are judged together."""
        self.settle(future, self.decide_many(requests, realm, proxy), False)

    cdef object begin(self, SipRequest request, object realm, bint proxy, object callback, double now):
        return self.decide_one(request, realm, proxy)

    cdef Decision decide_one(self, object request, object realm, bint proxy):
        """The Decision on one request, with the GIL: to give it away takes longer than to judge."""
        cdef Asked one
        cdef Batch batch = new_batch(1, self.clock())
        one.asking.proxy = proxy
        taken = self.take(request, &one)
        self.read(&one, 1)
        if not one.is_malformed:
            _kept = self.realm_of(taken, realm, &one.asking)
        if not self.judge_some(&one, 1, batch):
            self.policy.finish(batch, batch.work.now)
        return self.decision_of(&one, realm, proxy)

    cdef int decide_some(self, list requests, Py_ssize_t start, size_t n, object realm, bint proxy,
                         list decisions) except -1:
        """Appends the Decisions on `n` requests, MOST at most."""
        cdef Asked asked[MOST]
        cdef Batch batch = new_batch(n, self.clock())
        cdef list kept = []     # what the structs borrow from
        cdef bint done
        cdef size_t i
        for i in range(n):
            asked[i].asking.proxy = proxy
            kept.append(self.take(requests[start + <Py_ssize_t>i], &asked[i]))
        with nogil:
            self.read(asked, n)
        for i in range(n):
            if not asked[i].is_malformed:
                kept.append(self.realm_of(<SipRequest>asked[i].request, realm, &asked[i].asking))
        with nogil:
            done = self.judge_some(asked, n, batch)
        if not done:
            self.policy.finish(batch, batch.work.now)
        for i in range(n):
            decisions.append(self.decision_of(&asked[i], realm, proxy))
        return 0

    cdef SipRequest take(self, object request, Asked *one):
        """Begins with a request: one made of bytes is read later."""
        cdef SipRequest taken
        one.case = NULL
        one.is_malformed = False
        one.unread = Span(NULL, 0)
        one.source = Span(<const uint8_t *>b"", 0)
        if type(request) is SipRequest:
            taken = request
            memcpy(one.fingerprint, taken.fingerprint(), sizeof(one.fingerprint))
            if taken.source is not None:
                borrow(taken.source[0], &one.source, "source")      # of ASCII, so it is the source's own text
        else:
            taken = SipRequest.__new__(SipRequest)
            taken.data = request if type(request) is bytes else bytes(memoryview(request))
            one.unread.p = <const uint8_t *>PyBytes_AS_STRING(taken.data)
            one.unread.n = <size_t>PyBytes_GET_SIZE(taken.data)
        one.request = <PyObject *>taken
        one.message = &taken.m
        return taken

    cdef void read(self, Asked *asked, size_t n) noexcept nogil:
        """Parses the requests that are bytes."""
        cdef Asked *one
        cdef size_t i
        for i in range(n):
            one = &asked[i]
            if one.unread.p == NULL:
                continue
            one.is_malformed = not parse_request(
                one.message, one.unread.p, one.unread.n, self.max_size, self.max_headers)
            if not one.is_malformed:
                fingerprint_of(one.message.start, one.message.size, Span(NULL, 0), 0, 0, 0, one.fingerprint)

    cdef bint judge_some(self, Asked *asked, size_t n, Batch batch) noexcept nogil:
        """Judges what is asked about the requests.

        Returns:
            False if the policy is to finish it: keys are missing, or the store is to be looked at.
        """
        cdef Asked *one
        cdef Case *case
        cdef size_t i
        for i in range(n):
            one = &asked[i]
            if one.is_malformed or is_bypassed(one.message) or ask_about(one.message, &one.asking) != ASK:
                continue
            if one.asking.has_credentials and one.asking.credentials.qop == QOP_AUTH_INT:
                continue
            case = batch.add()
            if inquiry_of_message(one.message, &one.asking, one.source, one.fingerprint, &batch.work.scratch,
                                  &case.ask):
                one.case = case
            else:
                batch.work.count -= 1
        if not self.judge.may_judge(batch.work.now):
            return batch.work.count == 0
        if not self.judge.judge_to_the_end(&batch.work):
            return False
        for i in range(batch.work.count):
            if batch.work.cases[i].stage != STAGE_DONE:
                return False
        return True

    cdef Decision decision_of(self, const Asked *one, object realm, bint proxy):
        """The Decision on a request."""
        cdef SipRequest request = <SipRequest>one.request
        cdef const AnswerFields *says
        cdef Credentials credentials = None
        if one.is_malformed:
            return self.policy.malformed(request.refusal())
        if one.case == NULL:
            return self.policy.decide(request, realm, proxy)
        says = &one.case.answer
        if one.asking.has_credentials:
            credentials = new_credentials(request.data, &one.asking.credentials)
            if says.response_auth.p == NULL and says.nextnonce.p == NULL and says.user_name.p == NULL and (
                    cause_of(says, &one.asking.credentials, False) == CAUSE_AUTHORIZED):
                return self.authorized(request, credentials, text_of(one.asking.realm), proxy)
        question = new_question(request, text_of(one.asking.realm), credentials, proxy, False)
        return self.policy.conclude(question, new_answer(says), one.case.outcome)
