"""What DISC keeps at hand of a store, and for how long; the table itself is in test_values.py."""

import pytest
from kit.lookups import at_once

from auth_diameter.store.cache import Cache
from auth_diameter.store.store import HashedUser, Member, Realm, Spelling, StoreBusyError, StoreError, User

# --- in front of a store --------------------------------------------------------------------------------


class Told:
    """A store that says what it is told to, and remembers what it was asked for."""

    name = "told"
    waits = False

    def __init__(self):
        self.number = 0
        self.asked = []
        self.error = None
        self.errors = {}  # those of single keys
        self.meanwhile = None  # what happens while it is asked for keys
        self.while_checked = None  # what happens while it is asked for its version
        self.states = []  # as a watcher is told
        self.tell = None  # tells a change

    def store_failed(self, error):
        self.states.append(str(error))

    def store_recovered(self):
        self.states.append("recovered")

    def watch(self, changed):
        self.tell = changed

    async def version(self):
        if self.while_checked is not None:
            await self.while_checked()
        if self.error is not None:
            raise self.error
        return self.number

    async def fetch(self, keys):
        self.asked.append(list(keys))
        if self.meanwhile is not None:
            await self.meanwhile()
        if self.error is not None:
            raise self.error
        values = {key: Spelling(key.name.lower()) if isinstance(key, Realm) else True for key in keys}
        return values | {key: self.errors[key] for key in keys if key in self.errors}


A, B, C = Realm("A.net"), Realm("B.net"), Realm("C.net")
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
    assert at_once(cache.fetch([A, B], NOW)) == {A: Spelling("a.net"), B: Spelling("b.net")}
    assert cache.get(A) == Spelling("a.net")
    assert told.asked == [[A, B]]


def test_a_group_check_is_never_at_hand(cache):
    key = Member("alice", "a.net", "staff")
    assert at_once(cache.fetch([key], NOW)) == {key: True}
    assert cache.get(key) is None


def test_keys_of_two_kinds_are_two():
    names = ("alice", "a.net", "MD5")
    assert len({User(*names), HashedUser(*names), Member(*names)}) == 3


def test_a_change_is_looked_for_every_half_second(cache, told):
    at_once(cache.fetch([A], NOW))
    assert not cache.is_due(NOW + 0.4)
    assert cache.is_due(NOW + 0.5)
    assert cache.is_due(NOW - 1.0), "a clock that steps back holds nothing up"
    at_once(cache.check(NOW + 0.5))
    assert cache.get(A) is not None
    told.number += 1
    at_once(cache.check(NOW + 1.0))
    assert cache.get(A) is None


def test_a_change_that_the_store_tells_counts_at_once(cache, told):
    at_once(cache.fetch([A], NOW))
    told.tell()
    assert cache.get(A) is None


def test_what_was_asked_for_before_a_change_is_told_is_not_kept(cache, told):
    async def change():
        told.tell()

    told.meanwhile = change
    assert at_once(cache.fetch([A], NOW)) == {A: Spelling("a.net")}
    assert cache.get(A) is None


def test_a_change_of_some_takes_nothing_from_others_that_are_asked_for(cache, told):
    """An HSS drops one user or another all the time, as their lifetimes end."""

    async def change():
        told.meanwhile = None
        await cache.fetch([C], NOW)
        told.tell([A])

    told.meanwhile = change
    assert at_once(cache.fetch([A, B], NOW)) == {A: Spelling("a.net"), B: Spelling("b.net")}
    assert [cache.get(key) is not None for key in (A, B, C)] == [False, True, True]
    at_once(cache.fetch([A], NOW))
    assert cache.get(A) is not None, "the next answer is newer"


def test_the_end_of_a_lifetime_is_no_change(cache, told):
    """After a change, all are compared with what was told of them."""
    at_once(cache.fetch([A], NOW))
    before = cache.changes
    told.tell([A], expired=True)
    assert cache.get(A) is None
    assert cache.changes == before
    told.tell([A])
    assert cache.changes > before


