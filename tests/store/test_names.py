"""Names: what they may hold, and how they compare."""

import pytest

from auth_diameter._core.errors import ConfigError
from auth_diameter.store.names import (
    domain_flaw,
    fold_realm,
    group_flaw,
    password_flaw,
    split_account,
    username_flaw,
)


def test_only_ascii_letters_lose_their_case():
    assert fold_realm("SIPHub.NET") == "siphub.net"
    assert fold_realm("ÉCOLE.Example") == "École.example"


@pytest.mark.parametrize("name", ["alice", "+43 1 234", "o'brien", "a;b", "jürgen", "alice@work"])
def test_usernames_that_fit(name):
    assert username_flaw(name) is None


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "is empty"),
        ("a:b", "':'"),
        ("a\0", "U+0000"),
        ("a\nb", "U+000A"),
        ("a\x85b", "U+0085"),
        ("a\udcff", "U+DCFF"),
        (" alice", "space"),
        ("alice\u00a0", "space"),
    ],
)
def test_usernames_that_do_not_fit_and_why(name, why):
    assert why in username_flaw(name)


@pytest.mark.parametrize("name", ["siphub.net", "[2001:db8::1]", "192.0.2.1", "My Realm"])
def test_domains_that_fit(name):
    assert domain_flaw(name) is None


@pytest.mark.parametrize("name", ["", 'a"b', "a\\b", "a@b", "a\rb", "a\nb", "a\0b", " a", "a\udc80"])
def test_domains_that_do_not_fit(name):
    assert domain_flaw(name)


def test_a_group_cannot_hold_the_separator_of_groups():
    assert group_flaw("voicemail") is None
    assert "';'" in group_flaw("a;b")
    assert group_flaw("") == "is empty"


@pytest.mark.parametrize("password", ["", "topsecret\n", "topsecret\0"])
def test_a_password_that_does_not_fit_is_not_repeated(password):
    flaw = password_flaw(password)
    assert flaw
    assert "topsecret" not in flaw


def test_an_account_is_split_at_its_last_at_sign():
    assert split_account("alice@siphub.net") == ("alice", "siphub.net")
    assert split_account("alice@work@siphub.net") == ("alice@work", "siphub.net")


@pytest.mark.parametrize("account", ["alice", "@siphub.net", "alice@", "@", ""])
def test_an_account_needs_both_sides(account):
    with pytest.raises(ConfigError, match="must be written user@domain"):
        split_account(account)
