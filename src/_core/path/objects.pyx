"""The way of a SipRequest through a client of asyncio: from the call of a function to its Decision.

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
from libc.string cimport memcmp

from auth_diameter._core.auth.answer cimport AnswerFields
from auth_diameter._core.auth.decision cimport Decision
from auth_diameter._core.auth.question cimport Question, new_question
from auth_diameter._core.auth.rulings cimport CAUSE_AUTHORIZED, CAUSES
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport borrow, span_of_bytes, text_of
from auth_diameter._core.diameter.disc cimport room_of
from auth_diameter._core.digest.credentials cimport Credentials, new_credentials
from auth_diameter._core.digest.params cimport MAX_PARAMETER, NONCE, plain_value
from auth_diameter._core.path.counts cimport Decisions, count
from auth_diameter._core.path.decide cimport ASK, Asking, ask_about, cause_of, domain_of_user, is_bypassed
from auth_diameter._core.path.in_flight cimport InFlight
from auth_diameter._core.path.wire cimport Wire
from auth_diameter._core.sip.parse cimport SipMessage
from auth_diameter._core.sip.request cimport SipRequest
from auth_diameter._core.state.nonce_watch cimport NonceIssuers
from auth_diameter._core.state.penalties cimport Attempt, Penalties

from auth_diameter._core.auth.causes import RULINGS as _RULINGS

cdef object AUTHORIZED = CAUSES[CAUSE_AUTHORIZED]
cdef int AUTHORIZED_CODE = _RULINGS[AUTHORIZED].return_code
cdef object FROM_HOST = object()    # the realm "$fd"

cdef enum:
    MOST_REALMS = 1024      # texts of realms that are remembered


@cython.final
cdef class ObjectPath(Concluder):
    """The way of SipRequests through one client of asyncio. Not for use by several threads at once.

    Args:
        policy: what Python decides. Its methods are

            - read(request): the SipRequest for bytes, or the Decision for bytes that are none;
            - compile(realm): the function of a SipRequest that gives the realm as str, or None;
            - refuse(request, realm, proxy, now): the Decision on a request that is not asked about;
            - refuse_penalized(question): the Decision on credentials that are refused because of guesses;
            - place(question): takes a Question with its callback that no connection takes at once;
            - written(): has the bytes of the Wires sent soon, and then sets `is_sending` to False;
            - report(error): takes the exception of a callback;
            - get_loop(): the running event loop.

        in_flight: InFlight of the client; this becomes its `concluder`.
        decisions: Decisions, in which the decisions are counted.
        penalties: Penalties, or None: guesses are not counted.
        watch: NonceIssuers, or None with a single DISC.
        most_bytes: bytes of the requests in flight from which on the policy places the next one.
        timeout: seconds that a question may take.
        max_question: bytes that a question may have.
        tells_source: whether DISC is told where a request came from.

    Attributes:
        is_sending: bool, whether what was written is going to be sent.
    """

    def __cinit__(self, policy, InFlight in_flight not None, Decisions decisions not None, Penalties penalties,
                  NonceIssuers watch, *, Py_ssize_t most_bytes, double timeout, size_t max_question,
                  bint tells_source):
        self.policy = policy
        self.in_flight = in_flight
        self.decisions = decisions
        self.penalties = penalties
        self.watch = watch
        self.most_bytes = most_bytes
        self.timeout = timeout
        self.max_question = max_question
        self.tells_source = tells_source
        self.realms = {}
        self.decided = []
        self.last_realm = ""
        self.last_bytes = b""
        in_flight.concluder = self

    # ------------------------------------------------------------------ asking

    def ask(self, request, realm, bint proxy, callback, double now):
        """Asks DISC about a request.

        Args:
            request: SipRequest or bytes.
            realm: str, which may contain pseudo-variables.
            proxy: whether a proxy authenticates, not a UAS.
            callback: function of the Decision, or a future of asyncio, whose result it becomes. It is called at
                once, if DISC is not asked.
            now: seconds, monotonic.

        Raises:
            ConfigError: `realm` has an unknown pseudo-variable.
        """
        cdef object decision = None
        if type(request) is not SipRequest:
            request = self.policy.read(request)
            if type(request) is Decision:
                decision = request
        if decision is None:
            decision = self.begin(request, realm, proxy, callback, now)
        if decision is not None:
            self.decisions.add((<Decision>decision).cause)
            self.call(callback, decision)

    def ask_many(self, requests, realm, bint proxy, future, double now):
        """Asks DISC about several requests.

        Args:
            requests: iterable of SipRequest or bytes.
            realm: as in `ask`.
            proxy: as in `ask`.
            future: future of asyncio, whose result becomes the list of Decisions, in the order of the requests.
            now: seconds, monotonic.

        Raises:
            ConfigError: `realm` has an unknown pseudo-variable.
        """
        cdef Several several = Several.__new__(Several)
        cdef PlaceAmongSeveral place
        cdef Py_ssize_t i
        cdef list all_requests = list(requests)
        several.left = len(all_requests)
        several.decisions = [None] * several.left
        several.future = future
        if not all_requests:
            future.set_result([])
        for i in range(len(all_requests)):
            place = PlaceAmongSeveral.__new__(PlaceAmongSeveral)
            place.several = several
            place.index = i
            self.ask(all_requests[i], realm, proxy, place, now)

    cdef object begin(self, SipRequest request, object realm, bint proxy, object callback, double now):
        """Begins to ask about a request.

        Returns:
            The Decision, if DISC is not asked; None: `finish` will be called.
        """
        cdef const SipMessage *m = &request.m
        cdef Asking asking
        cdef Question question
        cdef Credentials credentials = None
        asking.proxy = proxy
        asking.has_credentials = False
        _kept = self.realm_of(request, realm, &asking)
        if is_bypassed(m) or ask_about(m, &asking) != ASK:
            return self.policy.refuse(request, realm, proxy, now)
        if asking.has_credentials:
            credentials = new_credentials(request.data, &asking.credentials)
        question = new_question(request, self.realm_text(asking.realm), credentials, proxy, self.tells_source)
        if room_of(question) > self.max_question:
            return self.policy.refuse(request, realm, proxy, now)
        if credentials is not None and self.penalties is not None:
            question.attempt = self.penalties.begin(
                credentials, question.realm_name, request.source, now, question)
            if question.attempt is not None and (<Attempt>question.attempt).is_refused:
                question.attempt = None
                return self.policy.refuse_penalized(question)
        question.callback = callback
        self.in_flight.size += <Py_ssize_t>m.size
        if self.in_flight.size <= self.most_bytes and self.may_write(question, now):
            if not self.is_sending:
                self.is_sending = True
                self.policy.written()
        else:
            self.policy.place(question)
        return None

    cdef object realm_of(self, SipRequest request, object realm, Asking *asking):
        """Finds the realm of a request; an empty one is missing.

        Returns:
            The owner of its bytes.
        """
        cdef object expand = self.realms.get(realm)
        if expand is None:
            expand = FROM_HOST if realm == "$fd" else self.policy.compile(realm)
            if len(self.realms) >= MOST_REALMS:
                self.realms.clear()
            self.realms[realm] = expand
        if expand is FROM_HOST:
            asking.realm = request.m.from_.host
            return None
        text = expand(request)
        if text is None:
            asking.realm = Span(NULL, 0)
            return None
        if text == "":
            asking.realm = domain_of_user(&request.m, asking.proxy)
            return None
        return borrow(text, &asking.realm, "realm")

    cdef str realm_text(self, Span realm):
        """The realm as text; mostly the same as for the last request."""
        cdef Span last = span_of_bytes(self.last_bytes)
        if last.n != realm.n or memcmp(last.p, realm.p, realm.n) != 0:
            self.last_realm = text_of(realm)
            self.last_bytes = realm.p[:realm.n]
        return self.last_realm

    cdef bint may_write(self, Question question, double now) except -1:
        """Writes a question, unless it must wait, or the state machine of its connection must know.

        Returns:
            Whether it was written.
        """
        cdef PyObject *found
        if question.attempt is not None and (<Attempt>question.attempt).is_held:
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
        cdef Credentials credentials = question.credentials
        if credentials is None or question.is_group_check or question.callback is None:
            return False
        if says.response_auth.p != NULL or says.nextnonce.p != NULL or says.user_name.p != NULL:
            return False
        if cause_of(says, &credentials.fields, False) != CAUSE_AUTHORIZED:
            return False
        question.request.mark_authorized(credentials, question.proxy)
        self.note_login(question, now)
        decision = Decision.__new__(Decision)
        decision.return_code = AUTHORIZED_CODE
        decision.cause = AUTHORIZED
        decision.username = credentials.user()
        decision.realm = question.realm_name
        decision.headers = ()
        count(self.decisions, CAUSE_AUTHORIZED)
        # Its callback may ask again, so it is called once all answers of the read are taken.
        self.decided.append(question)
        self.decided.append(decision)
        return True

    def deliver(self):
        """Hands out the decisions on the answers of one read."""
        cdef list decided = self.decided
        cdef Py_ssize_t i
        if not decided:
            return
        self.decided = []
        for i in range(0, len(decided), 2):
            self.finish(decided[i], decided[i + 1])

    cdef int note_login(self, Question question, double now) except -1:
        """Notes that credentials were right: for the penalties and for the watch on nonces."""
        cdef uint8_t room[MAX_PARAMETER]
        if question.attempt is not None:
            self.penalties.right(question.attempt, now)
            question.attempt = None
        if self.watch is not None:
            self.watch.saw_authorized(plain_value(&question.credentials.fields, NONCE, room),
                                      (<Wire>question.connection).peer_number, now)
        return 0

    cdef int finish(self, Question question, Decision decision) except -1:
        """Ends a question with its decision."""
        callback = question.callback
        question.callback = None
        self.in_flight.size -= <Py_ssize_t>question.request.m.size
        self.call(callback, decision)
        return 0

    def end(self, Question question not None, Decision decision not None):
        """Ends a question with the decision that Python has made."""
        self.decisions.add(decision.cause)
        self.finish(question, decision)

    cdef int call(self, object callback, Decision decision) except -1:
        """Hands a decision to whoever waits for it: a future, a place among several, or a function."""
        cdef PlaceAmongSeveral place
        if type(callback) is PlaceAmongSeveral:
            place = callback
            place.several.decisions[place.index] = decision
            place.several.left -= 1
            if place.several.left:
                return 0
            self.settle(place.several.future, place.several.decisions)
        elif not callable(callback):
            self.settle(callback, decision)
        else:
            try:
                callback(decision)
            except Exception as error:  # one callback must not hold up the others
                self.policy.report(error)
        return 0

    cdef int settle(self, object future, object result) except -1:
        """Sets the result of a future, unless the task that awaited it was cancelled."""
        if not future.done():
            future.set_result(result)
        return 0


cdef inline bint takes_one(Wire wire) noexcept nogil:
    """Whether one more question on a connection changes nothing else."""
    return wire.is_calm and wire.out_size <= wire.room


@cython.final
cdef class Several:
    """Decisions that are waited for together."""


@cython.final
@cython.freelist(1024)
cdef class PlaceAmongSeveral:
    """The place of one decision among several."""


@cython.final
@cython.freelist(256)
cdef class Pending:
    """A decision to come, or several; awaited like a coroutine, which it is to asyncio.

    The questions are asked when it is awaited, or begun as a task. It belongs to one event loop.
    """

    def __init__(self):
        raise TypeError("a Pending comes from a function of AsyncAuthDiameter")

    def __await__(self):
        return self.begin()

    cdef object begin(self):
        """Asks the questions; the iterator of the future of their decisions."""
        if self.path is None or self.iterator is not None:
            raise RuntimeError("a decision to come is awaited once")
        cdef object loop = self.path.policy.get_loop()
        cdef object future = loop.create_future()
        if self.many:
            self.path.ask_many(self.asked, self.realm, self.proxy, future, loop.time())
        else:
            self.path.ask(self.asked, self.realm, self.proxy, future, loop.time())
        self.asked = None
        self.iterator = iter(future)
        return self.iterator

    def send(self, value):
        """As `send` of a coroutine."""
        if self.iterator is None:
            self.begin()
        return self.iterator.send(value)

    def throw(self, kind, value=None, traceback=None):
        """As `throw` of a coroutine."""
        if self.iterator is None:
            self.iterator = iter(())
            raise kind if value is None else value
        return self.iterator.throw(kind if value is None else value)

    def close(self):
        """As `close` of a coroutine."""
        if self.iterator is not None:
            self.iterator.close()


def pending(ObjectPath path not None, asked, realm, bint proxy, bint many):
    """The decision to come on a request, or on several.

    Args:
        path: ObjectPath.
        asked: SipRequest or bytes; with `many` an iterable of them.
        realm: str, which may contain pseudo-variables.
        proxy: whether a proxy authenticates, not a UAS.
        many: whether there are several.

    Returns:
        Pending.
    """
    cdef Pending p = Pending.__new__(Pending)
    p.path = path
    p.asked = asked
    p.realm = realm
    p.proxy = proxy
    p.many = many
    return p
