"""Several worker processes of one client: what one of them has found out about DISC, all know.

The processes are real: each is forked from the test, as Kamailio forks its workers.
"""

import contextlib
import os
import pickle
import signal
import time
from collections.abc import Iterator

import pytest
from kit.disc import answer_all, say_nothing
from kit.forked import in_child
from kit.machine import PATIENCE, wait_until
from kit.sip import FIRST, RIGHT
from kit.worker import refuse, slow

import auth_diameter as ad
from auth_diameter import Cause, Config, SipRequest
from auth_diameter.client.worker import Common, WorkerAuthDiameter

SOURCE = ("192.0.2.7", 5060)
TIMEOUT = 1.0  # seconds


def new_client(*discs, **settings):
    settings = {"timeout": TIMEOUT, "peers": [disc.address for disc in discs], **settings}
    return WorkerAuthDiameter(Config(**settings), Common())


def took(client, request=RIGHT):
    """The cause of a decision, and the seconds it took."""
    started = time.monotonic()
    cause = client.diameter_www_authorize(SipRequest(request, SOURCE), "$fd").cause
    return cause, time.monotonic() - started


class Worker:
    """A forked process that asks when it is told to."""

    def __init__(self, client):
        self._orders, orders = os.pipe()
        results, self._results = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                signal.alarm(int(2 * PATIENCE))
                while order := os.read(self._orders, 1):
                    result = client.stats() if order == b"s" else took(client)
                    os.write(self._results, pickle.dumps(result).ljust(4096))
            finally:
                os._exit(0)
        os.close(self._orders)
        os.close(self._results)
        self._orders, self._results = orders, results

    def begin(self, order=b"a"):
        os.write(self._orders, order)

    def end(self):
        return pickle.loads(os.read(self._results, 4096))

    def ask(self):
        self.begin()
        return self.end()

    def stats(self):
        self.begin(b"s")
        return self.end()

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._orders)
        os.close(self._results)


@contextlib.contextmanager
def workers(client, count=2) -> Iterator[list[Worker]]:
    """So many workers; they are killed at the end."""
    all_workers = [Worker(client) for _ in range(count)]
    try:
        yield all_workers
    finally:
        for worker in all_workers:
            worker.stop()


pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def test_each_has_its_own_connection_and_ids(fake_disc):
    disc = fake_disc()
    with new_client(disc) as client, workers(client, 3) as three:
        for _ in range(3):
            assert [worker.ask()[0] for worker in three] == [Cause.AUTHORIZED] * 3
    assert len(disc.connections) == 3
    ids = [question.hop_by_hop for question in disc.questions]
    assert len(set(ids)) == len(ids) == 9


def test_a_disc_that_hangs_costs_one_time_limit_in_all(fake_disc):
    """All that wait give up with the first. Then one probe a second waits 250 ms; the others are refused."""
    disc = fake_disc()
    with new_client(disc) as client, workers(client, 3) as three:
        for worker in three:
            assert worker.ask()[0] is Cause.AUTHORIZED
        disc.script = say_nothing
        three[0].begin()
        time.sleep(TIMEOUT / 2)
        three[1].begin()
        first, second = three[0].end(), three[1].end()
        assert (first[0], second[0]) == (Cause.DISC_TIMEOUT, Cause.DISC_TIMEOUT)
        assert TIMEOUT * 0.9 < first[1] < TIMEOUT * 1.5
        assert second[1] < TIMEOUT * 0.9, "it gave up with the first one"
        later = sorted(worker.ask()[1] for worker in three for _ in range(3))
        assert later[-1] < TIMEOUT / 2, "the probe"
        assert later[-2] < 0.2, "all others"


def test_a_worker_that_asked_just_before_the_end_has_time_for_an_answer(fake_disc):
    """The first question may have been at fault, and not DISC: a second one is answered."""
    disc = fake_disc()
    with new_client(disc) as client, workers(client) as (first, second):
        for worker in (first, second):
            assert worker.ask()[0] is Cause.AUTHORIZED
        disc.script = say_nothing
        first.begin()
        wait_until(lambda: len(disc.questions) == 3)
        time.sleep(TIMEOUT - 0.1)
        disc.script = answer_all
        assert second.ask()[0] is Cause.AUTHORIZED
        assert first.end()[0] is Cause.DISC_TIMEOUT


