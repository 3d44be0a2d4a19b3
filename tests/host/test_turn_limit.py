"""How many requests a turn of the loop may take on."""

import pytest

from auth_diameter.host.turn_limit import _LEAST, _TURN, TurnLimit


def test_nothing_is_refused_before_anything_is_known():
    assert TurnLimit().room > 1_000_000


@pytest.mark.parametrize("each", [0.001, 0.002, 1e-6])
def test_so_many_are_taken_on_as_fill_a_turn(each):
    limit = TurnLimit()
    limit.ended(100, 100 * each)
    assert limit.room == int(_TURN / each)


def test_some_are_taken_on_however_long_they_take():
    limit = TurnLimit()
    limit.ended(1, 10.0)
    assert limit.room == _LEAST


def test_one_moment_in_which_the_process_did_not_run_is_no_measure():
    limit = TurnLimit()
    limit.ended(10, 0.010)
    limit.ended(1, 0.500)
    assert limit.room == int(_TURN / 0.001)
    limit.ended(1, 0.400)
    assert limit.room == _LEAST


def test_a_turn_faster_than_the_clock_shows():
    limit = TurnLimit()
    limit.ended(1, 0.0)
    assert limit.room >= 1_000_000
