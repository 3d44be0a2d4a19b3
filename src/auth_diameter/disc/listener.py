"""DISC on TCP: connections of SIP servers, each a stream of questions.

What one read brings is answered in one write.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import time
from typing import Any, cast

from auth_diameter._core import RequestStream
from auth_diameter.disc.server import Disc

log = logging.getLogger("auth_diameter.disc")

_BACKLOG = 1024
_WRITE_BUFFER = 1 << 20  # bytes of answers that a SIP server may leave unread before it is closed
_PATIENCE = 1.0  # seconds that a SIP server has to read its last answers when DISC stops
_SLOWEST = 10.0  # seconds in which a question that has begun must have come
_UNFINISHED_MOST = 64 << 20  # bytes of such questions over all connections; who has most is closed then
_ATTEMPTS = 20  # to find a port that is free in IPv4 and in IPv6

_Target = tuple[socket.AddressFamily, Any]  # as getaddrinfo has it


class _Connections(set["_Connection"]):
    """Those that are open. :ivar unfinished: bytes that they keep of questions that are to go on."""

    unfinished = 0


class _Connection(asyncio.Protocol):
    def __init__(self, disc: Disc, connections: _Connections) -> None:
        self._disc = disc
        self._connections = connections
        self._stream = RequestStream()
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._too_late: asyncio.TimerHandle | None = None
        self.unfinished = 0  # bytes kept of a question
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self.peer = "?"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only
        transport.set_write_buffer_limits(high=_WRITE_BUFFER)
        self._transport = transport
        name = transport.get_extra_info("peername")
        if name:
            self.peer = f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
        # A SIP server that lost its power says nothing any more: the kernel finds out.
        with contextlib.suppress(OSError):
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        assert transport is not None
        questions = self._stream.feed(data)
        if questions:
            out = bytearray()
            self._disc.answer(questions, out, time.time())
            transport.write(out)
        if self._stream.fault is not None:
            # Where the next message begins cannot be known any more.
            log.warning("closed the connection of %s: %s", self.peer, self._stream.fault)
            transport.close()
        if self.unfinished or self._stream.pending:
            self._bound_the_unfinished(self._stream.pending, bool(questions))

    def _bound_the_unfinished(self, size: int, another: bool) -> None:
        """The beginning of a question costs memory: for some time, and up to some size for all together.

        :param another: whether it is another question than when it was last looked at.
        """
        self._connections.unfinished += size - self.unfinished
        self.unfinished = size
        if self._too_late is not None and (another or not size):
            self._too_late.cancel()
            self._too_late = None
        if size and self._too_late is None:
            self._too_late = self._loop.call_later(_SLOWEST, self._give_up, "a question did not come whole")
        while self._connections.unfinished > _UNFINISHED_MOST:
            most = max(self._connections, key=lambda connection: connection.unfinished)
            most._give_up("too much is kept of questions that did not come whole")

    def _give_up(self, reason: str) -> None:
        log.warning("closed the connection of %s: %s", self.peer, reason)
        self._connections.unfinished -= self.unfinished
        self.unfinished = 0
        self.abort()

    def pause_writing(self) -> None:
        self._give_up("it does not read its answers")

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.discard(self)
        self._connections.unfinished -= self.unfinished
        self.unfinished = 0
        if self._too_late is not None:
            self._too_late.cancel()
            self._too_late = None
        self.lost.set_result(None)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Listener:
    """A listening DISC; see `listen`.

    :ivar addresses: all (host, port) that it listens on; a name may stand for an IPv4 and an IPv6 one.
    """

    def __init__(self, servers: list[asyncio.Server], connections: _Connections) -> None:
        self._servers = servers
        self._connections = connections
        self.addresses: list[tuple[str, int]] = []
        for server in servers:
            self.addresses += [listening.getsockname()[:2] for listening in server.sockets]

    @property
    def address(self) -> tuple[str, int]:
        """The first of `addresses`."""
        return self.addresses[0]

    async def aclose(self) -> None:
        """Stops listening and closes every connection.

        What was written before still goes out, but a SIP server that does not read holds up nobody.
        """
        for server in self._servers:
            server.close()
        connections = list(self._connections)
        for connection in connections:
            connection.close()
        if connections:
            await asyncio.wait([connection.lost for connection in connections], timeout=_PATIENCE)
        for connection in list(self._connections):
            connection.abort()
        for server in self._servers:
            await server.wait_closed()


async def listen(disc: Disc, host: str, port: int) -> Listener:
    """Listens on every address of `host`, on TCP `port` (0: one that is free on all of them).

    :raises OSError: an address cannot be listened on.
    """
    connections = _Connections()
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    targets: list[_Target] = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
    servers: list[asyncio.Server] = []
    sockets = _bind(targets)
    try:
        while sockets:
            server = await loop.create_server(
                lambda: _Connection(disc, connections), sock=sockets[0], backlog=_BACKLOG
            )
            del sockets[0]
            servers.append(server)
    except BaseException:
        for server in servers:
            server.close()
        raise
    finally:
        for left in sockets:
            left.close()
    return Listener(servers, connections)


def _bind(targets: list[_Target]) -> list[socket.socket]:
    """A socket for each target, all with the same port."""
    for _ in range(_ATTEMPTS):
        try:
            return _bind_once(targets)
        except OSError as error:
            # The port that was free in one family is taken in the other: another one may do.
            if error.errno != errno.EADDRINUSE or targets[0][1][1] != 0 or len(targets) == 1:
                raise
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _bind_once(targets: list[_Target]) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    with contextlib.ExitStack() as stack:
        for family, (host, port, *scope) in targets:
            chosen = port or (sockets[0].getsockname()[1] if sockets else 0)
            try:
                sockets.append(_bind_one(family, (host, chosen, *scope)))
            except OSError as error:
                # /etc/hosts often has an IPv6 address for a name where there is no IPv6.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                missing = error
            else:
                stack.callback(sockets[-1].close)
        if not sockets and missing is not None:
            raise missing
        stack.pop_all()
    return sockets


def _bind_one(family: socket.AddressFamily, address: tuple[Any, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock
