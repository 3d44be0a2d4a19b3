"""The way of a SipRequest through a client: from the call of a function to its Decision.

::

    authorize(request, realm) ─► begin ─┬─► Decision                                        ─► callback
                                        └─► a remote back end is asked ─► … ─► Decision ─► callback

`RemoteObjects` asks DISC, `LocalObjects` judges here. The policy, an object of Python, decides what is out of the
ordinary: it uses the same functions on the same structs.
"""

cimport cython
from libc.string cimport memcmp

from auth_diameter._core.auth.decision cimport Decision
from auth_diameter._core.auth.rulings cimport CAUSE_AUTHORIZED, CAUSES
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport borrow, span_of_bytes, text_of
from auth_diameter._core.path.counts cimport count
from auth_diameter._core.path.decide cimport Asking, domain_of_user
from auth_diameter._core.path.realm cimport REALM_TEMPLATE, Realm, new_realm, set_realm
from auth_diameter._core.path.waiter cimport Waiter, new_waiter, raise_later
from auth_diameter._core.sip.request cimport SipRequest

from auth_diameter._core.auth.causes import RULINGS as _RULINGS

cdef object AUTHORIZED = CAUSES[CAUSE_AUTHORIZED]
cdef int AUTHORIZED_CODE = _RULINGS[AUTHORIZED].return_code

cdef enum:
    MOST_REALMS = 1024      # texts of realms that are remembered