def test_what_a_change_overtakes_that_another_thread_tells_is_not_kept(cache, told):
    """An HSS is asked in a thread of its own, which tells what it changes."""

    class Overtaken:
        """The users, and a change just before a value comes among them."""

        def __init__(self, users):
            self.put_late, self.drop, self.get = users.put, users.drop, users.get

        def put(self, key, value):
            told.tell([key])
            self.put_late(key, value)

    cache.users = Overtaken(cache.users)
    assert at_once(cache.fetch([A], NOW)) == {A: Spelling("a.net")}
    assert cache.get(A) is None


def test_a_check_that_ends_with_an_error_of_ours_leaves_nothing(cache, told):
    """Nobody knows whether the store has changed."""
    at_once(cache.fetch([A], NOW))
    told.error = RuntimeError("a bug")
    with pytest.raises(RuntimeError):
        at_once(cache.check(NOW + 0.5))
    assert cache.get(A) is None


def test_what_was_asked_for_before_a_change_is_not_kept(cache, told):
    """A store that waits may give what was, when the change has been noticed already."""

    async def change():
        told.number += 1
        await cache.check(NOW + 0.5)

    told.meanwhile = change
    assert at_once(cache.fetch([A], NOW)) == {A: Spelling("a.net")}
    assert cache.get(A) is None


def test_a_store_that_fails_is_left_alone_until_the_next_check(cache, told):
    at_once(cache.fetch([A], NOW))
    told.error = StoreError("told: hangs")
    errors = []
    for _ in range(3):
        with pytest.raises(StoreError, match="told: hangs") as raised:
            at_once(cache.fetch([B], NOW))
        errors.append(raised.value)
    assert len(set(map(id, errors))) == 3, "one that is raised again and again keeps all frames on its way"
    assert told.asked == [[A], [B]]
    at_once(cache.check(NOW + 0.5))
    assert cache.get(A) is None, "somebody may just be deleting it"
    told.error = None
    at_once(cache.check(NOW + 1.0))
    assert at_once(cache.fetch([B], NOW)) == {B: Spelling("b.net")}
    assert told.states == ["told: hangs", "recovered"]


def test_a_store_that_is_too_busy_for_some_goes_on_for_others(cache, told):
    """Otherwise a database with too much to do would have half a second without any."""
    at_once(cache.fetch([A], NOW))
    told.error = StoreBusyError("told: is too slow")
    with pytest.raises(StoreBusyError):
        at_once(cache.fetch([B], NOW))
    told.error = None
    assert cache.get(A) is not None
    assert at_once(cache.fetch([B], NOW)) == {B: Spelling("b.net")}
    assert told.states == []


def test_a_key_that_alone_cannot_be_looked_up_has_no_value_at_hand(cache, told):
    """Its error stands in for the value, and counts once."""
    told.errors[B] = StoreBusyError("told: does not answer")
    found = at_once(cache.fetch([A, B], NOW))
    assert found == {A: Spelling("a.net"), B: told.errors[B]}
    assert cache.get(A) == Spelling("a.net")
    assert cache.get(B) is None
    assert told.states == []


@pytest.fixture
def patient(told):
    """A cache whose values go on for a minute."""
    cache = Cache(told, told, stale_for=60.0)
    at_once(cache.check(NOW))
    return cache


def fail(cache, now):
    with pytest.raises(StoreError):
        at_once(cache.fetch([B], now))


def test_what_was_valid_goes_on_while_the_store_fails_but_not_for_ever(patient, told):
    at_once(patient.fetch([A], NOW))
    told.error = StoreError("told: hangs")
    at_once(patient.check(NOW + 10))
    assert patient.is_failing
    assert patient.get(A) == Spelling("a.net")
    at_once(patient.check(NOW + 69.9))
    assert patient.get(A) == Spelling("a.net")
    at_once(patient.check(NOW + 70))
    assert patient.get(A) is None


