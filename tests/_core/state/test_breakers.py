"""Breakers: what forked processes tell each other of a peer that hangs."""

import pytest
from kit.forked import in_child, made_with_memory

from auth_diameter._core import Breakers

PATIENCE = 2.0  # seconds
OPEN = 3  # a state; what it means is the callers' business


@pytest.fixture
def breakers():
    return Breakers()


@pytest.fixture
def place(breakers):
    return breakers.place_of("127.0.0.1:3000")


# ------------------------------------------------------------------ places


def test_a_peer_has_the_same_place_in_all_processes(breakers):
    """Whoever is the first to ask for it, after the fork as well."""
    assert breakers.place_of("a:1") == breakers.place_of("a:1")
    assert breakers.place_of("b:1") != breakers.place_of("a:1")
    in_the_child = in_child(lambda: [breakers.place_of(name) for name in ("c:1", "a:1")])
    assert [breakers.place_of(name) for name in ("c:1", "a:1")] == in_the_child


def test_more_than_64_peers_have_none(breakers):
    assert sorted(breakers.place_of(f"host{number}:1") for number in range(64)) == list(range(64))
    assert breakers.place_of("one-more:1") == -1
    assert breakers.place_of("host7:1") >= 0


@pytest.mark.parametrize("wrong", [-1, 64, 2**31 - 1])
def test_a_place_that_there_is_not(breakers, wrong):
    for call in (
        lambda: breakers.look(wrong),
        lambda: breakers.change(wrong, OPEN, 0.0),
        lambda: breakers.claim_probe(wrong, 0.0, 1.0),
        lambda: breakers.asked(wrong, 0.0, 0.0, PATIENCE),
        lambda: breakers.heard(wrong, 0.0),
        lambda: breakers.heard_since(wrong, 0.0),
    ):
        with pytest.raises(IndexError, match="expected 0 to 63"):
            call()


# ------------------------------------------------------------------ what is asked in vain


def asked(breakers, place, since, now=None):
    return breakers.asked(place, since, since if now is None else now, PATIENCE)


def test_the_first_question_in_vain_counts_for_all(breakers, place):
    assert asked(breakers, place, 10.0) == 10.0
    assert in_child(lambda: asked(breakers, place, 11.0)) == 10.0
    assert asked(breakers, place, 11.9) == 10.0


def test_a_process_may_tell_of_its_question_later_than_others(breakers, place):
    """It tells of it once it has waited for a while."""
    assert asked(breakers, place, 11.0) == 11.0
    assert asked(breakers, place, 10.0, now=11.1) == 10.0


def test_a_byte_from_the_peer_begins_anew(breakers, place):
    asked(breakers, place, 10.0)
    in_child(lambda: breakers.heard(place, 11.0))
    assert breakers.heard_since(place, 11.0)
    assert not breakers.heard_since(place, 11.1)
    assert asked(breakers, place, 11.5) == 11.5
    assert asked(breakers, place, 12.0) == 11.5


def test_what_is_heard_is_noted_only_if_somebody_waits(breakers, place):
    """Nothing is written otherwise: workers that are busy do not take the memory from each other's caches."""
    breakers.heard(place, 11.0)
    assert not breakers.heard_since(place, 11.0)
    asked(breakers, place, 12.0)
    breakers.heard(place, 12.5)
    breakers.heard(place, 13.0)
    assert breakers.heard_since(place, 12.5)
    assert not breakers.heard_since(place, 13.0)


def test_a_question_of_a_worker_that_was_killed_is_forgotten(breakers, place):
    """It would have ended after its time limit."""
    asked(breakers, place, 10.0)
    assert asked(breakers, place, 12.0) == 12.0


# ------------------------------------------------------------------ the breaker


def test_nobody_has_told_of_a_new_one(breakers, place):
    assert breakers.look(place) == (0, 0.0)


def test_a_change_is_seen_by_all(breakers, place):
    version = breakers.version
    in_child(lambda: breakers.change(place, OPEN, 12.5))
    assert breakers.look(place) == (OPEN, 12.5)
    assert breakers.version > version


def test_the_same_state_again_is_no_change(breakers, place):
    """But the time of the next probe is a new one."""
    breakers.change(place, OPEN, 12.5)
    version = breakers.version
    breakers.change(place, OPEN, 13.5)
    assert breakers.version == version
    assert breakers.look(place) == (OPEN, 13.5)


def test_one_process_gets_the_probe(breakers, place):
    breakers.change(place, OPEN, 10.0)
    assert breakers.claim_probe(place, 9.0, 10.5) == 10.0, "the peer rests"
    assert in_child(lambda: breakers.claim_probe(place, 10.0, 11.0)) == 10.0
    assert breakers.claim_probe(place, 10.2, 11.2) == 11.0
    assert breakers.claim_probe(place, 11.0, 12.0) == 11.0


def test_a_process_that_is_killed_with_the_lock_stops_nobody(place):
    breakers, memory = made_with_memory(Breakers)
    place = breakers.place_of("a:1")
    memory.kill_owner()
    breakers.change(place, OPEN, 1.0)
    memory.kill_owner()
    assert breakers.look(place) == (OPEN, 1.0)
    memory.kill_owner()
    assert breakers.place_of("a:1") == place