cdef class ObjectPath(Concluder):
    """The way of SipRequests through one client; the methods that differ are those of an abstract class.

    Args:
        policy: what Python decides. The methods used here are

            - malformed(error): the Decision on bytes that are no SIP request;
            - compile(realm): the function of a SipRequest that gives the realm as str, or None;
            - report(error): takes the exception of a callback;
            - get_loop(): the running event loop.

        decisions: Decisions, in which the decisions are counted.
        max_size: bytes that a request may have.
        max_headers: header fields that a request may have.
    """

    def __cinit__(self, policy, *args, size_t max_size, int max_headers, **settings):
        self.policy = policy
        self.max_size = max_size
        self.max_headers = max_headers
        self.realms = {}
        self.last_realm = ""
        self.last_bytes = b""

    def ask(self, request, realm, bint proxy, callback, double now):
        """Asks about a request.

        Args:
            request: SipRequest or bytes.
            realm: str, which may contain pseudo-variables.
            proxy: whether a proxy authenticates, not a UAS.
            callback: function of the Decision, or a Waiter or a future of asyncio, whose result it becomes. It is
                called at once, if no remote back end is asked.
            now: seconds, monotonic.

        Raises:
            ConfigError: `realm` has an unknown pseudo-variable.
        """
        cdef object decision = None
        cdef SipRequest read
        if type(request) is not SipRequest:
            read = SipRequest.__new__(SipRequest)
            if not read.read(bytes_of(request), self.max_size, self.max_headers):
                decision = self.policy.malformed(read.refusal())
            request = read
        if decision is None:
            decision = self.begin(request, realm, proxy, callback, now)
        if decision is not None:
            self.add_up(decision)
            self.call(callback, decision, False)

    def ask_many(self, requests, realm, bint proxy, future, double now):
        """Asks about several requests.

        Args:
            requests: iterable of SipRequest or bytes.
            realm: as in `ask`.
            proxy: as in `ask`.
            future: Waiter, or future of asyncio, whose result becomes the list of Decisions, in the order of the
                requests.
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
            self.settle(future, [], False)
        for i in range(len(all_requests)):
            place = PlaceAmongSeveral.__new__(PlaceAmongSeveral)
            place.several = several
            place.index = i
            self.ask(all_requests[i], realm, proxy, place, now)

    cdef object begin(self, SipRequest request, object realm, bint proxy, object callback, double now):
        """Begins to ask about a request.

        Returns:
            The Decision, which is not counted so far; None: it will come.
        """
        raise NotImplementedError

    cdef Realm realm_named(self, object text):
        """The Realm for a text that may have pseudo-variables."""
        cdef Realm realm
        with cython.critical_section(self.realms):      # another thread may put or forget one
            realm = self.realms.get(text)
        if realm is None:
            expand = self.policy.compile(text)
            text = str.__str__(text)        # of a subclass, too
            realm = new_realm(text, expand)
            if len(self.realms) >= MOST_REALMS:
                self.realms.clear()
            self.realms[text] = realm
        return realm

    cdef object expand_realm(self, Realm realm, SipRequest request, Asking *asking):
        """Sets the realm for a request; an empty one is missing.

        Returns:
            The owner of its bytes.
        """
        if realm.origin != REALM_TEMPLATE:
            set_realm(realm, &request.m, asking)
            return realm
        text = realm.expand(request)
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

    cdef Decision authorized(self, str username, str realm):
        """The decision that lets a request in."""
        cdef Decision decision = Decision.__new__(Decision)
        decision.return_code = AUTHORIZED_CODE
        decision.cause = AUTHORIZED
        decision.username = username
        decision.realm = realm
        decision.headers = ()
        return decision

    cdef int add_up(self, Decision decision) except -1:
        """Counts a decision."""
        if decision.cause is AUTHORIZED:
            count(self.decisions, CAUSE_AUTHORIZED)
        else:
            self.decisions.add(decision.cause)
        return 0

    def hand_out(self, callback, Decision decision not None):
        """Hands a decision to a function, or to a future of asyncio whose result it becomes."""
        self.call(callback, decision, False)

    cdef object loop_now(self):
        """The running event loop. To ask asyncio costs a system call in Python 3.11."""
        if self.loop is None or not self.loop.is_running():
            self.loop = self.policy.get_loop()
        return self.loop

    cdef int call(self, object callback, Decision decision, bint at_once) except -1:
        """Hands a decision to whoever waits for it: a task, a place among several, or a function.

        Args:
            at_once: whether a task may go on before this returns: no task runs.
        """
        cdef PlaceAmongSeveral place
        if type(callback) is PlaceAmongSeveral:
            place = callback
            place.several.decisions[place.index] = decision
            place.several.left -= 1
            if place.several.left:
                return 0
            self.settle(place.several.future, place.several.decisions, at_once)
        elif type(callback) is Waiter or not callable(callback):
            self.settle(callback, decision, at_once)
        else:
            try:
                callback(decision)
            except Exception as error:  # one callback must not hold up the others
                self.policy.report(error)
            except BaseException as error:
                if not at_once:
                    raise
                raise_later(self.loop_now(), error)
        return 0

    cdef int settle(self, object future, object result, bint at_once) except -1:
        """Sets the result of a Waiter or a future, unless the task that awaited it was cancelled."""
        if type(future) is Waiter:
            (<Waiter>future).settle(result, at_once)
        elif not future.done():
            future.set_result(result)
        return 0


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

    def __bool__(self):
        """It says nothing: a Decision that was not awaited must not let a request in."""
        raise TypeError("a decision to come is neither true nor false: await it")

    cdef Waiter begin(self):
        """Asks the questions; what the task waits for, and the iterator of its await."""
        if self.path is None or self.waiter is not None or self.is_over:
            raise RuntimeError("a decision to come is awaited once")
        cdef object loop = self.path.loop_now()
        cdef Waiter waiter = new_waiter(loop)
        if self.many:
            self.path.ask_many(self.asked, self.realm, self.proxy, waiter, loop.time())
        else:
            self.path.ask(self.asked, self.realm, self.proxy, waiter, loop.time())
        self.asked = None
        self.waiter = waiter
        return waiter

    def send(self, value):
        """As `send` of a coroutine."""
        if self.waiter is None:
            self.begin()
        return self.waiter.send(value)

    def throw(self, kind, value=None, traceback=None):
        """As `throw` of a coroutine."""
        self.is_over = True
        raise kind if value is None else value

    def close(self):
        """As `close` of a coroutine."""
        self.is_over = True


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
