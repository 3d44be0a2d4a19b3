"""Who guesses passwords: whose credentials are judged, wait for others, are refused; whose must not be."""

import gc
import tracemalloc
import weakref
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_diameter import _core
from auth_diameter._core import Credentials, quote

ALICE = ("alice", "siphub.net", "192.0.2.1")
ELSEWHERE = ("alice", "siphub.net", "198.51.100.1")
NEIGHBOUR = ("bob", "siphub.net", "192.0.2.1")
USERS = 75  # with wrong ones from one source are too many


def credentials(username, more=""):
    """Nothing in them counts but the name."""
    return Credentials.parse(
        f'Digest username={quote(username)}, realm="r", nonce="n", uri="u", response="{32 * "0"}"{more}'
    )


class Penalties:
    """Users by name and sources by address; attempts that are judged at once."""

    def __init__(self, **options):
        self.whole = _core.Penalties(**options)

    def __len__(self):
        return len(self.whole)

    def begin(self, username, realm, address, now, item=None):
        return self.whole.begin(credentials(username), realm, (address, 5060), now, item)

    def refuses(self, username, realm, address, now):
        """Whether an attempt would be refused; it has no other consequence."""
        attempt = self.begin(username, realm, address, now)
        self.whole.neither(attempt, now)
        return attempt.is_refused

    def right(self, username, realm, address, now):
        self.whole.right(self.begin(username, realm, address, now), now)

    def wrong(self, username, realm, address, now):
        self.whole.wrong(self.begin(username, realm, address, now), now)

    def released(self):
        """What is no longer held: the items of those admitted, and of those refused."""
        admitted, refused = [], []
        while self.whole.released:
            attempt, item = self.whole.released.popleft()
            assert not attempt.is_held
            (refused if attempt.is_refused else admitted).append((item, attempt))
        return admitted, refused


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


def test_who_goes_on_guessing_has_some_60_an_hour():
    """What is forgotten after ten minutes is so only when they were quiet."""
    penalties = Penalties()
    judged = 0
    for half_second in range(2 * 3600):
        if not penalties.refuses(*ALICE, half_second / 2):
            penalties.wrong(*ALICE, half_second / 2)
            judged += 1
    # Five, one after each penalty of 1, 2, 4 … 32 seconds, and then one a minute.
    assert judged == 5 + 6 + (3600 - 63) // 60


def test_a_login_ends_it():
    penalties = Penalties()
    guess(penalties, ALICE, 5)
    assert not penalties.refuses(*ALICE, 1.0)
    penalties.right(*ALICE, 1.0)
    guess(penalties, ALICE, 5, now=1.0)
    assert penalties.refuses(*ALICE, 1.999)
    assert not penalties.refuses(*ALICE, 2.0), "a second again, not two"


def test_a_login_in_between_begins_the_row_anew():
    penalties = Penalties()
    for _ in range(20):
        guess(penalties, ALICE, 4)
        penalties.right(*ALICE, 0.0)
    assert not penalties.refuses(*ALICE, 0.0)


def test_what_is_neither_counts_nothing_and_clears_nothing():
    """A right digest on a nonce of no use: else who has overheard one would reset the limits for ever."""
    penalties = Penalties()
    guess(penalties, ALICE, 4)
    for _ in range(100):
        attempt = penalties.begin(*ALICE, 0.0)
        assert not attempt.is_refused
        penalties.whole.neither(attempt, 0.0)
    guess(penalties, ALICE)
    assert penalties.refuses(*ALICE, 0.0)


def test_it_is_forgotten_after_ten_quiet_minutes():
    penalties = Penalties()
    guess(penalties, ALICE, 5)
    assert not penalties.refuses(*ALICE, 601.0)
    guess(penalties, ALICE, 4, now=601.0)
    assert not penalties.refuses(*ALICE, 601.0)


def test_ten_minutes_after_the_first_it_begins_anew():
    """A telephone that tries an old password now and then has no penalty by and by."""
    penalties = Penalties()
    for now in range(0, 6000, 150):
        guess(penalties, ALICE, now=float(now))
        assert not penalties.refuses(*ALICE, float(now))


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_a_clock_that_steps_keeps_nobody_out(step):
    """DISC goes by the time of day."""
    penalties = Penalties()
    guess(penalties, ALICE, 5, now=10_000.0)
    assert not penalties.refuses(*ALICE, 10_000.0 + step)


