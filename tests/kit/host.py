"""A SIP/UDP host of this process, for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from kit.disc import FakeDisc
from kit.machine import PATIENCE
from kit.uac import AsyncUac

import auth_diameter as ad
from auth_diameter.host.bind import bind
from auth_diameter.host.route import Route
from auth_diameter.host.server import Host, serve


async def with_disc(
    disc: FakeDisc,
    scenario: Callable[[Host, AsyncUac], Awaitable[Any]],
    route: Route | None = None,
    **config: Any,
) -> Any:
    """Runs a scenario with a host that asks that fake DISC, and a telephone."""
    async with ad.AsyncAuthDiameter(ad.Config(timeout=PATIENCE, **disc.settings, **config)) as auth:
        host = await serve(auth, "127.0.0.1", 0, route)
        try:
            with await AsyncUac.open(host.address) as phone:
                return await scenario(host, phone)
        finally:
            await host.aclose()


class AnsweringTransport:
    """In the place of a connection's transport: a DISC that answers in the next turn of the loop."""

    def __init__(self, auth: ad.AsyncAuthDiameter, answer: Callable[[ad.Message], bytes]) -> None:
        self._auth = auth
        self._answer = answer
        peer = auth._transport.pool.peers[0]
        peer.opening = 1
        auth._transport._check_open()
        self.connection = auth._transport.pool.opened(peer, self, asyncio.get_running_loop().time())

    def write(self, data: bytes) -> None:
        asyncio.get_running_loop().call_soon(self._answer_all, data)

    def _answer_all(self, data: bytes) -> None:
        questions = [ad.Message.decode(question) for question in ad.Framer().feed(data)]
        self._auth._transport._received(self.connection, b"".join(map(self._answer, questions)))

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        pass


async def replies_of(
    answer: Callable[[ad.Message], bytes],
    *datagrams: bytes,
    source: tuple[str, int] = ("192.0.2.1", 5060),
    route: Route | None = None,
    **config: Any,
) -> list[bytes]:
    """What a host would send that gets these datagrams, and these answers from DISC."""
    async with ad.AsyncAuthDiameter(ad.Config(**config)) as auth:
        AnsweringTransport(auth, answer)
        host = Host(bind("127.0.0.1", 0)[0], auth, route)
        sent: list[bytes] = []
        host._begin_path(-1, route)
        for datagram in datagrams:
            host._path.take(datagram, source, host._loop.time())
            host._serve_odd(host._loop.time())
            for _ in range(5):
                await asyncio.sleep(0)
            sent += [reply for reply, _ in host._path.departures.take()]
        await host.aclose()
        return sent
