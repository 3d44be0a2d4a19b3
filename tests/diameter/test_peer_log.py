"""The lines in the log about how each DISC is."""

from __future__ import annotations

import logging

import pytest

from auth_diameter.diameter.peer import Change
from auth_diameter.diameter.peer_log import ChangeLog


def change(state, address="10.0.0.1:3000", why="", rest=0.0) -> Change:
    return Change(address=address, state=state, why=why, rest=rest)


@pytest.fixture
def lines(caplog):
    """What was logged since it was last called: (level, text) each."""
    caplog.set_level(logging.DEBUG, "auth_diameter.pool")

    def take():
        found = [(record.levelname, record.getMessage()) for record in caplog.records]
        caplog.clear()
        return found

    return take


def test_each_change_is_a_line(lines):
    log = ChangeLog()
    log.tell(change("up"), 0.0)
    log.tell(change("down", why="connection refused", rest=0.25), 1.0)
    log.tell(change("up"), 2.0)
    log.tell(change("silent", rest=1.0), 3.0)
    assert lines() == [
        ("DEBUG", "DISC 10.0.0.1:3000 is up"),  # nothing is said while all is well
        ("WARNING", "DISC 10.0.0.1:3000 is down: connection refused; next try in 0.2 s"),
        ("WARNING", "DISC 10.0.0.1:3000 is up"),
        ("WARNING", "DISC 10.0.0.1:3000 does not answer; asking it once a second"),
    ]


@pytest.mark.parametrize(
    ("rest", "says"), [(0.0, "at once"), (0.04, "at once"), (0.06, "in 0.1 s"), (2.0, "in 2.0 s")]
)
def test_when_the_next_try_is(lines, rest, says):
    ChangeLog().tell(change("down", why="connection refused", rest=rest), 0.0)
    [(_, text)] = lines()
    assert text.endswith(f"; next try {says}")


def test_one_that_flaps_fills_no_log(lines):
    log = ChangeLog()
    for step in range(1200):  # ten changes a second, for two minutes
        log.tell(change("up" if step % 2 else "down", why="connection refused"), step / 10)
    found = lines()
    assert len(found) <= 6 * 5
    assert any("(changed " in text for _, text in found)


def test_where_it_stands_in_the_end_is_said(lines):
    log = ChangeLog()
    for step in range(20):
        log.tell(change("up" if step % 2 else "down", why="connection refused"), step / 10)
    assert len(lines()) == 6
    log.flush(29.9)
    assert lines() == []
    assert log.due == 30.0
    log.flush(30.0)
    assert lines() == [("WARNING", "DISC 10.0.0.1:3000 is up (changed 14 times since the line before)")]
    log.flush(99.0)
    assert lines() == []


def test_each_disc_has_lines_of_its_own(lines):
    log = ChangeLog()
    for step in range(20):
        log.tell(change("up" if step % 2 else "down"), step / 10)
    lines()
    log.tell(change("silent", address="10.0.0.2:3000"), 2.0)
    assert len(lines()) == 1
