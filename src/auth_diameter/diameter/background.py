"""The transport for threads with standard Diameter: one event loop, in a thread of its own.

A peer accepts one connection of each identity (RFC 6733, 2.1), and asks whether we are alive even when
nobody asks it anything (RFC 3539). So the threads share the connections of one `AioTransport`, whose loop
runs in the background. It starts with the first question: until then a process may fork.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from auth_diameter._core import Answer, DiscError, Message, Question
from auth_diameter.config import Config
from auth_diameter.decision import Cause
from auth_diameter.diameter.aio import AioTransport
from auth_diameter.diameter.loop_thread import LoopThread
from auth_diameter.diameter.own_requests import Answered
from auth_diameter.diameter.realms import transport_of
from auth_diameter.diameter.speaking import tls_of
from auth_diameter.diameter.stats import PoolStats, no_pool
from auth_diameter.diameter.waiters import HeldThreads

_GRACE = 1.0  # seconds beyond its deadline for which a thread waits for the loop to end its question


class _Asked:
    """A thread that waits for the answer to a question; it is `Question.callback` meanwhile.

    Attributes:
        result: the answer, or the Cause why there is none; None: there is neither so far.
    """

    __slots__ = ("_done", "result")

    def __init__(self) -> None:
        self.result: Answer | Cause | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def end(self, result: Answer | Cause) -> None:
        """Ends the wait."""
        if self.result is None:
            self.result = result
            self._done.release()

    def wait(self, until: float) -> Answer | Cause:
        """Waits for the result until a time, seconds, monotonic."""
        self._done.acquire(timeout=max(until - time.monotonic(), 0.0))
        return self.result or Cause.DISC_TIMEOUT


class BackgroundTransport(HeldThreads):
    """Questions and answers of any number of threads, with all peers of one configuration.

    Args:
        config: the settings.

    Attributes:
        closed: whether `close` was called.
        untold: False; changes of peers are logged by the loop.

    Raises:
        ConfigError: a file of the TLS settings cannot be used.
    """

    untold = False

    def __init__(self, config: Config) -> None:
        self._config = config
        self.closed = False
        tls_of(config)  # what it raises is raised here, and not in the thread
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._thread: LoopThread | None = None
        self._aio: AioTransport | None = None

    def after_fork(self) -> None:
        """Starts afresh in the child; the thread and the connections are the parent's."""
        if self._aio is not None:
            self._aio.after_fork()
        self._begin()

    def stats(self) -> PoolStats:
        """Counts of the questions asked and their outcomes, and the state of each peer."""
        return no_pool() if self._aio is None else self._aio.stats()

    def tell_changes(self) -> None:
        """Does nothing: the loop logs the changes of peers."""

    # ------------------------------------------------------------------ the loop

    def _start(self) -> tuple[LoopThread, AioTransport]:
        """Starts the loop with the first question.

        Raises:
            DiscError: this transport is closed.
        """
        with self._lock:
            if self.closed:
                raise DiscError("this client is closed")
            if self._thread is None or self._aio is None:
                self._thread = LoopThread("auth-diameter-peers")
                self._aio = transport_of(self._config, self._answered, self._failed, lambda now: None)
            return self._thread, self._aio

    @staticmethod
    def _answered(answers: list[tuple[Question, Answer]], now: float) -> None:
        for question, answer in answers:
            question.callback.end(answer)

    @staticmethod
    def _failed(question: Question, cause: Cause, now: float) -> None:
        question.callback.end(cause)

    # ------------------------------------------------------------------ questions

    def may_wait(self) -> bool:
        """Whether this thread may wait: the loop, which calls handlers of the log, would wait for itself."""
        thread = self._thread
        return thread is None or not thread.is_current()

    def ask(self, question: Question) -> Answer | Cause:
        """Asks a peer, and waits for its answer until the deadline; on the loop nothing is asked.

        Returns:
            The answer, or the Cause why there is none.

        Raises:
            DiscError: this transport is closed.
        """
        return self.ask_together([question])[0]

    def ask_together(self, questions: Sequence[Question]) -> list[Answer | Cause]:
        """Asks questions with one write, and waits for all answers; on the loop nothing is asked.

        Returns:
            For each question its answer, or the Cause why there is none.

        Raises:
            DiscError: this transport is closed.
        """
        if not questions:
            return []
        thread, aio = self._start()
        if not self.may_wait():
            return [Cause.DISC_LOST for _ in questions]
        asked = [_Asked() for _ in questions]
        for question, waiter in zip(questions, asked, strict=True):
            question.callback = waiter

        def ask_all() -> None:
            for question, waiter in zip(questions, asked, strict=True):
                try:
                    aio.ask(question)
                except DiscError:  # it was closed meanwhile
                    waiter.end(Cause.DISC_LOST)

        if not thread.call(ask_all):
            return [Cause.DISC_LOST for _ in questions]
        until = time.monotonic() + self._config.timeout + _GRACE
        return [waiter.wait(until) for waiter in asked]

    def request(self, realm: str, make: Callable[[int, int], Message], answered: Answered) -> None:
        """Sends a request that is no question; see `AioTransport.request`. The loop calls `answered`."""
        with self._lock:
            thread, aio = self._thread, self._aio
        if thread is None or aio is None or not thread.call(lambda: aio.request(realm, make, answered)):
            answered(None)

    # ------------------------------------------------------------------ closing

    def close(self) -> None:
        """Leaves all peers; questions under way end with the Cause DISC_LOST.

        On the loop, as in a handler of the log, this does not wait for that.
        """
        with self._lock:
            self.closed = True
            thread, aio = self._thread, self._aio
            self._thread = None
        if thread is not None and aio is not None:
            thread.stop(aio.aclose())
