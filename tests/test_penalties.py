"""The penalty for guessing: who is refused, for how long, and who must not be."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_diameter import _core
from auth_diameter._core import Credentials, quote

ALICE = ("alice", "siphub.net", "192.0.2.1")
ELSEWHERE = ("alice", "siphub.net", "198.51.100.1")
NEIGHBOUR = ("bob", "siphub.net", "192.0.2.1")


def credentials(username):
    """Nothing in them counts but the name."""
    return Credentials.parse(
        f'Digest username={quote(username)}, realm="r", nonce="n", uri="u", response="{32 * "0"}"'
    )


class Penalties:
    """Users by name and sources by address."""

    def __init__(self, **options):
        self.whole = _core.Penalties(**options)

    def __len__(self):
        return len(self.whole)

    def refuses(self, username, realm, address, now):
        return self.whole.refuses(credentials(username), realm, (address, 5060), now)

    def right(self, username, realm, address, now):
        self.whole.right(credentials(username), realm, (address, 5060), now)

    def wrong(self, username, realm, address, now, certain=True):
        self.whole.wrong(credentials(username), realm, (address, 5060), now, certain)


def guess(penalties, who, count=1, now=0.0):
    for _ in range(count):
        assert not penalties.refuses(*who, now)
        penalties.wrong(*who, now)


def test_five_wrong_in_a_row_are_refused_for_a_second():
    penalties = Penalties()
    guess(penalties, ALICE, 5)
    assert penalties.refuses(*ALICE, 0.0)
    assert penalties.refuses(*ALICE, 0.999)
    assert not penalties.refuses(*ALICE, 1.0)


def test_four_are_not():
    penalties = Penalties()
    guess(penalties, ALICE, 4)
    assert not penalties.refuses(*ALICE, 0.0)


def test_the_time_doubles_up_to_a_minute():
    """One attempt after each: in the first hour some 60 in all."""
    penalties = Penalties()
    guess(penalties, ALICE, 5)
    now, times = 0.0, []
    for _ in range(9):
        begun = now
        while penalties.refuses(*ALICE, now):
            now += 0.5
        times.append(now - begun)
        penalties.wrong(*ALICE, now)
    assert times == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_right_credentials_end_it():
    penalties = Penalties()
    guess(penalties, ALICE, 5)
    assert not penalties.refuses(*ALICE, 1.0)
    penalties.right(*ALICE, 1.0)
    guess(penalties, ALICE, 5, now=1.0)
    assert penalties.refuses(*ALICE, 1.999)
    assert not penalties.refuses(*ALICE, 2.0), "a second again, not two"


def test_right_ones_in_between_begin_the_row_anew():
    penalties = Penalties()
    for _ in range(20):
        guess(penalties, ALICE, 4)
        penalties.right(*ALICE, 0.0)
    assert not penalties.refuses(*ALICE, 0.0)


def test_after_the_penalty_one_attempt_at_a_time_is_looked_at():
    """A thousand that are sent at once are one attempt; nor are they a thousand doublings."""
    penalties = Penalties()
    guess(penalties, ALICE, 5)
    looked_at = [not penalties.refuses(*ALICE, 1.0) for _ in range(1000)]
    assert looked_at == [True] + [False] * 999
    penalties.wrong(*ALICE, 1.1)
    assert penalties.refuses(*ALICE, 3.0)
    assert not penalties.refuses(*ALICE, 3.1)


def test_an_attempt_that_nobody_judged_gives_way_to_the_next():
    """DISC did not answer: neither right nor wrong was ever told."""
    penalties = Penalties()
    guess(penalties, ALICE, 5)
    assert not penalties.refuses(*ALICE, 1.0)
    assert penalties.refuses(*ALICE, 1.9)
    assert not penalties.refuses(*ALICE, 2.0)


def test_those_asked_before_a_penalty_do_not_prolong_it():
    """DISC answers fifty at once: it is five and then one second."""
    penalties = Penalties()
    for _ in range(49):
        penalties.wrong(*ALICE, 0.0)
    assert penalties.refuses(*ALICE, 0.9)
    assert not penalties.refuses(*ALICE, 1.0)


def test_it_is_forgotten_after_ten_quiet_minutes():
    penalties = Penalties()
    guess(penalties, ALICE, 5)
    assert not penalties.refuses(*ALICE, 601.0)
    guess(penalties, ALICE, 4, now=601.0)
    assert not penalties.refuses(*ALICE, 601.0)


# --- who must not be locked out ------------------------------------------------------------------------


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


@pytest.mark.parametrize("address", ["fe80::1%eth0", "a.name.without:a.meaning", ":", "[::1]"])
def test_an_address_that_is_none_is_a_source_as_it_stands(address):
    """A caller may give any; link-local ones have a zone."""
    penalties = Penalties()
    guess(penalties, ("alice", "siphub.net", address), 5)
    assert penalties.refuses("alice", "siphub.net", address, 0.0)


def spray(penalties, count, now=0.0):
    """One attempt each with so many users from one source."""
    for number in range(count):
        guess(penalties, (f"user{number}", "siphub.net", ALICE[2]), now=now)


def test_fifty_wrong_within_a_minute_are_a_penalty_for_their_source():
    """However many users they are for; who did not get in from there lately waits as well."""
    penalties = Penalties()
    spray(penalties, 49)
    assert not penalties.refuses(*NEIGHBOUR, 0.0)
    penalties.wrong("user50", "siphub.net", ALICE[2], 0.0)
    assert penalties.refuses(*NEIGHBOUR, 0.9)
    assert not penalties.refuses(*ELSEWHERE, 0.9)
    assert not penalties.refuses(*NEIGHBOUR, 1.0)
    assert penalties.refuses("carol", *NEIGHBOUR[1:], 1.0), "one attempt at a time"


def test_fewer_a_minute_are_not():
    penalties = Penalties()
    for minute in range(10):
        spray(penalties, 49, now=60.0 * minute)
    assert not penalties.refuses(*NEIGHBOUR, 600.0)


@pytest.mark.parametrize(("later", "refused"), [(0.0, False), (3599.0, False), (3600.0, True)])
def test_behind_one_address_who_got_in_within_the_hour_is_let_in(later, refused):
    """A NAT: all telephones of an office, and a guesser among them."""
    penalties = Penalties()
    penalties.right(*NEIGHBOUR, 0.0)
    spray(penalties, 50, now=later)
    assert penalties.refuses(*NEIGHBOUR, later) == refused


def test_who_got_in_before_does_not_lock_out_the_others_of_his_address():
    """A telephone whose password was changed meanwhile; its own penalty is as everybody's."""
    penalties = Penalties()
    penalties.right(*NEIGHBOUR, 0.0)
    for _ in range(50):
        penalties.wrong(*NEIGHBOUR, 0.0)
    assert penalties.refuses(*NEIGHBOUR, 0.9)
    assert not penalties.refuses(*ALICE, 0.0)