def test_an_attempt_is_ended_once():
    penalties = Penalties()
    attempt = penalties.begin(*ALICE, 0.0)
    for _ in range(10):
        penalties.whole.wrong(attempt, 0.0)
        penalties.whole.right(attempt, 0.0)
        penalties.whole.neither(attempt, 0.0)
    assert not penalties.refuses(*ALICE, 0.0)
    with pytest.raises(TypeError, match=r"Penalties\.begin"):
        _core.Attempt()


# --- while they are in flight ----------------------------------------------------------------------------


def begin_many(penalties, who, count, now=0.0):
    """Attempts at once; those admitted, those held, those refused."""
    attempts = [penalties.begin(*who, now, number) for number in range(count)]
    return (
        [a for a in attempts if not (a.is_held or a.is_refused)],
        [a for a in attempts if a.is_held],
        [a for a in attempts if a.is_refused],
    )


def test_a_burst_of_guesses_is_five():
    """What exceeds the limit waits for the verdict on those before it, which is a penalty."""
    penalties = Penalties()
    admitted, held, refused = begin_many(penalties, ALICE, 3000)
    assert (len(admitted), len(held), len(refused)) == (5, 2995, 0)
    for number, attempt in enumerate(admitted):
        assert penalties.released() == ([], [])
        penalties.whole.wrong(attempt, 0.1)
        if number < 4:
            assert penalties.released() == ([], []), "one is wrong, and no more may be than are in flight"
    admitted, refused = penalties.released()
    assert not admitted
    assert [item for item, _ in refused] == list(range(5, 3000))


def test_a_trunk_with_many_calls_at_once_gets_all_of_them_through():
    """Its first requests ever: each login lets one more be in flight than before."""
    penalties = Penalties()
    admitted, held, _ = begin_many(penalties, ALICE, 400)
    under_way = [*admitted]
    rounds = through = 0
    while under_way:
        rounds += 1
        for attempt in under_way:
            penalties.whole.right(attempt, 0.1)
        through += len(under_way)
        admitted, refused = penalties.released()
        assert not refused
        under_way = [attempt for _, attempt in admitted]
    assert through == 400
    assert rounds <= 8
    assert not any(attempt.is_held for attempt in held)


def test_what_waits_goes_on_in_order_and_none_overtakes_it():
    penalties = Penalties()
    first, *others = begin_many(penalties, ALICE, 8)[0]
    assert penalties.begin(*ALICE, 0.0, "late").is_held
    penalties.whole.neither(first, 0.0)
    (admitted, _) = penalties.released()
    assert [item for item, _ in admitted] == [5]
    for attempt in others:
        penalties.whole.neither(attempt, 0.0)
    assert [item for item, _ in penalties.released()[0]] == [6, 7, "late"]


def test_nor_where_there_is_room_because_the_wrong_ones_of_before_are_forgotten():
    penalties = Penalties()
    guess(penalties, ALICE, 4, now=0.0)
    first = penalties.begin(*ALICE, 599.0, "first")
    assert penalties.begin(*ALICE, 599.0, "second").is_held
    assert penalties.begin(*ALICE, 601.0, "third").is_held
    penalties.whole.neither(first, 601.0)
    assert [item for item, _ in penalties.released()[0]] == ["second", "third"]


@pytest.mark.parametrize("which", [0, 1, 2])
def test_one_that_nobody_waits_for_any_more_is_passed_over(which):
    penalties = Penalties()
    admitted, held, _ = begin_many(penalties, ALICE, 8)
    penalties.whole.neither(held[which], 0.0)
    for attempt in admitted[:2]:
        penalties.whole.neither(attempt, 0.0)
    assert [item for item, _ in penalties.released()[0]] == [item for item in (5, 6, 7) if item != 5 + which]


@pytest.mark.parametrize("order", [1, -1], ids=["the first come", "the last come"])
def test_what_nobody_waits_for_any_more_is_not_kept(order):
    """Thousands that are refused at once, or given up, while five hang."""
    penalties = Penalties()
    begin_many(penalties, ALICE, 5)
    tracemalloc.start()
    try:
        attempts = [penalties.begin(*ALICE, 0.0, bytearray(10_000)) for _ in range(200)]
        for attempt in attempts[::order]:
            penalties.whole.neither(attempt, 0.0)
        del attempts, attempt
        assert tracemalloc.get_traced_memory()[0] < 100_000
    finally:
        tracemalloc.stop()


