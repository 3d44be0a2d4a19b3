"""A SIP/UDP server that authenticates requests: for the demo, for tests, and for small deployments.

The default route challenges a REGISTER with 401 and every other method with 407. The realm is ``$fd``, or the
one configured. A request that DISC lets through gets a 200. For a REGISTER the 200 repeats its Contacts,
though the server keeps no bindings. A route script may decide otherwise, see `route`.

A retransmission gets the reply of its request; it is neither judged nor routed again. A datagram that cannot
be parsed gets a 400 if a reply can be addressed, else nothing. A route that fails is logged, and its request
gets a 500.

A source address can be forged, and the server must not amplify a flood to its true owner. So a request that
is not let through gets no reply of more than twice its own bytes. Of several challenges, as many are sent as
fit into that. One challenge is always sent, in a reply of up to 512 bytes, since small requests could never
authenticate otherwise.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from auth_diameter._core import (
    DatagramBatch,
    ParseError,
    Question,
    RequestPath,
    SipRequest,
    Transactions,
)
from auth_diameter.client.aio import AsyncAuthDiameter
from auth_diameter.client.realm import DEFAULT_REALM
from auth_diameter.decision import PROXY, REASONS, UAS, UNAVAILABLE, Cause, Decision, refuse, retry_after
from auth_diameter.host.bind import bind
from auth_diameter.host.limits import (
    AMPLIFICATION,
    BACKLOG,
    LOOK_AGAIN,
    MOST_BYTES,
    MOST_READS,
    MOST_ROUTES,
    NOTE_AFTER,
    ONE_CHALLENGE,
    PATIENCE,
    PAUSE,
)
from auth_diameter.host.route import Route
from auth_diameter.host.turn_limit import TurnLimit
from auth_diameter.logs import Sparing
from auth_diameter.refusals import Refusals, account_of

log = logging.getLogger("auth_diameter.host")

Address: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
Datagram: TypeAlias = tuple[bytes, Address]  # the data, and where it came from or goes to


_TROUBLES = frozenset(
    {
        Cause.DISC_REFUSED,
        Cause.DISC_UNUSABLE,
        Cause.DISC_TIMEOUT,
        Cause.DISC_LOST,
        Cause.DISC_UNREACHABLE,
        Cause.OVERLOADED,
    }
)  # failures of DISC, not of the request
_OK = REASONS[200]
_TOO_SHORT = "Request Too Short For Its Reply"


def _challenged(request: SipRequest, decision: Decision) -> tuple[bytes, int]:
    """The reply of a refusal, with fewer challenges if it is too large.

    Challenges are removed from the end, where the least preferred ones are, until the reply is at most twice
    as large as the request, or has one challenge left.

    Returns:
        The reply, and the number of bytes that it may always have.
    """
    reply, status, headers = decision.reply or b"", decision.status, decision.headers
    if status not in (UAS.status, PROXY.status):
        return reply, 0
    if request.authorized is None:
        while len(headers) > 1 and len(reply) > AMPLIFICATION * request.data_size:
            headers = headers[:-1]
            reply = refuse(request, decision.cause, status, headers).reply or b""
    return reply, ONE_CHALLENGE if len(headers) == 1 else 0


class Host:
    """A UDP socket with a route, of one event loop; made by `serve`, or with a socket of `bind.bind`.

    Args:
        sock: the bound socket.
        auth: the client that asks DISC.
        route: the route script's function; None: the default route.
        realm: the realm of the default route; text that may contain pseudo-variables.

    Attributes:
        address: (host, port) of the socket.
        malformed: number of datagrams that were no SIP request.
        oversize: number of replies held back because they were more than twice as large as their request.
        refused: number of requests refused with 503 at once, because too many routes run (see `limits` and
            `turn_limit`) or the host is being closed.
    """

    def __init__(
        self, sock: socket.socket, auth: AsyncAuthDiameter, route: Route | None, realm: str = DEFAULT_REALM
    ) -> None:
        self._socket = sock
        self._datagrams = DatagramBatch(sock.fileno())
        self._replies: list[Datagram] = []  # to be sent in this turn of the loop
        self._auth = auth
        self._authorizer = auth.authorizer()
        self._retry_after = retry_after(auth.config.retry_after)
        self._route = route
        self._realm = realm
        self._tasks: set[asyncio.Task[None]] = set()
        self._transactions = Transactions()
        self._pending: set[SipRequest] = set()  # the requests without a reply so far
        self._pending_size = 0  # bytes
        self._loop = asyncio.get_running_loop()
        name = sock.getsockname()
        self.address: tuple[str, int] = (name[0], name[1])
        self.malformed = 0
        self.oversize = 0
        self.refused = 0
        self._received = 0
        self._replied = 0
        self._retransmissions = 0
        self._draining = False
        self._closed = False
        self._sparing = Sparing(log)
        self._refusals = Refusals(logging.getLogger("auth_diameter.refused"))
        self._unreadable = 0  # number of failed receives in a row
        self._turn_limit = TurnLimit()
        self._taken = 0  # number of routes begun in this turn of the loop
        self._path = self._new_path(sock.fileno()) if route is None else None
        self._noting: asyncio.TimerHandle | None = None
        self._reader: Callable[[], object] = self._read if route is None else self._read_all
        self._loop.add_reader(sock.fileno(), self._reader)

    def _new_path(self, fd: int) -> RequestPath:
        return self._auth.request_path(
            fd,
            self._transactions,
            self._adopt,
            realm=self._realm,
            amplification=AMPLIFICATION,
            one_challenge=ONE_CHALLENGE,
        )

    @property
    def received(self) -> int:
        """Number of datagrams that came."""
        return self._received if self._path is None else self._path.received

    @property
    def replied(self) -> int:
        """Number of replies that were sent."""
        return self._replied if self._path is None else self._replied + self._path.replied

    @property
    def retransmissions(self) -> int:
        """Number of retransmissions, whether absorbed or answered with the reply of their request."""
        return self._retransmissions if self._path is None else self._path.retransmissions

    @property
    def slow(self) -> int:
        """Number of requests and answers that the compiled way of the default route left to Python."""
        return self._received if self._path is None else self._path.slow

    @property
    def under_way(self) -> int:
        """Number of requests without a reply so far."""
        return len(self._pending) if self._path is None else len(self._pending) + self._path.in_slots

    def use_route(self, route: Route) -> None:
        """Sets another route for new requests; those under way end with the route they began with."""
        assert self._route is not None
        self._route = route

    # ------------------------------------------------------------------ requests

    def _read(self) -> int:
        """Receives and serves up to 64 datagrams.

        Returns:
            The number of datagrams.
        """
        now = self._loop.time()
        try:
            number = self._receive(now) if self._path is None else self._take_path(self._path, now)
        except OSError as error:
            self._rest(error)
            return 0
        self._unreadable = 0
        return number

    def _receive(self, now: float) -> int:
        """Receives requests for the route script.

        Raises:
            OSError: the socket cannot be read.
        """
        datagrams = self._datagrams.receive()
        self._received += len(datagrams)
        for datagram in datagrams:
            self._serve_datagram(datagram, now)
        return len(datagrams)

    def _serve_datagram(self, datagram: Datagram, now: float) -> None:
        """Serves one datagram by the route script."""
        try:
            request = self._new_request(datagram, now)
        except ParseError as error:
            self._refuse_malformed(error)
        except Exception as error:  # noqa: BLE001 - one datagram must not hold up the others
            self._sparing.exception(error, now, "a request could not be handled")
        else:
            if request is not None:
                self._begin(request, now, full=False)

    def _take_path(self, path: RequestPath, now: float) -> int:
        """Receives requests for the default route, and serves those that are odd.

        Raises:
            OSError: the socket cannot be read.
        """
        number = path.receive(now)
        self._serve_odd(path, now)
        return number

    def _serve_odd(self, path: RequestPath, now: float) -> None:
        """Serves the requests that the compiled way left, and sends the questions that it wrote."""
        if path.has_odd:
            full = self._auth.is_full()
            for request in path.take_odd():
                if isinstance(request, SipRequest):
                    self._begin(request, now, full=full)
                else:
                    self._refuse_malformed(request)
        self._auth.send_questions()
        if self._noting is None:
            self._noting = self._loop.call_later(NOTE_AFTER, self._tell_notes)

    def _tell_notes(self) -> None:
        """Logs what was noted without Python; again later, while more may come."""
        assert self._path is not None
        self._noting = None
        self._log_notes(self._path)
        self._auth.tell_watch()
        if self._path.in_slots and not self._closed:
            self._noting = self._loop.call_later(NOTE_AFTER, self._tell_notes)

    def _log_notes(self, path: RequestPath) -> None:
        """Logs the refusals that were noted without Python."""
        now = self._loop.time()
        notes, others = path.take_notes()
        for cause, account, source, times in notes:
            proven = self._auth.proves(cause)
            self._refusals.note(account, source, cause.name, now, proven=proven, times=times)
        self._refusals.leave_out(others)

    def _adopt(self, question: Question) -> Callable[[Decision], object]:
        """Takes on a request of the default route whose question became odd."""
        request = question.request
        self._pending.add(request)
        self._pending_size += request.data_size
        return partial(self._conclude, request)

    def _read_all(self) -> None:
        """Receives and serves all queued datagrams.

        A route may keep the loop for long, so requests that are to be refused must not wait in the kernel's
        queue.
        """
        self._taken = 0
        for _ in range(MOST_READS):
            if not self._read():
                break
        if self._taken:
            # Runs after the first step of each route of this turn.
            self._loop.call_soon(self._end_turn, self._taken, self._loop.time())

    def _end_turn(self, taken: int, began: float) -> None:
        self._turn_limit.ended(taken, self._loop.time() - began)

    def _rest(self, error: OSError) -> None:
        """Logs a failed receive; pauses reading if the one before failed as well.

        A single error may concern a single datagram. If it persists, the loop must not spin.
        """
        self._sparing.warning(error.errno, self._loop.time(), "receiving: %s", error.strerror)
        self._unreadable += 1
        if self._unreadable > 1 and not self._closed:
            self._loop.remove_reader(self._socket.fileno())
            self._loop.call_later(PAUSE, self._read_again)

    def _read_again(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._socket.fileno(), self._reader)

    def _new_request(self, datagram: Datagram, now: float) -> SipRequest | None:
        """Parses a datagram, and answers a retransmission.

        Returns:
            The request; None: it is a retransmission.

        Raises:
            ParseError: the datagram is no SIP request.
        """
        request = self._authorizer.read(*datagram)
        # An ACK has no transaction of its own: each ACK belongs to one copy of a retransmitted reply.
        if request.is_ack_or_cancel and request.method == "ACK":
            return request
        again = self._transactions.begin(request, now)
        if again is None:
            return request
        # RFC 3261, 17.2.2: the same reply again; nothing as long as there is none.
        self._retransmissions += 1
        if again[0]:
            self._queue(again)
        return None

    def _refuse_malformed(self, error: ParseError) -> None:
        """Counts a datagram that is no SIP request; answers it if a reply can be addressed."""
        self.malformed += 1
        if error.request is not None:
            self._send(error.request.reply(error.status, REASONS[error.status]), error.request)

    def _begin(self, request: SipRequest, now: float, *, full: bool) -> None:
        """Serves a new request; `full`: whether DISC is overloaded."""
        self._pending.add(request)
        self._pending_size += request.data_size
        try:
            self._judge(request, now, full)
        except Exception as error:  # noqa: BLE001 - the request must get a reply, and one must not hold up others
            self._sparing.exception(error, now, "a request could not be handled")
            self._answer(request, request.reply(500, REASONS[500]))

    def _judge(self, request: SipRequest, now: float, full: bool) -> None:
        """Begins the route of a new request, or refuses it with 503."""
        if self._draining or (self._route is not None and not self._has_room()):
            self.refused += 1
            self._answer(request, self._unavailable(request))
            return
        if self._route is not None:
            self._taken += 1
            task = self._loop.create_task(self._run(self._route, request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        if full and not request.is_ack_or_cancel:
            refusal = self._auth.refusal(request)
            if refusal is not None:
                self._conclude(request, refusal)
                return
        if request.is_register:
            outcome = self._authorizer.www_authorize(request, self._realm, now)
        else:
            outcome = self._authorizer.proxy_authorize(request, self._realm, now)
        if isinstance(outcome, Question):
            self._auth.ask_about(outcome, partial(self._conclude, request))
        else:
            self._auth.decisions.add(outcome.cause)
            self._conclude(request, outcome)

    def _has_room(self) -> bool:
        """Whether one more route may run."""
        return (
            self._taken < self._turn_limit.room
            and len(self._tasks) < MOST_ROUTES
            and self._pending_size <= MOST_BYTES
        )

    def _unavailable(self, request: SipRequest) -> bytes:
        """The 503 of the host itself, which is busy or about to close."""
        return request.reply(UNAVAILABLE, REASONS[UNAVAILABLE], self._retry_after)

    def _conclude(self, request: SipRequest, decision: Decision) -> None:
        """Ends the default route: a 200 for a request that is let through, else the reply of the decision."""
        if decision:
            self._answer(request, self._accepting_reply(request, decision))
            return
        self._note(request, decision)
        self._answer(request, *_challenged(request, decision))

    def _accepting_reply(self, request: SipRequest, decision: Decision) -> bytes:
        """The 200 for a request that is let through; for a REGISTER with its Contacts."""
        if not request.is_register:
            return request.reply(200, _OK, decision.headers)
        try:
            contacts = request.contact_headers()
        except ParseError:
            return request.reply(400, REASONS[400])
        return request.reply(200, _OK, [*decision.headers, *contacts] if decision.headers else contacts)

    async def _run(self, route: Route, request: SipRequest) -> None:
        """Runs a route script for a request, and sends the reply."""
        most = 0
        try:
            result = await route(request, self._auth)
            if isinstance(result, Decision):
                if not result:
                    self._note(request, result)
                result, most = _challenged(request, result)
            if result is not None and not isinstance(result, bytes | bytearray | memoryview):
                # Not the value itself, which may contain credentials.
                kind = type(result).__name__
                raise TypeError(f"request_route returned {kind}, not bytes, a Decision or None")
            reply = bytes(result) if result is not None else b""
        except asyncio.CancelledError:
            reply = request.reply(500, REASONS[500])
        except (Exception, SystemExit) as error:  # noqa: BLE001 - sys.exit() in a script must not end the server
            self._sparing.exception(error, self._loop.time(), "the route script failed")
            reply = request.reply(500, REASONS[500])
        self._answer(request, reply, most)

    def _note(self, request: SipRequest, decision: Decision) -> None:
        """Logs a refusal, but not a challenge, with which every authentication begins."""
        cause = decision.cause
        if cause is Cause.CHALLENGED or self._closed or self._auth.has_logged(cause):
            return
        if cause in _TROUBLES:
            self._sparing.warning(cause, self._loop.time(), "%s", cause.value)
            return
        if self._path is not None and self._path.has_notes:
            self._log_notes(self._path)  # they came first
        # proven=False: the source of a datagram can be forged.
        source = request.source[0] if request.source is not None else ""
        account = account_of(decision.username, decision.realm)
        self._refusals.note(account, source, cause.name, self._loop.time(), proven=False)

    # ------------------------------------------------------------------ replies

    def _answer(self, request: SipRequest, reply: bytes, most: int = 0) -> None:
        """Ends a request with its reply; does nothing if the request has ended already.

        Args:
            request: the request.
            reply: the reply; b"": none.
            most: bytes that the reply may always have, see `_send`.
        """
        try:
            self._pending.remove(request)
            self._pending_size -= request.data_size
        except KeyError:
            return
        reply, address = self._send(reply, request, most)
        self._transactions.complete(request, reply, address[1])

    def _send(self, reply: bytes, request: SipRequest, most: int = 0) -> Datagram:
        """Sends a reply, unless it is too large for its request.

        A request that was not let through gets at most twice its own bytes, or `most` if that is more. A
        larger reply is replaced by a short 400, or by nothing.

        Args:
            reply: the reply; b"": none.
            request: the request.
            most: bytes that the reply may always have.

        Returns:
            The reply that was sent, and its address.
        """
        if len(reply) > max(AMPLIFICATION * request.data_size, most) and request.authorized is None:
            self.oversize += 1
            self._sparing.warning(
                _TOO_SHORT, self._loop.time(), "a reply would be more than twice as large as its request"
            )
            reply = request.reply(400, _TOO_SHORT)
            if len(reply) > AMPLIFICATION * request.data_size:
                reply = b""
        address = request.reply_address
        assert address is not None
        addressed = reply, address
        if reply:
            self._queue(addressed)
        return addressed

    def _queue(self, addressed: Datagram) -> None:
        """Has a reply sent in this turn of the loop, together with the others."""
        if not self._replies:
            self._loop.call_soon(self._flush)
        self._replies.append(addressed)

    def _flush(self) -> None:
        replies, self._replies = self._replies, []
        if not self._closed:
            # A reply that the kernel refuses is lost, as on the network: the client retransmits.
            self._replied += self._datagrams.send(replies)

    # ------------------------------------------------------------------ closing

    async def aclose(self) -> None:
        """Serves the queued datagrams, lets requests end for a second, and closes the socket.

        Requests that come meanwhile get a 503, and so do those that have not ended by then.
        """
        if self._draining:
            return
        until = self._loop.time() + BACKLOG
        while self._read() and self._loop.time() < until:
            await asyncio.sleep(0)  # other callbacks run in between, such as those for answers of DISC
        self._draining = True
        if self._path is not None:
            self._path.is_open = False
        until = self._loop.time() + PATIENCE
        while self.under_way and self._loop.time() < until:
            await asyncio.sleep(LOOK_AGAIN)
        left = self._path.take_back() if self._path is not None else []
        for request in list(self._pending):
            self._answer(request, self._unavailable(request))
        self._auth.abandon(left)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        until = self._loop.time() + BACKLOG
        while self._read() and self._loop.time() < until:
            pass
        self._flush()
        if self._noting is not None:
            self._noting.cancel()
            self._tell_notes()
        self._closed = True
        if self._path is not None:
            self._path.close()
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()


async def serve(auth: AsyncAuthDiameter, host: str, port: int, route: Route | None = None) -> Host:
    """Serves SIP on UDP `host`:`port` until `Host.aclose`.

    Args:
        auth: the client that asks DISC.
        host: a name, an IPv4 or an IPv6 address.
        port: the port; 0: any free one.
        route: the route script's function; None: the default route.

    Raises:
        OSError: the address cannot be bound.
    """
    # In a thread, since the lookup of a name may take long.
    [sock] = await asyncio.get_running_loop().run_in_executor(None, bind, host, port)
    return Host(sock, auth, route)
