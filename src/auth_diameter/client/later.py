"""Calls that block, in threads, for callers with a loop of their own that is not asyncio's."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

_log = logging.getLogger("auth_diameter.client")

_MOST_THREADS = 64  # as many connections as a client has by default

Result = TypeVar("Result")


class Later:
    """Work in threads, each of which hands its result to a callback.

    Args:
        most_threads: limit on the threads.
        most_waiting: limit on the work that waits for a thread.
    """

    def __init__(self, most_threads: int, most_waiting: int) -> None:
        self._threads = min(most_threads, _MOST_THREADS)
        self._most = most_waiting + self._threads
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._count = 0  # of what is under way or waits
        self._closed = False

    def after_fork(self) -> None:
        """Starts afresh in the child: the threads are the parent's."""
        self._begin()

    def start(self, work: Callable[[], Result], callback: Callable[[Result], object]) -> bool:
        """Does the work in a thread, which then calls `callback` with the result.

        Args:
            work: function that does not raise.
            callback: function of its result; what it raises is logged.

        Returns:
            Whether there is a thread for it, or will be; False: too much waits, or it is closed.
        """
        with self._lock:
            if self._closed or self._count >= self._most:
                return False
            if self._executor is None:
                self._executor = ThreadPoolExecutor(self._threads, "auth-diameter-asks")
            self._count += 1
            todo: list[Callable[[], None]] = [partial(_do, work, callback)]
            try:
                self._executor.submit(self._run, todo)
            except RuntimeError:  # no more threads; it is queued all the same
                todo.clear()
                self._count -= 1
                return False
            return True

    def _run(self, todo: list[Callable[[], None]]) -> None:
        for do in todo:
            try:
                do()
            finally:
                with self._lock:
                    self._count -= 1

    def close(self) -> None:
        """Takes no more work; what is under way goes on."""
        with self._lock:
            self._closed = True
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=False)


def _do(work: Callable[[], Result], callback: Callable[[Result], object]) -> None:
    hand_over(work(), callback)


def hand_over(result: Result, callback: Callable[[Result], object]) -> None:
    """Calls a callback, and logs what it raises."""
    try:
        callback(result)
    except Exception as error:  # noqa: BLE001 - nobody above could handle it
        _log.error("the callback of a decision failed", exc_info=error)
