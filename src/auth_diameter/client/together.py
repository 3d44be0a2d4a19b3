"""Threads that wait for a database server together.

An event loop needs a thread to run it, but a library must not start one: its host may keep the GIL, or fork.
So a thread that needs something runs the loop itself, until it has its answers. Threads that come meanwhile
queue up. The next one to run the loop asks for all of them at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from auth_diameter._core import Batch
from auth_diameter.store.store import StoreError
from auth_diameter.verifier.driver import Driver


class Together:
    """The questions of all threads of one process, which a `Driver` finishes.

    Args:
        driver: with a store that waits.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.RLock()  # of the loop; a signal handler may call this again
        self._queue: deque[Batch] = deque()

    def finish(self, batch: Batch, now: float, require_open: Callable[[], None]) -> None:
        """Judges what is left of a batch, with what the store says; waits for it.

        Args:
            batch: the batch.
            now: seconds since 1970.
            require_open: raises if the client is closed.
        """
        self._queue.append(batch)
        with self._lock:
            if batch.is_done:  # another thread has finished it with its own
                return
            require_open()
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
            if self._loop.is_running():  # in this thread: a signal handler, or a handler of the log
                self._driver.give_up(batch, StoreError("the database is asked already"))
                return
            batches: list[Batch] = []
            while self._queue:
                one = self._queue.popleft()
                if not one.is_done:
                    batches.append(one)
            if batch not in batches:  # a thread that was interrupted had taken it
                batches.append(batch)
            self._run(self._driver.finish_together(batches, now))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs the loop until the work has ended."""
        assert self._loop is not None
        loop = self._loop
        task = loop.create_task(work)

        def run() -> None:
            try:
                loop.run_until_complete(task)
            except BaseException:
                # It must not go on later with batches that are used for something else then.
                task.cancel()
                loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
                raise

        if asyncio._get_running_loop() is None:
            run()
            return
        # A thread runs one loop at a time, and this one's caller is in another.
        failures: list[BaseException] = []

        def run_apart() -> None:
            try:
                run()
            except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits
                failures.append(error)

        thread = threading.Thread(target=run_apart, name="auth-diameter-waits")
        thread.start()
        thread.join()
        if failures:
            raise failures[0]

    def close(self, close_store: Callable[[], None]) -> None:
        """Closes the store and the loop, once no thread waits any more."""
        with self._lock:
            close_store()
            if self._loop is not None and not self._loop.is_running():
                self._loop.run_until_complete(self._loop.shutdown_asyncgens())
                self._loop.close()
                self._loop = None