def test_nor_in_the_row_of_their_source():
    penalties = Penalties()
    before = sum(type(found) is _core.Attempt for found in gc.get_objects())  # those of other tests
    in_flight = [penalties.begin(f"user{number}", *ALICE[1:], 0.0) for number in range(USERS)]
    given_up = [penalties.begin(f"more{number}", *ALICE[1:], 0.0) for number in range(200)]
    assert all(attempt.is_held for attempt in given_up)
    for attempt in given_up:
        penalties.whole.neither(attempt, 0.0)
    del given_up, attempt
    now = sum(type(found) is _core.Attempt for found in gc.get_objects())
    assert now <= before + len(in_flight)


def test_an_item_is_given_back_and_not_kept():
    """It knows its attempt: the two would wait for the garbage collector."""

    class Item:
        pass

    penalties = Penalties()
    first, *_ = begin_many(penalties, ALICE, 5)[0]
    held = penalties.begin(*ALICE, 0.0, Item())
    penalties.whole.neither(first, 0.0)
    attempt, item = penalties.whole.released.popleft()
    assert attempt is held
    known = weakref.ref(item)
    del item
    assert known() is None


def test_while_others_are_in_flight_the_end_of_one_makes_room_for_one():
    """For its user, and for its source."""
    penalties = Penalties()
    of_alice = begin_many(penalties, ALICE, 5)[0]
    penalties.whole.neither(of_alice[0], 0.0)
    assert len(begin_many(penalties, ALICE, 10)[0]) == 1
    of_source = [penalties.begin(f"user{number}", *ELSEWHERE[1:], 0.0) for number in range(USERS)]
    penalties.whole.neither(of_source[0], 0.0)
    more = [penalties.begin(f"more{number}", *ELSEWHERE[1:], 0.0) for number in range(10)]
    assert sum(not attempt.is_held for attempt in more) == 1


def test_however_many_logins_there_were_a_hundred_are_in_flight_at_most():
    penalties = Penalties()
    for _ in range(1000):
        penalties.right(*ALICE, 0.0)
    assert len(begin_many(penalties, ALICE, 200)[0]) == 100


def test_a_guesser_gains_one_attempt_in_flight_for_each_login_of_the_owner():
    """He shares the owner's address; the first wrong one takes all of that away."""
    penalties = Penalties()
    for _ in range(10):
        penalties.right(*ALICE, 0.0)
    admitted, *_ = begin_many(penalties, ALICE, 100)
    assert len(admitted) == 5 + 10
    penalties.whole.wrong(admitted[0], 0.0)
    for attempt in admitted[1:11]:
        penalties.whole.neither(attempt, 0.0)
    assert len(penalties.released()[0]) == 0, "four are in flight, and four may be"


def test_a_source_has_as_many_in_flight_of_users_who_never_logged_in_as_may_be_wrong():
    penalties = Penalties()
    attempts = [
        penalties.begin(f"user{number}", "siphub.net", ALICE[2], 0.0, number) for number in range(100)
    ]
    assert Counter(attempt.is_held for attempt in attempts) == {False: USERS, True: 100 - USERS}
    for attempt in attempts[:30]:
        penalties.whole.right(attempt, 0.0)
    assert [item for item, _ in penalties.released()[0]] == list(range(USERS, 100))
    # Who has logged in does not count there, nor wait.
    assert not penalties.begin("user0", "siphub.net", ALICE[2], 0.0).is_held


def test_a_spray_at_once_is_as_many_as_may_be_wrong():
    penalties = Penalties()
    attempts = [
        penalties.begin(f"user{number}", "siphub.net", ALICE[2], 0.0, number) for number in range(4000)
    ]
    judged = 0
    under_way = [attempt for attempt in attempts if not attempt.is_held]
    while under_way:
        judged += len(under_way)
        for attempt in under_way:
            penalties.whole.wrong(attempt, 0.0)
        under_way = [attempt for _, attempt in penalties.released()[0]]
    assert judged == USERS
    assert sum(attempt.is_refused for attempt in attempts) == 4000 - USERS


def test_what_waits_for_its_user_may_have_to_wait_for_its_source_then():
    penalties = Penalties()
    of_alice = begin_many(penalties, ALICE, 6)[0]
    others = [
        penalties.begin(f"user{number}", "siphub.net", ALICE[2], 0.0, number) for number in range(USERS - 4)
    ]
    assert [attempt.is_held for attempt in others] == [False] * (USERS - 5) + [True]
    penalties.whole.neither(of_alice[0], 0.0)
    assert [item for item, _ in penalties.released()[0]] == [USERS - 5], (
        "that of the source, which waits first"
    )
    penalties.whole.neither(others[0], 0.0)
    assert [item for item, _ in penalties.released()[0]] == [5]


