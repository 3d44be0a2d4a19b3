"""Threads whose questions an event loop in a thread of its own finishes.

An HSS asks whether we are alive even when nobody asks it anything (RFC 3539), so its connections need a loop
that always runs. It finishes the questions as well: each thread waits for its own alone. With a database
server there is no such thread, see `together`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from auth_diameter._core import Batch
from auth_diameter.diameter.loop_thread import LoopThread
from auth_diameter.verifier.driver import Driver

_PATIENCE = 1.0  # seconds for questions that are given up


class Apart:
    """The questions of all threads of one process, which a `Driver` finishes.

    Args:
        driver: with the store; both are used on the loop alone.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._lock = threading.Lock()
        self._thread: LoopThread | None = None
        self._unfinished = 0

    def finish(self, batch: Batch, now: float, require_open: Callable[[], None]) -> None:
        """Judges what is left of a batch, with what the store says; waits for it.

        Args:
            batch: the batch.
            now: seconds since 1970.
            require_open: raises if the client is closed.
        """
        with self._lock:
            require_open()
            if self._thread is None:
                self._thread = LoopThread("auth-diameter-hss")
            loop = self._thread.loop
            ended = threading.Event()
            future = asyncio.run_coroutine_threadsafe(self._finish(batch, now, ended), loop)
        try:
            future.result()
        except BaseException:
            # It must not go on later with a batch that is used for something else then.
            future.cancel()
            ended.wait(_PATIENCE)
            raise

    async def _finish(self, batch: Batch, now: float, ended: threading.Event) -> None:
        self._unfinished += 1
        try:
            await self._driver.finish(batch, now)
        finally:
            self._unfinished -= 1
            ended.set()

    def close(self, close_store: Callable[[], None], closed: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Closes the store and the loop; the questions under way end.

        Args:
            close_store: closes the store.
            closed: waits until it is closed.
        """
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is None:
            close_store()
            return

        async def last() -> None:
            close_store()
            await closed()
            while self._unfinished:
                await asyncio.sleep(0)

        thread.stop(last())
