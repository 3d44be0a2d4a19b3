"""Whose hashed username it is: RFC 7616, 3.4.4."""

import pytest

from auth_diameter._core import user_hash
from auth_diameter.store.userhash import HashedNames

NAMES = [f"user{number}" for number in range(100)]


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "SHA-512-256"])
def test_each_is_found_by_its_hash_in_any_case(algorithm):
    names = HashedNames(NAMES, "siphub.net", algorithm)
    for name in NAMES:
        hashed = user_hash(name, "siphub.net", algorithm)
        assert names.find(hashed) == names.find(hashed.upper()) == (name, True)


@pytest.mark.parametrize("hashed", ["", "0", "0" * 32, "f" * 32, "user1", "\u00ff", "\udcff" * 32])
def test_what_is_nobodys_has_a_neighbour(hashed):
    username, is_it = HashedNames(NAMES, "siphub.net", "MD5").find(hashed)
    assert username in NAMES
    assert not is_it


def test_another_realm_or_algorithm_makes_another_hash():
    names = HashedNames(NAMES, "siphub.net", "MD5")
    assert not names.find(user_hash("user1", "else.where"))[1]
    assert not names.find(user_hash("user1", "siphub.net", "SHA-256"))[1]


def test_a_realm_of_nobody():
    assert HashedNames([], "siphub.net", "MD5").find("0" * 32) == ("", False)
