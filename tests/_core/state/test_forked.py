"""What forked processes have in common: a nonce is good once, at whichever of them it is used.

The workers of a SIP server are forked after the nonces and their counts were made. No count is good twice
(RFC 7616, 3.4 and 5.5), so one memory has what all of them saw. A worker may be killed at any moment, and the
others go on.
"""

from __future__ import annotations

import collections
import random
import resource
import time
from pathlib import Path

import pytest
from kit.forked import end, fork, in_child, kill, made_with_memory

from auth_diameter._core import Nonces, NonceUses, Penalties, Use

NOW = 1_800_000_000.0
AHEAD = 10.0  # seconds that a clock may be ahead


def add(uses: NonceUses, nonce: str, count: int = 1, *, mark: int = 0, made: float = NOW) -> Use:
    return uses.add(nonce, "siphub.net", "MD5", "", count, mark, NOW, made)


def take(uses: NonceUses, nonce: str, count: int, *, mark: int = 0, now: float = NOW) -> Use:
    return uses.take(nonce, "siphub.net", "MD5", "", count, mark, now)


@pytest.fixture
def uses() -> NonceUses:
    return NonceUses(300.0, 1000, 0, AHEAD)


# ------------------------------------------------------------------ counts


def test_a_replay_at_another_process_is_refused(uses: NonceUses) -> None:
    add(uses, "n")
    assert in_child(lambda: [take(uses, "n", 1), take(uses, "n", 2)]) == [Use.REPLAYED, Use.FIRST]
    assert take(uses, "n", 2) is Use.REPLAYED
    assert in_child(lambda: take(uses, "n", 2)) is Use.REPLAYED
    assert take(uses, "n", 3) is Use.FIRST


def test_a_nonce_that_is_first_used_at_another_process_is_known_here(uses: NonceUses) -> None:
    assert in_child(lambda: add(uses, "n")) is Use.FIRST
    assert len(uses) == 1
    assert take(uses, "n", 1) is add(uses, "n") is Use.REPLAYED


def test_a_retransmission_at_another_process_is_one(uses: NonceUses) -> None:
    """UDP: the proxy before the workers, or the kernel, may choose another one."""
    add(uses, "n", mark=7)
    assert in_child(lambda: take(uses, "n", 1, mark=7)) is Use.AGAIN
    assert in_child(lambda: take(uses, "n", 1, mark=8)) is Use.REPLAYED


def test_the_limit_of_uses_is_that_of_all_processes() -> None:
    uses = NonceUses(limit=3)
    add(uses, "n")
    assert in_child(lambda: take(uses, "n", 2)) is Use.FIRST
    assert take(uses, "n", 3) is Use.FIRST
    assert in_child(lambda: take(uses, "n", 4)) is take(uses, "n", 5) is Use.EXPIRED


def test_each_count_is_good_at_one_of_many_processes(uses: NonceUses) -> None:
    """Four at once try the same nonces and counts; the memory grows meanwhile."""
    report = [NonceUses(limit=5) for _ in range(500)]  # of which nonce was good: a count for each time

    def work() -> None:
        for number, good in enumerate(report):
            if add(uses, f"n{number}") is Use.FIRST:
                add(good, "good")
                assert take(good, "good", 2) is Use.FIRST

    children = [fork(work) for _ in range(4)]
    for child in children:
        end(child)
    assert [take(good, "good", 1) for good in report] == [Use.REPLAYED] * 500


@pytest.mark.parametrize("seed", range(10))
def test_growth_keeps_every_nonce(seed: int) -> None:
    """Against a plain model. Nonces expire meanwhile, so that the ring begins anywhere when it grows."""
    draws = random.Random(seed)
    most, lifetime = draws.choice([1, 64, 65, 100, 500]), 50.0
    uses = NonceUses(lifetime, most)
    known: collections.OrderedDict[str, float] = collections.OrderedDict()
    now = NOW
    for number in range(1500):
        now += draws.random() * draws.choice([0.1, 0.3, 2.0])
        assert uses.add(f"n{number}", "r", "MD5", "", 1, 0, now, now) is Use.FIRST
        for _ in range(2):
            if known and (len(known) >= most or now - next(iter(known.values())) > lifetime):
                known.popitem(last=False)
        known[f"n{number}"] = now
        if number % 100 == 0 or len(known) in (64, 65, 128, 129, 256, 257):
            assert len(uses) == len(known)
            for back in range(max(0, number - 700), number + 1, 3):
                name = f"n{back}"
                good = Use.UNKNOWN if name not in known else Use.REPLAYED
                if name in known and now - known[name] > lifetime:
                    good = Use.EXPIRED
                assert uses.take(name, "r", "MD5", "", 1, 0, now) is good, name