def hang_for_a_while(disc, three):
    """A DISC hangs, which all workers have found out; and answers again, which one of them has found out."""
    for worker in three:
        worker.ask()
    disc.script = say_nothing
    three[0].ask()
    assert [worker.ask()[0] for worker in three] == [Cause.DISC_TIMEOUT] * 3
    disc.script = answer_all
    deadline = time.monotonic() + PATIENCE
    while three[1].ask()[0] is not Cause.AUTHORIZED:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_one_answer_brings_all_back(fake_disc):
    disc = fake_disc()
    with new_client(disc) as client, workers(client, 3) as three:
        hang_for_a_while(disc, three)
        assert [worker.ask()[0] for worker in three] == [Cause.AUTHORIZED] * 3
        assert [worker.stats().peers[0].state for worker in three] == ["up"] * 3


def test_a_worker_that_is_killed_while_it_waits_holds_up_nobody(fake_disc):
    disc = fake_disc()
    with new_client(disc) as client, workers(client) as (first, second):
        for worker in (first, second):
            assert worker.ask()[0] is Cause.AUTHORIZED
        disc.script = say_nothing
        first.begin()
        wait_until(lambda: len(disc.questions) == 3)
        os.kill(first.pid, signal.SIGKILL)
        disc.script = answer_all
        time.sleep(TIMEOUT * 1.1)
        for _ in range(3):
            cause, seconds = second.ask()
            assert cause is Cause.AUTHORIZED
            assert seconds < TIMEOUT / 2


def test_a_worker_that_is_started_later_knows_it(fake_disc):
    disc = fake_disc(say_nothing)
    with new_client(disc) as client:
        assert in_child(lambda: took(client))[0] is Cause.DISC_TIMEOUT
        in_child(lambda: took(client))
        cause, seconds = in_child(lambda: took(client))
        assert cause is Cause.DISC_TIMEOUT
        assert seconds < TIMEOUT / 2


def test_another_disc_takes_over_for_all(fake_disc):
    """One worker has lost a question at the one that hangs. No other worker asks it any more."""
    first, second = fake_disc(), fake_disc()
    with new_client(first, second) as client, workers(client, 3) as three:
        for worker in three:
            assert [worker.ask()[0] for _ in range(4)] == [Cause.AUTHORIZED] * 4
        first.script = say_nothing
        while three[0].ask()[0] is Cause.AUTHORIZED:
            pass
        results = [worker.ask() for worker in three[1:] for _ in range(6)]
        assert {cause for cause, _ in results} == {Cause.AUTHORIZED}
        assert max(seconds for _, seconds in results) < TIMEOUT * 0.9


def test_one_question_without_an_answer_closes_disc_for_nobody(fake_disc):
    """DISC answers all others meanwhile: the question is at fault, or its connection."""
    disc = fake_disc()
    with new_client(disc) as client, workers(client) as (first, second):
        for worker in (first, second):
            assert worker.ask()[0] is Cause.AUTHORIZED
        disc.script = say_nothing
        first.begin()
        wait_until(lambda: len(disc.questions) == 3)
        disc.script = answer_all
        until = time.monotonic() + TIMEOUT * 1.2
        while time.monotonic() < until:
            assert second.ask()[0] is Cause.AUTHORIZED
            time.sleep(0.02)
        assert first.end()[0] is Cause.DISC_TIMEOUT
        assert first.ask()[0] is Cause.AUTHORIZED, "at once, on another connection"
        assert [worker.stats().peers[0].state for worker in (first, second)] == ["up", "up"]
        assert first.stats().expired == 1


def test_a_killed_worker_takes_no_time_from_the_others(fake_disc):
    """It has told that it waits, and cannot tell that DISC hangs. A slow answer is waited for to the end."""
    disc = fake_disc()
    kept = []
    with new_client(disc) as client, workers(client) as (first, second):
        for worker in (first, second):
            assert worker.ask()[0] is Cause.AUTHORIZED
        disc.script = lambda connection, questions: kept.append((connection, questions))
        first.begin()
        wait_until(lambda: len(kept) == 1)
        time.sleep(TIMEOUT * 0.5)
        os.kill(first.pid, signal.SIGKILL)
        second.begin()
        time.sleep(TIMEOUT * 0.8)  # longer than the first one would have waited
        answer_all(*kept[-1])
        assert second.end()[0] is Cause.AUTHORIZED


