"""The transport for asyncio: many questions are under way on a connection, and answers come in any order.

The questions of one turn of the loop are sent in one write. There is one timer for all questions.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
from collections.abc import Callable
from typing import Any, cast

from auth_diameter._core import Answer, DiscError, Message, Question
from auth_diameter.config import Config
from auth_diameter.decision import Cause
from auth_diameter.diameter.certificates import names_in
from auth_diameter.diameter.connection import CLOSING, INITIAL, Connection
from auth_diameter.diameter.dialling import LOOKUP_TIMED_OUT, Dial
from auth_diameter.diameter.events import Close, Finished, Open, Send
from auth_diameter.diameter.own_requests import Answered
from auth_diameter.diameter.peer import Change, Peer
from auth_diameter.diameter.peer_log import ChangeLog
from auth_diameter.diameter.pool import Pool
from auth_diameter.diameter.resolver import Address, Outcome, Resolver, reason_of
from auth_diameter.diameter.speaking import tls_of
from auth_diameter.diameter.stats import PoolStats

# Seconds for the peers to answer a DPR, and to close; a program that ends waits for one that hangs.
_GOODBYE = 0.5
# Seconds between two looks whether all peers have sent their CEA.
_TICK = 0.005
# Seconds beyond its time limit after which an attempt to connect proves nothing: this process did not run.
_HELD_UP = 0.1


class AioTransport:
    """Questions and answers with all peers of one configuration, on one event loop.

    The three callbacks are called at once, or in a later turn of the loop. They must not raise.

    Args:
        config: the settings.
        answered: function of the answers that came, as a list of (Question, Answer), and of the time.
        failed: function of a question that ended without an answer, of the Cause, and of the time.
        ended: function of the time; called after `failed` was called for all questions that ended together,
            and after answers that came for others than Questions.

    Attributes:
        pool: the connections, and the questions under way.
        closed: whether `aclose` was called.
        serve: function of a request of a peer, which returns the answer; None: there is none.
    """

    def __init__(
        self,
        config: Config,
        answered: Callable[[list[tuple[Question, Answer]], float], None],
        failed: Callable[[Question, Cause, float], None],
        ended: Callable[[float], None],
    ) -> None:
        self._config = config
        self._answered = answered
        self._failed = failed
        self._ended = ended
        self.closed = False
        self._watches = config.is_standard  # whether peers are watched even if nobody asks anything
        self._tls = tls_of(config)
        self._last_closed: asyncio.Future[None] | None = None
        self._inherited: list[Any] = []
        self.serve: Callable[[Message], Message | None] | None = None
        self._begin()

    def _begin(self) -> None:
        self.pool = Pool(self._config)
        self.pool.serve(lambda message: self.serve(message) if self.serve is not None else None)
        self._events = self.pool.events
        self._resolver = Resolver()
        self._log = ChangeLog("peer" if self._watches else "DISC")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._to_send: list[Connection] = []
        self._timer: asyncio.TimerHandle | None = None
        self._expires_at = math.inf  # what the timer is set to
        self._tasks: set[asyncio.Task[None]] = set()

    def after_fork(self) -> None:
        """Starts afresh in the child, and leaves the parent's connections, tasks and loop untouched."""
        # To close or free them would take them out of the parent's epoll.
        self._inherited += [self.pool, self._tasks, self._timer, self._loop]
        self._begin()

    # ------------------------------------------------------------------ questions

    def ask(self, question: Question) -> None:
        """Asks DISC; until the deadline of the question, if it was held and has one.

        Raises:
            DiscError: this transport is closed.
        """
        if self._timer is None:
            self._check_open()
        assert self._loop is not None
        now = self._loop.time()
        where = self.pool.submit(question, now, question.deadline or None)
        if isinstance(where, Connection):
            self._send_soon(where)
        else:
            self._not_sent(question, where, now)
        if question.deadline < self._expires_at:
            self._set_timer()

    def hold(self, question: Question) -> None:
        """Keeps a question that must not be asked before `release`; it may expire.

        Raises:
            DiscError: this transport is closed.
        """
        self._check_open()
        assert self._loop is not None
        now = self._loop.time()
        cause = self.pool.hold(question, now)
        if cause is not None:
            self._failed(question, cause, now)
            self._ended(now)
        if question.deadline < self._expires_at:
            self._set_timer()

    def release(self, questions: list[Question], now: float) -> None:
        """Asks questions that were held."""
        for question, where in self.pool.release(questions, now):
            if isinstance(where, Connection):
                self._send_soon(where)
            else:
                self._not_sent(question, where, now)

    def drop(self, question: Question) -> bool:
        """Forgets a question that was held; returns whether it still was."""
        return self.pool.drop(question)

    def is_full(self) -> bool:
        """Whether a new question would be refused because of those under way and waiting."""
        return self.pool.is_full()

    def refuse(self, question: Question) -> None:
        """Ends a question with the Cause OVERLOADED.

        Raises:
            DiscError: this transport is closed.
        """
        self._check_open()
        assert self._loop is not None
        now = self._loop.time()
        self.pool.counts.refused_overload += 1
        self._failed(question, Cause.OVERLOADED, now)
        self._ended(now)

    def request(self, realm: str, make: Callable[[int, int], Message], answered: Answered) -> None:
        """Sends a request that is no question to a peer that serves `realm`; see `Pool.request`."""
        if self._loop is None:
            answered(None)  # there is no connection, either
            return
        now = self._loop.time()
        self.pool.request(make, answered, now)
        self._act(now)

    def _check_open(self) -> None:
        """Checks that the transport may be used, and binds it to the running loop.

        Raises:
            DiscError: this transport is closed.
        """
        if self.closed:
            raise DiscError("this client is closed")
        if self._loop is None:
            self._loop = asyncio.get_running_loop()

    def _not_sent(self, question: Question, why: Cause | None, now: float) -> None:
        """Handles a question that was refused with the Cause `why`, or waits for a connection (None)."""
        if why is not None:
            self._failed(question, why, now)
            self._ended(now)
        if now >= self.pool.due:
            self._tend(now)
        else:
            self._act(now)

    def is_down(self) -> bool:
        """Whether no peer can be reached or none answers, so that questions are refused at once."""
        return all(peer.in_doubt for peer in self.pool.peers)

    def stats(self) -> PoolStats:
        """Counts of the questions asked and their outcomes, and the state of each peer."""
        return self.pool.stats()

    def is_in_task(self) -> bool:
        """Whether a task of the loop runs now, and not only the callback of a connection or of a timer."""
        return asyncio.current_task(self._loop) is not None

    # ------------------------------------------------------------------ events of the pool

    def _act(self, now: float) -> None:
        """Carries out the events of the pool, until there are none."""
        while self._events:
            finished = False
            for event in self.pool.take_events():
                match event:
                    case Send(connection):
                        self._send_soon(connection)
                    case Finished(question, cause):
                        self._failed(question, cause, now)
                        finished = True
                    case Open(peer):
                        self._start_opening(peer)
                    case Close(connection):
                        self._close(connection)  # `_lost` follows in a later turn of the loop
                    case Change():
                        self._log.tell(event, now)
                        self.pool.be_due(self._log.due)
            if finished:
                self._ended(now)
        if (self._watches or self.pool.waiting) and self.pool.due < self._expires_at:
            self._set_timer()  # nobody else may ask meanwhile

    def _close(self, connection: Connection) -> None:
        if connection.state is CLOSING and connection.unsent and not connection.transport.is_closing():
            connection.transport.write(connection.take_unsent())  # the answer to a DPR
            connection.transport.close()
        elif self._tls is not None and not connection.why:
            connection.transport.close()  # both have said goodbye, and so does TLS
        else:
            connection.transport.abort()

    def _send_soon(self, connection: Connection) -> None:
        if not self._to_send:
            assert self._loop is not None
            self._loop.call_soon(self._send)
        if connection not in self._to_send:
            self._to_send.append(connection)

    def send_soon(self, sent: Callable[[], object]) -> None:
        """Has the questions that others than `ask` write sent together, at the end of this turn of the loop.

        Args:
            sent: is called before they are sent; for what is written later, this is to be called again.

        Raises:
            DiscError: this transport is closed.
        """
        if self._timer is None:
            self._check_open()
            self._set_timer()
        assert self._loop is not None
        self._loop.call_soon(self._send_for, sent)

    def _send_for(self, sent: Callable[[], object]) -> None:
        sent()
        self.send_written()

    def send_written(self) -> None:
        """Sends the questions that were written to connections by others than `ask`.

        Raises:
            DiscError: this transport is closed.
        """
        for connection in self.pool.connections:
            if connection.unsent and connection not in self._to_send:
                self._to_send.append(connection)
        if self._to_send:
            if self._timer is None:
                self._check_open()
                self._set_timer()
            self._send()

    def _send(self) -> None:
        assert self._loop is not None
        now = self._loop.time()
        if now >= self.pool.due:
            self._tend(now)
        if self._is_due_sooner():
            self._set_timer()
        connections, self._to_send = self._to_send, []
        for connection in connections:
            # A closing connection has lost its questions, or soon will.
            if connection.unsent and not connection.paused and not connection.transport.is_closing():
                connection.transport.write(connection.take_unsent())
                if connection.full:
                    self.pool.sent(connection, now)
        if self._events:
            self._act(now)

    # ------------------------------------------------------------------ connecting

    def connect(self) -> None:
        """Begins to open a connection to each peer that has none.

        Raises:
            DiscError: this transport is closed.
        """
        self._check_open()
        assert self._loop is not None
        now = self._loop.time()
        self.pool.connect(now)
        self._act(now)

    async def opened(self) -> None:
        """Waits until the attempts to connect that are under way have ended, and so have waits for a CEA."""
        if self._tasks:
            await asyncio.wait(self._tasks)
        while any(connection.state is INITIAL for connection in self.pool.connections):
            await asyncio.sleep(_TICK)  # nobody has to be told of each change of state for this alone

    def _start_opening(self, peer: Peer) -> None:
        assert self._loop is not None
        task = self._loop.create_task(self._open(peer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self, peer: Peer) -> None:
        loop = asyncio.get_running_loop()
        protocol = _Protocol(self, peer)
        why = "given up"  # if the task is cancelled
        try:
            sock = await self._connect(peer)
            try:
                await loop.create_connection(lambda: protocol, sock=sock, **self._tls_options())
            except BaseException:
                sock.close()
                raise
        except OSError as error:
            why = reason_of(error)
        finally:
            if protocol.connection is None:
                protocol.given_up = True
                now = loop.time()
                self.pool.failed(peer, now, why)
                self._act(now)

    def _tls_options(self) -> dict[str, Any]:
        if self._tls is None:
            return {}
        return {
            "ssl": self._tls,
            "server_hostname": "",
            "ssl_handshake_timeout": self._config.connect_timeout,
            "ssl_shutdown_timeout": self._config.connect_timeout,
        }

    async def _connect(self, peer: Peer) -> socket.socket:
        """Connects to a peer.

        Returns:
            The connected socket.

        Raises:
            OSError: none of its addresses could be reached in time.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self._config.connect_timeout
        try:
            return await self._dial(peer)
        except OSError:
            if loop.time() < until + _HELD_UP:
                raise
        return await self._dial(peer)

    async def _dial(self, peer: Peer) -> socket.socket:
        loop = asyncio.get_running_loop()
        dial = Dial(peer, self._resolver, self._config.connect_timeout, loop.time)
        for address, seconds in dial.attempts(await _look_up(dial)):
            try:
                async with asyncio.timeout(seconds):
                    sock = await _connected(loop, address)
            except OSError as error:
                dial.failed(error)
            else:
                dial.connected(address)
                return sock
        raise dial.error

    async def unreachable(self) -> list[tuple[str, str]]:
        """Tries to connect to each peer; closes the connections again.

        Returns:
            The HOST:PORT of each peer that cannot be reached, and the reason.
        """

        async def try_once(peer: Peer) -> str:
            try:
                (await self._connect(peer)).close()
            except socket.gaierror as error:
                return f"its name does not resolve ({reason_of(error)})"
            except OSError as error:
                return reason_of(error)
            return ""

        peers = self.pool.peers
        reasons = await asyncio.gather(*map(try_once, peers))
        return [(repr(peer), reason) for peer, reason in zip(peers, reasons, strict=True) if reason]

    # ------------------------------------------------------------------ callbacks of a connection

    def _opened(self, peer: Peer, transport: asyncio.Transport) -> Connection:
        assert self._loop is not None
        now = self._loop.time()
        address = str(transport.get_extra_info("sockname")[0])
        names = None
        if self._tls is not None:
            names = names_in(transport.get_extra_info("peercert"))
        connection = self.pool.opened(peer, transport, now, address, names)
        self._act(now)
        return connection

    def _resumed(self, connection: Connection) -> None:
        assert self._loop is not None
        now = self._loop.time()
        self.pool.resume(connection, now)
        self._act(now)

    def _lost(self, connection: Connection) -> None:
        assert self._loop is not None
        now = self._loop.time()
        self.pool.closed(connection, now)
        self._act(now)
        if self._last_closed is not None and not self.pool.connections and not self._last_closed.done():
            self._last_closed.set_result(None)

    def _received(self, connection: Connection, data: bytes) -> None:
        assert self._loop is not None
        now = self._loop.time()
        if now >= self._expires_at:
            # This process did not run for longer than its questions may wait: their answers are stale.
            self._expire()
        found: list[tuple[Question, Answer]] = self.pool.received(connection, data, now)
        if self._events:
            self._act(now)
        if found:
            self._answered(found, now)
        else:
            self._ended(now)

    # ------------------------------------------------------------------ time

    def _tend(self, now: float) -> None:
        self._log.flush(now)
        self.pool.tend(now)
        self.pool.be_due(self._log.due)
        self._act(now)

    def _expire(self) -> None:
        assert self._loop is not None
        now = self._loop.time()
        self._log.flush(now)
        self.pool.expire(now)
        self.pool.be_due(self._log.due)
        try:
            self._act(now)
        finally:
            self._set_timer()

    def _set_timer(self) -> None:
        """Sets the one timer to the next deadline, or to the time to try a peer in doubt if that is earlier.

        Without a question under way, waiting or held there is none, except with standard Diameter.
        """
        assert self._loop is not None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.pool.deadline()
        self._expires_at = math.inf
        if deadline is not None and not self.closed:
            self._expires_at = min(deadline, self.pool.due)
            self._timer = self._loop.call_at(self._expires_at, self._expire)

    def _is_due_sooner(self) -> bool:
        """Whether something is due before the timer is."""
        if self.pool.due < self._expires_at:
            return True
        # The timer is the oldest question's; with standard Diameter it may be the watchdog's.
        deadline = self.pool.in_flight.deadline if self._watches else None
        return deadline is not None and deadline < self._expires_at

    # ------------------------------------------------------------------ closing

    def report(self, error: Exception, what: str) -> None:
        """Passes an error in a callback to the loop's exception handler."""
        loop = self._loop or asyncio.get_running_loop()
        loop.call_exception_handler({"message": what, "exception": error})

    async def aclose(self) -> None:
        """Closes all connections; questions under way end with the Cause DISC_LOST."""
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._loop.time() if self._loop is not None else 0.0
        self.pool.stop(now)
        self._act(now)
        for task in list(self._tasks):
            task.cancel()
        try:
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if self._watches and self.pool.connections:
                self._last_closed = asyncio.get_running_loop().create_future()
                await asyncio.wait([self._last_closed], timeout=_GOODBYE)
        finally:
            for connection in list(self.pool.connections):
                connection.transport.abort()
        await asyncio.sleep(0)


async def _look_up(dial: Dial) -> Outcome:
    """Looks up the addresses of the peer.

    Raises:
        OSError: the lookup takes too long.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Outcome] = loop.create_future()

    def settle(outcome: Outcome) -> None:
        if not future.done():
            future.set_result(outcome)

    def done(outcome: Outcome) -> None:
        # Called in the thread of the lookup; the loop may be closed by then.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, outcome)

    dial.look_up(done)
    try:
        async with asyncio.timeout(dial.connect_timeout):
            return await future
    except TimeoutError:
        raise OSError(LOOKUP_TIMED_OUT) from None
    finally:
        dial.forget_lookup(done)


async def _connected(loop: asyncio.AbstractEventLoop, address: Address) -> socket.socket:
    """Connects to `address`.

    Raises:
        OSError: it cannot be connected to.
    """
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
    """Connects a transport of asyncio to the pool's `Connection`."""

    def __init__(self, client: AioTransport, peer: Peer) -> None:
        self._client = client
        self._peer = peer
        self.connection: Connection | None = None
        self.given_up = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        if self.given_up:
            transport.abort()
            return
        self.connection = self._client._opened(self._peer, transport)
        # The pool is told as soon as the kernel takes no more, so that one write at most is buffered here.
        # With a limit of 0, TLS would pause while nothing is buffered. It may pause at once, as its handshake
        # is still being sent.
        transport.set_write_buffer_limits(high=1, low=0)

    def data_received(self, data: bytes) -> None:
        if self.connection is not None:
            self._client._received(self.connection, data)

    def pause_writing(self) -> None:
        assert self.connection is not None
        self._client.pool.pause(self.connection)

    def resume_writing(self) -> None:
        assert self.connection is not None
        self._client._resumed(self.connection)

    def connection_lost(self, error: Exception | None) -> None:
        if self.connection is not None:
            self._client._lost(self.connection)
