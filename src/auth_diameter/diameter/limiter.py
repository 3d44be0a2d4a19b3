"""How many questions may be under way, so that none waits too long: measured, without I/O.

A question that DISC cannot answer in time is better refused at once. Otherwise all questions wait, and in the
end each answer comes too late. How fast DISC can answer shows only while DISC has a queue. It is the rate of
answers over a window of 30 ms, at both ends of which an answer took notably longer than quick ones did
lately. A new question then waits as long as all those under way take at that rate.

Without such a queue nothing is known about how fast DISC could be, and nothing is refused: a burst on an idle
DISC, or on one that is far away, goes through.
"""

from __future__ import annotations

import math

NO_LIMIT = 1 << 29  # questions; of a size that Python compares fast

_WINDOW = 0.03  # seconds: in two of them an overload five times too high gathers a queue of 0.24 s
_QUEUE = 0.125  # of max_delay: an answer that took so much longer than a quick one has queued
_QUICK = 0.25  # of max_delay: what takes longer is never quick
_FORGET = 0.05  # of a quick answer's time, each window: DISC may have moved farther away


class Overload:
    """A limit on the questions under way, by the rate at which answers come in.

    Args:
        max_delay: seconds that a question may wait for its answer; None: no limit.
        least: the limit is never lower than that: a rate of few answers means little.

    Attributes:
        limit: the number of questions under way from which on the next one is refused.
        due: when `measure` has something to do.
    """

    __slots__ = ("_answered", "_least", "_max_delay", "_queued", "_quick", "_rate", "_since", "due", "limit")

    def __init__(self, max_delay: float | None, least: int) -> None:
        self.limit = NO_LIMIT
        self._least = least
        self._max_delay = max_delay if max_delay is not None else math.inf
        self.due = -math.inf if max_delay is not None else math.inf
        self._quick = math.inf  # seconds that an answer without a queue takes, as it seems
        self._since = 0.0  # when the window began
        self._answered = 0  # how many questions were then
        self._queued = False  # whether there was a queue then, and no moment without questions since
        self._rate = 0.0  # of the window before

    def calm(self) -> None:
        """No question is under way: there is no queue, and no limit."""
        self._queued = False
        self.limit = NO_LIMIT

    def measure(self, now: float, answered: int, took: float) -> None:
        """Sets `limit`, when an answer came at or after `due`.

        Args:
            now: seconds, monotonic.
            answered: how many questions were answered so far.
            took: seconds that this answer took.
        """
        if took < self._quick:
            self._quick = took
        else:
            self._quick += _FORGET * (took - self._quick)
        self._quick = min(self._quick, _QUICK * self._max_delay)
        was_queued, self._queued = self._queued, took - self._quick > _QUEUE * self._max_delay
        rate = (answered - self._answered) / (now - self._since) if was_queued else 0.0
        # The better of two windows: a moment in which nobody worked, on this side maybe, is no rate.
        best = max(rate, self._rate)
        self._rate = rate
        self._since, self._answered = now, answered
        self.due = now + _WINDOW
        if not self._queued:
            self.limit = NO_LIMIT
        elif best:
            self.limit = max(self._least, int(best * self._max_delay))
        else:
            self.limit = NO_LIMIT - 1  # there is a queue, but nothing is known of its rate
