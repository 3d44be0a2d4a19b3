"""A limit on the routes that a turn of the loop begins, so that no request waits long; without I/O.

A route may compute, and nothing is read meanwhile: a new request waits until all routes of the turn have let
go of the loop. So a turn begins as many routes as run in less than a tenth of a second, by the measured time
of one in the turns before. Further requests are refused at once. A refused request waits one turn. A request
that is accepted waits a few turns: one in the kernel, one of its own, and one for each await in its route.

Only the time in which a route keeps the loop counts, not the time in which it awaits something.
"""

from __future__ import annotations

_TURN = 0.08  # seconds that a turn may take; a few of them are less than T1, the first retransmission timer
_LEAST = 16  # requests that a turn always accepts


class TurnLimit:
    """The limit on the routes that a turn begins, by the measured time of one.

    Attributes:
        room: number of requests that the next turn may accept.
    """

    __slots__ = ("_each", "room")

    def __init__(self) -> None:
        self.room = 1 << 30  # no limit before the first measurement
        self._each = 0.0

    def ended(self, taken: int, took: float) -> None:
        """Recomputes `room` after a turn.

        Args:
            taken: number of requests that the turn accepted, at least one.
            took: seconds until all of their routes let go of the loop.
        """
        before, self._each = self._each, took / taken
        # The better of two turns: in one of them this process may not have run.
        each = min(before, self._each) if before else self._each
        self.room = max(_LEAST, int(_TURN / max(each, 1e-9)))