def test_a_disc_that_accepts_no_connection_costs_one_probe_a_second(fake_disc, silent_listener):
    """While one is being opened, all other questions are refused at once."""
    client = WorkerAuthDiameter(
        Config(peers=[silent_listener], timeout=TIMEOUT, connect_timeout=0.3 * TIMEOUT), Common()
    )
    with client, workers(client) as (first, second):
        assert first.ask()[0] is Cause.DISC_UNREACHABLE
        until = time.monotonic() + 2.0
        seconds = []
        while time.monotonic() < until:
            for worker in (first, second):
                cause, took = worker.ask()
                assert cause is Cause.DISC_UNREACHABLE
                seconds.append(took)
            time.sleep(0.01)
        assert sum(seconds) < 1.5, "of 4 seconds of both"


def test_a_worker_waits_on_while_another_is_answered(fake_disc):
    """The first one's question is at fault. What the third one hears, the second one knows."""
    disc = fake_disc()
    kept = []
    with new_client(disc) as client, workers(client, 3) as (first, second, third):
        for worker in (first, second, third):
            assert [worker.ask()[0] for _ in range(3)] == [Cause.AUTHORIZED] * 3
        disc.script = lambda *args: kept.append(args)
        first.begin()
        wait_until(lambda: len(kept) == 1)
        time.sleep(TIMEOUT * 0.5)
        second.begin()
        wait_until(lambda: len(kept) == 2)
        time.sleep(TIMEOUT * 0.2)
        disc.script = answer_all
        assert third.ask()[0] is Cause.AUTHORIZED
        assert first.end()[0] is Cause.DISC_TIMEOUT
        time.sleep(TIMEOUT * 0.1)
        answer_all(*kept[1])
        assert second.end()[0] is Cause.AUTHORIZED


def test_with_another_disc_one_worker_probes_for_all(fake_disc):
    """Once a second, however many ask."""
    first, second = fake_disc(), fake_disc()
    with new_client(first, second) as client, workers(client, 3) as three:
        for worker in three:
            assert [worker.ask()[0] for _ in range(4)] == [Cause.AUTHORIZED] * 4
        first.script = say_nothing
        while three[0].ask()[0] is Cause.AUTHORIZED:
            pass
        before, until = len(first.questions), time.monotonic() + 2.6
        while time.monotonic() < until:
            assert [worker.ask()[0] for worker in three] == [Cause.AUTHORIZED] * 3
        assert len(first.questions) - before <= 4


def test_all_are_back_at_once(fake_disc):
    """Each is told, and has no probe of its own: a slow answer is in time."""
    disc = fake_disc()
    with new_client(disc) as client, workers(client, 3) as three:
        hang_for_a_while(disc, three)
        disc.script = slow(answer_all, TIMEOUT * 0.5)
        three[0].begin()
        three[2].begin()
        assert [three[0].end()[0], three[2].end()[0]] == [Cause.AUTHORIZED] * 2


def test_guesses_are_counted_over_all(fake_disc):
    """Five, and not five of each."""

    disc = fake_disc(refuse)
    with new_client(disc) as client, workers(client, 4) as four:
        causes = [worker.ask()[0] for worker in four for _ in range(3)]
        assert causes == [Cause.FORBIDDEN] * 5 + [Cause.PENALIZED] * 7
        assert len(disc.questions) == 5


def test_a_stopped_worker_takes_no_stale_answer(fake_disc):
    """It was stopped while it waited, and goes on when its time limit is over."""
    disc = fake_disc()
    with new_client(disc) as client, workers(client, 1) as (worker,):
        assert worker.ask()[0] is Cause.AUTHORIZED

        def stop_it(connection, questions):
            os.kill(worker.pid, signal.SIGSTOP)
            answer_all(connection, questions)

        disc.script = stop_it
        worker.begin()
        wait_until(lambda: len(disc.questions) == 2)
        time.sleep(TIMEOUT * 1.1)
        disc.script = answer_all
        os.kill(worker.pid, signal.SIGCONT)
        assert worker.end()[0] is Cause.DISC_TIMEOUT
        deadline = time.monotonic() + PATIENCE
        while worker.ask()[0] is not Cause.AUTHORIZED:
            assert time.monotonic() < deadline


# ------------------------------------------------------------------ the fork


def test_after_fork_is_public():
    """For servers that fork without a word to Python, such as OpenSIPS."""
    assert ad.after_fork() is None
    with ad.AuthDiameter(Config(diameter_client_port=1)) as client:
        ad.after_fork()
        assert client.diameter_www_authorize(FIRST, "$fd").cause is Cause.DISC_UNREACHABLE