def test_what_waits_for_its_source_is_not_forgotten_when_others_of_its_user_end():
    """Else each attempt that tells nothing, such as one of an unknown algorithm, begins a new row of five."""
    penalties = Penalties()
    others = [penalties.begin(f"user{number}", *ALICE[1:], 0.0) for number in range(USERS)]
    todo, begun, judged = [], 0, 0

    def begin_guesses():
        penalties.begin(*ALICE, 0.0, "tells nothing")
        penalties.begin(f"another{begun}", *ALICE[1:], 0.0, "between")
        for _ in range(5):
            penalties.begin(*ALICE, 0.0, "guess")

    begin_guesses()
    while todo or others:
        if not todo:
            penalties.whole.neither(others.pop(), 0.0)
        todo += penalties.released()[0]
        for item, attempt in todo[:1]:
            if item == "guess":
                judged += 1
                penalties.whole.wrong(attempt, 0.0)
                continue
            if item == "between" and begun < 20:
                begun += 1
                begin_guesses()
            penalties.whole.neither(attempt, 0.0)
        todo = todo[1:] + penalties.released()[0]
    assert begun == 20
    assert judged == 5


def test_after_a_penalty_one_attempt_at_a_time_is_judged():
    """A thousand that are sent at once are one attempt; nor are they a thousand doublings."""
    penalties = Penalties()
    guess(penalties, ALICE, 5)
    admitted, held, refused = begin_many(penalties, ALICE, 1000, now=1.0)
    assert (len(admitted), len(held), len(refused)) == (1, 999, 0)
    penalties.whole.wrong(admitted[0], 1.1)
    assert len(penalties.released()[1]) == 999
    assert penalties.refuses(*ALICE, 3.0)
    assert not penalties.refuses(*ALICE, 3.1)


def test_that_one_is_not_used_up_by_a_stale_nonce_nor_by_a_disc_that_fails():
    penalties = Penalties()
    guess(penalties, ALICE, 5)
    attempt = penalties.begin(*ALICE, 1.0)
    penalties.whole.neither(attempt, 1.1)
    assert not penalties.refuses(*ALICE, 1.1), "with the new nonce it is tried again at once"


def test_those_in_flight_before_a_penalty_do_not_prolong_it():
    penalties = Penalties()
    for _ in range(45):
        penalties.right(*ALICE, 0.0)
    for attempt in begin_many(penalties, ALICE, 50)[0]:
        penalties.whole.wrong(attempt, 0.0)
    assert penalties.refuses(*ALICE, 0.9)
    assert not penalties.refuses(*ALICE, 1.0)


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
    ("more", "same"), [(", userhash=true", True), (", userhash=false", False), ("", False)]
)
def test_a_hashed_name_in_other_letters_of_hex_is_the_same_user(more, same):
    """RFC 7616, 3.4.4: whoever spells it in a new way each time makes no new user each time."""
    penalties = _core.Penalties()
    for spelled in ("ab" * 16, "AB" * 16, "aB" * 16, "Ab" * 16, "abAB" * 8):
        penalties.wrong(penalties.begin(credentials(spelled, more), "r", (ALICE[2], 5060), 0.0, None), 0.0)
    attempt = penalties.begin(credentials("ABab" * 8, more), "r", (ALICE[2], 5060), 0.0, None)
    assert attempt.is_refused == same


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


# --- sources ---------------------------------------------------------------------------------------------


def spray(penalties, count, now=0.0, name="user"):
    """One attempt each with so many users from one source."""
    for number in range(count):
        guess(penalties, (f"{name}{number}", "siphub.net", ALICE[2]), now=now)


def test_75_users_with_wrong_ones_are_a_penalty_for_their_source():
    """Who did not log in from there lately waits as well."""
    penalties = Penalties()
    spray(penalties, USERS - 1)
    assert not penalties.refuses(*NEIGHBOUR, 0.0)
    penalties.wrong("one more", "siphub.net", ALICE[2], 0.0)
    assert penalties.refuses(*NEIGHBOUR, 0.9)
    assert not penalties.refuses(*ELSEWHERE, 0.9)
    attempt = penalties.begin(*NEIGHBOUR, 1.0)
    assert not attempt.is_held
    assert penalties.begin("carol", *NEIGHBOUR[1:], 1.0).is_held, "one attempt at a time"


