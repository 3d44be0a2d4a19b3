"""A SIP/UDP server that authenticates: for the demo, for tests, and for small jobs.

The default route challenges REGISTER with 401 and every other method with 407, in the realm ``$fd``,
and answers 200 to what DISC lets through. A route script decides for itself::

    async def request_route(request, auth):
        decision = await auth.diameter_proxy_authorize(request, "$fd")
        if not decision:
            return decision                                # its reply is sent
        return request.reply(200, "OK")                    # bytes are sent; None sends nothing

It is stateless: a retransmission is judged again. What cannot be parsed gets 400 where a reply can be
addressed, else nothing. A route that fails is logged and answered 500.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import logging
import socket
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias, cast

from auth_diameter._core import ConfigError, DatagramBatch, ParseError, Question, SipRequest
from auth_diameter.aio import AsyncAuthDiameter
from auth_diameter.authorize import Cause, Decision

log = logging.getLogger("auth_diameter.host")

Address: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
Result = bytes | Decision | None
Route = Callable[[SipRequest, AsyncAuthDiameter], Awaitable[Result]]

_RECEIVE_BUFFER = 4 << 20  # bytes of datagrams that the kernel holds while we are busy
_REALM = "$fd"

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
_LATER = (("Retry-After", "2"),)
_PATIENCE = 1.0  # seconds that running routes have to end when the host is closed
_QUIET = 10.0  # seconds between two lines of the log that say so

_REASONS = {
    400: "Bad Request",
    500: "Server Internal Error",
    503: "Service Unavailable",
    505: "Version Not Supported",
}


def load_route(path: str) -> Route:
    """The ``request_route`` of a Python file.

    :raises ConfigError: the file is missing, has an error, or no such coroutine function; one line
        with file, line and reason.
    """
    # Dataclasses and pickle look a module up by its name.
    name = "auth_diameter_route"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"route {path}: not a Python file (.py)")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        line = f", line {error.lineno}" if error.lineno else ""
        raise ConfigError(f"route {path}{line}: {error.msg}") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a script does is told in one line
        if isinstance(error, OSError) and error.filename == spec.origin:
            raise ConfigError(f"route {path}: {error.strerror}") from None
        raise ConfigError(f"route {path}, {_where(error, spec.origin)}{error}") from None
    route = getattr(module, "request_route", None)
    if not inspect.iscoroutinefunction(route):
        raise ConfigError(f"route {path}: expected async def request_route(request, auth)")
    try:
        inspect.signature(route).bind(None, None)
    except TypeError:
        line = f", line {route.__code__.co_firstlineno}"
        raise ConfigError(f"route {path}{line}: request_route must take (request, auth)") from None
    return cast(Route, route)


def _where(error: BaseException, file: str | None) -> str:
    """``line 3: KeyError: ``, with the last line of `file` on the way to the error."""
    line = 0
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == file:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return f"line {line}: {type(error).__name__}: "


class Host:
    """A UDP socket with a route; made by `serve`, or of a socket of `bind`.

    :ivar address: (host, port) it is bound to.
    :ivar received, replied, malformed: how many datagrams came, were answered, were no SIP request.
    """

    def __init__(self, sock: socket.socket, auth: AsyncAuthDiameter, route: Route | None) -> None:
        self._socket = sock
        self._datagrams = DatagramBatch(sock.fileno())
        self._replies: list[tuple[bytes, Address]] = []  # of this turn of the loop
        self._auth = auth
        self._authorizer = auth.authorizer()
        self._route = route
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        name = sock.getsockname()
        self.address: tuple[str, int] = (name[0], name[1])
        self.received = 0
        self.replied = 0
        self.malformed = 0
        self._closed = False
        self._troubled = 0  # requests that DISC failed, since the log last said so
        self._quiet_until = 0.0
        self._loop.add_reader(sock.fileno(), self._read)

    def _read(self) -> None:
        try:
            datagrams = self._datagrams.receive()
        except OSError as error:
            log.warning("receiving: %s", error.strerror)
            return
        self.received += len(datagrams)
        for data, source in datagrams:
            try:
                self._handle(data, source)
            except Exception:
                # One datagram must not end the service of all others.
                log.exception("a request could not be handled")

    def _handle(self, data: bytes, source: Address) -> None:
        try:
            request = self._authorizer.read(data, source)
        except ParseError as error:
            self.malformed += 1
            if error.request is not None:
                status = error.status
                reply = error.request.reply(status, _REASONS[status])
                self._send(reply, error.request, source)
            return
        if self._route is not None:
            if len(self._tasks) >= _MOST_ROUTES:
                self._send(request.reply(503, _REASONS[503], _LATER), request, source)
                return
            task = self._loop.create_task(self._run(self._route, request, source))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        if request.is_register:
            outcome = self._authorizer.www_authorize(request, _REALM)
        else:
            outcome = self._authorizer.proxy_authorize(request, _REALM)
        if isinstance(outcome, Question):
            self._auth.ask(outcome, partial(self._reply, request, source))
        else:
            self._reply(request, source, outcome)

    def _reply(self, request: SipRequest, source: Address, decision: Decision) -> None:
        """The default route's end: 200 to what is let through, else the decision's own reply."""
        if decision:
            self._send(request.reply(200, "OK", decision.headers), request, source)
            return
        self._note(decision)
        if decision.reply is not None:
            self._send(decision.reply, request, source)

    async def _run(self, route: Route, request: SipRequest, source: Address) -> None:
        try:
            result = await route(request, self._auth)
            if isinstance(result, Decision):
                self._note(result)
                result = result.reply
            if result is not None and not isinstance(result, bytes | bytearray | memoryview):
                raise TypeError(f"request_route returned {result!r:.80}, not bytes, a Decision or None")
            reply = bytes(result) if result is not None else b""
        except (Exception, SystemExit):
            # A sys.exit() in a script ends its request, not the service.
            log.exception("the route script failed")
            reply = request.reply(500, _REASONS[500])
        self._send(reply, request, source)

    def _note(self, decision: Decision) -> None:
        """Logs that DISC fails, at once and then now and again, for every request may fail."""
        if decision.cause not in _TROUBLES or self._closed:
            return
        self._troubled += 1
        now = self._loop.time()
        if now >= self._quiet_until:
            count = f"{self._troubled} request{'s' if self._troubled != 1 else ''}"
            log.warning("%s (%s refused)", decision.cause.value, count)
            self._troubled = 0
            self._quiet_until = now + _QUIET

    def _send(self, reply: bytes, request: SipRequest, source: Address) -> None:
        """Sends in this turn of the loop, together with all others."""
        if not reply or self._closed:
            return
        address: Address = request.reply_address or source
        if len(source) > 2:
            # Of IPv6, flow and scope stand behind host and port; link-local needs the scope.
            address = cast(Address, (*address[:2], *source[2:]))
        if not self._replies:
            self._loop.call_soon(self._flush)
        self._replies.append((reply, address))

    def _flush(self) -> None:
        replies, self._replies = self._replies, []
        if not self._closed:
            # What the kernel refuses is lost, as UDP loses it elsewhere: the client asks again.
            self.replied += self._datagrams.send(replies)

    async def aclose(self) -> None:
        """Stops reading, lets running routes end for a second, closes the socket."""
        if self._closed:
            return
        self._loop.remove_reader(self._socket.fileno())
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=_PATIENCE)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        self._flush()
        self._closed = True
        self._socket.close()


def bind(host: str, port: int, count: int = 1) -> list[socket.socket]:
    """So many UDP sockets on `host`:`port`, over which the kernel spreads the clients.

    :raises OSError: the address cannot be bound, or any other program has it.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            sock.setblocking(False)
            if sys.platform == "linux":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            if sock is sockets[0]:
                # Nobody else may have the address: only once it is ours is it shared, by us alone.
                sock.bind(address)
            if count > 1:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if sock is not sockets[0]:
                sock.bind(sockets[0].getsockname())
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


async def serve(auth: AsyncAuthDiameter, host: str, port: int, route: Route | None = None) -> Host:
    """Serves SIP on UDP `host`:`port` (port 0: any free one), IPv4 or IPv6, until `Host.aclose`.

    :raises OSError: the address cannot be bound.
    """
    # A name may have to be asked for, and that takes its time.
    [sock] = await asyncio.get_running_loop().run_in_executor(None, bind, host, port)
    return Host(sock, auth, route)
