"""Who guesses many passwords at once: what waits for the verdicts on attempts in flight."""

import gc
import tracemalloc
import weakref
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.guesser import ALICE, ELSEWHERE, USERS, Penalties, begin_many, guess

from auth_diameter import _core


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
    [(attempt, item)] = penalties.whole.take_released()
    assert attempt is held
    known = weakref.ref(item)
    del item
    assert known() is None


@pytest.mark.parametrize("first", ["user", "source", "released"])
def test_nor_longer_than_the_penalties_it_waits_for(first):
    class Item:
        pass

    penalties = Penalties()
    of_alice = begin_many(penalties, ALICE, 5)[0]
    if first == "source":
        for number in range(USERS - 5):
            penalties.begin(f"user{number}", *ALICE[1:], 0.0)
    name = "more" if first == "source" else "alice"
    held = [penalties.begin(name, *ALICE[1:], 0.0, Item()) for _ in range(3)]
    known = weakref.WeakSet()
    others = [penalties.begin(*ALICE, 0.0, item) for item in (Item(), Item())]
    known.update(gc.get_referents(*held, *others))
    if first == "released":
        penalties.whole.neither(of_alice[0], 0.0)
    assert penalties.whole.has_released == (first == "released")
    assert len(known) == 5
    del penalties, others
    assert not any(attempt.is_held for attempt in held)
    del held
    assert len(known) == 0


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
        for attempt, number in whole.take_released():
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
    assert not whole.has_released
    # Then everybody may try again after a minute at the latest.
    for user in range(4):
        assert not whole.begin_for(f"user{user}", "siphub.net", "192.0.2.0", now + 61.0, None).is_refused
