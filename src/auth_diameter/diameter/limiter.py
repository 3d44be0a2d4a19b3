"""A limit on the questions under way, so that none waits too long; measured, without I/O.

When DISC cannot answer a question in time, refusing it at once is better. Otherwise all questions wait, and
in the end every answer comes too late. The capacity of DISC shows only while questions queue there. It is the
rate of answers over a window of 30 ms, if at both ends of the window an answer took notably longer than quick
answers did lately. At that rate, a new question waits as long as DISC needs for all those under way.

Without such a queue the capacity is unknown, and nothing is refused. So a burst goes through when DISC is
idle, or far away.
"""

from __future__ import annotations

import math

NO_LIMIT = 1 << 29  # questions; small enough for Python to compare fast

_WINDOW = 0.03  # seconds; within two windows, five times the load that DISC can take makes a queue of 0.24 s
_QUEUE = 0.125  # share of max_delay by which an answer exceeds a quick one if its question has queued
_QUICK = 0.25  # share of max_delay above which no answer counts as quick
_FORGET = 0.05  # weight of a window in the time of a quick answer: the network may get slower


class Overload:
    """A limit on the questions under way, by the rate of answers.

    Args:
        max_delay: seconds that a question may wait for its answer; None: there is no limit.
        least: lower bound of the limit, since a rate measured on few answers means little.

    Attributes:
        limit: number of questions under way from which on the next one is refused.
        due: when `measure` is to be called next; seconds, monotonic.
    """

    __slots__ = ("_answered", "_least", "_max_delay", "_queued", "_quick", "_rate", "_since", "due", "limit")

    def __init__(self, max_delay: float | None, least: int) -> None:
        self.limit = NO_LIMIT
        self._least = least
        self._max_delay = max_delay if max_delay is not None else math.inf
        self.due = -math.inf if max_delay is not None else math.inf
        self._quick = math.inf  # estimated seconds of an answer without a queue
        self._since = 0.0  # when the window began
        self._answered = 0  # number of answers when the window began
        self._queued = False  # whether a queue has lasted since the window began
        self._rate = 0.0  # answers a second in the previous window

    def calm(self) -> None:
        """Removes the limit: no question is under way, so there is no queue."""
        self._queued = False
        self.limit = NO_LIMIT

    def measure(self, now: float, answered: int, took: float) -> None:
        """Recomputes `limit`; to be called for an answer that came at or after `due`.

        Args:
            now: seconds, monotonic.
            answered: number of questions answered so far.
            took: seconds that this answer took.
        """
        if took < self._quick:
            self._quick = took
        else:
            self._quick += _FORGET * (took - self._quick)
        self._quick = min(self._quick, _QUICK * self._max_delay)
        was_queued, self._queued = self._queued, took - self._quick > _QUEUE * self._max_delay
        rate = (answered - self._answered) / (now - self._since) if was_queued else 0.0
        # The better of two windows: in one of them this process itself may not have run.
        best = max(rate, self._rate)
        self._rate = rate
        self._since, self._answered = now, answered
        self.due = now + _WINDOW
        if not self._queued:
            self.limit = NO_LIMIT
        elif best:
            self.limit = max(self._least, int(best * self._max_delay))
        else:
            self.limit = NO_LIMIT - 1  # there is a queue, but its rate is not known yet
