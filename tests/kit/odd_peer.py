"""A server of standard Diameter whose every byte is the test's: what comes is read, and not answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from kit.dialect import DIGEST, sip
from kit.machine import PATIENCE
from kit.neighbour import SERVER

import auth_diameter as ad
from auth_diameter import Avp, Message
from auth_diameter.diameter.base import answer, avp_named
from auth_diameter.diameter.capabilities import cea

SUCCESS, REJECTED = 2001, 4001

#: AVPs that every MAA has (RFC 4740, 8.8).
ALWAYS = (avp_named("Auth-Application-Id", 6), avp_named("Auth-Session-State", 1))


class OddPeer:
    """The server's end of a connection.

    Attributes:
        reader: what the client sends.
        writer: what it gets.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def read(self) -> Message:
        """The next message of the client."""
        async with asyncio.timeout(PATIENCE):
            head = await self.reader.readexactly(4)
            return Message.decode(head + await self.reader.readexactly(int.from_bytes(head[1:]) - 4))

    def send(self, *messages: Message | bytes) -> None:
        """Sends messages in one write."""
        self.writer.write(b"".join(m if isinstance(m, bytes) else m.encode() for m in messages))

    async def welcome(self) -> None:
        """Takes the CER."""
        self.send(cea(SERVER, "127.0.0.1", await self.read()))

    async def hang_up_comes(self) -> bool:
        """Waits until the client closes the connection; whether it sent nothing more."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read() == b""
            except ConnectionResetError:
                return True


class OddServer:
    """Where the client connects to, and the client.

    Attributes:
        auth: the client.
    """

    def __init__(self, auth: ad.AsyncAuthDiameter, came: asyncio.Queue[OddPeer]) -> None:
        self.auth = auth
        self._came = came

    async def connected(self) -> OddPeer:
        """The next connection."""
        async with asyncio.timeout(PATIENCE):
            return await self._came.get()

    async def welcomed(self) -> OddPeer:
        """The next connection, on which capabilities have been exchanged."""
        self.auth._transport.connect()
        peer = await self.connected()
        await peer.welcome()
        return peer

    def ask(self, number: int = 1) -> list[asyncio.Task[ad.Decision]]:
        """Has the client ask about requests with credentials."""
        request = sip(credentials=DIGEST.format("alice"))
        return [
            asyncio.create_task(self.auth.diameter_www_authorize(request, "siphub.net"))
            for _ in range(number)
        ]


@asynccontextmanager
async def odd_server(**settings: Any) -> AsyncIterator[OddServer]:
    """A server, and a client that asks nobody else."""
    came: asyncio.Queue[OddPeer] = asyncio.Queue()
    peers: list[OddPeer] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(OddPeer(reader, writer))
        came.put_nowait(peers[-1])

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    default: dict[str, Any] = {"application": "sip", "origin_host": "sip.c.test", "timeout": PATIENCE}
    auth = ad.AsyncAuthDiameter(
        ad.Config(diameter_client_host=host, diameter_client_port=port, **default | settings)
    )
    try:
        yield OddServer(auth, came)
    finally:
        for peer in peers:
            peer.writer.close()
        await auth.aclose()
        server.close()
        await server.wait_closed()


def maa(asked: Message, result: int = SUCCESS, *more: Avp) -> Message:
    """An answer to a MAR."""
    return answer(SERVER, asked, result, *ALWAYS, *more)


def changed(message: Message, *, avps: Sequence[Avp] | None = None, **header: int) -> Message:
    """The message with another header, or with other AVPs."""
    names = ("command", "flags", "application_id", "hop_by_hop", "end_to_end")
    fields = {name: getattr(message, name) for name in names} | header
    return Message(fields.pop("command"), message.avps if avps is None else avps, **fields)


def with_session(message: Message, data: bytes) -> Message:
    """The message with another Session-Id."""
    session = avp_named("Session-Id", "")
    others = [avp for avp in message.avps if avp.code != session.code]
    return changed(message, avps=[Avp(session.code, data, flags=session.flags), *others])
