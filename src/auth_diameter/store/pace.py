"""How often something is done again that may take long."""

from __future__ import annotations

import time
from typing import Final

#: After work that took long, the next time comes this many times as long after it: it costs one part in 20.
_SHARE: Final = 20
#: What takes less than this, in seconds, may be done again at any time.
_SHORT: Final = 0.005


class Pace:
    """Whether something that takes long may be done again; whether its former result was told meanwhile."""

    def __init__(self) -> None:
        self._due = 0.0
        self._put_off = False

    def allows(self) -> bool:
        """Whether it may be done now; if not, it is remembered that something old is told."""
        self._put_off = time.monotonic() < self._due
        return not self._put_off

    def done(self, took: float) -> None:
        """It was done.

        Args:
            took: seconds of work alone, so that a busy machine makes nothing a long one.
        """
        self._due = time.monotonic() + _SHARE * took if took > _SHORT else 0.0

    def forget(self) -> None:
        """It may be done at once, for it is about something else now."""
        self._due = 0.0
        self._put_off = False

    def claim_renewal(self) -> bool:
        """Whether something old was told that can be told anew from now on; this is said once."""
        if not self._put_off or time.monotonic() < self._due:
            return False
        self._put_off = False
        return True
