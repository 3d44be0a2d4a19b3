"""The driver for threads: each caller has a connection of its own while its question is under way.

The pool is touched under a lock that is never held across I/O or a wait. A connection's socket
belongs to the thread whose question is under way on it; where there is none, to who holds the lock.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import socket
import struct
import threading
import time
import weakref
from types import TracebackType
from typing import Self

from auth_diameter._core import Answer, DiscError, Question, exchange
from auth_diameter.client.authorizer import Authorizer, Request, is_held, is_refused
from auth_diameter.config import Config
from auth_diameter.decision import Cause, Decision
from auth_diameter.diameter.peer import Change, Connection, Peer
from auth_diameter.diameter.peer_log import ChangeLog
from auth_diameter.diameter.pool import Failure, Pool
from auth_diameter.diameter.resolver import Address, Outcome, Resolver, reason_of
from auth_diameter.diameter.stats import PoolStats

_THREADS = 256  # callers that wait however slow DISC is: each of them asks nothing else meanwhile
_TOLERANCE = 0.01  # seconds by which a call may exceed its time limit


class _Waiter:
    """A caller whose question has no connection yet; woken with one, or with a cause."""

    __slots__ = ("cause", "wake")

    def __init__(self) -> None:
        self.cause: Cause | None = None
        self.wake = threading.Lock()
        self.wake.acquire()


class AuthDiameter:
    """The three functions for threads, each answered with a `Decision`.

    ::

        with AuthDiameter(Config(diameter_client_host="10.0.0.1")) as auth:
            decision = auth.diameter_www_authorize(request, "$fd")

    A DISC that is down, slow or wrong is a Decision with 503 or 500, never an exception. One object
    serves any number of threads; a call blocks its own thread for the time limit at most.
    Connections are opened when first needed; a process that was forked has its own.
    """

    def __init__(self, config: Config | None = None) -> None:
        self.config = config if config is not None else Config()
        self._authorizer = Authorizer(self.config)
        self._counts: dict[Cause, int] = dict.fromkeys(Cause, 0)
        self._closed = False
        self._begin()
        _clients.add(self)

    def _begin(self) -> None:
        self._changes: list[Change] = []  # not in the log yet
        self._untold = False  # whether the log has something to say
        self._pool = Pool(self.config, max_in_flight=1, least=_THREADS, changed=self._changed)
        self._lock = threading.Lock()
        self._counts_lock = threading.Lock()
        self._resolver = Resolver()
        self._log = ChangeLog()
        self._log_lock = threading.Lock()

    def _after_fork(self) -> None:
        """In the child: the parent's connections are closed on this side only, and go on there.

        Its threads are not here, whatever they were about to do with a lock.
        """
        for connection in self._pool.connections:
            connection.transport.close()
        self._authorizer.after_fork()
        self._begin()

    # ------------------------------------------------------------------ the functions

    def diameter_www_authorize(self, request: Request, realm: str) -> Decision:
        """Authorization, challenged with 401; see `Authorizer.www_authorize` for realm and codes.

        :raises ConfigError: an unknown pseudo-variable in `realm`.
        """
        return self._decide(self._authorizer.www_authorize(request, realm, time.monotonic()))

    def diameter_proxy_authorize(self, request: Request, realm: str) -> Decision:
        """Proxy-Authorization, challenged with 407; else the same."""
        return self._decide(self._authorizer.proxy_authorize(request, realm, time.monotonic()))

    def diameter_is_user_in(self, request: Request, who: str, group: str) -> Decision:
        """Whether a user is in a group; see `Authorizer.is_user_in` for who and codes."""
        return self._decide(self._authorizer.is_user_in(request, who, group))

    def _decide(self, outcome: Question | Decision) -> Decision:
        if type(outcome) is Decision:
            decision = outcome
        else:
            assert isinstance(outcome, Question)
            try:
                result = (self._wait_for_turn(outcome) if is_held(outcome) else None) or self._ask(outcome)
            except BaseException:
                self._authorizer.fail(outcome, Cause.DISC_LOST, time.monotonic())
                self._wake_released()
                raise
            if isinstance(result, Answer):
                decision = self._authorizer.conclude(outcome, result, time.monotonic())
            else:
                decision = self._authorizer.fail(outcome, result, time.monotonic())
            self._wake_released()
        with self._counts_lock:
            self._counts[decision.cause] += 1
        if self._untold:
            self._tell_changes()
        return decision

    def _wait_for_turn(self, question: Question) -> Cause | None:
        """Until the verdict on others before it: None; or why it is not to be asked."""
        question.deadline = time.monotonic() + self.config.timeout
        waiter = question.callback = _Waiter()
        while is_held(question):
            left = question.deadline - time.monotonic()
            if left <= 0:
                return Cause.DISC_TIMEOUT
            waiter.wake.acquire(timeout=left)
        question.callback = None
        if is_refused(question):
            return Cause.PENALIZED
        return Cause.DISC_LOST if self._closed else None  # it was under way when the client was closed

    def _wake_released(self) -> None:
        """The threads whose turn it is, now that others have ended."""
        for question in self._authorizer.released():
            self._wake(question)

    @property
    def counts(self) -> dict[Cause, int]:
        """How many decisions had each `Cause`, exactly; a copy."""
        with self._counts_lock:
            return dict(self._counts)

    def stats(self) -> PoolStats:
        """What it has asked, what came of it, and how each DISC is."""
        with self._lock:
            return self._pool.stats()

    # ------------------------------------------------------------------ one question

    def _ask(self, question: Question) -> Answer | Cause:
        try:
            with self._lock:
                if self._closed:
                    raise DiscError("this client is closed")
                now = time.monotonic()
                where = self._pool.submit(question, now, question.deadline or None)
                if where is None:
                    question.callback = _Waiter()
                    self._open_wanted(now)
                if now >= self._pool.due:
                    self._pool.tend(now)
                    self._pool.due = min(self._pool.due, self._log.due)
                    self._untold = True
                    self._tidy(now)
            if isinstance(where, Cause):
                return where
            while True:
                # Without a waiter it was written to a connection that was open already.
                waiter = question.callback
                if waiter is not None:
                    cause = self._wait(question, waiter)
                    if cause is not None:
                        return cause
                result = self._exchange(question.connection, question)
                if result is not None:
                    return result
        except BaseException:
            # KeyboardInterrupt, say: half a question or half an answer may be on the connection.
            with self._lock:
                self._give_up(question)
            raise

    def _wait(self, question: Question, waiter: _Waiter) -> Cause | None:
        """Until the question is on a connection: None; or why it cannot be."""
        while True:
            with self._lock:
                if waiter.cause is not None:
                    self._give_up(question)  # it may have got a connection just before the end
                    return waiter.cause
                if question.connection is not None:
                    return None
                now = time.monotonic()
                left: float = question.deadline - now
                if left <= 0:
                    return self._pool.expire_one(question, now)
            waiter.wake.acquire(timeout=left)

    def _exchange(self, connection: Connection, question: Question) -> Answer | Cause | None:
        """Sends what was written for us and reads until our answer. None: the connection broke."""
        sock: socket.socket = connection.transport
        until: float = question.deadline
        try:
            # The kernel's limit is the whole time limit from the connection's start; another is set only
            # for a question that has waited, and behind part of an answer.
            limited = question.deadline - time.monotonic() < self.config.timeout - _TOLERANCE
            if connection.probe_until is not None:
                until = self._pool.patience(connection) or until
                limited = True
            if limited:
                _limit(sock, until - time.monotonic())
            outgoing, connection.outgoing = connection.outgoing, bytearray()
            data = exchange(sock.fileno(), outgoing)
            while True:
                if data is not None:
                    now = time.monotonic()
                    if now > question.deadline:
                        raise BlockingIOError  # this process has slept: the answer is stale
                    with self._lock:
                        answer = self._pool.received_by(question, data, now)
                        if answer is not None:
                            if limited:
                                _limit(sock, self.config.timeout)
                            # From here on the connection may be another thread's.
                            self._hand_on(connection, now)
                            return answer
                    if not data or connection.fault is not None:
                        raise ConnectionError
                # Part of an answer, or a signal: the kernel's limit would begin again. It does not end
                # the wait for our answer where DISC never stops to say something else.
                limited = True
                left = until - time.monotonic()
                if left <= 0:
                    raise BlockingIOError
                _limit(sock, left)
                data = exchange(sock.fileno(), outgoing)
        except BlockingIOError:
            with self._lock:
                now = time.monotonic()
                if until < question.deadline and now < question.deadline - _TOLERANCE:
                    connection.silent = True
                    return self._broken(connection, question)
                cause = self._pool.expire_one(question, now)
                # Half a question or half an answer may be on it.
                self._drop(connection)
            return cause
        except OSError:
            with self._lock:
                return self._broken(connection, question)

    # ------------------------------------------------------------------ connecting

    def _open_wanted(self, now: float) -> None:
        """Under the lock. In threads of their own, since looking up a name knows no time limit."""
        while not self._closed and (peer := self._pool.wanted(now)) is not None:
            try:
                # Not a Thread, whose start() waits until it runs: all that ask would wait behind our lock.
                _thread.start_new_thread(self._open, (peer,))
            except RuntimeError:  # no more threads
                self._settle(self._pool.failed(peer, now, "no thread is left to connect"))
                self._wake_served()

    def _open(self, peer: Peer) -> None:
        try:
            sock = self._connect(peer)
        except OSError as error:
            with self._lock:
                now = time.monotonic()
                self._settle(self._pool.failed(peer, now, reason_of(error)))
                self._tidy(now)
        else:
            with self._lock:
                if self._closed:
                    sock.close()
                else:
                    now = time.monotonic()
                    self._pool.opened(peer, sock, now)
                    self._tidy(now)
        if self._untold:
            self._tell_changes()

    def _connect(self, peer: Peer) -> socket.socket:
        """A socket that is connected to one of its addresses; each has its share of `connect_timeout`.

        :raises OSError: none of them could be reached.
        """
        until = time.monotonic() + self.config.connect_timeout
        outcome: list[Outcome] = []
        known = threading.Event()

        def done(found: Outcome) -> None:
            outcome.append(found)
            known.set()

        self._resolver.look_up(peer.host, peer.port, done)
        if not known.wait(self.config.connect_timeout):
            self._resolver.forget(peer.port, done)
            raise OSError("looking up its name takes too long")
        if isinstance(outcome[0], OSError):
            raise outcome[0]
        left = list(outcome[0])
        error: OSError = TimeoutError()
        while left:
            address = left.pop(0)
            try:
                sock = _connected(address, (until - time.monotonic()) / (len(left) + 1), self.config.timeout)
            except OSError as this_error:
                error = this_error
                continue
            self._resolver.tried(peer.host, address)
            return sock
        self._resolver.tried(peer.host, None)
        raise error

    # ------------------------------------------------------------------ under the lock

    def _hand_on(self, connection: Connection, now: float) -> None:
        """It is free: for the question that has waited longest."""
        if connection.is_spent or self._closed:
            self._drop(connection)
        elif self._pool.waiting:
            for question in self._pool.fill(connection, now):
                self._wake(question)
            self._open_wanted(now)

    def _give_up(self, question: Question) -> None:
        """Nobody waits for it; nor may its answer, or half of it, meet the next question."""
        if self._pool.abandon(question) or (self._closed and question.connection is not None):
            self._drop(question.connection)

    def _broken(self, connection: Connection, question: Question) -> Cause | None:
        """None: the pool has put the question elsewhere, or its waiter knows why not."""
        if not self._closed:
            question.callback = _Waiter()
        self._drop(connection)
        return Cause.DISC_LOST if self._closed else None

    def _drop(self, connection: Connection) -> None:
        connection.transport.close()
        now = time.monotonic()
        self._settle(self._pool.closed(connection, now))
        self._tidy(now)

    def _tidy(self, now: float) -> None:
        """After connections were lost or given up: closes those of no use, wakes whom others serve now."""
        for connection in self._pool.spent():
            if connection.under_way:
                # Its thread wakes up from reading, and closes it.
                with contextlib.suppress(OSError):
                    connection.transport.shutdown(socket.SHUT_RDWR)
            else:
                connection.transport.close()
                self._settle(self._pool.closed(connection, now))
        self._wake_served()
        self._open_wanted(now)

    def _settle(self, failures: list[Failure]) -> None:
        for question, cause in failures:
            waiter = question.callback
            if isinstance(waiter, _Waiter):
                waiter.cause = cause
                self._wake(question)

    def _wake_served(self) -> None:
        """Those that have a connection; who has had one for longer does not listen any more."""
        for question in self._pool.pending.values():
            self._wake(question)

    @staticmethod
    def _wake(question: Question) -> None:
        waiter = question.callback
        if isinstance(waiter, _Waiter) and waiter.wake.locked():
            waiter.wake.release()

    # ------------------------------------------------------------------ the log

    def _changed(self, change: Change) -> None:
        self._changes.append(change)
        self._untold = True

    def _tell_changes(self) -> None:
        """Not under the pool's lock: a log may block, or be somebody who asks this client."""
        # Who finds it taken leaves the telling to that thread, which looks again.
        while self._untold and self._log_lock.acquire(blocking=False):
            try:
                self._untold = False
                while self._changes:
                    self._log.tell(self._changes.pop(0), time.monotonic())
                self._log.flush(time.monotonic())
                with self._lock:
                    self._pool.due = min(self._pool.due, self._log.due)
            finally:
                self._log_lock.release()

    # ------------------------------------------------------------------ life

    def close(self) -> None:
        """Closes all connections; questions under way are decided 503."""
        with self._lock:
            self._closed = True
            self._settle(self._pool.stop())
            for connection in list(self._pool.connections):
                if connection.under_way:
                    # Its thread wakes up from reading, and closes it.
                    with contextlib.suppress(OSError):
                        connection.transport.shutdown(socket.SHUT_RDWR)
                else:
                    self._drop(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _limit(sock: socket.socket, seconds: float) -> None:
    """The kernel's limit on each send and receive from now on; past it BlockingIOError is raised."""
    seconds = max(seconds, 0.000_001)  # zero would mean no limit
    whole = int(seconds)
    limit = struct.pack("@ll", whole, int((seconds - whole) * 1_000_000))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


def _connected(address: Address, seconds: float, limit: float) -> socket.socket:
    """:raises OSError: it cannot be connected to in that time."""
    family, where = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(max(seconds, 0.001))
        sock.connect(where)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A blocking socket with the kernel's limits costs fewer system calls than settimeout.
        sock.settimeout(None)
        _limit(sock, limit)
    except BaseException:
        sock.close()
        raise
    return sock


_clients: weakref.WeakSet[AuthDiameter] = weakref.WeakSet()


def _after_fork() -> None:
    for client in list(_clients):
        client._after_fork()


os.register_at_fork(after_in_child=_after_fork)
