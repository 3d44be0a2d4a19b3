"""Questions that are held until others before them have ended, with both drivers, against a DISC on loopback.

Which are held, and why, is in _core/state/test_penalties.py; here they are asked, refused or given up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections import Counter

import pytest
from kit.disc import answer_all, judge, say_nothing
from kit.machine import PATIENCE, SLACK, wait_until
from kit.sip import build_credentials, build_request
from kit.wire import RESPONSE, USER_NAME, build_answer

from auth_diameter import AsyncAuthDiameter, AuthDiameter, Avp, Cause, Config, DiscError, SipRequest
from auth_diameter.client import aio
from auth_diameter.diameter.pool import Pool

FAILED_AVP = 279
AVP_OF_THE_SOURCE = bytes([0, 0, 0, 31, 0, 0, 0, 8])  # Calling-Station-Id
SOURCE = ("192.0.2.1", 5060)
RIGHT = build_request(extra=("Authorization: " + build_credentials(),))


def requests(count, username="alice"):
    data = build_request(extra=("Authorization: " + build_credentials(username),))
    return [SipRequest(data, SOURCE) for _ in range(count)]


def refuse(connection, questions):
    """A script for which all digests are wrong."""
    connection.send(b"".join(build_answer(question, 5003) for question in questions))


def wait_first(fake_disc):
    """A DISC that finds all digests right, once the event that comes with it is set."""
    go_on = threading.Event()

    def judge_later(connection, questions):
        go_on.wait(PATIENCE)
        connection.send(b"".join(map(judge, questions)))

    return fake_disc(judge_later), go_on


def asked(disc):
    """How many questions with credentials DISC has seen."""
    return sum(question.find(RESPONSE) is not None for question in disc.questions)


def ask_with_tasks(disc, count, **settings):
    """The decisions on so many requests of one user at once, by asyncio."""

    async def main():
        async with AsyncAuthDiameter(Config(**{"timeout": 5.0, **disc.settings, **settings})) as client:
            decisions = await asyncio.gather(
                *(client.diameter_www_authorize(request, "$fd") for request in requests(count))
            )
            assert client._transport.pool.in_flight.size == 0
            assert not client._transport.pool.held, "a question is held though it is decided"
            return decisions

    return asyncio.run(main())


def ask_with_threads(disc, count, **settings):
    """The same by threads."""
    decisions = []
    with AuthDiameter(Config(**{"timeout": 5.0, **disc.settings, **settings})) as client:

        def ask(request):
            decisions.append(client.diameter_www_authorize(request, "$fd"))

        threads = [threading.Thread(target=ask, args=(request,)) for request in requests(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a question is held for ever"
    return decisions


BOTH = pytest.mark.parametrize("ask", [ask_with_tasks, ask_with_threads])


def begin(client, asked_about):
    """A task for each request."""
    return [asyncio.create_task(client.diameter_www_authorize(request, "$fd")) for request in asked_about]


def causes(decisions):
    return Counter(decision.cause for decision in decisions)


@BOTH
def test_of_a_burst_of_guesses_disc_judges_five(fake_disc, ask):
    disc = fake_disc(refuse)
    decisions = ask(disc, 100)
    assert causes(decisions) == {Cause.FORBIDDEN: 5, Cause.PENALIZED: 95}
    assert {decision.status for decision in decisions} == {403}
    assert asked(disc) == 5


@pytest.mark.parametrize("threads", [False, True])
def test_of_many_guesses_in_one_call_disc_judges_five(fake_disc, threads):
    """By the time it is the turn of those that are held, the others are answered."""
    disc = fake_disc(refuse)
    config = Config(**{"timeout": 5.0, **disc.settings})

    async def with_a_task():
        async with AsyncAuthDiameter(config) as client:
            return await client.diameter_www_authorize_many(requests(100), "$fd")

    if threads:
        with AuthDiameter(config) as client:
            decisions = client.diameter_www_authorize_many(requests(100), "$fd")
    else:
        decisions = asyncio.run(with_a_task())
    assert causes(decisions) == {Cause.FORBIDDEN: 5, Cause.PENALIZED: 95}
    assert asked(disc) == 5


@BOTH
def test_of_a_trunk_with_many_calls_at_once_all_get_through(fake_disc, ask):
    assert causes(ask(fake_disc(), 400)) == {Cause.AUTHORIZED: 400}


def test_what_is_held_for_a_guesser_is_bounded_and_keeps_nobody_else_out(fake_disc):
    disc, go_on = wait_first(fake_disc)

    async def main():
        config = Config(timeout=PATIENCE, max_waiting=100, **disc.settings)
        async with AsyncAuthDiameter(config) as client:
            guesses = begin(client, requests(200))
            await asyncio.to_thread(disc.wait_for, lambda: asked(disc) >= 5)
            (other,) = requests(1, "bob")
            task = asyncio.create_task(client.diameter_www_authorize(other, "$fd"))
            await asyncio.sleep(0)
            go_on.set()
            assert await task
            return await asyncio.gather(*guesses)

    assert causes(asyncio.run(main())) == {Cause.AUTHORIZED: 105, Cause.OVERLOADED: 95}


def test_large_requests_that_are_held_for_one_user_keep_nobody_else_out(fake_disc):
    """What is held has a part of the room for all requests, and not the whole of it."""
    disc, go_on = wait_first(fake_disc)
    data = build_request(extra=("Authorization: " + build_credentials(),), body="x" * 60_000)

    async def main():
        async with AsyncAuthDiameter(Config(timeout=PATIENCE, **disc.settings)) as client:
            count = 2 * aio._MOST_BYTES // len(data)
            tasks = begin(client, [SipRequest(data, SOURCE) for _ in range(count)] + requests(200))
            await asyncio.to_thread(disc.wait_for, lambda: asked(disc) >= 5)
            (other,) = requests(1, "bob")
            task = asyncio.create_task(client.diameter_www_authorize(other, "$fd"))
            await asyncio.sleep(0)
            go_on.set()
            assert await task
            found = causes(await asyncio.gather(*tasks))
            assert client._transport.pool.held.size == 0
            return found

    found = asyncio.run(main())
    assert set(found) == {Cause.AUTHORIZED, Cause.OVERLOADED}
    assert found[Cause.AUTHORIZED] > 100


@BOTH
def test_where_disc_hangs_none_waits_longer_than_its_time_limit(fake_disc, ask):
    """Those that are held are not asked after that: five were, and nobody answered."""
    disc = fake_disc(say_nothing)
    started = time.monotonic()
    decisions = ask(disc, 50, timeout=0.5)
    assert time.monotonic() - started < 0.5 + 2 * SLACK
    assert set(causes(decisions)) == {Cause.DISC_TIMEOUT}
    assert {decision.status for decision in decisions} == {503}


def test_when_those_in_flight_are_too_late_it_is_the_turn_of_those_that_are_held(fake_disc):
    """DISC says nothing to five, and answers others meanwhile: it is asked about the sixth after all."""
    five = []

    def leave_five_open(connection, questions):
        answered = []
        for question in questions:
            is_alice = question.find(USER_NAME).data.startswith(b"alice")
            if question.find(RESPONSE) is not None and is_alice and len(five) < 5:
                five.append(question)
            else:
                answered.append(judge(question))
        connection.send(b"".join(answered))

    disc = fake_disc(leave_five_open)

    async def main():
        async with AsyncAuthDiameter(Config(timeout=2.0, **disc.settings)) as client:

            def ask(request):
                return asyncio.create_task(client.diameter_www_authorize(request, "$fd"))

            first = [ask(request) for request in requests(5)]
            await asyncio.to_thread(disc.wait_for, lambda: len(five) == 5)
            await asyncio.sleep(1.0)  # it has so much time left when the five have none
            (sixth,) = map(ask, requests(1))
            (other,) = map(ask, requests(1, "bob"))
            assert await other
            assert not sixth.done()
            assert causes(await asyncio.gather(*first)) == {Cause.DISC_TIMEOUT: 5}
            return await sixth

    assert asyncio.run(main()).cause is Cause.AUTHORIZED


@BOTH
def test_where_the_connection_breaks_those_that_are_held_are_asked(fake_disc, ask):
    """The first five end with it, or are asked again; none of the others is forgotten."""
    disc = fake_disc()
    broken = []

    def break_once(connection, questions):
        if broken:
            connection.send(b"".join(map(judge, questions)))
        else:
            broken.append(connection)
            connection.close()

    disc.script = break_once
    decisions = ask(disc, 60)
    assert causes(decisions)[Cause.AUTHORIZED] >= 50
    assert set(causes(decisions)) <= {Cause.AUTHORIZED, Cause.DISC_LOST}


@BOTH
def test_where_disc_refuses_the_source_it_is_a_penalty_and_no_guess(fake_disc, ask):
    """DISC counts over all SIP servers. What it holds back it has not judged, says Failed-AVP."""
    more = (Avp(FAILED_AVP, AVP_OF_THE_SOURCE),)

    def hold_back(connection, questions):
        connection.send(b"".join(build_answer(question, 5003, more=more) for question in questions))

    decisions = ask(fake_disc(hold_back), 30)
    assert causes(decisions) == {Cause.PENALIZED: 30}


def test_a_task_that_is_cancelled_while_it_is_held_leaves_the_others_their_turn(fake_disc):
    disc, go_on = wait_first(fake_disc)

    async def main():
        async with AsyncAuthDiameter(Config(timeout=PATIENCE, **disc.settings)) as client:
            tasks = begin(client, requests(20))
            await asyncio.to_thread(disc.wait_for, lambda: asked(disc) >= 5)
            for task in tasks[5:10]:
                task.cancel()
            go_on.set()
            return await asyncio.gather(*tasks, return_exceptions=True)

    ends = asyncio.run(main())
    assert sum(isinstance(end, asyncio.CancelledError) for end in ends) == 5
    assert sum(bool(end) for end in ends if not isinstance(end, BaseException)) == 15


def test_a_client_that_is_closed_decides_what_it_holds(fake_disc):
    disc = fake_disc(say_nothing)

    async def main():
        client = AsyncAuthDiameter(Config(timeout=PATIENCE, **disc.settings))
        tasks = begin(client, requests(20))
        await asyncio.to_thread(disc.wait_for, lambda: asked(disc) >= 5)
        await client.aclose()
        return await asyncio.gather(*tasks)

    assert causes(asyncio.run(main())) == {Cause.DISC_LOST: 20}


def test_so_does_one_of_threads(fake_disc, monkeypatch):
    """None of them is told that the client is closed, for it was not when they asked."""
    disc = fake_disc(say_nothing)
    client = AuthDiameter(Config(timeout=PATIENCE, **disc.settings))
    ends, held = [], []
    wait_for_turn = AuthDiameter._wait_for_turn

    def wait(self, question):
        held.append(question)
        return wait_for_turn(self, question)

    monkeypatch.setattr(AuthDiameter, "_wait_for_turn", wait)

    def ask(request):
        try:
            ends.append(client.diameter_www_authorize(request, "$fd").cause)
        except DiscError as error:
            ends.append(error)

    threads = [threading.Thread(target=ask, args=(request,)) for request in requests(20)]
    for thread in threads:
        thread.start()
    disc.wait_for(lambda: asked(disc) >= 5)
    wait_until(lambda: len(held) == 15)
    client.close()
    for thread in threads:
        thread.join(PATIENCE)
    assert Counter(ends) == {Cause.DISC_LOST: 20}


def test_a_thread_that_is_interrupted_while_it_asks_gives_its_place_back(fake_disc, monkeypatch):
    """KeyboardInterrupt, or whatever a signal handler raises."""
    disc = fake_disc()
    with AuthDiameter(Config(**disc.settings)) as client:

        def interrupted(*args):
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(AuthDiameter, "_ask", interrupted)
            for request in requests(10):
                with pytest.raises(KeyboardInterrupt):
                    client.diameter_www_authorize(request, "$fd")
        assert client.diameter_www_authorize(requests(1)[0], "$fd")


@pytest.fixture
def held(monkeypatch):
    """Set as soon as a thread waits for its turn."""
    wait, begun = AuthDiameter._wait_for_turn, threading.Event()

    def wait_for_turn(client, question):
        begun.set()
        return wait(client, question)

    monkeypatch.setattr(AuthDiameter, "_wait_for_turn", wait_for_turn)
    return begun


def test_and_the_next_one_its_turn(fake_disc, monkeypatch, held):
    ask, five, decisions = AuthDiameter._ask, iter(range(5)), []

    def interrupt_five(client, question):
        if next(five, None) is None:
            return ask(client, question)
        held.wait(PATIENCE)
        raise KeyboardInterrupt

    monkeypatch.setattr(AuthDiameter, "_ask", interrupt_five)
    with AuthDiameter(Config(timeout=5.0, **fake_disc().settings)) as client:

        def run(request):
            with contextlib.suppress(KeyboardInterrupt):
                decisions.append(client.diameter_www_authorize(request, "$fd"))

        threads = [threading.Thread(target=run, args=(request,)) for request in requests(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    assert causes(decisions) == {Cause.AUTHORIZED: 1}


def test_the_time_that_a_thread_was_held_is_part_of_its_limit(fake_disc, monkeypatch, held):
    submit, limits = Pool.submit, []

    def note(pool, question, now, until=None):
        before = question.deadline
        where = submit(pool, question, now, until)
        if before:
            limits.append((before, question.deadline))
        return where

    def judge_later(connection, questions):
        held.wait(PATIENCE)
        answer_all(connection, questions)

    monkeypatch.setattr(Pool, "submit", note)
    assert causes(ask_with_threads(fake_disc(judge_later), 20)) == {Cause.AUTHORIZED: 20}
    assert limits
    assert all(before == after for before, after in limits)


def test_a_thread_waits_for_its_turn_as_long_as_it_may_and_no_shorter():
    with AuthDiameter(Config(timeout=0.3)) as client:
        now = time.monotonic()
        *_, sixth = [client._authorizer.www_authorize(request, "$fd", now) for request in requests(6)]
        assert client._wait_for_turn(sixth) is Cause.DISC_TIMEOUT
        assert time.monotonic() - now >= 0.3


def test_a_fork_holds_nothing_for_what_its_parent_has_in_flight(fake_disc):
    """What the parent has asked will never end in the child."""
    disc, go_on = wait_first(fake_disc)
    with AuthDiameter(Config(timeout=PATIENCE, **disc.settings)) as client:
        threads = [
            threading.Thread(target=client.diameter_www_authorize, args=(request, "$fd"), daemon=True)
            for request in requests(7)
        ]
        for thread in threads:
            thread.start()
        disc.wait_for(lambda: asked(disc) >= 5)
        pid = os.fork()
        if not pid:
            status = 1
            with contextlib.suppress(BaseException):
                # Not asked at all: the threads of the fake DISC are not here.
                outcome = client._authorizer.www_authorize(requests(1)[0], "$fd", time.monotonic())
                status = 0 if outcome.attempt is not None and not outcome.attempt.is_held else 2
            os._exit(status)
        go_on.set()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        for thread in threads:
            thread.join(PATIENCE)


def test_the_requests_that_are_asked_about_are_bounded_in_bytes(fake_disc, monkeypatch):
    """Large ones while DISC hangs: the excess is refused at once, and all is well again afterwards."""
    monkeypatch.setattr(aio, "_MOST_BYTES", 1 << 20)
    disc = fake_disc(say_nothing)
    data = build_request(body="x" * 60_000)

    async def main():
        async with AsyncAuthDiameter(Config(timeout=1.0, max_delay=None, **disc.settings)) as client:
            decisions = await asyncio.gather(
                *(client.diameter_www_authorize(SipRequest(data, SOURCE), "$fd") for _ in range(50))
            )
            found = causes(decisions)
            assert found[Cause.OVERLOADED] == 50 - (1 << 20) // len(data)
            assert set(found) == {Cause.OVERLOADED, Cause.DISC_TIMEOUT}
            assert client._transport.pool.in_flight.size == 0
            assert client.stats().refused_overload == found[Cause.OVERLOADED]
            disc.script = lambda connection, questions: connection.send(b"".join(map(judge, questions)))
            until = time.monotonic() + PATIENCE
            while time.monotonic() < until:
                decision = await client.diameter_www_authorize(SipRequest(data, SOURCE), "$fd")
                if decision.status == 401:
                    return
            raise AssertionError("DISC is not asked any more")

    asyncio.run(main())
