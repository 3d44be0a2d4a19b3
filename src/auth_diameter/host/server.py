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
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from auth_diameter._core import ParseError, Question, RequestPath, ScriptRequests, SipRequest, Transactions
from auth_diameter.client.aio import AsyncAuthDiameter
from auth_diameter.client.realm import DEFAULT_REALM
from auth_diameter.decision import PROXY, REASONS, UAS, UNAVAILABLE, Cause, Decision, refuse, retry_after
from auth_diameter.host.bind import bind
from auth_diameter.host.limits import (
    AMPLIFICATION,
    BACKLOG,
    BATCH,
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
_BYTES_LIKE = (bytes, bytearray, memoryview)
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
        self._auth = auth
        self._authorizer = auth.authorizer()
        self._retry_after = retry_after(auth.config.retry_after)
        self._realm = realm
        self._transactions = Transactions()
        self._pending: set[SipRequest] = set()  # the requests without a reply that Python handles
        self._loop = asyncio.get_running_loop()
        name = sock.getsockname()
        self.address: tuple[str, int] = (name[0], name[1])
        self.malformed = 0
        self.oversize = 0
        self.refused = 0
        self._draining = False
        self._closed = False
        self._sparing = Sparing(log)
        self._refusals = Refusals(logging.getLogger("auth_diameter.refused"))
        self._unreadable = 0  # number of failed receives in a row
        self._turn_limit = TurnLimit()
        self._sending = False  # whether `_flush` runs in this turn of the loop
        self._noting: asyncio.TimerHandle | None = None
        self._begin_path(sock.fileno(), route)
        self._reader: Callable[[], object] = self._read if route is None else self._read_all
        self._loop.add_reader(sock.fileno(), self._reader)

    def _begin_path(self, fd: int, route: Route | None) -> None:
        """Makes the compiled way of the requests: that of the default route, or that to the script."""
        self._default: RequestPath | None = None
        self._scripts: ScriptRequests | None = None
        self._path: RequestPath | ScriptRequests
        if route is None:
            self._path = self._default = self._auth.request_path(
                fd,
                self._transactions,
                self._adopt,
                realm=self._realm,
                amplification=AMPLIFICATION,
                one_challenge=ONE_CHALLENGE,
            )
        else:
            self._path = self._scripts = ScriptRequests(
                fd,
                self._transactions,
                _ScriptPolicy(self),
                self._loop,
                route,
                self._auth,
                most_calls=MOST_ROUTES,
                most_bytes=MOST_BYTES,
                max_size=self._auth.config.max_sip_message,
                max_headers=self._auth.config.max_sip_headers,
                amplification=AMPLIFICATION,
            )

    @property
    def received(self) -> int:
        """Number of datagrams that came."""
        return self._path.received

    @property
    def replied(self) -> int:
        """Number of replies that were sent."""
        return self._path.replied

    @property
    def retransmissions(self) -> int:
        """Number of retransmissions, whether absorbed or answered with the reply of their request."""
        return self._path.retransmissions

    @property
    def slow(self) -> int:
        """Number of requests and answers that the compiled way of the default route left to Python."""
        return self._path.slow

    @property
    def under_way(self) -> int:
        """Number of requests without a reply so far."""
        under_way = len(self._pending)
        if self._default is not None:
            under_way += self._default.in_slots
        if self._scripts is not None:
            under_way += self._scripts.under_way
        return under_way

    def use_route(self, route: Route) -> None:
        """Sets another route for new requests; those under way end with the route they began with."""
        assert self._scripts is not None
        self._scripts.route = route

    # ------------------------------------------------------------------ requests

    def _read(self) -> int:
        """Receives and serves up to 64 datagrams.

        Returns:
            The number of datagrams.
        """
        now = self._loop.time()
        try:
            number = self._path.receive(now)
        except OSError as error:
            self._rest(error)
            return 0
        self._serve_odd(now)
        self._unreadable = 0
        return number

    def _serve_odd(self, now: float) -> None:
        """Serves the requests that the compiled way left, and sends the questions that it wrote."""
        path, default = self._path, self._default
        if path.has_odd:
            full = default is not None and self._auth.is_full()
            for request in path.take_odd():
                if isinstance(request, SipRequest):
                    self._begin(request, now, full=full)
                else:
                    self._refuse_malformed(request)
        if default is not None:
            self._auth.send_questions()
            if self._noting is None:
                self._noting = self._loop.call_later(NOTE_AFTER, self._tell_notes)

    def _tell_notes(self) -> None:
        """Logs what was noted without Python; again later, while more may come."""
        assert self._default is not None
        self._noting = None
        self._log_notes(self._default)
        self._auth.tell_watch()
        if self._default.in_slots and not self._closed:
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
        return partial(self._conclude, request)

    def _read_all(self) -> None:
        """Receives and serves all queued datagrams.

        A route may keep the loop for long, so requests that are to be refused must not wait in the kernel's
        queue.
        """
        assert self._scripts is not None
        room = self._scripts.room = self._turn_limit.room
        for _ in range(MOST_READS):
            if self._read() < BATCH:
                break
        taken = room - self._scripts.room
        if taken:
            # Runs after the first step of each route of this turn.
            self._loop.call_soon(self._end_turn, taken, self._loop.time())

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

    def _refuse_malformed(self, error: ParseError) -> None:
        """Counts a datagram that is no SIP request; answers it if a reply can be addressed."""
        self.malformed += 1
        if error.request is not None:
            self._send(error.request, error.request.reply(error.status, REASONS[error.status]))

    def _begin(self, request: SipRequest, now: float, *, full: bool) -> None:
        """Serves a new request; `full`: whether DISC is overloaded."""
        self._pending.add(request)
        try:
            self._judge(request, now, full)
        except Exception as error:  # noqa: BLE001 - the request must get a reply, and one must not hold up others
            self._sparing.exception(error, now, "a request could not be handled")
            self._answer(request, request.reply(500, REASONS[500]))

    def _judge(self, request: SipRequest, now: float, full: bool) -> None:
        """Judges a new request by the default route, or refuses it with 503."""
        if self._draining or self._scripts is not None:
            self.refused += 1
            self._answer(request, self._unavailable(request))
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

    def _note(self, request: SipRequest, decision: Decision) -> None:
        """Logs a refusal, but not a challenge, with which every authentication begins."""
        cause = decision.cause
        if cause is Cause.CHALLENGED or self._closed or self._auth.has_logged(cause):
            return
        if cause in _TROUBLES:
            self._sparing.warning(cause, self._loop.time(), "%s", cause.value)
            return
        if self._default is not None and self._default.has_notes:
            self._log_notes(self._default)  # they came first
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
        except KeyError:
            return
        self._send(request, reply, most)

    def _send(self, request: SipRequest, reply: bytes, most: int = 0) -> None:
        """Sends a reply, unless it is too large for its request.

        A request that was not let through gets at most twice its own bytes, or `most` if that is more.
        """
        self._send_soon()
        if not self._path.answer(request, reply, most):
            self._shorten(request)

    def _shorten(self, request: SipRequest) -> None:
        """Ends a request whose reply is too large with a short 400, or with nothing."""
        self.oversize += 1
        self._send_soon()
        if not self._path.answer(request, request.reply(400, _TOO_SHORT)):
            self._path.answer(request, b"")
        self._sparing.warning(
            _TOO_SHORT, self._loop.time(), "a reply would be more than twice as large as its request"
        )

    def _send_soon(self) -> None:
        """Has the replies of this turn of the loop sent together, at its end."""
        if not self._sending:
            self._sending = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._sending = False
        self._path.flush()

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
        self._path.is_open = False
        until = self._loop.time() + PATIENCE
        while self.under_way and self._loop.time() < until:
            await asyncio.sleep(LOOK_AGAIN)
        left = self._default.take_back() if self._default is not None else []
        for request in list(self._pending):
            self._answer(request, self._unavailable(request))
        self._auth.abandon(left)
        await self._end_calls()
        until = self._loop.time() + BACKLOG
        while self._read() and self._loop.time() < until:
            pass
        self._flush()
        if self._noting is not None:
            self._noting.cancel()
            self._tell_notes()
        self._closed = True
        self._path.close()
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    async def _end_calls(self) -> None:
        """Refuses the requests whose route scripts have not ended, and cancels those."""
        calls = self._scripts.calls if self._scripts is not None else []
        tasks = [call.task for call in calls if call.task is not None]
        for call in calls:
            call.give_up(self._unavailable(call.request))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _ScriptPolicy:
    """What `ScriptRequests` leaves to Python."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.shorten = host._shorten
        self.send_soon = host._send_soon

    async def wrap(self, awaitable: Awaitable[Any]) -> Any:
        return await awaitable

    def conclude(self, request: SipRequest, result: object) -> tuple[bytes, int]:
        """The reply for what a script returned, and the bytes that it may always have."""
        if isinstance(result, Decision):
            if not result:
                self._host._note(request, result)
            return _challenged(request, result)
        if not isinstance(result, _BYTES_LIKE):
            # Not the value itself, which may contain credentials.
            kind = type(result).__name__
            raise TypeError(f"request_route returned {kind}, not bytes, a Decision or None")
        return bytes(result), 0

    def fail(self, error: BaseException) -> None:
        self._host._sparing.exception(error, self._host._loop.time(), "the route script failed")

    def report(self, error: Exception) -> None:
        self._host._sparing.exception(error, self._host._loop.time(), "a request could not be handled")


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
