"""Who is the same user, and which addresses are one source."""

import pytest
from kit.guesser import ALICE, ELSEWHERE, NEIGHBOUR, USERS, Penalties, credentials, guess

from auth_diameter import _core
from auth_diameter._core import network_of


def test_the_user_is_let_in_from_elsewhere():
    penalties = Penalties()
    guess(penalties, ALICE, 5)
    assert not penalties.refuses(*ELSEWHERE, 0.0)


def test_nor_is_the_user_locked_out_who_mistypes_elsewhere():
    penalties = Penalties()
    guess(penalties, ELSEWHERE)
    guess(penalties, ALICE, 5)
    assert penalties.refuses(*ALICE, 0.0)
    assert not penalties.refuses(*ELSEWHERE, 0.0)


def test_another_user_from_there_is_let_in():
    penalties = Penalties()
    guess(penalties, ALICE, 5)
    assert not penalties.refuses(*NEIGHBOUR, 0.0)


def test_the_same_name_in_another_realm_is_another_user():
    penalties = Penalties()
    guess(penalties, ALICE, 5)
    assert not penalties.refuses("alice", "other.example", ALICE[2], 0.0)
    assert penalties.refuses("alice", "SIPHUB.net", ALICE[2], 0.0), "a realm's case does not matter"


@pytest.mark.parametrize("size", range(1, 20))
def test_every_byte_of_a_name_counts(size):
    """The key takes eight at a time; nor does a name run over into the realm."""
    penalties = Penalties()
    name = "abcdefghijklmnopqrst"[:size]
    guess(penalties, (name, "r" * 9, ALICE[2]), 5)
    assert penalties.refuses(name, "r" * 9, ALICE[2], 0.0)
    others = [name[:at] + "?" + name[at + 1 :] for at in range(size)]
    for other in [*others, name + "r"]:
        assert not penalties.refuses(other, "r" * 9, ALICE[2], 0.0)
    for realm in ["r" * 8, "r" * 10, name]:
        assert not penalties.refuses(name, realm, ALICE[2], 0.0)


@pytest.mark.parametrize(
    ("username", "same"),
    [
        ("alice@siphub.net", True),
        ("alice@SIPHUB.net", True),
        ("alice@other.example", False),  # an account of its own
        ("alice@", False),
        ("Alice", False),
    ],
)
def test_a_username_with_its_domain_is_the_same_user(username, same):
    """DISC knows one account by both (RFC 7616, 3.4.2), and a domain's case does not matter."""
    penalties = Penalties()
    guess(penalties, ALICE, 5)
    assert penalties.refuses(username, *ALICE[1:], 0.0) == same


@pytest.mark.parametrize(
    ("more", "same"), [(", userhash=true", True), (", userhash=false", False), ("", False)]
)
def test_a_hashed_name_in_other_letters_of_hex_is_the_same_user(more, same):
    """RFC 7616, 3.4.4: whoever spells it in a new way each time makes no new user each time."""
    penalties = _core.Penalties()
    for spelled in ("ab" * 16, "AB" * 16, "aB" * 16, "Ab" * 16, "abAB" * 8):
        penalties.wrong(penalties.begin(credentials(spelled, more), "r", (ALICE[2], 5060), 0.0, None), 0.0)
    attempt = penalties.begin(credentials("ABab" * 8, more), "r", (ALICE[2], 5060), 0.0, None)
    assert attempt.is_refused == same


def test_a_name_with_quoted_pairs_or_encoded_is_the_same_user():
    """RFC 7616, 3.4: username* carries what is not ASCII (RFC 8187)."""
    penalties = Penalties()
    guess(penalties, ('jöe"s', "siphub.net", ALICE[2]), 5)
    start = "Digest realm=r, nonce=n, uri=u, response=" + "0" * 32
    for name in ("username*=UTF-8''j%C3%B6e%22s", r'username="jö\e\"s"'):
        spelled = _core.Credentials.parse(f"{start}, {name}")
        assert penalties.whole.begin(spelled, "siphub.net", (ALICE[2], 5060), 0.0, None).is_refused


