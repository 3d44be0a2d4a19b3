"""Who guesses passwords: whose credentials are judged, whose are refused, whose must not be."""

import os
import threading
import time
import tracemalloc
from pathlib import Path

import pytest
from kit.guesser import ALICE, ELSEWHERE, NEIGHBOUR, USERS, Penalties, begin_many, credentials, guess, spray
from kit.machine import PATIENCE

from auth_diameter import _core


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


def test_it_is_ended_by_those_who_began_it():
    """After a fork, a child has Penalties of its own, and attempts of its parent."""
    others, penalties = Penalties(), Penalties()
    admitted, held, _ = begin_many(others, ALICE, 6)
    for end in (penalties.whole.wrong, penalties.whole.right, penalties.whole.neither):
        for attempt in (*admitted, *held):
            end(attempt, 0.0)
    assert len(penalties) == 0
    assert held[0].is_held
    for attempt in admitted:
        others.whole.wrong(attempt, 0.0)
    assert held[0].is_refused


# --- sources ---------------------------------------------------------------------------------------------


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
    penalties = Penalties(most_sources=200, most_users=1500)
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
    assert 850 <= len(penalties) <= 200 + 1500
    assert not penalties.refuses(*ALICE, 0.0), "forgotten: the guesser is favoured, and nobody locked out"


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux tells the size of a process")
def test_memory_is_given_back():
    def pages():
        return int(Path("/proc/self/statm").read_text().split()[0])

    penalties = Penalties()
    before = pages()
    for _ in range(50):
        penalties = Penalties()
        guess(penalties, ALICE)
    assert (pages() - before) * os.sysconf("SC_PAGE_SIZE") < 50_000_000, "fewer than three of them"


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


def test_who_has_an_attempt_in_flight_is_not_forgotten():
    """Its verdict counts together with those of before."""
    penalties = Penalties(most_users=8)
    guess(penalties, ALICE, 4)
    attempt = penalties.begin(*ALICE, 0.0)
    spray(penalties, 50)
    penalties.whole.wrong(attempt, 0.0)
    assert penalties.refuses(*ALICE, 0.0)


def test_who_was_seen_least_recently_is_forgotten_first():
    penalties = Penalties(most_users=8)
    guess(penalties, ALICE, 4)
    guess(penalties, NEIGHBOUR, 4)
    spray(penalties, 6)
    guess(penalties, ALICE)
    spray(penalties, 1, name="another")
    assert penalties.refuses(*ALICE, 0.0)
    guess(penalties, NEIGHBOUR)
    assert not penalties.refuses(*NEIGHBOUR, 0.0), "the first one of a new row"


@pytest.mark.parametrize(("later", "admitted"), [(3599.0, 6), (3600.0, 5)])
def test_strangers_do_not_push_out_who_logged_in_within_the_hour(later, admitted):
    """A login allows one more attempt in flight, until it is forgotten."""
    penalties = Penalties(most_users=8)
    penalties.right(*ALICE, 0.0)
    for number in range(50):
        penalties.wrong(f"user{number}", "siphub.net", f"10.0.0.{number}", later)
    assert len(begin_many(penalties, ALICE, 10, now=later)[0]) == admitted


def test_but_each_other():
    """Whoever came first, and does not come back."""
    penalties = Penalties(most_users=8)
    for number in range(9):
        penalties.right(f"user{number}", *ALICE[1:], 0.0)
    spray(penalties, USERS, name="stranger")
    refused = [penalties.refuses(f"user{number}", *ALICE[1:], 0.0) for number in range(9)]
    assert refused == [True, True] + [False] * 7, "the second one made room for a stranger"


def test_where_all_have_attempts_in_flight_another_user_is_not_counted():
    """It is verified: nobody may be locked out by a lack of memory."""
    penalties = Penalties(most_users=8)
    attempts = [penalties.begin(f"user{number}", "r", "192.0.2.2", 0.0) for number in range(8)]
    before = len(penalties)
    for end in (penalties.whole.wrong, penalties.whole.right, penalties.whole.neither) * 20:
        attempt = penalties.begin(*ALICE, 0.0)
        assert not attempt.is_held
        assert not attempt.is_refused
        end(attempt, 0.0)
    assert len(penalties) == before
    penalties.whole.neither(attempts[0], 0.0)
    guess(penalties, ALICE, 5)
    assert penalties.refuses(*ALICE, 0.0)


def test_nor_is_another_source_but_its_users_are():
    penalties = Penalties(most_sources=8)
    for number in range(8):
        penalties.begin("user", "r", f"192.0.2.{10 + number}", 0.0)
    spray(penalties, USERS + 10)
    assert not penalties.refuses(*NEIGHBOUR, 0.0)
    guess(penalties, ALICE, 5)
    assert penalties.refuses(*ALICE, 0.0)


@pytest.mark.parametrize("number", [0, -1, 2**24 + 1])
@pytest.mark.parametrize("name", ["most_sources", "most_users"])
def test_an_absurd_number_to_remember_is_refused(name, number):
    with pytest.raises(_core.ConfigError, match=f"{name} {number}: expected 1 to"):
        Penalties(**{name: number})


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


def test_those_that_processes_share_hold_no_attempt():
    """One that is held waits in a row of its process, where no other one could release it.

    So `begin` waits itself. Here no verdict comes, as if their process was killed: the places are free.
    """
    penalties = Penalties(shared=True)
    lost = [penalties.begin(*ALICE, 0.0) for _ in range(5)]
    assert not any(attempt.is_held or attempt.is_refused for attempt in lost)
    late = penalties.begin(*ALICE, 0.0)
    assert not any((late.is_held, late.was_held, late.is_refused))
    for attempt in (late, *(penalties.begin(*ALICE, 0.0) for _ in range(4))):
        penalties.whole.wrong(attempt, 0.0)
    assert penalties.refuses(*ALICE, 0.5), "those that waited in vain count"
    assert not penalties.whole.has_released
    assert penalties.whole.take_released() == []


def test_those_that_processes_share_wait_for_the_verdicts_of_a_slow_server():
    """As long as a verdict may take. Giving up sooner would let a guesser guess while others are judged."""
    penalties = Penalties(shared=True)
    penalties.whole.patience = PATIENCE
    under_way = [penalties.begin(*ALICE, 0.0) for _ in range(5)]

    def judge():
        time.sleep(0.3)
        for attempt in under_way:
            penalties.whole.wrong(attempt, 0.0)

    thread = threading.Thread(target=judge)
    thread.start()
    started = time.monotonic()
    assert penalties.begin(*ALICE, 0.0).is_refused
    assert time.monotonic() - started > 0.2
    thread.join()


def test_those_that_processes_share_refuse_a_guesser_as_others_do():
    penalties = Penalties(shared=True)
    guess(penalties, ALICE, 5)
    assert penalties.refuses(*ALICE, 0.5)
    assert not penalties.refuses(*ALICE, 1.5)