def test_a_user_counts_once_for_the_source():
    """An office behind one address, with 60 telephones that try an old password again and again."""
    penalties = Penalties()
    for minute in range(60):
        for number in range(60):
            who = (f"user{number}", "siphub.net", ALICE[2])
            if not penalties.refuses(*who, 60.0 * minute):
                penalties.wrong(*who, 60.0 * minute)
    assert not penalties.refuses(*NEIGHBOUR, 3600.0)


def test_who_logs_in_from_there_for_the_first_time_takes_one_back():
    """So that telephones with old passwords hold up the others of their address no longer than they must."""
    penalties = Penalties()
    spray(penalties, USERS - 1)
    for number in range(10):
        penalties.right(f"new{number}", "siphub.net", ALICE[2], 0.0)
    spray(penalties, 10, name="old")
    assert not penalties.refuses(*NEIGHBOUR, 0.0)
    penalties.wrong("one more", "siphub.net", ALICE[2], 0.0)
    assert penalties.refuses(*NEIGHBOUR, 0.0)


def test_but_once_an_hour():
    """A guesser with an account of his own gains one guess an hour by it."""
    penalties = Penalties()
    for number in range(USERS + 1):
        penalties.right("own", "siphub.net", ALICE[2], 60.0 if number else 0.0)
        if number < USERS:
            penalties.wrong(f"user{number}", "siphub.net", ALICE[2], 60.0)
    assert penalties.refuses(*NEIGHBOUR, 60.0)


def test_nor_once_for_each_call_of_a_first_login():
    """Several were sent at once, before the first of them was known to be right."""
    penalties = Penalties()
    spray(penalties, USERS - 10)
    for attempt in begin_many(penalties, NEIGHBOUR, 5)[0]:
        penalties.whole.right(attempt, 0.0)
    spray(penalties, 10, name="old")
    assert not penalties.refuses("carol", *NEIGHBOUR[1:], 0.0)
    penalties.wrong("one more", "siphub.net", ALICE[2], 0.0)
    assert penalties.refuses("carol", *NEIGHBOUR[1:], 0.0)


def test_after_a_penalty_a_login_ends_the_doubling_of_its_source():
    penalties = Penalties()
    spray(penalties, USERS)
    penalties.right(*NEIGHBOUR, 1.0)
    penalties.wrong("one more", "siphub.net", ALICE[2], 1.0)
    assert penalties.refuses(*ALICE, 1.9)
    assert not penalties.refuses(*ALICE, 2.0), "a second again, not two"


def test_but_not_while_too_many_were_wrong_still():
    """Or who has accounts of his own would begin with a second again after each of his logins."""
    penalties = Penalties()
    spray(penalties, USERS)
    for now in (1.0, 3.0):
        penalties.wrong(f"after {now}", "siphub.net", ALICE[2], now)
    penalties.right(*NEIGHBOUR, 7.0)
    penalties.wrong("one more", "siphub.net", ALICE[2], 7.0)
    assert penalties.refuses(*ALICE, 14.9), "eight seconds"
    assert not penalties.refuses(*ALICE, 15.0)


def test_users_of_ten_minutes_count_together():
    penalties = Penalties()
    spray(penalties, USERS - 30, now=0.0, name="early")
    spray(penalties, 30, now=599.0, name="late")
    assert penalties.refuses(*NEIGHBOUR, 599.0)


def test_those_of_longer_ago_do_not():
    penalties = Penalties()
    for hour in range(6):
        spray(penalties, USERS - 1, now=600.0 * hour, name=f"user{hour}-")
        assert not penalties.refuses(*NEIGHBOUR, 600.0 * hour)


@pytest.mark.parametrize(("later", "refused"), [(0.0, False), (3599.0, False), (3600.0, True)])
def test_behind_one_address_who_logged_in_within_the_hour_is_let_in(later, refused):
    """A NAT: all telephones of an office, and a guesser among them."""
    penalties = Penalties()
    penalties.right(*NEIGHBOUR, 0.0)
    spray(penalties, USERS, now=later)
    assert penalties.refuses(*NEIGHBOUR, later) == refused


