"""The asyncio driver: many questions in flight on a connection, answers in any order.

What is asked in one turn of the loop goes out in one write; there is one timer for all questions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self, cast

from auth_diameter._core import Answer, DiscError, Question
from auth_diameter.authorize import Authorizer, Cause, Decision, Request
from auth_diameter.config import Config
from auth_diameter.pool import Connection, Failure, Peer, Pool, PoolStats

_WRITE_BUFFER = 1 << 20  # bytes of questions that a DISC may leave unread


class AsyncAuthDiameter:
    """The three functions for asyncio, each awaited and answered with a `Decision`.

    ::

        async with AsyncAuthDiameter(Config(diameter_client_host="10.0.0.1")) as auth:
            decision = await auth.diameter_www_authorize(request, "$fd")

    A DISC that is down, slow or wrong is a Decision with 503 or 500, never an exception. Used from
    one event loop. Connections are opened when first needed.

    :ivar counts: how many decisions had each `Cause`: those of the three functions and of `ask`. Who
        takes a decision from `authorizer` itself may add it.
    """

    def __init__(self, config: Config | None = None) -> None:
        self.config = config if config is not None else Config()
        self.counts: dict[Cause, int] = dict.fromkeys(Cause, 0)
        self._authorizer = Authorizer(self.config)
        self._pool = Pool(self.config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._to_send: list[Connection] = []
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    # ------------------------------------------------------------------ the functions

    async def diameter_www_authorize(self, request: Request, realm: str) -> Decision:
        """Authorization, challenged with 401; see `Authorizer.www_authorize` for realm and codes.

        :raises ConfigError: an unknown pseudo-variable in `realm`.
        """
        now = asyncio.get_running_loop().time()
        return await self._decide(self._authorizer.www_authorize(request, realm, now))

    async def diameter_proxy_authorize(self, request: Request, realm: str) -> Decision:
        """Proxy-Authorization, challenged with 407; else the same."""
        now = asyncio.get_running_loop().time()
        return await self._decide(self._authorizer.proxy_authorize(request, realm, now))

    async def diameter_is_user_in(self, request: Request, who: str, group: str) -> Decision:
        """Whether a user is in a group; see `Authorizer.is_user_in` for who and codes."""
        return await self._decide(self._authorizer.is_user_in(request, who, group))

    async def _decide(self, outcome: Question | Decision) -> Decision:
        if type(outcome) is Decision:
            self.counts[outcome.cause] += 1
            return outcome
        assert isinstance(outcome, Question)
        future: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self.ask(outcome, future.set_result)
        return await future

    def ask(self, question: Question, callback: Callable[[Decision], object]) -> None:
        """Asks DISC; `callback` gets the Decision, at once or in a later turn of the loop.

        Without a future or a task: for servers that answer from the callback. It must not raise.
        """
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        if self._closed:
            raise DiscError("this client is closed")
        question.callback = callback
        now = self._loop.time()
        where = self._pool.submit(question, now)
        if isinstance(where, Connection):
            self._send_soon(where)
        elif where is None:
            self._open_wanted(now)
        else:
            self._finish(question, self._authorizer.fail(question, where))
            return
        if self._timer is None:
            self._timer = self._loop.call_at(question.deadline, self._expire)

    def authorizer(self) -> Authorizer:
        """The decisions alone, for callers of `ask`."""
        return self._authorizer

    def stats(self) -> PoolStats:
        """What it has asked, what came of it, and how each DISC is."""
        return self._pool.stats()

    # ------------------------------------------------------------------ sending

    def _send_soon(self, connection: Connection) -> None:
        if not self._to_send:
            assert self._loop is not None
            self._loop.call_soon(self._send)
        if connection not in self._to_send:
            self._to_send.append(connection)

    def _send(self) -> None:
        connections, self._to_send = self._to_send, []
        for connection in connections:
            # One that is closing has lost its questions already, or soon will.
            if connection.outgoing and not connection.transport.is_closing():
                data, connection.outgoing = connection.outgoing, bytearray()
                connection.transport.write(data)

    # ------------------------------------------------------------------ connecting

    def _open_wanted(self, now: float) -> None:
        assert self._loop is not None
        if self._closed:
            return
        while (peer := self._pool.wanted(now)) is not None:
            task = self._loop.create_task(self._open(peer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _open(self, peer: Peer) -> None:
        loop = asyncio.get_running_loop()
        protocol = _Protocol(self, peer)
        try:
            async with asyncio.timeout(self.config.connect_timeout):
                await loop.create_connection(lambda: protocol, peer.host, peer.port)
        except (OSError, UnicodeError):  # the latter: a host that cannot be a name
            pass
        finally:
            if protocol.connection is None:
                protocol.given_up = True
                self._fail(self._pool.failed(peer, loop.time()))
                self._open_wanted(loop.time())

    def _opened(self, peer: Peer, transport: asyncio.Transport) -> Connection:
        connection = self._pool.opened(peer, transport)
        if connection.outgoing:
            self._send_soon(connection)
        return connection

    def _resumed(self, connection: Connection) -> None:
        if self._pool.fill(connection):
            self._send_soon(connection)

    def _lost(self, connection: Connection) -> None:
        assert self._loop is not None
        now = self._loop.time()
        self._fail(self._pool.closed(connection, now))
        self._go_on(now)

    def _go_on(self, now: float) -> None:
        """Where room was made, questions that waited stand in the outgoing of any connection."""
        for connection in self._pool.connections:
            if connection.outgoing:
                self._send_soon(connection)
        self._open_wanted(now)

    # ------------------------------------------------------------------ ends

    def _received(self, connection: Connection, data: bytes) -> None:
        assert self._loop is not None
        now = self._loop.time()
        conclude = self._authorizer.conclude
        waited = bool(self._pool.waiting)
        found: list[tuple[Question, Answer]] = self._pool.received(connection, data)
        if waited:
            self._go_on(now)
        for question, answer in found:
            self._finish(question, conclude(question, answer, now))
        if connection.is_spent:
            self._abort(connection)

    @staticmethod
    def _abort(connection: Connection) -> None:
        connection.paused = True  # no more questions; `_lost` follows in a later turn of the loop
        connection.transport.abort()

    def _fail(self, failures: list[Failure]) -> None:
        for question, cause in failures:
            self._finish(question, self._authorizer.fail(question, cause))

    def _finish(self, question: Question, decision: Decision) -> None:
        self.counts[decision.cause] += 1
        callback, question.callback = question.callback, None
        try:
            callback(decision)
        except asyncio.InvalidStateError:
            pass  # its task was cancelled while DISC thought about it: nobody waits any more
        except Exception as error:  # noqa: BLE001 - one callback must not keep the others from theirs
            assert self._loop is not None
            context = {"message": "the callback of a decision failed", "exception": error}
            self._loop.call_exception_handler(context)

    def _expire(self) -> None:
        assert self._loop is not None
        now = self._loop.time()
        late = self._pool.expire(now)
        for connection in self._pool.spent():
            self._abort(connection)
        self._go_on(now)
        self._fail(late)
        deadline = self._pool.deadline()
        self._timer = None if deadline is None else self._loop.call_at(deadline, self._expire)

    # ------------------------------------------------------------------ life

    async def aclose(self) -> None:
        """Closes all connections; questions under way are decided 503."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._fail(self._pool.stop())
        for connection in list(self._pool.connections):
            connection.transport.abort()
        await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


class _Protocol(asyncio.Protocol):
    """Between one transport and the pool's Connection."""

    def __init__(self, client: AsyncAuthDiameter, peer: Peer) -> None:
        self._client = client
        self._peer = peer
        self.connection: Connection | None = None
        self.given_up = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only
        if self.given_up:
            transport.abort()
            return
        transport.set_write_buffer_limits(high=_WRITE_BUFFER)
        self.connection = self._client._opened(self._peer, transport)

    def data_received(self, data: bytes) -> None:
        if self.connection is not None:
            self._client._received(self.connection, data)

    def pause_writing(self) -> None:
        assert self.connection is not None
        self.connection.paused = True

    def resume_writing(self) -> None:
        assert self.connection is not None
        self.connection.paused = False
        self._client._resumed(self.connection)

    def connection_lost(self, error: Exception | None) -> None:
        if self.connection is not None:
            self._client._lost(self.connection)
