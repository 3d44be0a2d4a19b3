"""Which addresses of a peer are tried, in which order, and for how long; time is what the test says it is."""

from __future__ import annotations

import socket

import pytest

from auth_diameter.diameter.dialling import Dial
from auth_diameter.diameter.peer import Peer
from auth_diameter.diameter.resolver import Address

A, B, C = ((socket.AF_INET, (f"192.0.2.{host}", 3000)) for host in (1, 2, 3))


class Names:
    """Stands for a Resolver; remembers what it is told."""

    def __init__(self) -> None:
        self.tried_: list[tuple[str, Address | None]] = []

    def tried(self, host: str, good: Address | None) -> None:
        self.tried_.append((host, good))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def new_dial() -> tuple[Dial, Names, Clock]:
    names, clock = Names(), Clock()
    return Dial(Peer("disc.example", 3000), names, 3.0, clock), names, clock


def test_each_address_has_an_equal_part_of_what_is_left():
    dial, names, clock = new_dial()
    clock.now += 0.6  # the lookup
    shares = []
    for address, seconds in dial.attempts([A, B, C]):
        shares.append((address, pytest.approx(seconds)))
        clock.now += 0.2 if address is A else seconds
        dial.failed(OSError(address[1][0]))
    assert shares == [(A, 0.8), (B, 1.1), (C, 1.1)]
    assert str(dial.error) == "192.0.2.3"
    assert names.tried_ == [("disc.example", None)], "the name is to be looked up again"


def test_the_address_that_took_it_is_told():
    dial, names, _ = new_dial()
    for address, _ in dial.attempts([A, B, C]):
        if address is B:
            dial.connected(address)
            break
        dial.failed(ConnectionRefusedError())
    assert names.tried_ == [("disc.example", B)]


def test_a_lookup_that_failed_is_the_reason():
    dial, names, _ = new_dial()
    with pytest.raises(socket.gaierror):
        list(dial.attempts(socket.gaierror("no such name")))
    assert names.tried_ == []


def test_without_an_address_there_is_a_reason_as_well():
    dial, _, _ = new_dial()
    assert list(dial.attempts([])) == []
    assert isinstance(dial.error, TimeoutError)
