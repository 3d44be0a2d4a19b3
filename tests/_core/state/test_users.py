"""What a store has said is kept as it was said, for known and unknown users alike."""

from __future__ import annotations

import pytest

from auth_diameter._core import ConfigError, Users
from auth_diameter.store.store import Algorithms, HashedUser, Member, Realm, User

ROOMS = {"realm": 1 << 20, "user": 1 << 20, "hashed": 1 << 20, "algorithms": 1 << 20}
HA1, LONG = "0123456789abcdef" * 2, "0123456789abcdef" * 4
VALUES = [
    (Realm("siphub.net"), ("SipHub.net",)),
    (Realm("nowhere"), (None,)),
    (Realm("empty"), ("",)),
    (Realm("caf\u00e9.\udcff"), ("caf\u00e9.\udcff",)),
    (User("alice", "siphub.net", "MD5"), (True, HA1)),
    (User("alice", "siphub.net", "SHA-256"), (True, LONG)),
    (User("alice@siphub.net", "siphub.net", "MD5"), (True, HA1 + HA1[::-1])),
    (User("alice@siphub.net", "siphub.net", "SHA-512-256"), (False, LONG + LONG[::-1])),
    (HashedUser("0" * 32, "siphub.net", "MD5"), (False, HA1, "neighbour", False)),
    (HashedUser("1" * 32, "siphub.net", "MD5"), (True, HA1, "\u00e9lise", True)),
    (HashedUser("2" * 64, "siphub.net", "SHA-256"), (True, LONG, "", True)),
    (Algorithms("alice", "siphub.net"), (("MD5", "SHA-512-256"), ("SHA-256",))),
    (Algorithms("bob", "siphub.net"), ((), ())),
]


def test_each_value_comes_back_as_it_was() -> None:
    users = Users(ROOMS)
    for key, value in VALUES:
        assert users.get(key) is None
        users.put(key, value)
    for key, value in VALUES:
        assert users.get(key) == value
    users.clear("user")
    assert {key.kind for key, _ in VALUES if users.get(key) is not None} == {"realm", "hashed", "algorithms"}
    users.clear()
    assert all(users.get(key) is None for key, _ in VALUES)


def test_a_membership_is_never_kept() -> None:
    users = Users(ROOMS)
    users.put(Member("alice", "siphub.net", "staff"), True)
    assert users.get(Member("alice", "siphub.net", "staff")) is None


def test_without_rooms_nothing_is_kept() -> None:
    users = Users()
    for key, value in VALUES:
        users.put(key, value)
        assert users.get(key) is None


def test_an_unknown_user_takes_the_same_room_as_a_known_one() -> None:
    """Or who knows how many fit could find out who exists."""
    counts = []
    for known in (True, False):
        users = Users(ROOMS)
        for n in range(20_000):
            users.put(User(f"u{n:06d}", "siphub.net", "MD5"), (known, HA1))
        counts.append(users.count("user"))
    assert counts[0] == counts[1] > 1000


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ((), True),
        (("alice", "user"), (True, HA1)),
        (("alice", "siphub.net", "MD5", "nothing"), (True, HA1)),
        (User("alice", "siphub.net", "MD5"), (True, "")),
        (User("alice", "siphub.net", "MD5"), (True, HA1[:-1])),
        (User("alice", "siphub.net", "MD5"), (True, 3 * HA1)),
        (User("alice", "siphub.net", "MD5"), (True,)),
        (User("alice", "siphub.net", "SHA-1"), (True, HA1)),
        (HashedUser("0" * 32, "siphub.net", "MD5"), (True, HA1, "x" * 65536, True)),
        (Algorithms("alice", "siphub.net"), (("FOO",), ())),
        (Realm("siphub.net"), ("a", "b")),
    ],
)
def test_what_no_store_says_is_refused(key: tuple[str, ...], value: object) -> None:
    with pytest.raises((ValueError, KeyError, TypeError, ConfigError)):
        Users(ROOMS).put(key, value)