def test_a_right_digest_that_was_no_login_does_not_speak_for_its_user():
    """Or who has overheard one could go on from a source that is refused."""
    penalties = Penalties()
    penalties.whole.neither(penalties.begin(*NEIGHBOUR, 0.0), 0.0)
    spray(penalties, USERS)
    assert penalties.refuses(*NEIGHBOUR, 0.0)


def test_who_logged_in_before_does_not_lock_out_the_others_of_his_address():
    """A telephone whose password was changed meanwhile; its own penalty is as everybody's."""
    penalties = Penalties()
    for number in range(USERS + 10):
        who = (f"user{number}", "siphub.net", ALICE[2])
        penalties.right(*who, 0.0)
        penalties.wrong(*who, 0.0)
    assert not penalties.refuses(*NEIGHBOUR, 0.0)


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
    assert used < 700_000
    assert 850 <= len(penalties) <= 200 + 500 + 1000
    assert not penalties.refuses(*ALICE, 0.0), "forgotten: the guesser is favoured, and nobody locked out"


def test_what_says_nothing_is_not_remembered():
    penalties = Penalties()
    for number in range(100):
        penalties.whole.neither(penalties.begin(f"user{number}", "siphub.net", f"10.0.0.{number}", 0.0), 0.0)
    assert len(penalties) == 0


def test_nor_is_who_was_held_and_refused_or_not_waited_for():
    """A burst of names from one source would push out those who guess."""
    penalties = Penalties()
    spray(penalties, USERS)
    penalties.whole.neither(penalties.begin("first", *ALICE[1:], 1.0), 1.0)
    before = len(penalties)
    first = penalties.begin("first", *ALICE[1:], 1.0)
    held = [penalties.begin(f"held{number}", *ALICE[1:], 1.0) for number in range(100)]
    assert all(attempt.is_held for attempt in held)
    for attempt in held[::2]:
        penalties.whole.neither(attempt, 1.0)
    penalties.whole.wrong(first, 1.0)
    assert len(penalties.released()[1]) == 50
    assert len(penalties) == before + 1


def test_who_was_forgotten_does_not_take_along_who_came_after():
    """What memory had no room for may still be in flight."""
    penalties = Penalties(most_users=4)
    attempt = penalties.begin(*ALICE, 0.0)
    spray(penalties, 4)
    guess(penalties, ALICE, 5)
    penalties.whole.neither(attempt, 0.0)
    assert penalties.refuses(*ALICE, 0.0)


def test_a_login_leaves_its_user_alone():
    penalties = Penalties()
    for _ in range(100):
        penalties.right(*ALICE, 0.0)
    assert len(penalties) == 1


def test_the_first_penalty_may_be_another():
    penalties = Penalties(first=7.0)
    guess(penalties, ALICE, 5)
    assert penalties.refuses(*ALICE, 6.9)
    assert not penalties.refuses(*ALICE, 7.0)


def test_where_the_source_is_not_known_nothing_is_counted():
    penalties = _core.Penalties()
    assert penalties.begin(credentials("alice"), "siphub.net", None, 0.0, None) is None
    assert len(penalties) == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["begin", "right", "wrong", "neither"]),
            st.integers(0, 3),
            st.integers(0, 2),
            st.sampled_from([0.0, 0.5, 1.0, 30.0]),
        ),
        max_size=200,
    )
)
def test_whatever_comes_each_attempt_ends_and_the_limits_hold(steps):
    """No attempt is held for ever, and no more than five in a row of one user are judged wrong at once."""
    whole = _core.Penalties()
    now, under_way, held = 0.0, [], set()

    def look():
        while whole.released:
            attempt, number = whole.released.popleft()
            held.discard(number)
            if not attempt.is_refused:
                under_way.append(attempt)

    for number, (what, user, host, wait) in enumerate(steps):
        now += wait
        if what == "begin" or not under_way:
            attempt = whole.begin_for(f"user{user}", "siphub.net", f"192.0.2.{host}", now, number)
            if attempt.is_held:
                held.add(number)
            elif not attempt.is_refused:
                under_way.append(attempt)
        else:
            getattr(whole, what)(under_way.pop(user % len(under_way)), now)
            look()
    while under_way:
        whole.neither(under_way.pop(), now)
        look()
    assert not held
    # Then everybody may try again after a minute at the latest.
    for user in range(4):
        assert not whole.begin_for(f"user{user}", "siphub.net", "192.0.2.0", now + 61.0, None).is_refused
