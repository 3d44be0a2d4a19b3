"""Forked processes, and the memory that they share: for tests of what is counted over all of them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import platform
import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from kit.machine import PATIENCE, wait_until

T = TypeVar("T")

_C = ctypes.CDLL(None)
_WAITERS = 0x80000000  # set in the word of a lock while somebody waits for it (futex(2): FUTEX_WAITERS)
_LOCK = 48 if platform.machine() == "aarch64" else 40  # bytes: sizeof(pthread_mutex_t)


def fork(work: Callable[[], object]) -> int:
    """Starts a process that does the work and ends; returns its number."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the test runner has threads
        child = os.fork()
    if child:
        return child
    try:
        signal.alarm(int(PATIENCE))
        work()
        os._exit(0)
    finally:
        os._exit(1)


def end(child: int) -> None:
    """Waits for the end of a process that did its work."""
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def kill(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def in_child(work: Callable[[], T]) -> T:
    """What the work returns in a process of its own."""
    reader, writer = os.pipe()
    child = fork(lambda: os.write(writer, pickle.dumps(work())))
    os.close(writer)
    with open(reader, "rb") as pipe:
        data = pipe.read()
    end(child)
    result: T = pickle.loads(data)
    return result


class Shared:
    """The memory that an object shares with forked processes. Its lock is at the start."""

    def __init__(self, start: int, size: int) -> None:
        self.start, self.size = start, size
        self._word = ctypes.c_uint32.from_address(start)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the lock."""
        assert _C.pthread_mutex_lock(ctypes.c_void_p(self.start)) == 0
        yield
        assert _C.pthread_mutex_unlock(ctypes.c_void_p(self.start)) == 0

    def wait_for_waiter(self) -> None:
        """Waits until somebody waits for the lock, which is held."""
        wait_until(lambda: self._word.value & _WAITERS)

    def fill(self, byte: int) -> None:
        """Overwrites all but the lock, which no change would do."""
        ctypes.memset(self.start + _LOCK, byte, self.size - _LOCK)

    def kill_owner(self, byte: int | None = None) -> None:
        """Has a process killed while it holds the lock."""

        def work() -> None:
            with self.locked():
                if byte is not None:
                    self.fill(byte)
                os.kill(os.getpid(), signal.SIGKILL)

        child = fork(work)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def _mapped() -> set[tuple[int, int]]:
    """The memory of this process that is shared and has no file."""
    found = set()
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, mode, *_, name = line.split(maxsplit=5)
        if mode.endswith("s") and name.startswith("/dev/zero"):
            start, stop = (int(number, 16) for number in place.split("-"))
            found.add((start, stop - start))
    return found


def made_with_memory(make: Callable[[], Any]) -> tuple[Any, Shared]:
    """What `make` returns, and the memory that it shares: the largest, if there are several."""
    before = _mapped()
    made = make()
    size, start = max((size, start) for start, size in _mapped() - before)
    return made, Shared(start, size)
