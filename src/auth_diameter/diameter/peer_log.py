"""One line in the log for each change of a DISC's state; few, where it flaps.

The first changes of a DISC within a time are told at once, and after that only where it stands, now and
again, and how often it changed meanwhile.
"""

from __future__ import annotations

import logging
import math

from auth_diameter.diameter.peer import Change

log = logging.getLogger("auth_diameter.pool")

_SHOWN = 6  # lines about one DISC at once
_QUIET = 30.0  # seconds after the first of them; then it begins anew


class _Lines:
    """What was said about one DISC.

    :ivar until: when it may be spoken of freely again. :ivar held: the last change that was not told.
    """

    __slots__ = ("held", "shown", "skipped", "until", "was_bad")

    def __init__(self) -> None:
        self.until = -math.inf
        self.shown = 0
        self.skipped = 0
        self.held: Change | None = None
        self.was_bad = False


class ChangeLog:
    """Writes `Change` after `Change` of one client.

    :ivar due: when `flush` has something to say.
    """

    def __init__(self) -> None:
        self.due = math.inf
        self._lines: dict[str, _Lines] = {}

    def tell(self, change: Change, now: float) -> None:
        """It happened. Logs it, or keeps it for `flush`."""
        self.flush(now)
        lines = self._lines.setdefault(change.address, _Lines())
        if now >= lines.until:
            lines.until = now + _QUIET
            lines.shown = 0
        if lines.shown < _SHOWN:
            self._write(lines, change)
        else:
            lines.held = change
            lines.skipped += 1
            self.due = min(self.due, lines.until)

    def flush(self, now: float) -> None:
        """Logs where those stand of which something was kept, once their quiet time is over."""
        if now < self.due:
            return
        self.due = math.inf
        for lines in self._lines.values():
            if lines.held is None:
                continue
            if now < lines.until:
                self.due = min(self.due, lines.until)
                continue
            lines.until = now + _QUIET
            lines.shown = 0
            self._write(lines, lines.held)

    @staticmethod
    def _write(lines: _Lines, change: Change) -> None:
        text = f"DISC {change.address} "
        if change.state == "up":
            text += "is up"
        elif change.state == "silent":
            text += "does not answer; asking it once a second"
        else:
            text += f"is down: {change.why}; next try in {change.rest:.1f} s"
        if lines.skipped > 1:
            text += f" (changed {lines.skipped} times since the line before)"
        # That it is up is no news but after bad news, whose end must be seen where that was.
        good = change.state == "up" and not lines.was_bad and not lines.skipped
        log.log(logging.DEBUG if good else logging.WARNING, "%s", text)
        lines.was_bad = change.state != "up"
        lines.shown += 1
        lines.skipped = 0
        lines.held = None
