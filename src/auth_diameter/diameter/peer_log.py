"""The log of peers: one line for each change of state, and few lines for a peer that flaps.

The first six changes of a peer within 30 seconds are logged at once. After that, one line every 30 seconds
names the state of the peer, and the number of changes.
"""

from __future__ import annotations

import logging
import math

from auth_diameter.diameter.peer import Change

log = logging.getLogger("auth_diameter.pool")

_SHOWN = 6  # lines about one peer that are logged at once
_QUIET = 30.0  # seconds for which these lines count


class _Lines:
    """The lines logged about one peer.

    Attributes:
        until: when changes are logged at once again; seconds, monotonic.
        held: the last change that was not logged; None: all were.
        shown: number of lines logged since the 30 seconds began.
        skipped: number of changes not logged since the last line.
        was_bad: whether the last line said that the peer is not up.
    """

    __slots__ = ("held", "shown", "skipped", "until", "was_bad")

    def __init__(self) -> None:
        self.until = -math.inf
        self.shown = 0
        self.skipped = 0
        self.held: Change | None = None
        self.was_bad = False


class ChangeLog:
    """Logs the changes of one client's peers.

    Args:
        what: how a peer is called.

    Attributes:
        due: when `flush` has something to log; seconds, monotonic.
    """

    def __init__(self, what: str = "DISC") -> None:
        self._what = what
        self.due = math.inf
        self._lines: dict[str, _Lines] = {}

    def tell(self, change: Change, now: float) -> None:
        """Logs `change`, or keeps it for `flush`."""
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
        """Logs the state of each peer whose changes were kept, once its 30 seconds are over."""
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

    def _write(self, lines: _Lines, change: Change) -> None:
        text = f"{self._what} {change.address} "
        if change.state == "up":
            text += "is up"
        elif change.state == "silent":
            text += "does not answer; asking it once a second"
        else:
            rest = f"in {change.rest:.1f} s" if change.rest >= 0.05 else "at once"
            text += f"is down: {change.why}; next try {rest}"
        if lines.skipped > 1:
            text += f" (changed {lines.skipped} times since the line before)"
        # A recovery has the level of the failure it ends; otherwise a peer that is up is no news.
        good = change.state == "up" and not lines.was_bad and not lines.skipped
        log.log(logging.DEBUG if good else logging.WARNING, "%s", text)
        lines.was_bad = change.state != "up"
        lines.shown += 1
        lines.skipped = 0
        lines.held = None
