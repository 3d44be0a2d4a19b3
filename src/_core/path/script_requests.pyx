"""The way of a request through a SIP server with a route script: from datagram to reply.

::

    datagrams of one read ─► SipRequest ─► Transactions ─► ScriptCall ─► asyncio.Task ─► the script's coroutine
                                │malformed      │known         ▲                               │
                                ▼               ▼              └────────── its result ─────────┘
                             take_odd       its reply          │
                                                               ▼
                                                          Departures

The task is one of asyncio, so that all that asyncio offers works in a script. The `ScriptCall` is its coroutine:
it drives that of the script, and ends the request with the result. A request needs no other coroutine, no future
and no callback.
"""

import asyncio
from types import CoroutineType as _CoroutineType

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.ref cimport Py_DECREF, PyObject
from libc.string cimport memcmp

from auth_diameter._core.net.addresses cimport Address, size_of, source_of as new_source
from auth_diameter._core.path.slot cimport Slot
from auth_diameter._core.sip.parse cimport METHOD_ACK
from auth_diameter._core.sip.request cimport SipRequest, new_request
from auth_diameter._core.state.transactions cimport Entry, Transactions

from auth_diameter._core.auth.causes import REASONS as _REASONS
from auth_diameter._core.errors import ParseError

cdef extern from "Python.h":
    int PYGEN_RETURN, PYGEN_NEXT
    int PyIter_Send(object iterator, object value, PyObject **result) except -1

cdef object CancelledError = asyncio.CancelledError
cdef object Task = asyncio.Task
cdef object CoroutineType = _CoroutineType
cdef str NAME = "request_route"     # of each task
cdef str FAILED = _REASONS[500]


@cython.final
cdef class ScriptRequests(DatagramPath):
    """The way of the requests of one UDP socket, which a route script decides.

    Args:
        fd: as for `DatagramPath`, and so are those without a line here.
        transactions: Transactions.
        policy: what Python decides. Its methods are

            - wrap(awaitable): a coroutine that awaits what the script returned in place of one;
            - conclude(request, result): the reply, and the bytes that it may always have, for a result that is
              neither bytes nor None;
            - fail(error): takes the exception of a script, and returns nothing;
            - shorten(request): ends a request whose reply is too large;
            - report(error): takes any other exception;
            - send_soon(): has `flush` called in this turn of the loop.

        loop: the event loop of asyncio.
        route: the function of the script: it takes a SipRequest and `auth`, and returns an awaitable.
        auth: the client that the script asks.
        most_calls: routes that may run at a time.
        most_bytes: bytes of the requests that may be without a reply.
        max_size: int.
        max_headers: int.
        amplification: int.

    Attributes:
        route: the function for new requests.
        room: int, the number of calls that may still begin; set by the owner.
        under_way: int, the number of requests without a reply so far.
    """

    def __cinit__(self, int fd, Transactions transactions not None, policy, loop, route, auth, *,
                  Py_ssize_t most_calls, size_t most_bytes, size_t max_size, int max_headers,
                  size_t amplification):
        self.policy = policy
        self.loop = loop
        self.route = route
        self.auth = auth
        self.most_calls = most_calls
        self.most_bytes = most_bytes
        self.room = most_calls
        self.running = set()
        self.odd = []

    @property
    def calls(self):
        """The routes that run, list of ScriptCall."""
        return list(self.running)

    # ------------------------------------------------------------------ requests

    cdef void take_datagram(self, int i, double now) noexcept nogil:
        cdef Slot *s = self.slots.arrived(i)
        self.received += 1
        if s != NULL:
            self.slow += 1
            self.slots.add_odd(s)

    cdef int end_turn(self, double now) except -1:
        cdef Slot *s = self.slots.next_odd()
        while s != NULL:
            try:
                self.take_request(s, now)
            except Exception as error:  # one datagram must not hold up the others
                self.policy.report(error)
            finally:
                self.slots.give_back(s)
            s = self.slots.next_odd()
        return 0

    cdef int take_request(self, Slot *s, double now) except -1:
        """Parses a datagram, answers a retransmission, and calls the script for any other request."""
        cdef bytes data = PyBytes_FromStringAndSize(<const char *>s.data, <Py_ssize_t>s.size)
        cdef SipRequest request
        cdef const Entry *entry
        try:
            request = new_request(data, self.source_of(&s.source), self.max_size, self.max_headers)
        except ParseError as error:
            self.odd.append(error)
            return 0
        # An ACK has no transaction of its own: each ACK belongs to one copy of a retransmitted reply.
        if request.m.method != METHOD_ACK:
            entry = self.transactions.known(request.fingerprint(), now)
            if entry != NULL:
                if self.departures.count == 0:
                    self.policy.send_soon()
                self.send_again(entry, &s.source)
                return 0
        if self.has_room(request.m.size):
            return self.begin(request, &s.source)
        self.odd.append(request)
        return 0

    cdef tuple source_of(self, const Address *address):
        """The source of a request as Python has it."""
        if self.last_source is None or memcmp(&self.last_address, address, size_of(address)) != 0:
            self.last_source = new_source(address)
            self.last_address = address[0]
        return self.last_source

    cdef bint has_room(self, size_t size):
        """Whether one more route may run, for a request of so many bytes."""
        return (self.is_open and self.room > 0 and len(self.running) < self.most_calls
                and self.size + size <= self.most_bytes)

    cdef int begin(self, SipRequest request, const Address *source) except -1:
        """Calls the script for a request."""
        cdef ScriptCall call = ScriptCall.__new__(ScriptCall)
        call.path = self
        call.request = request
        call.route = self.route
        call.source = source[0]
        self.running.add(call)
        self.under_way += 1
        self.size += request.m.size
        self.room -= 1
        try:
            task = self.new_task(call)
        except Exception as error:
            self.policy.report(error)
            call.fail(None)
            return 0
        if not call.has_ended:      # a task factory may run it at once
            call.task = task
        return 0

    cdef object new_task(self, ScriptCall call):
        """The task of a call."""
        if self.loop.get_task_factory() is not None:
            return self.loop.create_task(call)
        # As the loop does, but without a number in the name, which takes as long to write as a reply.
        return Task(call, loop=self.loop, name=NAME)

    # ------------------------------------------------------------------ what Python handles

    @property
    def has_odd(self):
        """Whether `take_odd` has something to return, bool."""
        return len(self.odd) > 0

    def take_odd(self):
        """Removes the requests that are malformed, or for which there is no room.

        Returns:
            List of SipRequest, which the Transactions know, or ParseError, in order.
        """
        cdef list found = self.odd
        self.odd = []
        return found