def test_growth_keeps_the_nonces_that_were_wrapped_around() -> None:
    """Some expire before the ring is full, so that its newest lie before its oldest one when it grows."""
    uses = NonceUses(100.0, 1000)
    for number in range(60):
        assert uses.add(f"old{number}", "r", "MD5", "", 1, 0, NOW, NOW) is Use.FIRST
    now = NOW + 101
    names = [f"new{number}" for number in range(300)]
    for name in names:
        assert uses.add(name, "r", "MD5", "", 1, 0, now, now) is Use.FIRST
    assert len(uses) == 300
    assert {uses.take(name, "r", "MD5", "", 1, 0, now) for name in names} == {Use.REPLAYED}


# ------------------------------------------------------------------ a process that is killed


@pytest.mark.parametrize("byte", [None, 0xFF, 0x55])
def test_after_a_process_was_killed_in_a_change_no_replay_gets_in(byte: int | None) -> None:
    """Nobody knows what was changed, so all is forgotten: clients get a new nonce, and go on with that."""
    uses, memory = made_with_memory(lambda: NonceUses(300.0, 1000, 0, AHEAD))
    for number in range(100):
        add(uses, f"n{number}", made=NOW - number)
    memory.kill_owner(byte)
    assert len(uses) == 0
    assert take(uses, "n5", 2) is Use.UNKNOWN
    assert [add(uses, f"n{number}", made=NOW - number) for number in range(100)] == [Use.REPLAYED] * 100
    assert in_child(lambda: add(uses, "unused", made=NOW)) is Use.REPLAYED
    # If the time of the latest one was overwritten, it may have been any that is not in the future.
    later = 1.0 if byte is None else AHEAD + 1.0
    for number in range(200):
        made = NOW + later
        new = uses.add(f"new{number}", "siphub.net", "MD5", "", 1, 0, made, made)
        assert new is Use.FIRST
    assert in_child(lambda: take(uses, "new0", 1)) is Use.REPLAYED
    assert len(uses) == 200


def test_nor_if_the_clock_had_stepped_back_before() -> None:
    uses, memory = made_with_memory(lambda: NonceUses(300.0, 1000, 0, AHEAD))
    add(uses, "of the wrong time", made=NOW + 3600)
    add(uses, "n")
    memory.kill_owner()
    assert add(uses, "n") is Use.REPLAYED
    made = NOW + AHEAD + 1
    assert uses.add("new", "siphub.net", "MD5", "", 1, 0, made, made) is Use.FIRST


def test_processes_that_are_killed_at_any_moment(uses: NonceUses) -> None:
    """What was good once is never good again, and the others go on."""
    draws = random.Random(5)
    made = NOW
    for turn in range(100):
        made += 1
        nonces = [f"{turn}.{number}" for number in range(20)]
        now = made
        good = [uses.add(nonce, "r", "MD5", "", 1, 0, now, made) for nonce in nonces]
        assert good == [Use.FIRST] * 20

        def work(nonces: list[str] = nonces, now: float = now) -> None:
            for count in range(2, 1 << 30):
                uses.take(nonces[count % 20], "r", "MD5", "", count, 0, now)
                uses.add(f"of a child {count % 3000}", "r", "MD5", "", 1, 0, now, now)

        child = fork(work)
        time.sleep(draws.random() * 0.004)
        kill(child)
        for nonce in nonces:
            assert uses.take(nonce, "r", "MD5", "", 1, 0, now) in (Use.REPLAYED, Use.UNKNOWN)
            assert uses.add(nonce, "r", "MD5", "", 1, 0, now, made) is Use.REPLAYED
        assert 0 <= len(uses) <= 1000


# ------------------------------------------------------------------ memory, nonces


def mapped() -> int:
    """Pages of addresses that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[0])


@pytest.mark.parametrize(
    "make",
    [lambda: NonceUses(most=2**31), lambda: Penalties(most_users=2**24, shared=True)],
)
def test_without_memory_none_is_made(make: object) -> None:
    def work() -> bool:
        enough = mapped() * resource.getpagesize() + (1 << 28)
        resource.setrlimit(resource.RLIMIT_AS, (enough, enough))
        with pytest.raises(MemoryError):
            make()  # type: ignore[operator]
        return add(NonceUses(), "n") is Use.FIRST

    assert in_child(work)


def test_what_is_remembered_is_given_back() -> None:
    before = mapped()
    for _ in range(200):
        NonceUses(), Penalties(shared=True), Nonces()
    assert mapped() - before < 10 * 4096, "of more than a million pages"


def test_processes_make_different_nonces() -> None:
    """In one second, for one realm: of two clients with one nonce the second is taken for a replay."""
    nonces = Nonces(b"sixteen secret bytes")

    def work() -> list[str]:
        return [nonces.make("siphub.net", NOW) for _ in range(100)]

    made = [*work(), *in_child(work), *in_child(work), *in_child(lambda: in_child(work)), *work()]
    assert len(set(made)) == 500
    assert all(nonces.check(nonce, "siphub.net", NOW).name == "FRESH" for nonce in made)


def test_keys_are_changed_in_one_process_at_a_time() -> None:
    nonces = Nonces(b"sixteen secret bytes")
    in_child(lambda: nonces.use(b"another sixteen bytes"))
    assert nonces.check(Nonces(b"sixteen secret bytes").make("r", NOW), "r", NOW).name == "FRESH"
