"""Threads that wait: for their turn, while their question is held, or for a connection."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from auth_diameter._core import Question
from auth_diameter.decision import Cause


class Waiter:
    """A thread that waits; it is `Question.callback` while the question is held, or has no connection.

    It becomes that, is looked at and is woken under the lock of the transport: any thread may wake it.

    Attributes:
        wake: a lock that the thread acquires to wait; see `wake_up`.
        cause: why the question ended before it was sent; None: it has not ended.
    """

    __slots__ = ("cause", "wake")

    def __init__(self) -> None:
        self.cause: Cause | None = None
        self.wake = threading.Lock()
        self.wake.acquire()


def wake_up(question: Question) -> None:
    """Wakes the thread that waits for `question`, if there is one; for the owner of the lock."""
    waiter = question.callback
    if isinstance(waiter, Waiter) and waiter.wake.locked():
        waiter.wake.release()


class HeldThreads:
    """A transport whose threads wait while their questions are held."""

    _lock: threading.Lock

    def may_wait(self) -> bool:
        """Whether this thread may wait, since others end its wait."""
        return True

    def add_waiter(self, question: Question) -> Waiter:
        """Makes the thread of a question that is held its waiter."""
        waiter = Waiter()
        with self._lock:
            question.callback = waiter
        return waiter

    def remove_waiter(self, question: Question) -> None:
        """Ends that."""
        with self._lock:
            question.callback = None

    def wake(self, questions: Iterable[Question]) -> None:
        """Wakes the threads of questions that are no longer held."""
        with self._lock:
            for question in questions:
                wake_up(question)
