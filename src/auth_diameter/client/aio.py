"""The asyncio driver: many questions in flight on a connection, answers in any order.

What is asked in one turn of the loop goes out in one write; there is one timer for all questions.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import socket
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, cast

from auth_diameter._core import Answer, DiscError, Question, SipRequest
from auth_diameter.client.authorizer import Authorizer, Request, is_held, is_refused
from auth_diameter.config import Config
from auth_diameter.decision import Cause, Decision
from auth_diameter.diameter.peer import Change, Connection, Peer
from auth_diameter.diameter.peer_log import ChangeLog
from auth_diameter.diameter.pool import Failure, Pool
from auth_diameter.diameter.resolver import Address, Outcome, Resolver, reason_of
from auth_diameter.diameter.stats import PoolStats

_MOST_BYTES = (
    16 << 20
)  # of the requests that are asked about; with what goes out for them, three times as much


class AsyncAuthDiameter:
    """The three functions for asyncio, each awaited and answered with a `Decision`.

    ::

        async with AsyncAuthDiameter(Config(diameter_client_host="10.0.0.1")) as auth:
            decision = await auth.diameter_www_authorize(request, "$fd")

    A DISC that is down, slow or wrong is a Decision with 503 or 500, never an exception. Used from
    one event loop. Connections are opened when first needed; a process that was forked has its own.

    :ivar counts: how many decisions had each `Cause`: those of the three functions and of `ask`. Who
        takes a decision from `authorizer` itself may add it.
    """

    def __init__(self, config: Config | None = None) -> None:
        self.config = config if config is not None else Config()
        self.counts: dict[Cause, int] = dict.fromkeys(Cause, 0)
        self._authorizer = Authorizer(self.config)
        self._closed = False
        self._inherited: list[Any] = []
        self._begin()
        _clients.add(self)

    def _begin(self) -> None:
        self._pool = Pool(self.config, changed=self._changed)
        self._resolver = Resolver()
        self._log = ChangeLog()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._to_send: list[Connection] = []
        self._timer: asyncio.TimerHandle | None = None
        self._expires_at = math.inf  # what the timer is set to
        self._tasks: set[asyncio.Task[None]] = set()
        self._size = 0  # bytes of all requests that are asked about
        self._releasing = False

    def _after_fork(self) -> None:
        """In the child: connections, tasks and loop are its parent's, and are not touched any more."""
        # Not even closed or forgotten, which would take them out of the parent's epoll.
        self._inherited += [self._pool, self._tasks, self._timer, self._loop]
        self._authorizer.after_fork()
        self._begin()

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
        if self._timer is None:
            self._begin_to_ask()
        assert self._loop is not None
        question.callback = callback
        now = self._loop.time()
        self._size += question.request.data_size
        if self._size > _MOST_BYTES:
            self._pool.refused_overload += 1
            self._fail([(question, Cause.OVERLOADED)], now)
        elif question.attempt is not None and is_held(question):
            cause = self._pool.hold(question, now)
            if cause is not None:
                self._fail([(question, cause)], now)
        else:
            where = self._pool.submit(question, now)
            if isinstance(where, Connection):
                self._send_soon(where)
            else:
                self._not_sent(question, where, now)
        if self._timer is None:
            self._set_timer()

    def _not_sent(self, question: Question, why: Cause | None, now: float) -> None:
        """No connection took the question: it waits for one, or cannot be asked."""
        if why is None:
            self._open_wanted(now)
        else:
            self._fail([(question, why)], now)
        if now >= self._pool.due:
            self._tend(now)

    def _ask_released(self, now: float) -> None:
        """Asks what was held until others had ended; to be called when some have."""
        if self._releasing:
            return  # whoever does it looks again
        self._releasing = True
        try:
            while released := self._authorizer.released():
                refused = [question for question in released if is_refused(question)]
                for question in refused:
                    self._pool.drop(question)
                self._fail([(question, Cause.PENALIZED) for question in refused], now)
                admitted = [question for question in released if question.attempt is not None]
                for question, where in self._pool.release(admitted, now):
                    if isinstance(where, Connection):
                        self._send_soon(where)
                    else:
                        self._not_sent(question, where, now)
        finally:
            self._releasing = False

    def is_full(self) -> bool:
        """Whether DISC has too much to do to be asked anything more."""
        return self._pool.is_full()

    def refusal(self, request: SipRequest) -> Decision | None:
        """The Decision on a request that DISC would have to be asked about, and has too much to do for.

        Else None. For callers of `ask`: to find that out so costs half of what it costs to make the question.
        """
        if not self.is_full():
            return None
        self._pool.refused_overload += 1
        self.counts[Cause.OVERLOADED] += 1
        return self._authorizer.overloaded(request)

    def _begin_to_ask(self) -> None:
        """Nothing is under way.

        :raises DiscError: nor will be any more.
        """
        if self._closed:
            raise DiscError("this client is closed")
        if self._loop is None:
            self._loop = asyncio.get_running_loop()

    def authorizer(self) -> Authorizer:
        """The decisions alone, for callers of `ask`."""
        return self._authorizer

    def stats(self) -> PoolStats:
        """What it has asked, what came of it, and how each DISC is."""
        return self._pool.stats()

    async def unreachable(self) -> list[tuple[str, str]]:
        """Each DISC that cannot be connected to now: its HOST:PORT, and why. No connection is kept."""

        async def try_once(peer: Peer) -> str:
            try:
                (await self._connect(peer)).close()
            except socket.gaierror as error:
                return f"its name does not resolve ({reason_of(error)})"
            except OSError as error:
                return reason_of(error)
            return ""

        peers = self._pool.peers
        reasons = await asyncio.gather(*map(try_once, peers))
        return [(repr(peer), reason) for peer, reason in zip(peers, reasons, strict=True) if reason]

    # ------------------------------------------------------------------ sending

    def _send_soon(self, connection: Connection) -> None:
        if not self._to_send:
            assert self._loop is not None
            self._loop.call_soon(self._send)
        if connection not in self._to_send:
            self._to_send.append(connection)

    def _send(self) -> None:
        assert self._loop is not None
        now = self._loop.time()
        if now >= self._pool.due:
            self._tend(now)
        if self._pool.due < self._expires_at:
            self._set_timer()
        connections, self._to_send = self._to_send, []
        for connection in connections:
            # One that is closing has lost its questions already, or soon will.
            if connection.outgoing and not connection.paused and not connection.transport.is_closing():
                data, connection.outgoing = connection.outgoing, bytearray()
                connection.transport.write(data)
                if connection.full:
                    self._pool.sent(connection, now)
                    if connection.outgoing:
                        self._send_soon(connection)

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
        why = "given up"  # where its task is cancelled
        try:
            sock = await self._connect(peer)
            try:
                await loop.create_connection(lambda: protocol, sock=sock)
            except BaseException:
                sock.close()
                raise
        except OSError as error:
            why = reason_of(error)
        finally:
            if protocol.connection is None:
                protocol.given_up = True
                now = loop.time()
                self._fail(self._pool.failed(peer, now, why), now)
                self._go_on(now)

    async def _connect(self, peer: Peer) -> socket.socket:
        """A socket that is connected to one of its addresses; each has its share of `connect_timeout`.

        :raises OSError: none of them could be reached.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self.config.connect_timeout
        left = list(await self._look_up(peer))
        error: OSError = TimeoutError()
        while left:
            address = left.pop(0)
            try:
                async with asyncio.timeout((until - loop.time()) / (len(left) + 1)):
                    sock = await _connected(loop, address)
            except OSError as this_error:
                error = this_error
                continue
            self._resolver.tried(peer.host, address)
            return sock
        self._resolver.tried(peer.host, None)
        raise error

    async def _look_up(self, peer: Peer) -> list[Address]:
        """:raises OSError: it has no address."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Outcome] = loop.create_future()

        def settle(outcome: Outcome) -> None:
            if not future.done():
                future.set_result(outcome)

        def done(outcome: Outcome) -> None:
            # From the thread that looks it up, whose loop may be gone by then.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, outcome)

        self._resolver.look_up(peer.host, peer.port, done)
        try:
            async with asyncio.timeout(self.config.connect_timeout):
                outcome = await future
        except TimeoutError:
            raise OSError("looking up its name takes too long") from None
        finally:
            self._resolver.forget(peer.port, done)
        if isinstance(outcome, OSError):
            raise outcome
        return list(outcome)

    def _opened(self, peer: Peer, transport: asyncio.Transport) -> Connection:
        assert self._loop is not None
        connection = self._pool.opened(peer, transport, self._loop.time())
        if connection.is_spent:
            self._abort(connection)
        elif connection.outgoing:
            self._send_soon(connection)
        return connection

    def _resumed(self, connection: Connection) -> None:
        assert self._loop is not None
        self._pool.resume(connection, self._loop.time())
        if connection.outgoing:
            self._send_soon(connection)

    def _lost(self, connection: Connection) -> None:
        assert self._loop is not None
        now = self._loop.time()
        self._fail(self._pool.closed(connection, now), now)
        self._go_on(now)

    def _tend(self, now: float) -> None:
        self._log.flush(now)
        self._pool.tend(now)
        self._pool.due = min(self._pool.due, self._log.due)
        self._go_on(now)

    def _go_on(self, now: float) -> None:
        """Where room was made, questions that waited stand in the outgoing of any connection."""
        for connection in self._pool.connections:
            if connection.is_spent:
                self._abort(connection)
            elif connection.outgoing:
                self._send_soon(connection)
        self._open_wanted(now)

    def _changed(self, change: Change) -> None:
        assert self._loop is not None
        self._log.tell(change, self._loop.time())
        self._pool.due = min(self._pool.due, self._log.due)

    # ------------------------------------------------------------------ ends

    def _received(self, connection: Connection, data: bytes) -> None:
        assert self._loop is not None
        now = self._loop.time()
        if now >= self._expires_at:
            # This process has slept longer than its questions may wait: their answers are stale.
            self._expire()
        conclude = self._authorizer.conclude
        waited = bool(self._pool.waiting)
        found: list[tuple[Question, Answer]] = self._pool.received(connection, data, now)
        if waited:
            self._go_on(now)
        for question, answer in found:
            try:
                decision = conclude(question, answer, now)
            except Exception as error:  # noqa: BLE001 - one answer must not keep the others from theirs
                self._report(error, "an answer could not be judged")
                decision = self._authorizer.fail(question, Cause.DISC_UNUSABLE, now)
            self._finish(question, decision)
        self._ask_released(now)
        if connection.is_spent:
            self._abort(connection)

    def _abort(self, connection: Connection) -> None:
        self._pool.give_up(connection)  # `_lost` follows in a later turn of the loop
        connection.transport.abort()

    def _fail(self, failures: list[Failure], now: float) -> None:
        for question, cause in failures:
            self._finish(question, self._authorizer.fail(question, cause, now))
        self._ask_released(now)

    def _finish(self, question: Question, decision: Decision) -> None:
        self._size -= question.request.data_size
        self.counts[decision.cause] += 1
        callback, question.callback = question.callback, None
        try:
            callback(decision)
        except asyncio.InvalidStateError:
            pass  # its task was cancelled while DISC thought about it: nobody waits any more
        except Exception as error:  # noqa: BLE001 - one callback must not keep the others from theirs
            self._report(error, "the callback of a decision failed")

    def _report(self, error: Exception, what: str) -> None:
        assert self._loop is not None
        self._loop.call_exception_handler({"message": what, "exception": error})

    def _expire(self) -> None:
        assert self._loop is not None
        now = self._loop.time()
        late = self._pool.expire(now)
        if now >= self._pool.due:
            self._tend(now)
        else:
            self._go_on(now)
        self._fail(late, now)
        self._set_timer()

    def _set_timer(self) -> None:
        """One timer for all questions: it is set for the oldest, and again when that time is over.

        Or for a DISC in doubt, as long as there are questions.
        """
        assert self._loop is not None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._pool.deadline()
        self._expires_at = math.inf
        if deadline is not None and not self._closed:
            self._expires_at = min(deadline, self._pool.due)
            self._timer = self._loop.call_at(self._expires_at, self._expire)

    # ------------------------------------------------------------------ life

    async def aclose(self) -> None:
        """Closes all connections; questions under way are decided 503."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._releasing = True  # nothing is asked any more
        failures = self._pool.stop()
        now = self._loop.time() if self._loop is not None else 0.0
        self._fail(failures, now)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
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


async def _connected(loop: asyncio.AbstractEventLoop, address: Address) -> socket.socket:
    """:raises OSError: it cannot be connected to."""
    family, where = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock


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
        # As soon as the kernel takes no more, the pool is told: what waits here is what was written once.
        transport.set_write_buffer_limits(high=0)
        self.connection = self._client._opened(self._peer, transport)

    def data_received(self, data: bytes) -> None:
        if self.connection is not None:
            self._client._received(self.connection, data)

    def pause_writing(self) -> None:
        assert self.connection is not None
        self._client._pool.pause(self.connection)

    def resume_writing(self) -> None:
        assert self.connection is not None
        self._client._resumed(self.connection)

    def connection_lost(self, error: Exception | None) -> None:
        if self.connection is not None:
            self._client._lost(self.connection)


_clients: weakref.WeakSet[AsyncAuthDiameter] = weakref.WeakSet()


def _after_fork() -> None:
    for client in list(_clients):
        client._after_fork()


os.register_at_fork(after_in_child=_after_fork)