@cython.final
@cython.freelist(256)
cdef class ScriptCall:
    """The call of the route script for one request: the coroutine of a task of asyncio.

    Attributes:
        request: SipRequest.
        task: asyncio.Task; None once the script has ended.
    """

    def __init__(self):
        raise TypeError("a ScriptCall comes from ScriptRequests")

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        """As `send(None)`; asyncio calls it in place of that, because it is faster."""
        cdef object found = self.go_on(None, None)
        if self.has_ended:
            raise StopIteration
        return found

    def send(self, value):
        """As `send` of a coroutine."""
        cdef object found = self.go_on(value, None)
        if self.has_ended:
            raise StopIteration
        return found

    def throw(self, kind, value=None, traceback=None):
        """As `throw` of a coroutine."""
        cdef object error = kind if value is None else value
        cdef object found = self.go_on(None, error() if isinstance(error, type) else error)
        if self.has_ended:
            raise StopIteration
        return found

    def close(self):
        """As `close` of a coroutine."""
        if self.coroutine is not None:
            self.coroutine.close()      # raises if it runs
        if not self.has_ended and self.path is not None:
            self.fail(None)

    # What asyncio shows of a coroutine: in the stack of its task, and in warnings of the debug mode

    @property
    def cr_frame(self):
        return getattr(self.coroutine, "cr_frame", None)

    @property
    def cr_code(self):
        return getattr(self.coroutine, "cr_code", None)

    @property
    def cr_running(self):
        return getattr(self.coroutine, "cr_running", False)

    @property
    def cr_await(self):
        return getattr(self.coroutine, "cr_await", None)

    @property
    def __qualname__(self):
        return getattr(self.coroutine, "__qualname__", NAME)

    def give_up(self, bytes reply not None):
        """Ends the request with this reply, whatever the script still returns."""
        self.answer(reply, 0)

    cdef object go_on(self, object value, object error):
        """Lets the script go on; at its end, `has_ended` is set and the request has its reply.

        Args:
            value: what the script's await returns.
            error: the exception that the script's await raises; None: it returns.

        Returns:
            What the script awaits.
        """
        cdef PyObject *found = NULL
        cdef object result = None
        if self.has_ended or self.path is None:
            raise RuntimeError("the call of a route script has ended")
        try:
            if error is not None:
                if self.coroutine is None:
                    raise error
                try:
                    return self.coroutine.throw(error)
                except StopIteration as end:
                    result = end.value
            else:
                if self.coroutine is None:
                    self.begin()
                if PyIter_Send(self.coroutine, value, &found) == PYGEN_NEXT:
                    result = <object>found
                    Py_DECREF(result)
                    return result
                result = <object>found
                Py_DECREF(result)
            self.end(result)
        except CancelledError:
            self.fail(None)
        except (Exception, SystemExit) as failure:  # sys.exit() in a script must not end the server
            self.fail(failure)
        except BaseException:
            self.fail(None)
            raise
        return None

    cdef int begin(self) except -1:
        """Begins the script's coroutine."""
        cdef object route = self.route
        self.route = None
        self.coroutine = route(self.request, self.path.auth)
        if type(self.coroutine) is not CoroutineType:
            self.coroutine = self.path.policy.wrap(self.coroutine)
        return 0

    cdef int end(self, object result) except -1:
        """Ends the request with what the script returned."""
        cdef size_t most = 0
        cdef object reply = result
        if result is None:
            reply = b""
        elif type(result) is not bytes:
            reply, most = self.path.policy.conclude(self.request, result)
        self.answer(reply, most)
        self.leave()
        return 0

    cdef int fail(self, object error) except -1:
        """Ends the request with a 500, because the script failed or was cancelled.

        Args:
            error: the exception for the log, or None.
        """
        self.leave()
        self.answer(self.request.reply(500, FAILED), 0)
        if error is not None:
            self.path.policy.fail(error)    # a handler of the log may raise
        return 0

    cdef int leave(self) except -1:
        """Notes that the script has ended."""
        self.has_ended = True
        self.path.running.discard(self)
        # The task refers to this object. Without the way back both are freed at once, and not by the collector.
        self.task = None
        return 0

    cdef int answer(self, bytes reply, size_t most) except -1:
        """Ends the request with its reply, unless it has ended already."""
        cdef ScriptRequests path = self.path
        if self.has_reply or path is None:
            return 0
        self.has_reply = True
        path.under_way -= 1
        path.size -= self.request.m.size
        if path.departures.count == 0 and reply:
            path.policy.send_soon()
        if not path.answer_to(self.request, reply, most, &self.source):
            path.policy.shorten(self.request)
        return 0
