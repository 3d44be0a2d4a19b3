"""Looking up DISC's name: in a thread of its own, one at a time, and what was found is kept."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading

import pytest
from kit.machine import PATIENCE, SLACK, wait_until

from auth_diameter.diameter.resolver import Resolver, reason_of

FOUR = (socket.AF_INET, ("192.0.2.1", 3000))
SIX = (socket.AF_INET6, ("2001:db8::1", 3000, 0, 0))


class Names:
    """In the place of the system's resolver: it answers what it is told, once it is let go."""

    def __init__(self, monkeypatch, *addresses):
        self.addresses = list(addresses)
        self.go_on = threading.Event()
        self.go_on.set()
        self.asked = []
        self.threads = set()
        monkeypatch.setattr(socket, "getaddrinfo", self.look_up)

    def look_up(self, host, port, type=0):
        self.asked.append(host)
        self.threads.add(threading.current_thread())
        assert self.go_on.wait(PATIENCE)
        if not self.addresses:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(family, type, 6, "", (address[0], 0, *address[2:])) for family, address in self.addresses]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def ask(resolver, host="disc.example", timeout=PATIENCE):
    """The outcome of a lookup; None where it does not come in time."""
    outcome = []
    known = threading.Event()

    def done(found):
        outcome.append(found)
        known.set()

    resolver.look_up(host, 3000, done)
    known.wait(timeout)
    return outcome[0] if outcome else None


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.1", (socket.AF_INET, ("192.0.2.1", 3000))),
        ("2001:db8::1", (socket.AF_INET6, ("2001:db8::1", 3000, 0, 0))),
        ("fe80::1%7", (socket.AF_INET6, ("fe80::1", 3000, 0, 7))),
    ],
)
def test_an_address_needs_no_lookup(host, address, monkeypatch):
    names = Names(monkeypatch)
    assert ask(Resolver(), host) == [address]
    assert names.asked == []


def test_all_addresses_of_a_name_are_found_each_once(monkeypatch):
    Names(monkeypatch, SIX, FOUR, SIX)
    assert ask(Resolver()) == [SIX, FOUR]


def test_a_name_that_does_not_exist(monkeypatch):
    Names(monkeypatch)
    outcome = ask(Resolver())
    assert isinstance(outcome, OSError)
    assert reason_of(outcome) == "temporary failure in name resolution"


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..b", "\udcff"], ids=ascii)
def test_what_cannot_be_a_name(host):
    assert isinstance(ask(Resolver(), host), OSError)


def test_a_lookup_that_hangs_gathers_no_threads(monkeypatch):
    """Nor does it hold up who asks for another name."""
    names = Names(monkeypatch, FOUR)
    names.go_on.clear()
    resolver = Resolver()
    assert [ask(resolver, timeout=0.001) for _ in range(20)] == [None] * 20
    assert names.asked == ["disc.example"]
    assert ask(resolver, "192.0.2.7") is not None
    names.go_on.set()
    assert ask(resolver) == [FOUR]
    assert len(names.threads) == 1
    assert all(thread.daemon for thread in names.threads)


def test_what_was_found_is_used_while_it_is_looked_up_again(monkeypatch):
    names, clock = Names(monkeypatch, FOUR), Clock()
    resolver = Resolver(clock)
    assert ask(resolver) == [FOUR]
    clock.now += 59
    assert ask(resolver) == [FOUR]
    assert len(names.asked) == 1
    clock.now += 2  # more than a minute old
    names.go_on.clear()
    names.addresses = [SIX]
    assert ask(resolver) == [FOUR]
    assert ask(resolver) == [FOUR]
    names.go_on.set()
    wait_until(lambda: ask(resolver) == [SIX])
    assert len(names.asked) == 2


def test_what_was_found_is_kept_when_the_next_lookup_fails(monkeypatch):
    names, clock = Names(monkeypatch, FOUR), Clock()
    resolver = Resolver(clock)
    ask(resolver)
    names.addresses.clear()
    clock.now += 61
    wait_until(lambda: ask(resolver) == [FOUR] and len(names.asked) > 1)
    assert [ask(resolver) for _ in range(5)] == [[FOUR]] * 5


def test_when_nothing_could_be_connected_to_the_name_is_looked_up_again(monkeypatch):
    names = Names(monkeypatch, FOUR)
    resolver = Resolver()
    ask(resolver)
    names.addresses = [SIX]
    resolver.tried("disc.example", None)
    assert ask(resolver) == [FOUR]
    wait_until(lambda: ask(resolver) == [SIX])


def test_the_address_that_was_reached_goes_first(monkeypatch):
    names = Names(monkeypatch, SIX, FOUR)
    resolver = Resolver()
    ask(resolver)
    resolver.tried("disc.example", FOUR)
    assert ask(resolver) == [FOUR, SIX]
    resolver.tried("disc.example", None)
    ask(resolver)
    wait_until(lambda: len(names.asked) == 2)
    assert ask(resolver) == [FOUR, SIX]  # whatever the order in which they came again
    resolver.tried("192.0.2.1", FOUR)  # an address has nothing to remember


def test_who_has_given_up_is_not_called(monkeypatch):
    names = Names(monkeypatch, FOUR)
    names.go_on.clear()
    resolver = Resolver()
    outcome = []
    resolver.look_up("disc.example", 3000, outcome.append)
    resolver.forget(3000, outcome.append)
    names.go_on.set()
    assert ask(resolver) == [FOUR]
    assert outcome == []


def test_no_thread_is_left(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        resolver = Resolver()
        assert isinstance(ask(resolver), OSError)
    Names(monkeypatch, FOUR)
    assert ask(resolver) == [FOUR]


# ------------------------------------------------------------------ in the clients

HANGING = """
import asyncio, socket, sys, time
import auth_diameter as ad
sys.path.insert(0, {tests!r})
from kit.sip import RIGHT

socket.getaddrinfo = lambda *args, **kwargs: time.sleep(60)
config = ad.Config(diameter_client_host="slow.example", timeout=1.0, connect_timeout=30.0)

async def main():
    async with ad.AsyncAuthDiameter(config) as auth:
        turns = 0
        async def tick():
            nonlocal turns
            while True:
                await asyncio.sleep(0.01)
                turns += 1
        task = asyncio.create_task(tick())
        decisions = await asyncio.gather(*(auth.diameter_www_authorize(RIGHT, "$fd") for _ in range(9)))
        assert {{decision.status for decision in decisions}} == {{503}}
        assert turns > 3, "the loop was held up"
        task.cancel()

began = time.monotonic()
asyncio.run(main())
with ad.AuthDiameter(config) as auth:
    assert auth.diameter_www_authorize(RIGHT, "$fd").status == 503
print(f"{{time.monotonic() - began:.2f}}")
"""


def test_a_lookup_that_hangs_holds_up_neither_the_loop_nor_the_end_of_the_program(request):
    """asyncio's own lookups run in an executor, for which a program waits at its end, and for ever."""
    code = HANGING.format(tests=str(request.path.parents[1]))
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", code],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert float(done.stdout) < 2.0 + SLACK
