"""Guesses over forked processes: they add up, and a process that is killed keeps nobody out.

The workers of a SIP server verify digests themselves. If each of them counted alone, a guesser would have
forty guesses at eight workers, and not five.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from kit.forked import Shared, end, fork, in_child, kill, made_with_memory
from kit.wire import CALLING_STATION_ID, NOW, RESOURCE, aa_request, credentials_avps

from auth_diameter import Avp, digest_response, ha1
from auth_diameter._core import Batch, Judge, Nonces, NonceUses, Penalties, RequestStream, Users
from auth_diameter.verifier.config import VerifierConfig
from auth_diameter.verifier.outcome import Outcome

REALM = "siphub.net"
PASSWORD = "wonderland"
RIGHT, OTHER_URI = f"sip:{REALM}", "sip:else.where"
_NUMBERS = itertools.count(1)


class Workers:
    """A Judge that knows alice, made before the fork.

    Attributes:
        counts: the memory of the nonce counts.
        penalties: that of the guesses.
    """

    def __init__(self) -> None:
        self.nonces = Nonces(b"sixteen secret bytes")
        users = Users(dict.fromkeys(("realm", "user", "hashed", "algorithms"), 1 << 16))
        users.put((REALM, "realm"), (REALM,))
        users.put(("alice", REALM, "MD5", "user"), (True, ha1("alice", REALM, PASSWORD)))
        self.uses, self.counts = made_with_memory(lambda: NonceUses(310.0, 1000))
        penalties, self.penalties = made_with_memory(lambda: Penalties(shared=True))
        self.judge = Judge(users, self.nonces, self.uses, penalties, VerifierConfig(), 1 << 16, 1 << 16)

    def question(self, password: str, uri: str, nonce: str) -> bytes:
        response = digest_response(
            ha1("alice", REALM, password), "REGISTER", uri, nonce, qop="auth", nc="00000001", cnonce="abcd"
        )
        value = (
            f'Digest username="alice", realm="{REALM}", nonce="{nonce}", uri="{uri}", algorithm=MD5, '
            f'qop=auth, nc=00000001, cnonce="abcd", response="{response}"'
        )
        return aa_request(
            Avp(RESOURCE, REALM),
            *credentials_avps(value),
            Avp(CALLING_STATION_ID, "192.0.2.1", flags=0),
            end_to_end=next(_NUMBERS),
        )

    def ask(self, *passwords: str, now: float = NOW, uri: str = RIGHT, nonce: str | None = None) -> list[str]:
        """The outcomes of questions that come at once."""
        data = b"".join(
            self.question(password, uri, nonce or self.nonces.make(REALM, now)) for password in passwords
        )
        batch = Batch(RequestStream().feed(data), now)
        assert batch.judge(self.judge)
        return [Outcome(number).name for _, number in batch.report(every=True)[1]]

    def guess(self, count: int, now: float = NOW) -> list[str]:
        """The outcomes of guesses, one after the other."""
        return [outcome for number in range(count) for outcome in self.ask(f"guess {number}", now=now)]


@pytest.fixture
def workers() -> Workers:
    return Workers()


def test_guesses_at_all_processes_add_up_to_a_penalty(workers: Workers) -> None:
    assert workers.ask("a", "b") == ["WRONG_DIGEST"] * 2
    assert in_child(lambda: workers.ask("c", "d", "e", "f")) == ["WRONG_DIGEST"] * 3 + ["PENALIZED"]
    assert workers.ask(PASSWORD) == ["PENALIZED"]
    assert in_child(lambda: workers.ask(PASSWORD)) == ["PENALIZED"]


def test_a_login_at_one_process_ends_the_penalty_at_all(workers: Workers) -> None:
    workers.ask(*"abcde")
    assert in_child(lambda: workers.ask(PASSWORD, now=NOW + 1)) == ["AUTHORIZED"]
    assert workers.guess(6, NOW + 1) == ["WRONG_DIGEST"] * 5 + ["PENALIZED"]


def test_a_replay_at_another_process_gets_a_challenge(workers: Workers) -> None:
    nonce = workers.nonces.make(REALM, NOW)
    assert workers.ask(PASSWORD, nonce=nonce) == ["AUTHORIZED"]
    assert in_child(lambda: workers.ask(PASSWORD, nonce=nonce)) == ["REPLAYED"]


def test_many_processes_that_guess_at_once_have_five_guesses(workers: Workers) -> None:
    """Those that have no place wait for the verdicts of the others, without a lock."""
    judged = workers.uses  # has a number for each guess that was judged

    def work() -> None:
        for number in range(50):
            if workers.ask(f"guess {number}") == ["WRONG_DIGEST"]:
                while judged.add(f"guess {next(_NUMBERS)}", "r", "MD5", "", 1, 0, NOW, NOW).name != "FIRST":
                    pass

    for child in [fork(work) for _ in range(4)]:
        end(child)
    assert len(judged) == 5


def test_so_have_threads(workers: Workers) -> None:
    """They judge at once, without the GIL."""
    with ThreadPoolExecutor(4) as pool:
        guesses = [pool.submit(workers.ask, *[f"guess {number}"] * 10) for number in range(40)]
    assert Counter(itertools.chain(*(guess.result() for guess in guesses))) == {
        "WRONG_DIGEST": 5,
        "PENALIZED": 395,
    }


def test_a_count_is_good_at_one_of_many_threads(workers: Workers) -> None:
    with ThreadPoolExecutor(4) as pool:
        nonces = [workers.nonces.make(REALM, NOW) for _ in range(100)]
        logins = [pool.submit(workers.ask, PASSWORD, nonce=nonce) for nonce in nonces for _ in range(4)]
    outcomes = Counter(outcome for login in logins for outcome in login.result())
    assert outcomes["AUTHORIZED"] == 100, outcomes


def test_after_a_process_was_killed_in_a_change_guesses_still_count(workers: Workers) -> None:
    """Who can crash a process must not gain five more by it."""
    workers.ask(*"abcd")
    workers.penalties.kill_owner()
    assert workers.ask("e", "f") == ["WRONG_DIGEST", "PENALIZED"]
    assert in_child(lambda: workers.ask("g")) == ["PENALIZED"]


def test_processes_that_are_killed_at_any_moment_keep_nobody_out(workers: Workers) -> None:
    def work() -> None:
        while True:
            workers.ask(PASSWORD, PASSWORD, now=NOW)
            workers.ask("guess", now=NOW)

    workers.ask(PASSWORD)
    for turn in range(100):
        child = fork(work)
        time.sleep(0.001 + turn % 10 * 0.0003)
        kill(child)
        assert set(workers.ask("guess", PASSWORD)) <= {"WRONG_DIGEST", "AUTHORIZED", "PENALIZED", "REPLAYED"}
    assert workers.ask(PASSWORD, now=NOW + 61) == ["AUTHORIZED"], "with a new nonce"


# ------------------------------------------------------------------ attempts whose verdict does not come


def begin_five(workers: Workers, uri: str = RIGHT) -> int:
    """A process with five right passwords in flight, as many as may be, at the locked nonce counts."""
    child = fork(lambda: workers.ask(*[PASSWORD] * 5, uri=uri))
    workers.counts.wait_for_waiter()
    return child


def test_a_process_that_is_killed_before_the_verdict_keeps_nobody_out(workers: Workers) -> None:
    with workers.counts.locked():
        kill(begin_five(workers))
    begun = time.monotonic()
    assert workers.ask(PASSWORD) == ["AUTHORIZED"]
    assert time.monotonic() - begun > 0.09, "its verdict might have come"
    assert workers.guess(6) == ["WRONG_DIGEST"] * 5 + ["PENALIZED"]


def test_all_questions_that_come_at_once_go_on(workers: Workers) -> None:
    with workers.counts.locked():
        kill(begin_five(workers))
    assert workers.guess(6) == ["WRONG_DIGEST"] * 5 + ["PENALIZED"]


def is_waited_for(workers: Workers, now: float) -> bool:
    """Whether a right password has to wait, which takes a tenth of a second."""

    def seconds() -> float:
        begun = time.monotonic()
        assert workers.ask(PASSWORD, now=now) == ["AUTHORIZED"]
        return time.monotonic() - begun

    return min(seconds() for _ in range(5)) > 0.09


@pytest.mark.parametrize(
    ("password", "uri", "outcome"), [("guess", RIGHT, "WRONG_DIGEST"), (PASSWORD, OTHER_URI, "OTHER_URI")]
)
def test_a_process_that_was_stopped_may_end_its_attempts_late(
    workers: Workers, password: str, uri: str, outcome: str
) -> None:
    """Its five were given up meanwhile: they take away no place, whether the tally is still there or not."""
    with workers.counts.locked():
        child = begin_five(workers)
        assert workers.ask(password, uri=uri) == [outcome]
        assert in_child(lambda: workers.ask(password, uri=uri)) == [outcome]
    end(child)
    assert not is_waited_for(workers, NOW)
    assert workers.guess(6) == ["WRONG_DIGEST"] * 5 + ["PENALIZED"]
    assert not is_waited_for(workers, NOW + 1)


def test_the_memory_has_its_lock_first(workers: Workers) -> None:
    """What these tests rely on: nobody gets further while it is held."""
    assert isinstance(workers.counts, Shared)
    for memory in (workers.counts, workers.penalties):
        with memory.locked():
            child = fork(lambda: workers.ask(PASSWORD))
            memory.wait_for_waiter()
        end(child)
