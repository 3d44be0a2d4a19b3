"""How many requests a turn of the loop may take on, so that none waits for long: measured, without I/O.

A route may compute, and meanwhile nothing is read: what comes waits as long as all that was taken on before
takes. So as many are taken on as run in less than a tenth of a second, by what one took in the turns before,
and the others are refused at once. Those wait for one turn, and those that are taken on for a few: one in
the kernel, one of their own, and one for each time that they wait for something.

Time in which a route waits does not count, only time in which it keeps the loop.
"""

from __future__ import annotations

_TURN = 0.08  # seconds that a turn may take: a few of them are less than T1, after which telephones ask again
_LEAST = 16  # requests that a turn takes on however long they take


class Turns:
    """Attributes:
    room: how many requests the next turn may take on.
    """

    __slots__ = ("_each", "room")

    def __init__(self) -> None:
        self.room = 1 << 30  # nothing is known yet
        self._each = 0.0

    def ended(self, taken: int, took: float) -> None:
        """A turn is over.

        Args:
            taken: requests that it took on, one or more.
            took: seconds until all of them let go of the loop.
        """
        before, self._each = self._each, took / taken
        # The better of two turns: a moment in which this process did not run is no measure.
        each = min(before, self._each) if before else self._each
        self.room = max(_LEAST, int(_TURN / max(each, 1e-9)))
