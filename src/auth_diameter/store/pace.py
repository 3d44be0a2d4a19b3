"""A limit to how often slow work is repeated."""

from __future__ import annotations

import time
from typing import Final

#: After slow work, the pause is this many times as long: the work takes one part in 20 of the time.
_SHARE: Final = 20
#: Work that takes less than this, in seconds, may be repeated at any time.
_SHORT: Final = 0.005


class Pace:
    """A limit to how often slow work, such as a scan of a table, is repeated.

    While the work is put off, its former result is used. `Pace` remembers whether that happened.
    """

    def __init__(self) -> None:
        self._due = 0.0
        self._put_off = False

    def allows(self) -> bool:
        """Whether the work may be done now. If not, `Pace` remembers that its former result is used."""
        self._put_off = time.monotonic() < self._due
        return not self._put_off

    def done(self, took: float) -> None:
        """Records that the work was done.

        Args:
            took: seconds of CPU time; elapsed time would count other processes, too.
        """
        self._due = time.monotonic() + _SHARE * took if took > _SHORT else 0.0

    def forget(self) -> None:
        """Allows the work at once, since its former result is about something else."""
        self._due = 0.0
        self._put_off = False

    def claim_renewal(self) -> bool:
        """Whether a former result was used and the work may be done now; True only once."""
        if not self._put_off or time.monotonic() < self._due:
            return False
        self._put_off = False
        return True
