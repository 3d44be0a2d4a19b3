"""An event loop in a thread of its own, for connections that live while nobody asks."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any

_PATIENCE = 5.0  # seconds for the last work of a loop


class LoopThread:
    """An event loop that runs in a daemon thread from now on, until `stop`.

    Args:
        name: the name of the thread.

    Attributes:
        loop: the event loop.
    """

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._last: asyncio.Task[None] | None = None  # what `stop` has begun on the loop
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    def _end(self, last: asyncio.Task[None]) -> None:
        """Ends the loop after the last work; an error of that is the loop's to report."""
        self.loop.stop()

    def is_current(self) -> bool:
        """Whether this is called on the loop."""
        return threading.current_thread() is self._thread

    def call(self, function: Callable[[], object]) -> bool:
        """Has a function called on the loop; False: the loop has ended."""
        try:
            self.loop.call_soon_threadsafe(function)
        except RuntimeError:
            return False
        return True

    def stop(self, last: Coroutine[Any, Any, None]) -> None:
        """Runs the last work, for a few seconds at most, and ends the loop and the thread.

        On the loop itself it returns at once, and the rest follows.
        """
        if self.is_current():
            self._last = self.loop.create_task(asyncio.wait_for(last, _PATIENCE))
            self._last.add_done_callback(self._end)
            return
        leaving = asyncio.run_coroutine_threadsafe(last, self.loop)
        with contextlib.suppress(TimeoutError):
            leaving.result(_PATIENCE)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_PATIENCE)