def test_an_account_whose_name_is_known_is_that_of_the_credentials():
    """DISC knows who a hash is, and counts for the account; in the name's own spelling nothing is folded."""
    penalties = Penalties()
    guess(penalties, ALICE, 5)
    assert penalties.whole.begin_for("alice", "SIPHUB.net", ALICE[2], 0.0, None).is_refused
    assert not penalties.whole.begin_for("Alice", "siphub.net", ALICE[2], 0.0, None).is_refused


def test_an_account_without_a_source_is_counted_alone():
    """`limit_accounts`: there is no source that could be refused, whatever names come."""
    whole = _core.Penalties()
    for number in range(USERS + 10):
        whole.wrong(whole.begin_for(f"user{number}", "r", "", 0.0, None), 0.0)
    assert not whole.begin_for("another", "r", "", 0.0, None).is_refused
    for _ in range(4):
        whole.wrong(whole.begin_for("user0", "r", "", 0.0, None), 0.0)
    assert whole.begin_for("user0", "r", "", 0.0, None).is_refused


@pytest.mark.parametrize(
    ("address", "same"),
    [
        ("2001:db8:0:1::2", True),
        ("2001:db8:0:1:ffff:ffff:ffff:ffff", True),
        ("2001:db8:0:2::1", False),
        ("2001:db8::1", False),
        ("192.0.2.1", False),
    ],
)
def test_the_addresses_of_an_ipv6_host_are_one_source(address, same):
    """One host has 2**64 of them (RFC 4291, 2.5.1): a new one for each guess costs it nothing."""
    penalties = Penalties()
    guess(penalties, ("alice", "siphub.net", "2001:db8:0:1::1"), 5)
    assert penalties.refuses("alice", "siphub.net", address, 0.0) == same


def test_ipv4_hosts_on_an_ipv6_socket_are_sources_of_their_own():
    penalties = Penalties()
    guess(penalties, ("alice", "siphub.net", "::ffff:192.0.2.1"), 5)
    assert penalties.refuses("alice", "siphub.net", "::ffff:192.0.2.1", 0.0)
    assert not penalties.refuses("alice", "siphub.net", "::ffff:192.0.2.2", 0.0)
    assert penalties.refuses("alice", "siphub.net", "192.0.2.1", 0.0), "the same host, by another SIP server"


@pytest.mark.parametrize("address", ["fe80::1%eth0", "a.name.without:a.meaning", ":", "[::1]"])
def test_an_address_that_is_none_is_a_source_as_it_stands(address):
    """A caller may give any; link-local ones have a zone."""
    penalties = Penalties()
    guess(penalties, ("alice", "siphub.net", address), 5)
    assert penalties.refuses("alice", "siphub.net", address, 0.0)


def test_an_ipv6_address_counts_for_its_64_bits():
    assert network_of("192.0.2.1") != network_of("192.0.2.2")
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1")
    assert network_of("2001:db8::1") != network_of("2001:db8:0:1::1")
    assert network_of("fe80::1%lo") == network_of("fe80::2%lo")


def test_an_ipv4_mapped_address_counts_for_its_ipv4_address():
    """RFC 4291, 2.5.5.2: their /64 is one and the same."""
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") != network_of("::ffff:192.0.2.2")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "192.0.2.1%eth0",
        "192.0.2.01",
        "192.0.2.1\0",
        "::1\0",
        "2001:db8::" + "0" * 40,
        "é",
        "\udc80",
        "%:",
    ],
)
def test_what_is_no_address_has_no_network(address):
    assert network_of(address) == address


def test_a_zone_is_no_part_of_an_ipv4_mapped_address():
    assert network_of("::ffff:192.0.2.1%eth0") == "192.0.2.1"
    assert network_of("0:0:0:0:0:ffff:255.255.255.255") == "255.255.255.255"
    assert network_of("2001:db8:1:2::1") == bytes.fromhex("20010db800010002")
