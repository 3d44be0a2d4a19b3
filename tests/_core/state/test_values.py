"""A table of values is bounded in bytes, whatever keys strangers choose, and keeps what is in use."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_diameter._core import BoundedValues

MIB = 1 << 20
LARGEST = 4096  # bytes of an entry that is kept
Key = tuple[str, ...]
KEYS: dict[str, Callable[[int], Key]] = {
    "short names": lambda n: (f"u{n}", "siphub.net", "MD5"),
    "names of 200 characters": lambda n: (f"u{n}".ljust(200, "x"), "siphub.net", "MD5"),
    "names of Latin letters": lambda n: (f"\u00e9{n}".ljust(200, "\u00e9"), "siphub.net", "MD5"),
    "names of two bytes a character": lambda n: (f"\u4e00{n}".ljust(200, "\u4e00"), "siphub.net", "MD5"),
    "names of four bytes a character": lambda n: (f"\U0001f4de{n}".ljust(200, "\U0001f4de"), "a.net", "MD5"),
    "realms of 200 characters": lambda n: ("alice", f"{n}.".ljust(200, "x"), "MD5"),
    "realms alone": lambda n: (f"realm-{n}.net",),
}


def test_what_was_put_is_found() -> None:
    table = BoundedValues(MIB)
    table.put(("alice", "siphub.net"), b"one")
    table.put(("siphub.net",), b"SIPhub.net")
    table.put(("nowhere",), b"")
    assert table.get(("alice", "siphub.net")) == b"one"
    assert table.get(("siphub.net",)) == b"SIPhub.net"
    assert table.get(("nowhere",)) == b""
    assert table.get(("elsewhere",)) is None
    assert len(table) == 3


def test_keys_of_the_same_bytes_in_other_parts_are_others() -> None:
    table = BoundedValues(MIB)
    table.put(("ab", "c"), b"1")
    for key in (("a", "bc"), ("abc",), ("ab", "c", "d"), ("", "ab", "c"), ("abc", "")):
        assert table.get(key) is None
    assert table.get(("ab", "c", "")) == b"1", "a part that is not there is an empty one"


def test_a_new_value_takes_the_place_of_the_old_one() -> None:
    table = BoundedValues(MIB)
    for count in range(10):
        table.put(("alice",), count.to_bytes(4, "big"))
    assert (table.get(("alice",)), len(table)) == (b"\0\0\0\x09", 1)
    table.put(("alice",), b"longer than before")
    assert table.get(("alice",)) == b"longer than before"


def test_what_is_popped_or_cleared_is_gone() -> None:
    table = BoundedValues(MIB)
    table.put(("alice",), b"1")
    table.put(("bob",), b"2")
    table.pop(("alice",))
    table.pop(("carol",))
    assert (table.get(("alice",)), table.get(("bob",))) == (None, b"2")
    table.put(("alice",), b"3")
    assert table.get(("alice",)) == b"3"
    table.clear()
    assert (table.get(("bob",)), len(table)) == (None, 0)


@pytest.mark.parametrize("make", KEYS.values(), ids=KEYS)
def test_many_entries_take_no_more_than_their_bytes(make: Callable[[int], Key]) -> None:
    tracemalloc.start()
    try:
        table = BoundedValues(MIB)
        for n in range(30_000):
            table.put(make(n), b"%032x" % n)
            if n % 1000 == 0:
                assert table.get(make(n)) == b"%032x" % n
        assert tracemalloc.get_traced_memory()[1] <= MIB + 100_000
    finally:
        tracemalloc.stop()
    held = sum(table.get(make(n)) is not None for n in range(30_000 - 100, 30_000))
    assert held == 100, "the newest stay"
    entry = sum(len(part.encode()) for part in make(29_999)) + 32
    assert len(table) * entry > MIB / 8, "bounded, and not by forgetting nearly all"


@pytest.mark.parametrize("name", ["x" * LARGEST, "\u00e9" * (LARGEST // 2), "\U0001f4de" * (LARGEST // 4)])
def test_one_huge_entry_is_not_kept_and_drives_nothing_out(name: str) -> None:
    table = BoundedValues(MIB)
    table.put(("alice",), b"1")
    for key, value in (((name,), b"1"), ((name, "siphub.net"), b"1"), (("bob",), name.encode())):
        table.put(key, value)
        assert table.get(key) is None
    assert (table.get(("alice",)), len(table)) == (b"1", 1)


def test_a_value_that_has_become_huge_is_no_longer_kept() -> None:
    """Else the old one would still be found."""
    table = BoundedValues(MIB)
    table.put(("alice",), b"a")
    table.put(("alice",), b"a" * LARGEST)
    assert table.get(("alice",)) is None


def test_a_name_as_long_as_a_host_name_may_be_is_kept_whatever_its_characters() -> None:
    table = BoundedValues(MIB)
    for character in ("x", "\u00e9", "\U0001f4de"):
        key = (character * 253, "siphub.net", "SHA-512-256")
        table.put(key, b"0" * 128)
        assert table.get(key) == b"0" * 128


def test_what_is_in_use_stays_while_strangers_fill_the_rest() -> None:
    table = BoundedValues(MIB)
    users = [(f"user{n}", "siphub.net") for n in range(100)]
    for key in users:
        table.put(key, b"\1")
    for n in range(60_000):
        table.put((f"stranger{n}", "siphub.net"), b"\0")
        assert table.get(users[n % len(users)]) == b"\1"
    assert table.get(("stranger0", "siphub.net")) is None


def test_counts_that_change_all_the_time_do_not_use_up_the_bytes() -> None:
    """One name, refused again and again, does not make the table forget the others."""
    table = BoundedValues(MIB)
    table.put(("bob",), b"1")
    for count in range(20_000):
        table.put(("alice",), count.to_bytes(4, "big"))
    assert (table.get(("bob",)), table.get(("alice",))) == (b"1", (19_999).to_bytes(4, "big"))
    assert len(table) == 2


@pytest.mark.parametrize("room", [0, 1, 100, 2000, 4000])
def test_a_room_for_little_or_nothing(room: int) -> None:
    table = BoundedValues(room)
    for n in range(1000):
        table.put((f"{n}",), b"x" * (n % 300))
        assert table.get((f"{n}",)) in (None, b"x" * (n % 300))


@given(
    st.lists(
        st.tuples(st.sampled_from("gpd"), st.integers(0, 60), st.integers(0, 40)), min_size=1, max_size=300
    )
)
def test_against_a_dict(steps: list[tuple[str, int, int]]) -> None:
    """A value is the last one that was put, or forgotten; never another."""
    table, known = BoundedValues(4096), dict[int, bytes]()
    for step, number, size in steps:
        key = (f"{number}", "siphub.net")
        if step == "p":
            known[number] = bytes([size]) * size
            table.put(key, known[number])
            assert table.get(key) == known[number]
        elif step == "d":
            known.pop(number, None)
            table.pop(key)
            assert table.get(key) is None
        else:
            assert table.get(key) in (None, known.get(number))