def test_what_was_valid_goes_on_for_whom_the_store_is_too_busy_and_for_nobody_else(patient, told):
    """For as long as it would if the store failed."""
    at_once(patient.fetch([A, B], NOW))
    told.number += 1
    at_once(patient.check(NOW + 0.5))
    told.error = StoreBusyError("told: is too slow")
    with pytest.raises(StoreBusyError):
        at_once(patient.fetch([A], NOW + 1.0))
    assert patient.go_on(A, NOW + 1.0) == Spelling("a.net")
    assert patient.get(A) is None
    assert patient.get(B) is None
    assert patient.go_on(A, NOW + 60.0) == Spelling("a.net")
    assert patient.go_on(A, NOW + 61.0) is None


def test_what_was_forgotten_because_of_a_change_just_before_goes_on_as_well(patient, told):
    """A store that cannot tell what has changed is asked for all its users anew, every second."""
    at_once(patient.fetch([A], NOW))
    told.number += 1
    at_once(patient.check(NOW + 1))
    assert patient.get(A) is None
    told.error = StoreError("told: hangs")
    fail(patient, NOW + 1.1)
    assert patient.get(A) == Spelling("a.net")


def test_a_check_that_succeeds_while_a_fetch_fails_takes_nothing_away(patient, told):
    """Else all fetches would fail until the next check, and nobody would go on meanwhile."""
    at_once(patient.fetch([A], NOW))
    told.error = StoreError("told: hangs")
    fail(patient, NOW + 0.1)
    told.error = None

    async def fails_meanwhile():
        told.error = StoreError("told: hangs")
        with pytest.raises(StoreError):
            await patient.fetch([B], NOW + 0.5)
        told.error = None

    told.while_checked = fails_meanwhile
    at_once(patient.check(NOW + 0.5))
    fail(patient, NOW + 0.6)
    assert patient.get(A) == Spelling("a.net")


def test_a_fetch_that_fails_late_takes_nothing_from_others(patient, told):
    """`now` is when its turn began; a change was noticed meanwhile."""
    for second in (70, 71):
        told.number += 1
        at_once(patient.check(NOW + second))
        at_once(patient.fetch([A], NOW + second))
    told.number += 1
    at_once(patient.check(NOW + 140.5))
    told.error = StoreError("told: hangs")
    fail(patient, NOW + 140)
    assert patient.get(A) == Spelling("a.net")


def test_what_was_valid_more_than_a_minute_before_does_not_go_on(patient, told):
    at_once(patient.fetch([A], NOW))
    told.number += 1
    at_once(patient.check(NOW + 1))
    at_once(patient.fetch([B], NOW + 1))
    told.number += 1
    at_once(patient.check(NOW + 61))
    told.error = StoreError("told: hangs")
    fail(patient, NOW + 61.5)
    assert patient.get(B) == Spelling("b.net")
    assert patient.get(A) is None


def test_when_the_store_is_back_all_is_asked_anew(patient, told):
    """Whoever changed a password meanwhile has not told."""
    at_once(patient.fetch([A], NOW))
    told.error = StoreError("told: hangs")
    at_once(patient.check(NOW + 0.5))
    assert patient.get(A) is not None
    told.error = None
    at_once(patient.check(NOW + 1.0))
    assert patient.get(A) is None
    at_once(patient.fetch([B], NOW + 1.0))
    assert not patient.is_failing
    assert patient.get(B) is not None
    assert told.states == ["told: hangs", "recovered"]


def test_a_store_that_fails_again_and_again_prolongs_nothing(patient, told):
    """The minute begins with the first failure, though a check succeeds now and then."""
    at_once(patient.fetch([A], NOW))
    for second in range(1, 60):
        told.error = StoreError("told: hangs")
        fail(patient, NOW + second)
        assert patient.get(A) is not None, second
        told.error = None
        at_once(patient.check(NOW + second + 0.5))
        assert patient.get(A) is None
    told.error = StoreError("told: hangs")
    fail(patient, NOW + 61)
    assert patient.get(A) is None


def test_a_key_shows_no_more_of_a_hash_than_the_log() -> None:
    """What a client sends as a hashed username may be a secret."""
    shown = repr(HashedUser("0123456789abcdef" * 2, "siphub.net", "MD5"))
    assert shown == "HashedUser(hashed='0123456789abcdef…', realm='siphub.net', algorithm='MD5')"
