"""Threads that wait for an HSS: their questions are finished on an event loop in a thread of its own.

The connections to an HSS need such a thread in any case, for they are watched while nobody asks (RFC 3539).
There the questions of all threads are finished side by side, so that nobody waits for those of another.
`together` is for databases, for which no thread is started.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

from auth_diameter._core import Batch
from auth_diameter.diameter.loop_thread import LoopThread
from auth_diameter.store.store import StoreError
from auth_diameter.verifier.driver import Driver


class Apart:
    """The questions of all threads of one process, which a `Driver` finishes.

    Args:
        driver: with a store that lives on an event loop.
        left: is awaited after the store was closed.
    """

    def __init__(self, driver: Driver, left: Callable[[], Awaitable[None]]) -> None:
        self._driver = driver
        self._left = left
        self._thread: LoopThread | None = None
        self._lock = threading.RLock()  # a signal handler may call this again
        self._tasks: set[asyncio.Task[None]] = set()

    def finish(self, batch: Batch, now: float, require_open: Callable[[], None]) -> None:
        """Judges what is left of a batch, with what the store says; waits for it.

        Args:
            batch: the batch.
            now: seconds since 1970.
            require_open: raises if the client is closed.
        """
        ended = threading.Event()
        tasks: list[asyncio.Task[None]] = []

        def begin() -> None:
            task = asyncio.get_running_loop().create_task(self._driver.finish(batch, now))
            tasks.append(task)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda _: ended.set())

        def cancel() -> None:
            tasks[0].cancel()

        with self._lock:  # so that it begins before the store is closed
            require_open()
            if self._thread is None:
                self._thread = LoopThread("auth-diameter-hss")
            thread = self._thread
            if thread.is_current():  # a handler of the log, which would wait for itself
                self._driver.give_up(batch, StoreError("the database is asked already"))
                return
            thread.call(begin)
        try:
            ended.wait()
        except BaseException:
            # It must not go on later with a batch that is used for something else then.
            thread.call(cancel)
            ended.wait()
            raise
        tasks[0].result()

    def close(self, close_store: Callable[[], None]) -> None:
        """Closes the store, ends the questions that wait, and ends the thread."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is None:
            close_store()
            return

        async def leave() -> None:
            close_store()
            await self._left()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        thread.stop(leave())
