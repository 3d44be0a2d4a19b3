"""A SIP host that gets one datagram at a time, and a DISC that answers as it is told; no network."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import auth_diameter as ad
from auth_diameter._core import restart_msgids
from auth_diameter.host.bind import bind
from auth_diameter.host.route import Route
from auth_diameter.host.server import Host

Address = tuple[Any, ...]
Note = tuple[str, str, str]  # account, source, and the name of the cause
_LONG_AFTER = 100.0  # seconds; no question waits so long
_TURNS_TO_RECONNECT = 6  # of the loop, in which a connection is closed and another one is refused
_SIP_MSGID = (406).to_bytes(4, "big")


class Played(NamedTuple):
    """What became of a datagram and its retransmissions: one at the end, and one while DISC is asked."""

    replies: list[tuple[bytes, Address]]  # in order
    questions: list[bytes]
    notes: list[Note]  # refusals for the log
    decision: ad.Decision | None  # of the route script, if there is one
    odd: int
    oversize: int  # replies that were held back

    @property
    def reply(self) -> tuple[bytes, Address] | None:
        return self.replies[0] if self.replies else None


def reply_to(request: ad.SipRequest, decision: ad.Decision) -> bytes | ad.Decision:
    """What a route script returns that does as the default route."""
    if not decision:
        return decision
    if not request.is_register:
        return request.reply(200, "OK", decision.headers)
    try:
        return request.reply(200, "OK", [*decision.headers, *request.contact_headers()])
    except ad.ParseError:
        return request.reply(400, "Bad Request")


class Replaying:
    """A host with the default route, or with a route script, and its DISC.

    Args:
        answer: the answer to any question, whose SIP-MSGID is put in; None: DISC never answers.
        by_script: whether a route script stands in for the default route.
        realm: what it authenticates in.
        config: settings of the client; by default as `serve` has them.
    """

    def __init__(self, answer: bytes | None, *, by_script: bool, realm: str = "$fd", **config: Any) -> None:
        self.auth = ad.AsyncAuthDiameter(ad.Config(**{"tell_source": True, **config}))
        self._realm = realm
        self.answer = answer
        self._decision: ad.Decision | None = None
        self._is_closing = False
        self._questions: list[bytes] = []
        self._sent: list[tuple[bytes, Address]] = []
        self._notes: list[Note] = []
        transport = self.auth._transport
        transport._check_open()
        transport._start_opening = self._refuse_connection  # type: ignore[method-assign]
        peer = transport.pool.peers[0]
        peer.opening = 1
        self._connection = transport.pool.opened(peer, self, asyncio.get_running_loop().time())
        route: Route | None = self._route if by_script else None
        self.host = Host(bind("127.0.0.1", 0)[0], self.auth, route, realm)
        self.host._refusals = self  # type: ignore[assignment]
        self.host._begin_path(-1, route)
        self.path = self.host._path

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.host.aclose()
        await self.auth.aclose()
        restart_msgids()

    @property
    def is_connected(self) -> bool:
        """Whether the connection to DISC is whole, and no part of a message waits for the rest of it."""
        return not self._is_closing and not self._connection.pending

    async def play(self, data: bytes, source: Address, number: int = 0) -> Played:
        """What becomes of a datagram.

        Args:
            number: SIP-MSGID of the question, if there is one.
        """
        odd, oversize = self.host.slow, self.host.oversize
        self._decision = None
        restart_msgids(number)
        await self._take(data, source)
        if self._questions:
            await self._take(data, source)
        questions, self._questions = self._questions, []
        for question in questions:
            self._reply_to(question)
        await self._end_turn()
        if self.host.under_way:
            self._expire_all()
            await self._end_turn()
        await self._take(data, source)
        questions += self._questions
        played = Played(
            self._sent[:],
            questions,
            self._notes[:],
            self._decision,
            self.host.slow - odd,
            self.host.oversize - oversize,
        )
        self._forget()
        return played

    async def play_at_once(self, datagrams: list[bytes], source: Address) -> list[tuple[bytes, Address]]:
        """The replies to datagrams that all come before DISC answers, sorted."""
        for data in datagrams:
            await self._take(data, source)
        while self._questions:
            questions, self._questions = self._questions, []
            for question in questions:
                self._reply_to(question)
                await self._end_turn()
        replies = sorted(self._sent)
        self._forget()
        return replies

    def _forget(self) -> None:
        self._sent.clear()
        self._notes.clear()
        self._questions.clear()

    async def _take(self, data: bytes, source: Address) -> None:
        now = self.host._loop.time()
        self.path.take(data, source, now)
        self.host._serve_odd(now)
        await self._end_turn()

    async def _end_turn(self) -> None:
        """Lets a route script go on, has the questions written, and takes what is sent."""
        turns = 2 if self.host._scripts is not None and self.host._scripts.calls else 0
        if self._is_closing or self.auth._transport.pool.waiting:
            turns = _TURNS_TO_RECONNECT
        for _ in range(turns):
            await asyncio.sleep(0)
        self.auth.send_questions()
        self._sent += self.path.departures.take()
        if self.host._default is not None:
            self.host._log_notes(self.host._default)

    def _reply_to(self, question: bytes) -> None:
        if self.answer is None:
            self._expire_all()
            return
        place = self.answer.find(_SIP_MSGID) + 8
        answer = self.answer
        if place >= 8:
            answer = answer[:place] + question[12:16] + answer[place + 4 :]
        self.auth._transport._received(self._connection, answer)

    def _expire_all(self) -> None:
        """The time limit of all questions is over."""
        now = self.host._loop.time()
        in_flight = self.auth._transport.pool.in_flight
        while (expired := in_flight.take_expired(now + _LONG_AFTER)) is not None:
            self.auth._failed(expired, ad.Cause.DISC_TIMEOUT, now)
        self.auth._ended(now)

    def _refuse_connection(self, peer: Any) -> None:
        """In the place of opening another connection to DISC."""

        def refuse() -> None:
            now = self.host._loop.time()
            self.auth._transport.pool.failed(peer, now, "refused")
            self.auth._transport._act(now)

        self.host._loop.call_soon(refuse)

    async def _route(self, request: ad.SipRequest, auth: ad.AsyncAuthDiameter) -> bytes | ad.Decision:
        ask = auth.diameter_www_authorize if request.is_register else auth.diameter_proxy_authorize
        self._decision = decision = await ask(request, self._realm)
        return reply_to(request, decision)

    # In the place of a connection's transport.

    def write(self, data: bytes) -> None:
        self._questions += ad.Framer().feed(data)

    def is_closing(self) -> bool:
        return self._is_closing

    def abort(self) -> None:
        self._is_closing = True
        self.host._loop.call_soon(self.auth._transport._lost, self._connection)

    # In the place of the log of refusals.

    def note(
        self, account: str, source: str, cause: str, now: float, *, proven: bool, times: int = 1
    ) -> None:
        assert not proven
        self._notes += [(account, source, cause)] * times

    def leave_out(self, number: int) -> None:
        assert number == 0


@contextlib.contextmanager
def stopped_clock() -> Iterator[None]:
    """The clock of the running loop stands still: nothing expires by itself, however slow the machine is."""
    loop = asyncio.get_running_loop()
    now = loop.time()
    loop.time = lambda: now  # type: ignore[method-assign]
    try:
        yield
    finally:
        del loop.time  # type: ignore[misc]
