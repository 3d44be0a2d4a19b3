"""DISC on TCP: connections of SIP servers, each a stream of questions.

What one read brings is answered in one write.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import cast

from auth_diameter._core import RequestStream
from auth_diameter.disc.server import Disc

log = logging.getLogger("auth_diameter.disc")

_BACKLOG = 1024
_WRITE_BUFFER = 1 << 20  # bytes of answers that a SIP server may leave unread before it is closed


class _Connection(asyncio.Protocol):
    def __init__(self, disc: Disc, connections: set[_Connection]) -> None:
        self._disc = disc
        self._connections = connections
        self._stream = RequestStream()
        self._transport: asyncio.Transport | None = None
        self.peer = "?"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only
        transport.set_write_buffer_limits(high=_WRITE_BUFFER)
        self._transport = transport
        name = transport.get_extra_info("peername")
        if name:
            self.peer = f"{name[0]}:{name[1]}"
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

    def pause_writing(self) -> None:
        log.warning("closed the connection of %s: it does not read its answers", self.peer)
        assert self._transport is not None
        self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.discard(self)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Listener:
    """A listening DISC; see `listen`."""

    def __init__(self, server: asyncio.Server, connections: set[_Connection]) -> None:
        self._server = server
        self._connections = connections
        host, port = server.sockets[0].getsockname()[:2]
        self.address: tuple[str, int] = (host, port)

    async def aclose(self) -> None:
        """Stops listening and closes every connection, what was written before included."""
        self._server.close()
        for connection in list(self._connections):
            connection.close()
        await asyncio.sleep(0)
        await self._server.wait_closed()


async def listen(disc: Disc, host: str, port: int) -> Listener:
    """Listens on `host` and TCP `port` (0: any free one; see `Listener.address`).

    :raises OSError: the address cannot be listened on.
    """
    connections: set[_Connection] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _Connection(disc, connections), host, port, backlog=_BACKLOG, reuse_address=True
    )
    return Listener(server, connections)
