"""The transport for threads: each thread has a connection of its own while its question is under way.

The pool is used under a lock, which is never held during I/O or a wait. The socket of a connection belongs to
the thread whose question is under way on it. An idle connection belongs to the thread that holds the lock.
"""

from __future__ import annotations

import _thread
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterable, Sequence

from auth_diameter._core import Answer, DiscError, Question, exchange
from auth_diameter.config import Config
from auth_diameter.decision import Cause
from auth_diameter.diameter.connection import Connection
from auth_diameter.diameter.dialling import LOOKUP_TIMED_OUT, Dial
from auth_diameter.diameter.events import Close, Finished, Open, Send
from auth_diameter.diameter.peer import Change, Peer
from auth_diameter.diameter.peer_log import ChangeLog
from auth_diameter.diameter.pool import Pool
from auth_diameter.diameter.resolver import Address, Outcome, Resolver, reason_of
from auth_diameter.diameter.stats import PoolStats
from auth_diameter.diameter.waiters import HeldThreads, Waiter, wake_up

_THREADS = 256  # questions that are always allowed: each blocks a thread, which asks nothing else meanwhile
_MOST_TOGETHER = 64  # questions in one write: they fit into the buffers of the kernel, so that no side blocks
_TICK = 0.1  # seconds after which a thread that waits for a connection looks what has become due
_TOLERANCE = 0.01  # seconds by which a call may exceed its time limit


