"""A SIP/UDP server that authenticates: for the demo, for tests, and for small jobs.

The default route challenges REGISTER with 401 and every other method with 407, in the realm ``$fd`` or
one of choice, and answers 200 to what DISC lets through; to a REGISTER with its Contacts, though it keeps no
bindings. A route script decides for itself, see `route`.

A retransmission gets the reply that its request got, and is neither judged nor routed again. What cannot
be parsed gets 400 where a reply can be addressed, else nothing. A route that fails is logged and answered
500. Who was not let through gets no reply of more than twice the bytes that came, for the source of a
datagram can be forged, and we shall not be the one who floods its true owner. Of several challenges as many
are sent as fit into that; one always, in a reply of up to 512 bytes, or small requests could never log in.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from auth_diameter._core import (
    DatagramBatch,
    ParseError,
    Question,
    SipRequest,
    Transactions,
)
from auth_diameter.client.aio import AsyncAuthDiameter
from auth_diameter.client.pseudovars import DEFAULT_REALM
from auth_diameter.decision import PROXY, REASONS, UAS, Cause, Decision, refuse
from auth_diameter.host.bind import bind
from auth_diameter.host.route import Route
from auth_diameter.host.turns import Turns
from auth_diameter.logs import Sparing
from auth_diameter.refusals import Refusals, account_of

log = logging.getLogger("auth_diameter.host")

Address: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
Datagram: TypeAlias = tuple[bytes, Address]  # from or to that address


_TROUBLES = frozenset(
    {
        Cause.DISC_REFUSED,
        Cause.DISC_UNUSABLE,
        Cause.DISC_TIMEOUT,
        Cause.DISC_LOST,
        Cause.DISC_UNREACHABLE,
        Cause.OVERLOADED,
    }
)  # DISC did not do its part
_MOST_ROUTES = 10_000  # that run at a time, some 10 KiB each and their request; the next gets 503
_MOST_BYTES = 16 << 20  # of the requests that these have
_MOST_READS = 64  # of 64 datagrams each, one after another
_LATER = (("Retry-After", "2"),)
_AMPLIFICATION = 2  # times the bytes of a request that its reply may have
_ONE_CHALLENGE = 512  # bytes that a reply with one challenge may have in any case
_TOO_SHORT = "Request Too Short For Its Reply"
_BACKLOG = 0.3  # seconds to serve what has come already when the host is closed
_PATIENCE = 1.0  # seconds that requests under way then have to end
_PAUSE = 0.05  # seconds until a socket that cannot be read is tried again


def _challenged(request: SipRequest, decision: Decision) -> tuple[bytes, int]:
    """A refusal's reply, and how many bytes it may have at least.

    Of several challenges those at the end, which are the last choice, are left out until it is not more
    than twice as large as the request, or has one.
    """
    reply, status, headers = decision.reply or b"", decision.status, decision.headers
    if status not in (UAS.status, PROXY.status):
        return reply, 0
    if request.authorized is None:
        while len(headers) > 1 and len(reply) > _AMPLIFICATION * request.data_size:
            headers = headers[:-1]
            reply = refuse(request, decision.cause, status, headers).reply or b""
    return reply, _ONE_CHALLENGE if len(headers) == 1 else 0


class Host:
    """A UDP socket with a route; made by `serve`, or of a socket of `bind.bind`.

    Args:
        realm: text with pseudo-variables: that of the default route, where `route` is None.

    Attributes:
        address: (host, port) it is bound to.
        received: datagrams that came.
        replied: replies that went out.
        malformed: datagrams that were no SIP request.
        retransmissions: those that were absorbed, or got the reply that their request had.
        oversize: replies held back because they were more than twice as large as their request.
        refused: requests that got 503 at once: no room for one more route, see `shedding`; or the close.
    """

    def __init__(
        self, sock: socket.socket, auth: AsyncAuthDiameter, route: Route | None, realm: str = DEFAULT_REALM
    ) -> None:
        self._socket = sock
        self._datagrams = DatagramBatch(sock.fileno())
        self._replies: list[Datagram] = []  # of this turn of the loop
        self._auth = auth
        self._authorizer = auth.authorizer()
        self._route = route
        self._realm = realm
        self._tasks: set[asyncio.Task[None]] = set()
        self._transactions = Transactions()
        self._pending: set[SipRequest] = set()  # those that have no reply so far
        self._pending_size = 0  # bytes
        self._loop = asyncio.get_running_loop()
        name = sock.getsockname()
        self.address: tuple[str, int] = (name[0], name[1])
        self.received = 0
        self.replied = 0
        self.malformed = 0
        self.retransmissions = 0
        self.oversize = 0
        self.refused = 0
        self._draining = False
        self._idle: asyncio.Event | None = None  # set when the last request is answered
        self._closed = False
        self._sparing = Sparing(log)
        self._refusals = Refusals(logging.getLogger("auth_diameter.refused"))
        self._unreadable = 0  # receiving failed so many times in a row
        self._turns = Turns()
        self._taken = 0  # routes that were begun in this turn of the loop
        self._reader: Callable[[], object] = self._read if route is None else self._read_all
        self._loop.add_reader(sock.fileno(), self._reader)

    @property
    def under_way(self) -> int:
        """How many requests have no reply so far."""
        return len(self._pending)

    def use_route(self, route: Route) -> None:
        """Another script for the requests to come; those under way end with theirs."""
        assert self._route is not None
        self._route = route

    # ------------------------------------------------------------------ requests

    def _read(self) -> int:
        """Serves what has come, up to 64 datagrams; how many there were."""
        try:
            datagrams = self._datagrams.receive()
        except OSError as error:
            self._rest(error)
            return 0
        self._unreadable = 0
        self.received += len(datagrams)
        now = self._loop.time()
        full = self._auth.is_full()
        for datagram in datagrams:
            try:
                self._handle(datagram, now, full)
            except Exception as error:  # noqa: BLE001 - one datagram must not end the service of all others
                self._sparing.exception(error, now, "a request could not be handled")
        return len(datagrams)

    def _read_all(self) -> None:
        """The same for all that has come: a route may take long, and what is to be refused shall not wait."""
        self._taken = 0
        for _ in range(_MOST_READS):
            if not self._read():
                break
        if self._taken:
            # Called behind all that the requests of this turn are to do first.
            self._loop.call_soon(self._end_turn, self._taken, self._loop.time())

    def _end_turn(self, taken: int, began: float) -> None:
        self._turns.ended(taken, self._loop.time() - began)

    def _rest(self, error: OSError) -> None:
        """An error of the socket may be that of one datagram. Where it stays, reading must not spin."""
        self._sparing.warning(error.errno, self._loop.time(), "receiving: %s", error.strerror)
        self._unreadable += 1
        if self._unreadable > 1 and not self._closed:
            self._loop.remove_reader(self._socket.fileno())
            self._loop.call_later(_PAUSE, self._read_again)

    def _read_again(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._socket.fileno(), self._reader)

    def _handle(self, datagram: Datagram, now: float, full: bool) -> None:
        try:
            request = self._authorizer.read(*datagram)
        except ParseError as error:
            self.malformed += 1
            if error.request is not None:
                self._send(error.request.reply(error.status, REASONS[error.status]), error.request)
            return
        # An ACK is no transaction: each one that comes answers a reply that was sent once more.
        if not request.is_ack_or_cancel or request.method != "ACK":
            again = self._transactions.begin(request, now)
            if again is not None:
                # RFC 3261, 17.2.2: the same reply, and until there is one, nothing.
                self.retransmissions += 1
                if again[0]:
                    self._queue(again)
                return
        self._pending.add(request)
        self._pending_size += request.data_size
        try:
            self._judge(request, now, full)
        except Exception as error:  # noqa: BLE001 - it is answered, and not under way for ever
            self._sparing.exception(error, now, "a request could not be handled")
            self._answer(request, request.reply(500, REASONS[500]))

    def _judge(self, request: SipRequest, now: float, full: bool) -> None:
        if self._draining or (self._route is not None and not self._has_room()):
            self.refused += 1
            self._answer(request, request.reply(503, REASONS[503], _LATER))
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
            self._auth.ask(outcome, partial(self._conclude, request))
        else:
            self._auth.counts[outcome.cause] += 1
            self._conclude(request, outcome)

    def _has_room(self) -> bool:
        """For one more route."""
        return (
            self._taken < self._turns.room
            and len(self._tasks) < _MOST_ROUTES
            and self._pending_size <= _MOST_BYTES
        )

    def _conclude(self, request: SipRequest, decision: Decision) -> None:
        """The default route's end: 200 to what is let through, else the decision's own reply."""
        if decision:
            self._answer(request, self._let_in(request, decision))
            return
        self._note(request, decision)
        self._answer(request, *_challenged(request, decision))

    def _let_in(self, request: SipRequest, decision: Decision) -> bytes:
        if not request.is_register:
            return request.reply(200, "OK", decision.headers)
        try:
            contacts = request.contact_headers()
        except ParseError:
            return request.reply(400, REASONS[400])
        return request.reply(200, "OK", [*decision.headers, *contacts] if decision.headers else contacts)

    async def _run(self, route: Route, request: SipRequest) -> None:
        most = 0
        try:
            result = await route(request, self._auth)
            if isinstance(result, Decision):
                if not result:
                    self._note(request, result)
                result, most = _challenged(request, result)
            if result is not None and not isinstance(result, bytes | bytearray | memoryview):
                # Not the value itself, which may be of a request's credentials.
                kind = type(result).__name__
                raise TypeError(f"request_route returned {kind}, not bytes, a Decision or None")
            reply = bytes(result) if result is not None else b""
        except asyncio.CancelledError:
            reply = request.reply(500, REASONS[500])
        except (Exception, SystemExit) as error:  # noqa: BLE001 - nor a sys.exit() in a script
            self._sparing.exception(error, self._loop.time(), "the route script failed")
            reply = request.reply(500, REASONS[500])
        self._answer(request, reply, most)

    def _note(self, request: SipRequest, decision: Decision) -> None:
        """Logs what is not let through, but for a challenge, which is how everybody begins."""
        cause = decision.cause
        if cause is Cause.CHALLENGED or self._closed:
            return
        if cause in _TROUBLES:
            self._sparing.warning(cause, self._loop.time(), "%s", cause.value)
            return
        # Whoever sends datagrams can write any source on them.
        source = request.source[0] if request.source is not None else ""
        account = account_of(decision.username, decision.realm)
        self._refusals.note(account, source, cause.name, False, self._loop.time())

    # ------------------------------------------------------------------ replies

    def _answer(self, request: SipRequest, reply: bytes, most: int = 0) -> None:
        """The end of a request, with b"" for no reply; an end that comes too late is dropped.

        Args:
            most: bytes that the reply may have in any case, see `_send`.
        """
        try:
            self._pending.remove(request)
            self._pending_size -= request.data_size
        except KeyError:
            return
        reply, address = self._send(reply, request, most)
        self._transactions.complete(request, reply, address[1])
        if self._idle is not None and not self._pending:
            self._idle.set()

    def _send(self, reply: bytes, request: SipRequest, most: int = 0) -> Datagram:
        """Sends a reply, b"" for none; what was sent, and where to.

        In its place goes a small one or none where it must not be sent: who was not let through gets
        twice the bytes of his request, or `most` where that is more.
        """
        if len(reply) > max(_AMPLIFICATION * request.data_size, most) and request.authorized is None:
            self.oversize += 1
            self._sparing.warning(
                _TOO_SHORT, self._loop.time(), "a reply would be more than twice as large as its request"
            )
            reply = request.reply(400, _TOO_SHORT)
            if len(reply) > _AMPLIFICATION * request.data_size:
                reply = b""
        address = request.reply_address
        assert address is not None
        addressed = reply, address
        if reply:
            self._queue(addressed)
        return addressed

    def _queue(self, addressed: Datagram) -> None:
        """It leaves in this turn of the loop, together with all others."""
        if not self._replies:
            self._loop.call_soon(self._flush)
        self._replies.append(addressed)

    def _flush(self) -> None:
        replies, self._replies = self._replies, []
        if not self._closed:
            # What the kernel refuses is lost, as UDP loses it elsewhere: the client asks again.
            self.replied += self._datagrams.send(replies)

    # ------------------------------------------------------------------ end

    async def aclose(self) -> None:
        """Serves what has come, lets it end for a second, and closes the socket.

        What comes meanwhile gets 503 with Retry-After, and so does what has not ended by then.
        """
        if self._draining:
            return
        until = self._loop.time() + _BACKLOG
        while self._read() and self._loop.time() < until:
            await asyncio.sleep(0)  # what others have to do comes in between, such as answers of DISC
        self._draining = True
        if self._pending:
            self._idle = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), _PATIENCE)
        for request in list(self._pending):
            self._answer(request, request.reply(503, REASONS[503], _LATER))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        until = self._loop.time() + _BACKLOG
        while self._read() and self._loop.time() < until:
            pass
        self._flush()
        self._closed = True
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()


async def serve(auth: AsyncAuthDiameter, host: str, port: int, route: Route | None = None) -> Host:
    """Serves SIP on UDP `host`:`port` (port 0: any free one), IPv4 or IPv6, until `Host.aclose`.

    Raises:
        OSError: the address cannot be bound.
    """
    # A name may have to be asked for, and that takes its time.
    [sock] = await asyncio.get_running_loop().run_in_executor(None, bind, host, port)
    return Host(sock, auth, route)
