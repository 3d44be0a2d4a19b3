"""The watchdog of one peer as a state machine, without I/O: RFC 3539, 3.4.1; RFC 6733, 5.5.

::

    state     event            if                         actions                next state
    ────────────────────────────────────────────────────────────────────────────────────────
    INITIAL   UP                                          SET                    OKAY
    DOWN      UP                                          SEND SET               REOPEN
    OKAY      DWA              (answered)                 SET                    OKAY
    OKAY      OTHER                                       SET                    OKAY
    OKAY      TIMER            no DWR is out              SEND SET               OKAY
    OKAY      TIMER            a DWR is out               FAIL_OVER SET          SUSPECT
    OKAY      LOST                                        FAIL_OVER              DOWN
    SUSPECT   DWA              (answered)                 FAIL_BACK SET          OKAY
    SUSPECT   OTHER                                       FAIL_BACK SET          OKAY
    SUSPECT   TIMER                                       CLOSE                  DOWN
    SUSPECT   LOST                                                               DOWN
    REOPEN    DWA              the third                  FAIL_BACK SET          OKAY
    REOPEN    DWA              the first or second                               REOPEN
    REOPEN    OTHER                                                              REOPEN
    REOPEN    TIMER            no DWR is out              SEND SET               REOPEN
    REOPEN    TIMER            a DWR is out, once         SET                    REOPEN
    REOPEN    TIMER            a DWR is out, twice        CLOSE                  DOWN
    REOPEN    LOST                                                               DOWN

An event that the table does not list changes nothing. Opening a connection again is left to the pool.

SET sets the timer to Tw, which is the configured interval and from -2 to +2 seconds of jitter. SEND sends a
DWR. FAIL_OVER asks the questions under way elsewhere. FAIL_BACK lets the peer have questions again. CLOSE
closes the connection.

A peer that was DOWN must answer three DWR before it is OKAY. They are Tw apart, so that takes 2 Tw. In the
RFC's table the timer is not set with the third DWA; it is here, as without it OKAY would have no timer.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from typing import Final

from auth_diameter.standard import LEAST_WATCHDOG

_JITTER: Final = 2.0  # seconds by which Tw is shorter or longer
_REOPENING: Final = 3  # DWA after which a peer that was DOWN is OKAY


class WatchdogState(enum.Enum):
    """The state of the transport to a peer, as RFC 3539 names it."""

    INITIAL = "no connection has been open"
    OKAY = "the peer answers"
    SUSPECT = "it left a DWR unanswered"
    DOWN = "the connection is closed"
    REOPEN = "there is a connection again, which has to prove itself"


class WatchdogEvent(enum.Enum):
    """What happened."""

    UP = "the capabilities have been exchanged"
    LOST = "the connection is closed"
    DWA = "a Device-Watchdog-Answer came"
    OTHER = "any other message came"
    TIMER = "nothing came for Tw"


class Action(enum.Enum):
    """What is to be done."""

    SEND = "send a DWR"
    SET = "set the timer"
    FAIL_OVER = "ask the questions under way elsewhere"
    FAIL_BACK = "let the peer have questions again"
    CLOSE = "close the connection"


INITIAL, OKAY, SUSPECT, DOWN, REOPEN = WatchdogState
_UP, _LOST, _DWA, _OTHER, _TIMER = WatchdogEvent
_SEND, _SET, _FAIL_OVER, _FAIL_BACK, _CLOSE = Action
_POSTPONED = (_SET,)


class Watchdog:
    """The watchdog of one peer, over all its connections.

    Args:
        interval: seconds of Tw without the jitter, 6 or more.
        jitter: function that returns a number from 0 to 1.

    Attributes:
        state: see the table at the top of this file.
        due: when `TIMER` happens; seconds, monotonic; infinity: never.
    """

    __slots__ = ("_answered", "_interval", "_is_out", "_jitter", "due", "state")

    def __init__(self, interval: float, jitter: Callable[[], float]) -> None:
        assert interval >= LEAST_WATCHDOG
        self._interval = interval
        self._jitter = jitter
        self.state = INITIAL
        self.due = math.inf
        self._is_out = False  # whether a DWR has no answer
        self._answered = 0  # in REOPEN, the DWA so far; -1: none came for Tw

    def happened(self, event: WatchdogEvent, now: float) -> tuple[Action, ...]:
        """Makes the transition for an event.

        Args:
            event: what happened.
            now: seconds, monotonic.

        Returns:
            What is to be done. SET is done already.
        """
        if event is _OTHER and self.state is OKAY:  # nearly always
            self._set(now)
            return _POSTPONED
        if event is _DWA:
            self._is_out = False
        actions, self.state = self._row(event)
        if _SEND in actions:
            self._is_out = True
        if _SET in actions:
            self._set(now)
        if self.state is DOWN:
            self.due = math.inf
            self._is_out = False
        return actions

    def _set(self, now: float) -> None:
        self.due = now + self._interval + _JITTER * (2.0 * self._jitter() - 1.0)

    def _row(self, event: WatchdogEvent) -> tuple[tuple[Action, ...], WatchdogState]:
        match self.state, event:
            case WatchdogState.INITIAL, WatchdogEvent.UP:
                return (_SET,), OKAY
            case WatchdogState.DOWN, WatchdogEvent.UP:
                self._answered = 0
                return (_SEND, _SET), REOPEN
            case WatchdogState.OKAY, WatchdogEvent.DWA | WatchdogEvent.OTHER:
                return (_SET,), OKAY
            case WatchdogState.OKAY, WatchdogEvent.TIMER:
                return ((_FAIL_OVER, _SET), SUSPECT) if self._is_out else ((_SEND, _SET), OKAY)
            case WatchdogState.OKAY, WatchdogEvent.LOST:
                return (_FAIL_OVER,), DOWN
            case WatchdogState.SUSPECT, WatchdogEvent.DWA | WatchdogEvent.OTHER:
                return (_FAIL_BACK, _SET), OKAY
            case WatchdogState.SUSPECT | WatchdogState.REOPEN, WatchdogEvent.LOST:
                return (), DOWN
            case WatchdogState.SUSPECT, WatchdogEvent.TIMER:
                return (_CLOSE,), DOWN
            case WatchdogState.REOPEN, WatchdogEvent.DWA:
                self._answered += 1
                return ((_FAIL_BACK, _SET), OKAY) if self._answered == _REOPENING else ((), REOPEN)
            case WatchdogState.REOPEN, WatchdogEvent.TIMER:
                if not self._is_out:
                    return (_SEND, _SET), REOPEN
                if self._answered < 0:
                    return (_CLOSE,), DOWN
                self._answered = -1
                return (_SET,), REOPEN
        return (), self.state
