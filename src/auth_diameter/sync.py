"""The driver for threads: each caller has a connection of its own while its question is under way.

The pool is touched under a lock that is never held across I/O or a wait.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from types import TracebackType
from typing import Self

from auth_diameter._core import Answer, DiscError, Question
from auth_diameter.authorize import Authorizer, Cause, Decision, Request
from auth_diameter.config import Config
from auth_diameter.pool import Connection, Failure, Peer, Pool

_CHUNK = 65536


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
    Connections are opened when first needed.
    """

    def __init__(self, config: Config | None = None) -> None:
        self.config = config if config is not None else Config()
        self._authorizer = Authorizer(self.config)
        self._pool = Pool(self.config, max_in_flight=1)
        self._lock = threading.Lock()
        self._closed = False

    # ------------------------------------------------------------------ the functions

    def diameter_www_authorize(self, request: Request, realm: str) -> Decision:
        """Authorization, challenged with 401; see `Authorizer.www_authorize` for realm and codes.

        :raises ConfigError: an unknown pseudo-variable in `realm`.
        """
        return self._decide(self._authorizer.www_authorize(request, realm))

    def diameter_proxy_authorize(self, request: Request, realm: str) -> Decision:
        """Proxy-Authorization, challenged with 407; else the same."""
        return self._decide(self._authorizer.proxy_authorize(request, realm))

    def diameter_is_user_in(self, request: Request, who: str, group: str) -> Decision:
        """Whether a user is in a group; see `Authorizer.is_user_in` for who and codes."""
        return self._decide(self._authorizer.is_user_in(request, who, group))

    def _decide(self, outcome: Question | Decision) -> Decision:
        if type(outcome) is Decision:
            return outcome
        assert isinstance(outcome, Question)
        result = self._ask(outcome)
        if isinstance(result, Answer):
            return self._authorizer.conclude(outcome, result)
        return self._authorizer.fail(outcome, result)

    # ------------------------------------------------------------------ one question

    def _ask(self, question: Question) -> Answer | Cause:
        waiter: _Waiter | None = None
        with self._lock:
            if self._closed:
                raise DiscError("this client is closed")
            where = self._pool.submit(question, time.monotonic())
            if where is None:
                waiter = question.callback = _Waiter()
        if isinstance(where, Cause):
            return where
        while True:
            if waiter is not None:
                cause = self._wait(question, waiter)
                if cause is not None:
                    return cause
            result = self._exchange(question.connection, question)
            if result is not None:
                return result
            # The connection broke: the pool has put the question elsewhere, or given it up.
            waiter = question.callback

    def _wait(self, question: Question, waiter: _Waiter) -> Cause | None:
        """Until the question is on a connection, which this thread may have to open itself."""
        while True:
            with self._lock:
                if question.connection is not None:
                    return None
                if waiter.cause is not None:
                    return waiter.cause
                now = time.monotonic()
                if now >= question.deadline:
                    self._pool.abandon(question)
                    return Cause.DISC_TIMEOUT if self._pool.connections else Cause.DISC_UNREACHABLE
                peer = self._pool.wanted(now)
            if peer is not None:
                self._open(peer, min(self.config.connect_timeout, question.deadline - now))
            else:
                waiter.wake.acquire(timeout=question.deadline - now)

    def _open(self, peer: Peer, timeout: float) -> None:
        try:
            sock = socket.create_connection((peer.host, peer.port), timeout)
        except OSError:
            with self._lock:
                self._settle(self._pool.failed(peer, time.monotonic()))
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(None)
        with self._lock:
            connection = self._pool.opened(peer, sock)
            self._wake_users_of(connection)

    def _exchange(self, connection: Connection, question: Question) -> Answer | Cause | None:
        """Sends what was written for us and reads until our answer. None: the connection broke."""
        sock: socket.socket = connection.transport
        answer: Answer | None = None
        try:
            # A blocking socket with the kernel's limits costs fewer system calls than settimeout.
            _limit(sock, question.deadline - time.monotonic())
            outgoing, connection.outgoing = connection.outgoing, bytearray()
            sock.sendall(outgoing)
            while answer is None:
                data = sock.recv(_CHUNK)
                with self._lock:
                    answer = self._pool.received_by(question, data)
                if answer is None:
                    if not data or connection.fault is not None:
                        raise ConnectionError
                    _limit(sock, question.deadline - time.monotonic())
        except BlockingIOError:
            with self._lock:
                self._pool.abandon(question)
                self._hand_on(connection)
            return Cause.DISC_TIMEOUT
        except OSError:
            with self._lock:
                question.callback = _Waiter()
                self._drop(connection)
            return None
        with self._lock:
            if connection.fault is not None or self._closed:
                self._drop(connection)
            else:
                self._hand_on(connection)
        return answer

    # ------------------------------------------------------------------ under the lock

    def _hand_on(self, connection: Connection) -> None:
        if self._pool.fill(connection):
            self._wake_users_of(connection)

    def _drop(self, connection: Connection) -> None:
        sock: socket.socket = connection.transport
        sock.close()
        self._settle(self._pool.closed(connection, time.monotonic()))
        for other in self._pool.connections:
            self._wake_users_of(other)
        for question in self._pool.waiting:
            self._wake(question)  # one of them may have to open a connection now

    def _settle(self, failures: list[Failure]) -> None:
        for question, cause in failures:
            waiter = question.callback
            if isinstance(waiter, _Waiter):
                waiter.cause = cause
                self._wake(question)

    def _wake_users_of(self, connection: Connection) -> None:
        for question in self._pool.pending.values():
            if question.connection is connection:
                self._wake(question)

    @staticmethod
    def _wake(question: Question) -> None:
        waiter = question.callback
        if isinstance(waiter, _Waiter) and waiter.wake.locked():
            waiter.wake.release()

    # ------------------------------------------------------------------ life

    def close(self) -> None:
        """Closes all connections; questions under way are decided 503."""
        with self._lock:
            self._closed = True
            self._settle(self._pool.stop())
            for connection in list(self._pool.connections):
                sock: socket.socket = connection.transport
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)  # wakes a thread that reads from it
                if not connection.under_way:
                    sock.close()

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
