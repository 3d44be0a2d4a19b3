"""The watchdog: RFC 3539, 3.4.1, row by row, and the times that follow from it."""

import math

import pytest

from auth_diameter.diameter.watchdog import Action, Watchdog, WatchdogEvent, WatchdogState

TW = 30.0

INITIAL, OKAY, SUSPECT, DOWN, REOPEN = WatchdogState
UP, LOST, DWA, OTHER, TIMER = WatchdogEvent
SEND, SET, FAIL_OVER, FAIL_BACK, CLOSE = Action

# How each state is reached; a trailing TIMER leaves a DWR out.
TO_OKAY = [UP]
TO_OKAY_ASKED = [UP, TIMER]
TO_SUSPECT = [UP, TIMER, TIMER]
TO_DOWN = [UP, LOST]
TO_REOPEN = [*TO_DOWN, UP]  # a DWR is out
TO_REOPEN_ANSWERED = [*TO_REOPEN, DWA]

ROWS = [
    # before, event, actions, state
    ([], UP, (SET,), OKAY),
    ([], DWA, (), INITIAL),
    ([], OTHER, (), INITIAL),
    ([], LOST, (), INITIAL),
    (TO_OKAY, DWA, (SET,), OKAY),
    (TO_OKAY, OTHER, (SET,), OKAY),
    (TO_OKAY, TIMER, (SEND, SET), OKAY),
    (TO_OKAY_ASKED, DWA, (SET,), OKAY),
    (TO_OKAY_ASKED, OTHER, (SET,), OKAY),
    (TO_OKAY_ASKED, TIMER, (FAIL_OVER, SET), SUSPECT),
    ([*TO_OKAY_ASKED, OTHER], TIMER, (FAIL_OVER, SET), SUSPECT),  # only a DWA answers a DWR
    ([*TO_OKAY_ASKED, DWA], TIMER, (SEND, SET), OKAY),
    (TO_OKAY, LOST, (FAIL_OVER,), DOWN),
    (TO_SUSPECT, DWA, (FAIL_BACK, SET), OKAY),
    (TO_SUSPECT, OTHER, (FAIL_BACK, SET), OKAY),
    (TO_SUSPECT, TIMER, (CLOSE,), DOWN),
    (TO_SUSPECT, LOST, (), DOWN),
    (TO_DOWN, DWA, (), DOWN),
    (TO_DOWN, OTHER, (), DOWN),
    (TO_DOWN, UP, (SEND, SET), REOPEN),
    (TO_REOPEN, OTHER, (), REOPEN),
    (TO_REOPEN, DWA, (), REOPEN),
    (TO_REOPEN, TIMER, (SET,), REOPEN),
    (TO_REOPEN, LOST, (), DOWN),
    ([*TO_REOPEN, TIMER], TIMER, (CLOSE,), DOWN),
    ([*TO_REOPEN, TIMER], DWA, (), REOPEN),
    (TO_REOPEN_ANSWERED, TIMER, (SEND, SET), REOPEN),
    ([*TO_REOPEN_ANSWERED, TIMER, DWA, TIMER], DWA, (FAIL_BACK, SET), OKAY),
    # After Tw without a DWA three are needed anew.
    ([*TO_REOPEN, TIMER, DWA, TIMER, DWA, TIMER, DWA, TIMER], DWA, (FAIL_BACK, SET), OKAY),
    ([*TO_REOPEN, TIMER, DWA, TIMER, DWA, TIMER], DWA, (), REOPEN),
]


def watchdog_after(events, jitter=0.5):
    watchdog = Watchdog(TW, lambda: jitter)
    for event in events:
        watchdog.happened(event, 0.0)
    return watchdog


@pytest.mark.parametrize(("before", "event", "actions", "state"), ROWS)
def test_rows_of_rfc_3539(before, event, actions, state):
    watchdog = watchdog_after(before)
    assert watchdog.happened(event, 0.0) == actions
    assert watchdog.state is state


@pytest.mark.parametrize(("jitter", "seconds"), [(0.0, 28.0), (0.5, 30.0), (1.0, 32.0)])
def test_tw_has_two_seconds_of_jitter(jitter, seconds):
    watchdog = Watchdog(TW, lambda: jitter)
    watchdog.happened(UP, 100.0)
    assert watchdog.due == 100.0 + seconds


def test_any_message_postpones_the_next_dwr():
    watchdog = watchdog_after(TO_OKAY)
    watchdog.happened(OTHER, 20.0)
    assert watchdog.due == 50.0


def test_without_a_connection_nothing_is_due():
    assert watchdog_after([]).due == math.inf
    assert watchdog_after(TO_DOWN).due == math.inf


def test_a_peer_that_says_nothing_is_noticed_within_twice_tw():
    watchdog = watchdog_after(TO_OKAY, jitter=1.0)
    now = watchdog.due
    assert watchdog.happened(TIMER, now) == (SEND, SET)
    now = watchdog.due
    assert FAIL_OVER in watchdog.happened(TIMER, now)
    assert now <= 2 * (TW + 2.0)