# --- a DISC that answers wrong credentials with a challenge --------------------------------------------


def test_a_user_whose_credentials_are_challenged_five_times_in_a_row_is_penalized():
    penalties = Penalties()
    for _ in range(5):
        penalties.wrong(*ALICE, 0.0, certain=False)
    assert penalties.refuses(*ALICE, 0.0)


def test_a_new_key_of_disc_is_no_guess():
    """All nonces are foreign then, and a thousand telephones behind one address are challenged again."""
    penalties = Penalties()
    for number in range(1000):
        penalties.wrong(f"user{number}", "siphub.net", ALICE[2], 0.0, certain=False)
    assert not penalties.refuses(*NEIGHBOUR, 0.0)


def test_two_challenges_in_a_row_count_for_the_source():
    penalties = Penalties()
    for number in range(50):
        for _ in range(2):
            penalties.wrong(f"user{number}", "siphub.net", ALICE[2], 0.0, certain=False)
    assert penalties.refuses(*NEIGHBOUR, 0.0)


# --- memory --------------------------------------------------------------------------------------------


def test_memory_is_bounded():
    """Whoever forges sources may fill it with long names."""
    penalties = Penalties(most_sources=200, most_users=500, most_right=1000)
    guess(penalties, ALICE, 5)
    tracemalloc.start()
    try:
        for number in range(5000):
            address = f"10.0.{number >> 8}.{number & 255}"
            penalties.wrong("x" * 900 + str(number), "siphub.net", address, 0.0)
            penalties.right(f"user{number}", "siphub.net", "192.0.2.2", 0.0)
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert used < 500_000
    assert 850 <= len(penalties) <= 200 + 500 + 1000
    assert not penalties.refuses(*ALICE, 0.0), "forgotten: the guesser is favoured, and nobody locked out"


def test_the_first_penalty_may_be_another():
    penalties = Penalties(first=7.0)
    guess(penalties, ALICE, 5)
    assert penalties.refuses(*ALICE, 6.9)
    assert not penalties.refuses(*ALICE, 7.0)


def test_where_the_source_is_not_known_nothing_is_counted():
    penalties = _core.Penalties()
    for _ in range(10):
        penalties.wrong(credentials("alice"), "siphub.net", None, 0.0)
        penalties.right(credentials("alice"), "siphub.net", None, 0.0)
    assert len(penalties) == 0
    assert not penalties.refuses(credentials("alice"), "siphub.net", None, 0.0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["right", "wrong", "refuses"]),
            st.integers(0, 3),
            st.integers(0, 2),
            st.sampled_from([0.0, 0.5, 1.0, 30.0]),
        ),
        max_size=200,
    )
)
def test_who_got_in_last_is_not_refused_for_the_user(steps):
    """Right credentials end the user's own penalty, whatever came before; none is longer than a minute."""
    penalties = Penalties()
    now = 0.0
    for what, user, host, wait in steps:
        now += wait
        who = (f"user{user}", "siphub.net", f"192.0.2.{host}")
        if what == "refuses":
            penalties.refuses(*who, now)
        else:
            getattr(penalties, what)(*who, now)
        if what == "right":
            assert not penalties.refuses(*who, now)
    for user in range(4):
        assert not penalties.refuses(f"user{user}", "siphub.net", "192.0.2.0", now + 61.0 * (user + 1))