class SyncTransport(HeldThreads):
    """Questions and answers of any number of threads, with all peers of one configuration.

    Args:
        config: the settings.

    Attributes:
        pool: the connections, and the questions under way; to be used under the lock.
        closed: whether `close` was called.
        untold: whether `tell_changes` may have something to log.
    """

    def __init__(self, config: Config) -> None:
        self._timeout = config.timeout
        self._usual_limit = self._timeout
        self._config = config
        self._resolver = Resolver()
        self.closed = False
        self._begin()

    def _begin(self) -> None:
        self.pool = Pool(self._config, max_in_flight=1, least=_THREADS)
        self._lock = threading.Lock()
        self._log = ChangeLog()
        self._log_lock = threading.Lock()
        self._changes: list[Change] = []  # not in the log yet
        self.untold = False

    def after_fork(self) -> None:
        """Starts afresh in the child; the parent's connections are closed here, and stay open in the parent.

        The lock is made anew, since a thread of the parent may have held it.
        """
        for connection in self.pool.connections:
            connection.transport.close()
        self._resolver.after_fork()
        self._begin()

    def stats(self) -> PoolStats:
        """Counts of the questions asked and their outcomes, and the state of each peer."""
        with self._lock:
            return self.pool.stats()

    # ------------------------------------------------------------------ one question

    def ask(self, question: Question) -> Answer | Cause:
        """Asks DISC, and waits for its answer until the deadline.

        Args:
            question: the question; with its `deadline` set, if it was held before.

        Returns:
            The answer, or the Cause why there is none.

        Raises:
            DiscError: this transport is closed.
        """
        try:
            with self._lock:
                if self.closed:
                    raise DiscError("this client is closed")
                now = time.monotonic()
                where = self.pool.submit(question, now, question.deadline or None)
                if where is None:
                    question.callback = Waiter()
                if now >= self.pool.due:
                    self._tend(now)
                if self.pool.events:
                    self._act(now)
        except BaseException:
            with self._lock:
                self._abandon(question)
            raise
        return where if isinstance(where, Cause) else self._go_on(question)

    def _go_on(self, question: Question) -> Answer | Cause:
        """Waits for a connection, if the question has a waiter, and for its answer."""
        try:
            while True:
                # Without a waiter, the question was written to an open connection at once.
                waiter = question.callback
                if waiter is not None:
                    cause = self._wait(question, waiter)
                    if cause is not None:
                        return cause
                result = self._exchange(question.connection, question)
                if result is not None:
                    return result
        except BaseException:
            # Such as KeyboardInterrupt: part of the question or of its answer may be on the connection.
            with self._lock:
                self._abandon(question)
            raise

    def _wait(self, question: Question, waiter: Waiter) -> Cause | None:
        """Waits until the question is on a connection.

        Returns:
            None: it is. Otherwise the Cause why it has ended.
        """
        while True:
            with self._lock:
                if waiter.cause is not None:
                    self._abandon(question)  # it may have got a connection just before it ended
                    return waiter.cause
                if question.connection is not None:
                    return None
                now = time.monotonic()
                left: float = question.deadline - now
                if left <= 0:
                    return self.pool.expire_one(question, now)
                if now >= self.pool.due:
                    # All threads may wait as this one does, so that nobody asks, and nobody else does it.
                    self._tend(now)
                    self._act(now)
                left = min(left, _TICK)
                if now < self.pool.due:
                    left = min(left, self.pool.due - now)
            self._rest(waiter, left)

    def _rest(self, waiter: Waiter, seconds: float) -> None:
        """Lets time pass, up to so many seconds, until the waiter is woken."""
        waiter.wake.acquire(timeout=seconds)

    def _exchange(self, connection: Connection, question: Question) -> Answer | Cause | None:
        """Sends the question that was written to `connection`, and waits for its answer.

        Returns:
            The answer, or the Cause why there is none; None: the question waits for another connection.
        """
        until = self._until(connection, question)
        try:
            answer = self._await_answer(connection, question, until)
        except OSError:
            return self._broken(connection, question)
        return answer if answer is not None else self._timed_out(connection, question, until)

    def _until(self, connection: Connection, question: Question) -> float:
        """How long the answer to a question on a connection is waited for; seconds, monotonic."""
        patience = self.pool.patience(connection) if connection.probe_until is not None else None
        until: float = question.deadline if patience is None else patience
        return until

    def _await_answer(self, connection: Connection, question: Question, until: float) -> Answer | None:
        """Sends and receives until the answer is complete, or the time is `until`.

        Returns:
            The answer; None: the time is over.

        Raises:
            OSError: the connection broke.
        """
        sock: socket.socket = connection.transport
        outgoing = bytearray(connection.take_unsent())
        # A new connection has the usual limit as its socket time-out, mostly that of a question. The
        # time-out is changed only for a question that has another time left, and after part of an answer.
        left = until - time.monotonic()
        limited = abs(left - self._usual_limit) > _TOLERANCE
        if limited:
            limit_time(sock, left)
        while True:
            try:
                data = exchange(sock.fileno(), outgoing)
            except BlockingIOError:
                return None
            if data is not None:
                now = time.monotonic()
                if now > question.deadline:
                    return None  # this process did not run for a while: the answer is stale
                with self._lock:
                    found = self.pool.received_on(connection, data, now)
                    if found:
                        if limited:
                            limit_time(sock, self._usual_limit)
                        self._hand_on(connection)
                    if self.pool.events:
                        self._act(now)
                if found:
                    return found[0][1]
                if not data or connection.fault is not None:
                    raise ConnectionError
            # Part of an answer came, or a signal. The socket time-out would begin anew, so that other data
            # from DISC could prolong the wait for ever. Limit it to the time left.
            limited = True
            left = until - time.monotonic()
            if left <= 0:
                return None
            limit_time(sock, left)

    def _timed_out(self, connection: Connection, question: Question, until: float) -> Cause | None:
        """Handles a question that has no answer by `until`.

        Returns:
            The Cause, if it has expired; None: it waits for another connection.
        """
        with self._lock:
            now = time.monotonic()
            if until < question.deadline and now < question.deadline - _TOLERANCE:
                self.pool.give_up(connection, now)
                return self._repeat(connection, question)
            cause = self.pool.expire_one(question, now)
            # Part of the question or of its answer may be on it.
            self._drop(connection)
            return cause

    def _broken(self, connection: Connection, question: Question) -> Cause | None:
        """Handles a broken connection; see `_repeat` for the result."""
        with self._lock:
            return self._repeat(connection, question)

    # ------------------------------------------------------------------ several questions

    def ask_together(self, questions: Sequence[Question]) -> list[Answer | Cause]:
        """Asks DISC several questions, with as few writes and waits as it can.

        Args:
            questions: the questions, none of which is or was held.

        Returns:
            For each the answer, or the Cause why there is none.

        Raises:
            DiscError: this transport is closed.
        """
        results: list[Answer | Cause] = []
        most = min(_MOST_TOGETHER, self._config.max_in_flight)
        while len(results) < len(questions):
            batch = questions[len(results) : len(results) + most]
            connection = self._write_together(batch) if len(batch) > 1 else None
            if connection is None:
                results.append(self.ask(batch[0]))  # opens a connection, if that is what is missing
            else:
                results += self._exchange_together(connection, batch)
        return results

    def _write_together(self, batch: Sequence[Question]) -> Connection | None:
        with self._lock:
            if self.closed:
                raise DiscError("this client is closed")
            return self.pool.submit_together(batch, time.monotonic())

    def _exchange_together(
        self, connection: Connection, batch: Sequence[Question]
    ) -> Iterable[Answer | Cause]:
        """Sends the questions that were written to `connection`, and waits for their answers."""
        found: dict[Question, Answer | Cause] = {}
        try:
            self._await_answers(connection, batch, found)
        except OSError:
            left = [question for question in batch if question not in found]
            with self._lock:
                for question in left:
                    question.callback = Waiter()  # it may be asked on another connection
                self._drop(connection)
            for question in left:
                found[question] = self._go_on(question)
        except BaseException:
            with self._lock:
                for question in batch:
                    self.pool.abandon(question)
                self._drop(connection)
            raise
        return [found[question] for question in batch]

    def _await_answers(
        self, connection: Connection, batch: Sequence[Question], found: dict[Question, Answer | Cause]
    ) -> None:
        """Sends and receives until each question has its answer, or the time is over.

        Raises:
            OSError: the connection broke; `found` has the answers so far.
        """
        sock: socket.socket = connection.transport
        until: float = batch[0].deadline
        outgoing = bytearray(connection.take_unsent())
        while len(found) < len(batch):
            left = until - time.monotonic()
            if left <= 0:
                self._expire_together(connection, batch, found)
                return
            limit_time(sock, left)
            try:
                data = exchange(sock.fileno(), outgoing)
            except BlockingIOError:
                continue
            if data is None:
                continue
            now = time.monotonic()
            if now > until:
                continue  # this process did not run for a while: the answers are stale
            with self._lock:
                found.update(self.pool.received_on(connection, data, now))
                if len(found) == len(batch):
                    limit_time(sock, self._usual_limit)
                    self._hand_on(connection)
                if self.pool.events:
                    self._act(now)
            if len(found) < len(batch) and (not data or connection.fault is not None):
                raise ConnectionError

    def _expire_together(
        self, connection: Connection, batch: Sequence[Question], found: dict[Question, Answer | Cause]
    ) -> None:
        """Ends the questions that have no answer in time."""
        with self._lock:
            now = time.monotonic()
            for question in batch:
                if question not in found:
                    found[question] = self.pool.expire_one(question, now)
            # Part of a question or of an answer may be on it.
            self._drop(connection)

    # ------------------------------------------------------------------ connecting

    def _open(self, peer: Peer) -> None:
        """Opens a connection; runs in a thread of its own."""
        try:
            sock = self._connect(peer)
        except OSError as error:
            self._not_opened(peer, error)
        else:
            self._opened(peer, sock)
        if self.untold:
            self.tell_changes()

    def _opened(self, peer: Peer, sock: socket.socket) -> None:
        with self._lock:
            if self.closed:
                sock.close()
                return
            now = time.monotonic()
            self.pool.opened(peer, sock, now).fd = sock.fileno()
            self._act(now)

    def _not_opened(self, peer: Peer, error: OSError) -> None:
        with self._lock:
            now = time.monotonic()
            self.pool.failed(peer, now, reason_of(error))
            self._act(now)

    def _connect(self, peer: Peer) -> socket.socket:
        """Connects to a peer.

        Returns:
            The connected socket.

        Raises:
            OSError: none of its addresses could be reached in time.
        """
        dial = Dial(peer, self._resolver, self._config.connect_timeout, time.monotonic)
        outcome: list[Outcome] = []
        known = threading.Event()

        def done(found: Outcome) -> None:
            outcome.append(found)
            known.set()

        dial.look_up(done)
        if not known.wait(dial.connect_timeout):
            dial.forget_lookup(done)
            raise OSError(LOOKUP_TIMED_OUT)
        for address, seconds in dial.attempts(outcome[0]):
            try:
                sock = _connected(address, seconds, self._usual_limit)
            except OSError as error:
                dial.failed(error)
            else:
                dial.connected(address)
                return sock
        raise dial.error

    # ------------------------------------------------------------------ under the lock

    def _tend(self, now: float) -> None:
        """Does what is due."""
        self.pool.tend(now)
        self.pool.be_due(self._log.due)
        self.untold = True

    def _act(self, now: float) -> None:
        """Carries out the events of the pool, until there are none."""
        while self.pool.events:
            for event in self.pool.take_events():
                match event:
                    case Send():
                        for question in event.questions:
                            wake_up(question)
                    case Finished(question, cause):
                        if isinstance(question.callback, Waiter):
                            question.callback.cause = cause
                            wake_up(question)
                    case Open(peer):
                        self._start_opening(peer, now)
                    case Close(connection):
                        self._close(connection, now)
                    case Change():
                        self._note(event, now)

    def _note(self, change: Change, now: float) -> None:
        """Takes a change of a peer, for the log."""
        self._changes.append(change)
        self.untold = True

    def _start_opening(self, peer: Peer, now: float) -> None:
        """Opens a connection in a thread, since the lookup of a name has no time limit."""
        try:
            # Thread.start() would wait until the thread runs, and hold our lock meanwhile.
            _thread.start_new_thread(self._open, (peer,))
        except RuntimeError:  # no more threads
            self.pool.failed(peer, now, "no thread is left to connect")

    def _close(self, connection: Connection, now: float) -> None:
        if connection.under_way:
            # The thread that reads from it wakes up, and closes it.
            with contextlib.suppress(OSError):
                connection.transport.shutdown(socket.SHUT_RDWR)
        else:
            connection.transport.close()
            self.pool.closed(connection, now)

    def _hand_on(self, connection: Connection) -> None:
        """Leaves a connection to other threads after its answer; closes it if they cannot use it."""
        if self.closed or not connection.is_live:
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        """Closes a connection that belongs to this thread, or is idle."""
        connection.transport.close()
        now = time.monotonic()
        self.pool.closed(connection, now)
        self._act(now)

    def _repeat(self, connection: Connection, question: Question) -> Cause | None:
        """Drops a connection whose question is to be asked on another one.

        Returns:
            None: the question waits, or its waiter has the Cause. DISC_LOST: the transport is closed.
        """
        if not self.closed:
            question.callback = Waiter()
        self._drop(connection)
        return Cause.DISC_LOST if self.closed else None

    def _abandon(self, question: Question) -> None:
        """Abandons a question; closes its connection, so that no later question gets its answer."""
        if self.pool.abandon(question) or (self.closed and question.connection is not None):
            self._drop(question.connection)

    # ------------------------------------------------------------------ the log

    def tell_changes(self) -> None:
        """Logs the changes of peers, outside the lock, since a log handler may block or use this client.

        One thread logs at a time. Others return at once; the one that logs checks for new changes before it
        ends.
        """
        while self.untold and self._log_lock.acquire(blocking=False):
            try:
                self.untold = False
                while self._changes:
                    self._log.tell(self._changes.pop(0), time.monotonic())
                self._log.flush(time.monotonic())
                with self._lock:
                    self.pool.be_due(self._log.due)
            finally:
                self._log_lock.release()

    # ------------------------------------------------------------------ closing

    def close(self) -> None:
        """Closes all connections; questions under way end with the Cause DISC_LOST."""
        with self._lock:
            self.closed = True
            now = time.monotonic()
            self.pool.stop(now)
            self._act(now)
            for connection in list(self.pool.connections):
                self._close(connection, now)
            self._act(now)


def limit_time(sock: socket.socket, seconds: float) -> None:
    """Sets the kernel's time-out for each send and receive, after which BlockingIOError is raised."""
    seconds = max(seconds, 0.000_001)  # zero would mean no limit
    whole = int(seconds)
    limit = struct.pack("@ll", whole, int((seconds - whole) * 1_000_000))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


def _connected(address: Address, seconds: float, limit: float) -> socket.socket:
    """Connects to `address`.

    Args:
        address: the address.
        seconds: time limit for connecting.
        limit: seconds; the socket's time-out from then on.

    Raises:
        OSError: it cannot be connected to in that time.
    """
    family, where = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(max(seconds, 0.001))
        sock.connect(where)
        make_ready(sock, limit)
    except BaseException:
        sock.close()
        raise
    return sock


def make_ready(sock: socket.socket, limit: float) -> None:
    """Prepares a connected socket for questions, with a time-out in seconds."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A blocking socket with the kernel's time-outs takes fewer system calls than settimeout().
    sock.settimeout(None)
    limit_time(sock, limit)
