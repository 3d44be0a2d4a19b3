"""The states of a connection: the table on top of the module is the one that is followed."""

from __future__ import annotations

import re

import pytest

from auth_diameter._core import InFlight
from auth_diameter.diameter import connection as module
from auth_diameter.diameter.connection import (
    BROKEN,
    DOWN,
    HELD_BACK,
    INITIAL,
    OKAY,
    PROBING,
    REOPEN,
    SUSPECT,
    TRANSITIONS,
    UNSYNCED,
    Connection,
    Event,
    State,
)
from auth_diameter.diameter.peer import Peer

LIVE = (OKAY, SUSPECT, REOPEN, PROBING, UNSYNCED, INITIAL, HELD_BACK)


def new_connection(state: State = OKAY, max_message: int = 65_536) -> Connection:
    return Connection(Peer("10.0.0.1", 3000), None, 0.0, max_message, state)


def table_in_words() -> dict[tuple[State, Event], State]:
    """The transitions as the docstring draws them."""
    found = {}
    states: tuple[State, ...] = ()
    above: tuple[State, ...] = ()
    for line in (module.__doc__ or "").split("OKAY, SUSPECT, REOPEN and DOWN are")[0].splitlines():
        first = line.split(maxsplit=1)[:1]
        if first and first[0] in State.__members__:
            states = (State[first[0]],)
            above += states
        elif first == ["each"]:
            states = above
        for events, after in re.findall(r"(\w+(?:, \w+)*) → (\w+)(?= |$)", line):
            for event in events.split(", "):
                if event in Event.__members__:
                    found.update({(state, Event[event]): State[after] for state in states})
    return found


def test_the_table_is_as_it_is_drawn():
    assert table_in_words() == TRANSITIONS


def test_every_event_leads_somewhere_and_every_state_but_the_last_has_an_end():
    assert {event for _, event in TRANSITIONS} == set(Event)
    assert {state for state, event in TRANSITIONS if event is Event.CLOSED} == set(State) - {DOWN}
    assert {state for state, _ in TRANSITIONS} == set(State) - {DOWN}


@pytest.mark.parametrize("state", State)
def test_questions_go_only_where_they_may(state):
    connection = new_connection(state)
    assert connection.takes_questions is (state in (OKAY, REOPEN))
    assert connection.is_live is (state in LIVE)
    connection.paused = True
    assert not connection.takes_questions


@pytest.mark.parametrize("flag", ["paused", "full"])
def test_room_is_apart_from_the_state(flag):
    connection = new_connection()
    assert connection.has_room
    setattr(connection, flag, True)
    assert not connection.has_room
    assert (connection.state, connection.is_live) == (OKAY, True)


@pytest.mark.parametrize(("max_message", "room"), [(65_536, (1 << 20) - 65_536), (1 << 24, 1)])
def test_with_one_question_more_there_is_a_mebibyte_to_send_at_most(max_message, room):
    assert new_connection(max_message=max_message).room == room


def test_a_stream_that_is_no_diameter_has_a_fault():
    connection = new_connection(BROKEN)
    assert connection.fault is None
    InFlight().received(connection, b"HTTP/1.1 400 Bad Request\r\n\r\n", 0.0)
    assert "version" in str(connection.fault)
