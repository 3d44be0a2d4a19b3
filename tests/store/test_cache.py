"""What DISC keeps at hand is bounded in bytes, whatever strangers ask for."""

import sys
import tracemalloc

import pytest
from kit.lookups import at_once

from auth_diameter.store.cache import LARGEST, BoundedCache, Cache, size_of
from auth_diameter.store.store import HashedUser, Member, Realm, Spelling, StoreError, User

MIB = 1 << 20
KEYS = {
    "short names": lambda n: (f"u{n}", "siphub.net", "MD5"),
    "names of 200 characters": lambda n: (f"u{n}".ljust(200, "x"), "siphub.net", "MD5"),
    "names of Latin letters": lambda n: (f"\u00e9{n}".ljust(200, "\u00e9"), "siphub.net", "MD5"),
    "names of two bytes a character": lambda n: (f"\u4e00{n}".ljust(200, "\u4e00"), "siphub.net", "MD5"),
    "names of four bytes a character": lambda n: (f"\U0001f4de{n}".ljust(200, "\U0001f4de"), "a.net", "MD5"),
    "realms of 200 characters": lambda n: ("alice", f"{n}.".ljust(200, "x"), "MD5"),
    "realms alone": lambda n: f"realm-{n}.net",
}


def taken(work):
    """The most bytes that were in use at any time of `work`, and what it returns."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        result = work()
        return tracemalloc.get_traced_memory()[1] - before, result
    finally:
        tracemalloc.stop()


def test_what_was_put_is_found():
    cache = BoundedCache(MIB)
    cache.put(("alice", "siphub.net"), (True, "0" * 32))
    cache.put("siphub.net", "SIPhub.net")
    cache.put("nowhere", "")
    assert cache.get(("alice", "siphub.net")) == (True, "0" * 32)
    assert cache.get("siphub.net") == "SIPhub.net"
    assert cache.get("nowhere") == ""
    assert cache.get("elsewhere") is None
    assert len(cache) == 3


def test_a_new_value_takes_the_place_of_the_old_one():
    cache = BoundedCache(MIB)
    for count in range(10):
        cache.put("alice", count)
    assert (cache.get("alice"), len(cache)) == (9, 1)


def test_values_that_grow_are_counted_anew():
    def grow():
        cache = BoundedCache(MIB)
        for size in (1, 1000, 3000):
            for n in range(1000):
                cache.put(n, "x" * size + str(n))
        return cache

    most, cache = taken(grow)
    assert most <= MIB
    assert cache.get(999) == "x" * 3000 + "999"


def test_what_is_popped_or_cleared_is_gone():
    cache = BoundedCache(MIB)
    cache.put("alice", 1)
    cache.put("bob", 2)
    cache.pop("alice")
    cache.pop("carol")
    assert (cache.get("alice"), cache.get("bob")) == (None, 2)
    cache.clear()
    assert (cache.get("bob"), len(cache)) == (None, 0)


@pytest.mark.parametrize("make", KEYS.values(), ids=KEYS)
def test_many_entries_take_no_more_than_their_bytes(make):
    """Those of the dicts included, and what Python keeps beside a text: its UTF-8."""

    def attack():
        cache = BoundedCache(MIB)
        for n in range(6_000):
            key = make(n)
            for text in key if isinstance(key, tuple) else [key]:
                as_a_database_does(text)
            cache.put(key, (n % 2 == 0, f"{n:032x}"))
        return cache

    most, cache = taken(attack)
    assert MIB / 4 < most <= MIB, "bounded, and not by forgetting nearly all"
    assert len(cache) > 0


def as_a_database_does(text):
    """Asks for UTF-8 by the pointer, which is then kept with the text."""
    import ctypes

    function = ctypes.pythonapi.PyUnicode_AsUTF8AndSize
    function.restype = ctypes.c_void_p
    function(ctypes.py_object(text), None)


def test_utf8_that_python_makes_later_does_not_confuse_the_count():
    cache = BoundedCache(MIB)
    for n in range(2000):
        name = "\U0001f4de" * 100 + str(n)
        cache.put(name, n)
        as_a_database_does(name)
        cache.pop(name)
    most, _ = taken(lambda: [cache.put("\U0001f4de" * 100 + str(n), n) for n in range(5_000)])
    assert most <= MIB


@pytest.mark.parametrize("name", ["x" * LARGEST, "\u00e9" * (LARGEST // 2), "\U0001f4de" * (LARGEST // 4)])
def test_one_huge_entry_is_not_kept_and_drives_nothing_out(name):
    cache = BoundedCache(MIB)
    cache.put("alice", 1)
    for key, value in ((name, 1), ((name, "siphub.net"), 1), ("bob", (True, name))):
        cache.put(key, value)
        assert cache.get(key) is None
    assert (cache.get("alice"), len(cache)) == (1, 1)


def test_a_value_that_has_become_huge_is_no_longer_kept():
    """Else the old one would still be found."""
    cache = BoundedCache(MIB)
    cache.put("alice", "a")
    cache.put("alice", "a" * LARGEST)
    assert cache.get("alice") is None


def test_a_name_as_long_as_a_host_name_may_be_is_kept_whatever_its_characters():
    cache = BoundedCache(MIB)
    for character in ("x", "\u00e9", "\U0001f4de"):
        key = (character * 253, "siphub.net", "SHA-512-256")
        cache.put(key, (True, "0" * 128))
        assert cache.get(key) == (True, "0" * 128)


def test_what_is_in_use_stays_while_strangers_fill_the_rest():
    cache = BoundedCache(MIB)
    users = [(f"user{n}", "siphub.net") for n in range(100)]
    for key in users:
        cache.put(key, True)
    for n in range(6_000):
        cache.put((f"stranger{n}", "siphub.net"), False)
        assert cache.get(users[n % len(users)]) is True
    assert cache.get(("stranger0", "siphub.net")) is None


def test_counts_that_change_all_the_time_do_not_use_up_the_bytes():
    """One name, refused again and again, does not make the cache forget the others."""
    cache = BoundedCache(MIB)
    cache.put("bob", 1)
    for count in range(20_000):
        cache.put("alice", count)
    assert (cache.get("bob"), cache.get("alice")) == (1, 19_999)
    assert len(cache) == 2


@pytest.mark.parametrize(
    "thing",
    [
        "",
        "alice",
        "\u00e9" * 9,
        "\u4e00" * 9,
        "\U0001f4de" * 9,
        True,
        7,
        1 << 64,
        None,
        ("a", 1),
        ("a", ("b",)),
    ],
)
def test_the_size_of_a_thing_is_no_less_than_what_it_takes(thing):
    def real(one):
        return sys.getsizeof(one) + (sum(map(real, one)) if isinstance(one, tuple) else 0)

    as_text = [thing] if isinstance(thing, str) else []
    before = size_of(thing)
    for text in as_text:
        as_a_database_does(text)
    assert real(thing) <= before == size_of(thing)


# --- in front of a store --------------------------------------------------------------------------------


class Told:
    """A store that says what it is told to, and remembers what it was asked for."""

    name = "told"

    def __init__(self):
        self.number = 0
        self.asked = []
        self.error = None
        self.meanwhile = None  # what happens while it is asked
        self.states = []  # as a watcher is told

    def store_failed(self, error):
        self.states.append(str(error))

    def store_recovered(self):
        self.states.append("recovered")

    async def version(self):
        if self.error is not None:
            raise self.error
        return self.number

    async def fetch(self, keys):
        self.asked.append(list(keys))
        if self.meanwhile is not None:
            await self.meanwhile()
        if self.error is not None:
            raise self.error
        return {key: Spelling(key.name.lower()) if isinstance(key, Realm) else True for key in keys}


A, B = Realm("A.net"), Realm("B.net")
NOW = 1_800_000_000.0


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def cache(told):
    cache = Cache(told, told)
    at_once(cache.check(NOW))
    return cache


def test_what_was_fetched_is_at_hand(cache, told):
    assert cache.get(A) is None
    assert at_once(cache.fetch([A, B])) == {A: Spelling("a.net"), B: Spelling("b.net")}
    assert cache.get(A) == Spelling("a.net")
    assert told.asked == [[A, B]]


def test_a_group_check_is_never_at_hand(cache):
    key = Member("alice", "a.net", "staff")
    assert at_once(cache.fetch([key])) == {key: True}
    assert cache.get(key) is None


def test_keys_of_two_kinds_are_two():
    names = ("alice", "a.net", "MD5")
    assert len({User(*names), HashedUser(*names), Member(*names)}) == 3


def test_a_change_is_looked_for_every_half_second(cache, told):
    at_once(cache.fetch([A]))
    assert not cache.is_due(NOW + 0.4)
    assert cache.is_due(NOW + 0.5)
    assert cache.is_due(NOW - 1.0), "a clock that steps back holds nothing up"
    at_once(cache.check(NOW + 0.5))
    assert cache.get(A) is not None
    told.number += 1
    at_once(cache.check(NOW + 1.0))
    assert cache.get(A) is None


def test_of_a_store_that_cannot_tell_all_is_forgotten_after_a_second(told):
    told.number = None
    cache = Cache(told, told)
    at_once(cache.check(NOW))
    at_once(cache.fetch([A]))
    at_once(cache.check(NOW + 0.5))
    assert cache.get(A) is not None
    at_once(cache.check(NOW + 1.0))
    assert cache.get(A) is None


def test_what_was_asked_for_before_a_change_is_not_kept(cache, told):
    """A store that waits may give what was, when the change has been noticed already."""

    async def change():
        told.number += 1
        await cache.check(NOW + 0.5)

    told.meanwhile = change
    assert at_once(cache.fetch([A])) == {A: Spelling("a.net")}
    assert cache.get(A) is None


def test_a_store_that_fails_is_left_alone_until_the_next_check(cache, told):
    at_once(cache.fetch([A]))
    told.error = StoreError("told: hangs")
    errors = []
    for _ in range(3):
        with pytest.raises(StoreError, match="told: hangs") as raised:
            at_once(cache.fetch([B]))
        errors.append(raised.value)
    assert len(set(map(id, errors))) == 3, "one that is raised again and again keeps all frames on its way"
    assert told.asked == [[A], [B]]
    at_once(cache.check(NOW + 0.5))
    assert cache.get(A) is None, "somebody may just be deleting it"
    told.error = None
    at_once(cache.check(NOW + 1.0))
    assert at_once(cache.fetch([B])) == {B: Spelling("b.net")}
    assert told.states == ["told: hangs", "recovered"]
