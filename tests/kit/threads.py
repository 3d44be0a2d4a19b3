"""Threads that do the same thing at once."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from kit.machine import PATIENCE

THREADS = 8

T = TypeVar("T")


def together(work: Callable[[int], T], threads: int = THREADS) -> list[T]:
    """What `work` returns in each of so many threads, which begin at once; it gets the thread's number."""
    start = threading.Barrier(threads)

    def begin(number: int) -> T:
        start.wait(PATIENCE)
        return work(number)

    with ThreadPoolExecutor(threads) as executor:
        return list(executor.map(begin, range(threads)))


def in_turns(work: Callable[[int, int], T], turns: int, threads: int = THREADS) -> list[list[T]]:
    """For each turn what `work` returns in each thread; it gets the number of the turn, too.

    All begin each turn at once, so that they meet where something is needed for the first time.
    """
    start = threading.Barrier(threads)

    def begin(number: int) -> list[T]:
        found = []
        try:
            for turn in range(turns):
                start.wait(PATIENCE)
                found.append(work(turn, number))
        except BaseException:
            start.abort()
            raise
        return found

    return [list(turn) for turn in zip(*together(begin, threads), strict=True)]


@contextmanager
def hurried_switches() -> Iterator[None]:
    """With the GIL, it goes to another thread as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
