"""A peer and its breaker: the table on top of the module is the one that is followed."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from auth_diameter.diameter import peer as module
from auth_diameter.diameter.peer import TRANSITIONS, Peer, PeerEvent, PeerState

STATES = get_args(PeerState)


def new_peer(state: PeerState = "new") -> Peer:
    peer = Peer("10.0.0.1", 3000)
    peer.state = state
    return peer


def test_the_table_is_as_it_is_drawn():
    drawn = {}
    for line in (module.__doc__ or "").splitlines():
        state = line.split(maxsplit=1)[0] if line.split() else ""
        if state in STATES:
            drawn.update(
                {(state, PeerEvent[event]): after for event, after in re.findall(r"(\w+) → (\w+)", line)}
            )
            assert ("open" in line.split()) is new_peer(state).in_doubt
    assert drawn == TRANSITIONS


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("event", PeerEvent)
def test_a_step_tells_whether_the_state_is_another(state, event):
    peer = new_peer(state)
    assert peer.step(event) is (peer.state != state)
    assert peer.step(event) is False


@pytest.mark.parametrize(
    ("host", "address"), [("10.0.0.1", "10.0.0.1:3000"), ("2001:db8::1", "[2001:db8::1]:3000")]
)
def test_its_address(host, address):
    assert repr(Peer(host, 3000)) == address


def test_a_few_losses_are_free_and_then_it_rests():
    peer = new_peer("up")
    rests = []
    for _ in range(6):
        peer.hung_up(1.0, jitter=1.0)
        rests.append(peer.rest_until > 1.0)
    assert rests == [False] * 4 + [True] * 2


def test_former_trouble_is_forgotten_after_a_while():
    peer = new_peer()
    for now in (1.0, 2.0, 3.0):
        peer.back_off(now, jitter=1.0)
    assert peer.rest_until == pytest.approx(3.2)
    peer.back_off(13.5, jitter=1.0)
    assert peer.rest_until == pytest.approx(13.55)
