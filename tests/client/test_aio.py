"""The asyncio driver against a DISC on loopback that does what the test says.

Where a test measures time, it is the contract's: no call takes longer than its deadline.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import socket
import statistics
import threading
import time
import warnings
from functools import partial

import pytest
from kit.disc import CHALLENGE_VALUE, answer_all, hang_up, judge, say_nothing
from kit.machine import PATIENCE, SLACK, until
from kit.sip import FIRST, RIGHT, build_credentials, build_request
from kit.wire import build_answer

from auth_diameter import AsyncAuthDiameter, Cause, Config, DiscError, SipRequest
from auth_diameter.diameter import aio


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    """Runs a coroutine function in a loop of each kind; what its callbacks raised fails the test."""
    factory = asyncio.new_event_loop
    if request.param == "uvloop":
        factory = pytest.importorskip("uvloop").new_event_loop

    def run_in_loop(function):
        problems = []

        async def main():
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: problems.append(context))
            async with asyncio.timeout(2 * PATIENCE):
                return await function()

        with asyncio.Runner(loop_factory=factory) as runner:
            result = runner.run(main())
        gc.collect()  # a task's exception that nobody fetched is told when the task goes
        assert problems == []
        return result

    return run_in_loop


def new_client(disc, **settings):
    return AsyncAuthDiameter(Config(**{"timeout": 5.0, **disc.settings, **settings}))


def ask(client, request=RIGHT):
    return client.diameter_www_authorize(request, "$fd")


def ask_many(client, count, request=RIGHT):
    return asyncio.gather(*(ask(client, request) for _ in range(count)))


# ------------------------------------------------------------------ the functions


def test_the_three_functions(fake_disc, run):
    async def main():
        async with new_client(fake_disc()) as client:
            decision = await client.diameter_www_authorize(FIRST, "$fd")
            assert decision.status == 401
            assert b"\r\nWWW-Authenticate: " + CHALLENGE_VALUE + b"\r\n" in decision.reply
            decision = await client.diameter_proxy_authorize(FIRST, "$fd")
            assert decision.status == 407
            assert b"\r\nProxy-Authenticate: " + CHALLENGE_VALUE + b"\r\n" in decision.reply
            request = SipRequest(RIGHT)
            assert (await client.diameter_is_user_in(request, "Credentials", "g")).return_code == -4
            assert await client.diameter_www_authorize(request, "$fd")
            assert (await client.diameter_is_user_in(request, "Credentials", "g")).return_code == 1

    run(main)


def test_what_needs_no_disc_opens_no_connection(fake_disc, run):
    disc = fake_disc()

    async def main():
        async with new_client(disc) as client:
            assert await ask(client, build_request("ACK"))
            assert (await ask(client, build_request(from_=None))).status == 400

    run(main)
    assert disc.connections == []


# ------------------------------------------------------------------ many questions on a connection


def test_questions_of_one_turn_go_out_in_one_write(fake_disc, run):
    disc = fake_disc()

    async def main():
        async with new_client(disc) as client:
            assert await ask(client)
            connection = client._transport.pool.connections[0]
            writes = []
            transport = connection.transport

            class Counting:
                def write(self, data):
                    writes.append(len(data))
                    transport.write(data)

                def __getattr__(self, name):
                    return getattr(transport, name)

            connection.transport = Counting()
            assert all(await ask_many(client, 50))
            connection.transport = transport
            assert len(writes) == 1

    run(main)
    assert len(disc.questions) == 51
    assert len(disc.connections) == 1


def test_answers_in_any_order(fake_disc, run):
    """Those of several reads, backwards, each with what only its own question can have."""
    kept = []

    def backwards(connection, questions):
        kept.extend(questions)
        if len(kept) == 40:
            connection.send(b"".join(judge(question) for question in reversed(kept)))

    async def main():
        async with new_client(fake_disc(backwards)) as client:
            requests = []
            for number in range(40):
                extra = ("Authorization: " + build_credentials(f"user{number}"),) if number % 2 else ()
                requests.append(build_request(extra=extra))
            decisions = await asyncio.gather(*(ask(client, request) for request in requests))
            for number, decision in enumerate(decisions):
                assert decision.username == (f"user{number}" if number % 2 else None)
                assert decision.status == (None if number % 2 else 401)

    run(main)


def test_answers_in_single_bytes_and_in_one_segment(fake_disc, run):
    def byte_by_byte(connection, questions):
        for byte in b"".join(judge(question) for question in questions):
            connection.send(bytes([byte]))

    async def main():
        disc = fake_disc(byte_by_byte)
        async with new_client(disc) as client:
            assert all(await ask_many(client, 5))
            disc.script = answer_all
            assert all(await ask_many(client, 100))

    run(main)


def test_an_answer_without_a_question_is_dropped(fake_disc, run):
    def crowd(connection, questions):
        for question in questions:
            stranger = build_answer(int.from_bytes(question.find(406).data, "big") ^ 0x80000000, 5003)
            connection.send(stranger + judge(question) * 3)

    async def main():
        async with new_client(fake_disc(crowd)) as client:
            assert all(await ask_many(client, 3))
            assert await ask(client)

    run(main)


def test_an_answer_may_come_on_another_connection(fake_disc, run):
    """The original DISC does so after a reconnect; ids are unique in the process."""
    connections = []

    def crossed(connection, questions):
        connections.append((connection, questions))
        if len(connections) == 2:
            (first, first_questions), (second, second_questions) = connections
            first.send(b"".join(judge(question) for question in second_questions))
            second.send(b"".join(judge(question) for question in first_questions))

    async def main():
        async with new_client(fake_disc(crossed), max_in_flight=1, max_connections=2) as client:
            assert all(await ask_many(client, 2))
            await until(lambda: all(c.under_way == 0 for c in client._transport.pool.connections))

    run(main)


def test_one_question_at_a_time_for_the_original_disc(fake_disc, run):
    """It wants each question whole in a segment of its own."""
    disc = fake_disc()

    async def main():
        async with new_client(disc, max_in_flight=1, max_connections=3) as client:
            assert all(await ask_many(client, 60))

    run(main)
    assert set(disc.reads) == {1}
    assert len(disc.connections) <= 3


def test_too_many_questions(fake_disc, run):
    async def main():
        async with new_client(fake_disc(), max_waiting=10) as client:
            causes = [decision.cause for decision in await ask_many(client, 30)]
            assert causes.count(Cause.OVERLOADED) == 20
            assert causes.count(Cause.AUTHORIZED) == 10

    run(main)


def test_counts(fake_disc, run):
    async def main():
        async with new_client(fake_disc()) as client:
            await ask_many(client, 20)
            await ask_many(client, 10, b"junk")
            done = asyncio.get_running_loop().create_future()
            client.ask(client.authorizer().www_authorize(FIRST, "$fd", 0.0), done.set_result)
            await done
            counts = {cause: count for cause, count in client.counts.items() if count}
            assert counts == {Cause.AUTHORIZED: 20, Cause.MALFORMED_REQUEST: 10, Cause.CHALLENGED: 1}
            stats = client.stats()
            assert (stats.asked, stats.answered, stats.connects) == (21, 21, 1)
            assert [(peer.state, peer.connections) for peer in stats.peers] == [("up", 1)]

    run(main)


def test_thousands_at_once(fake_disc, run):
    disc = fake_disc()

    async def main():
        async with new_client(disc, max_in_flight=500, timeout=PATIENCE) as client:
            assert all(await ask_many(client, 3000))
            assert not client._transport.pool.pending

    run(main)
    assert len(disc.questions) == 3000


# ------------------------------------------------------------------ a DISC in trouble


def test_disc_never_answers(fake_disc, run):
    disc = fake_disc()

    async def main():
        async with new_client(disc, timeout=0.3) as client:
            await until_let_through(client)
            disc.script = say_nothing
            started = time.monotonic()
            for decision in await ask_many(client, 20):
                assert (decision.status, decision.cause) == (503, Cause.DISC_TIMEOUT)
            assert time.monotonic() - started < 0.3 + SLACK

    run(main)


def test_what_waited_is_asked_when_others_expire(fake_disc, run):
    """One connection with room for one: what DISC leaves unanswered must not take the others along.

    As long as it says anything at all.
    """

    def not_the_first(connection, questions):
        if len(disc.questions) > 1:
            answer_all(connection, questions)
        else:
            connection.send(build_answer(1, 2001))

    disc = fake_disc(not_the_first)

    async def main():
        async with new_client(disc, timeout=1.5, max_in_flight=1, max_connections=1) as client:
            first = asyncio.create_task(ask(client))
            await until(lambda: disc.questions)
            await asyncio.sleep(1.2)  # so that it has much more time left than the first
            second = asyncio.create_task(ask(client))
            assert (await first).cause is Cause.DISC_TIMEOUT
            assert await second

    run(main)


def test_a_connection_on_which_nothing_comes_back_is_given_up(fake_disc, run):
    disc = fake_disc()

    async def main():
        async with new_client(disc, timeout=1.0) as client:
            assert await ask(client)
            disc.script = say_nothing
            assert (await ask(client)).cause is Cause.DISC_TIMEOUT
            disc.script = answer_all
            assert await ask(client)

    run(main)
    assert len(disc.connections) == 2


def test_a_question_whose_connection_breaks_is_asked_on_another(fake_disc, run):
    def only_the_second(connection, questions):
        (hang_up if connection.index == 0 else answer_all)(connection, questions)

    disc = fake_disc(only_the_second)

    async def main():
        async with new_client(disc) as client:
            assert all(await ask_many(client, 30))

    run(main)
    assert len(disc.connections) == 2


@pytest.mark.parametrize("part", [b"", b"\x01\x00\x00\x38\0\0\1\x09", b"\0" * 20, b"HTTP/1.1 400\r\n\r\n"])
def test_disc_hangs_up_or_sends_garbage(part, fake_disc, run):
    def misbehave(connection, questions):
        connection.send(part)
        connection.close()

    disc = fake_disc(misbehave)

    async def main():
        async with new_client(disc) as client:
            for decision in await ask_many(client, 3):
                assert (decision.status, decision.cause) == (503, Cause.DISC_LOST)
            assert len(disc.connections) == 2  # each is asked once more, not for ever
            disc.script = answer_all
            assert all(await ask_many(client, 3))

    run(main)


def test_disc_reads_nothing(fake_disc, run):
    """What it does not take is kept within bounds, and each call still has its deadline."""
    go_on = threading.Event()
    disc = fake_disc()
    big = build_request(extra=("Authorization: " + build_credentials(),), request_uri=f"sip:{'b' * 50_000}@h")

    async def main():
        async with new_client(disc, timeout=0.5, max_connections=1) as client:
            await until_let_through(client)
            disc.script = lambda connection, questions: go_on.wait(2 * PATIENCE)
            started = time.monotonic()
            decisions = await ask_many(client, 400, big)
            assert time.monotonic() - started < 0.5 + 2 * SLACK
            causes = {decision.cause for decision in decisions}
            assert causes <= {Cause.DISC_TIMEOUT, Cause.DISC_LOST, Cause.OVERLOADED}
            go_on.set()

    run(main)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64 + ".example", "a..b"])
def test_a_host_that_is_none(host, run):
    async def main():
        async with AsyncAuthDiameter(Config(diameter_client_host=host)) as client:
            for _ in range(2):
                assert (await ask(client)).cause is Cause.DISC_UNREACHABLE

    run(main)


def test_connecting_takes_no_longer_than_the_deadline(monkeypatch):
    """Looking up a name has no limit of its own."""
    go_on = threading.Event()

    def look_up(*args, **kwargs):
        go_on.wait(PATIENCE)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    async def main():
        config = Config(diameter_client_host="slow.example", timeout=0.3, connect_timeout=PATIENCE)
        async with AsyncAuthDiameter(config) as client:
            decision, seconds = await took(client)
            go_on.set()
            assert decision.cause is Cause.DISC_UNREACHABLE
            assert seconds < 0.3 + SLACK

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    asyncio.run(main())


async def until_let_through(client):
    """Asks until DISC has been found, or found again, which takes a second."""
    while not (decision := await ask(client)):
        assert decision.cause in (Cause.DISC_UNREACHABLE, Cause.DISC_TIMEOUT)
        await asyncio.sleep(0.01)


def test_disc_comes_up_later_and_restarts(fake_disc, run):
    disc = fake_disc()
    disc.stop()

    async def main():
        async with new_client(disc) as client:
            assert (await ask(client)).cause is Cause.DISC_UNREACHABLE
            disc.start()
            await until_let_through(client)
            assert all(await ask_many(client, 10))
            await asyncio.to_thread(disc.stop)
            await asyncio.to_thread(disc.start)
            await until_let_through(client)
            assert all(await ask_many(client, 10))

    run(main)


def test_the_other_disc_takes_over(fake_disc, run):
    first, second = fake_disc(), fake_disc()
    peers = [("127.0.0.1", first.port), ("127.0.0.1", second.port)]

    async def main():
        async with AsyncAuthDiameter(Config(peers=peers, timeout=5.0)) as client:
            assert await ask(client)
            await asyncio.to_thread(first.stop)
            assert all(await ask_many(client, 10))
            assert len(second.questions) >= 10

    run(main)


def test_anything_may_happen(fake_disc, run):
    """Each call is decided in time, and at the end all is as it was."""

    def moody(connection, questions):
        for question in questions:
            mood = random.random()
            if mood < 0.01:
                connection.close()
                return
            if mood < 0.02:
                connection.send(b"\0" * 20)
            elif mood > 0.05:
                connection.send(judge(question))

    disc = fake_disc(moody)

    async def main():
        async with new_client(disc, timeout=1.0, max_in_flight=7, max_connections=4) as client:

            async def caller():
                for _ in range(20):
                    _, seconds = await took(client)
                    assert seconds < 1.0 + SLACK

            await asyncio.gather(*(caller() for _ in range(30)))
            pool = client._transport.pool
            assert not pool.pending
            assert not pool.waiting
            disc.script = answer_all
            await until_let_through(client)
            assert all(await ask_many(client, 50))
            assert all(connection.under_way == 0 for connection in pool.connections)
            async with asyncio.timeout(PATIENCE):
                while any(peer.opening for peer in pool.peers):
                    await asyncio.sleep(0.01)

    run(main)


def test_each_disc_that_cannot_be_reached_is_told_with_the_reason(fake_disc, free_port, run):
    """For a server's start; the connections that show it are closed again."""
    disc = fake_disc()
    names = f"127.0.0.1:{disc.port},127.0.0.1:{free_port},there-is-none.invalid:3000"

    async def main():
        async with AsyncAuthDiameter(Config(diameter_client_host=names)) as client:
            (down, why), (unknown, reason) = await client.unreachable()
            assert client.stats().connects == 0
        assert (down, why) == (f"127.0.0.1:{free_port}", "connection refused")
        assert unknown == "there-is-none.invalid:3000"
        assert reason.startswith("its name does not resolve (")

    run(main)


# ------------------------------------------------------------------ fail-over, breaker, overload


def two(first, second, **settings):
    peers = [("127.0.0.1", first.port), ("127.0.0.1", second.port)]
    return AsyncAuthDiameter(Config(peers=peers, **{"timeout": 5.0, **settings}))


async def took(client, request=RIGHT):
    """A decision, and how long it took."""
    started = time.monotonic()
    decision = await ask(client, request)
    return decision, time.monotonic() - started


async def at_once(client, request=RIGHT):
    """A decision, and whether it was there before the loop had its next turn."""
    turns = []
    asyncio.get_running_loop().call_soon(turns.append, None)
    decision = await ask(client, request)
    return decision, not turns


async def until_each_was_asked(client, *discs):
    """Their connections open in any order; as long as one has none, the others are asked instead."""
    while not all(disc.questions for disc in discs):
        assert await ask(client)


def test_a_disc_that_hangs_costs_one_deadline_and_then_next_to_nothing(fake_disc, run, caplog):
    disc = fake_disc()

    async def main():
        async with new_client(disc, timeout=1.0) as client:
            assert await ask(client)
            disc.script = say_nothing
            assert {decision.cause for decision in await ask_many(client, 50)} == {Cause.DISC_TIMEOUT}
            began = time.monotonic()
            later = [await at_once(client) for _ in range(200)]
            tries = 1 + time.monotonic() - began
            assert {decision.cause for decision, _ in later} == {Cause.DISC_TIMEOUT}
            assert [immediate for _, immediate in later].count(False) <= tries
            disc.script = answer_all
            back = time.monotonic()
            while not await ask(client):
                assert time.monotonic() - back < 2.0 + SLACK
                await asyncio.sleep(0.005)
            assert all(await ask_many(client, 50))

    run(main)
    assert [record.getMessage().partition(" ")[2] for record in caplog.records] == [
        f"127.0.0.1:{disc.port} does not answer; asking it once a second",
        f"127.0.0.1:{disc.port} is up",
    ]


def test_a_disc_that_goes_on_is_heard_on_its_connection(fake_disc, run):
    """As after SIGSTOP: what it says at last, to the question that probes it, ends its silence at once."""
    go_on = threading.Event()

    def frozen(connection, questions):
        go_on.wait(PATIENCE)
        answer_all(connection, questions)

    disc = fake_disc()

    async def main():
        async with new_client(disc, timeout=1.5) as client:
            assert await ask(client)
            disc.script = frozen
            await ask_many(client, 5)
            probe = None
            while probe is None:
                decision = asyncio.create_task(ask(client))
                await asyncio.sleep(0.02)
                probe = None if decision.done() else decision
            go_on.set()
            assert await probe
            assert all(await ask_many(client, 20))

    run(main)


def test_nothing_is_lost_when_one_of_two_disc_is_killed(fake_disc, run):
    """Those in flight are asked again, once, on the other; the next one is answered at once."""

    def keep_some(connection, questions):
        answer_all(connection, questions[1::2])  # the others are in flight when it dies

    first, second = fake_disc(), fake_disc()

    async def main():
        async with two(first, second, timeout=PATIENCE) as client:
            await until_each_was_asked(client, first, second)
            first.script = keep_some
            half = len(first.questions) + 100
            tasks = [asyncio.create_task(ask(client)) for _ in range(200)]
            await until(lambda: len(first.questions) == half)
            await asyncio.to_thread(first.stop)
            decision, seconds = await took(client)
            assert decision
            assert seconds < 0.25 + SLACK
            assert all(await asyncio.gather(*tasks))
            stats = client.stats()
            assert (stats.answered, stats.lost) == (stats.asked, 0)
            assert 0 < stats.asked_again == len(first.questions) + len(second.questions) - stats.asked

    run(main)


def test_it_comes_back_while_the_other_works(fake_disc, run):
    first, second = fake_disc(), fake_disc()

    async def main():
        async with two(first, second) as client:
            assert all(await ask_many(client, 10))
            await asyncio.to_thread(first.stop)
            assert all(await ask_many(client, 10))
            await asyncio.to_thread(first.start)
            before = len(first.questions)
            back = time.monotonic()
            while len(first.questions) < before + 10:
                assert time.monotonic() - back < 2.0 + SLACK
                assert all(await ask_many(client, 4))
                await asyncio.sleep(0.005)

    run(main)


def test_one_that_hangs_costs_nothing_while_there_is_another(fake_disc, run):
    hanging, fine = fake_disc(), fake_disc()

    async def main():
        async with two(hanging, fine, timeout=2.0) as client:
            await until_each_was_asked(client, hanging, fine)
            hanging.script = say_nothing
            tries = len(hanging.questions) + 5
            causes = [decision.cause for decision in await ask_many(client, 10)]
            assert causes.count(Cause.DISC_TIMEOUT) == causes.count(Cause.AUTHORIZED) == 5
            await until(lambda: len(hanging.questions) == tries)
            began = time.monotonic()
            while len(hanging.questions) == tries or time.monotonic() < began + 1.6:
                assert all(await ask_many(client, 3))
                await asyncio.sleep(0.02)
            assert len(hanging.questions) - tries <= 1 + time.monotonic() - began

    run(main)


def test_a_black_hole_holds_up_nobody_for_long(run, monkeypatch):
    """A connect that is never answered: the first wait for it, the others do not."""

    async def never(loop, address):
        await asyncio.sleep(60)

    monkeypatch.setattr(aio, "_connected", never)

    async def main():
        config = Config(diameter_client_host="192.0.2.1", connect_timeout=1.0, timeout=PATIENCE)
        async with AsyncAuthDiameter(config) as client:
            decision, seconds = await took(client)
            assert decision.cause is Cause.DISC_UNREACHABLE
            assert seconds < 1.0 + SLACK
            await asyncio.sleep(0.1)
            probe = asyncio.create_task(ask(client))
            await asyncio.sleep(0)
            others = [await at_once(client) for _ in range(20)]
            assert {decision.cause for decision, _ in others} == {Cause.DISC_UNREACHABLE}
            assert all(immediate for _, immediate in others)
            assert (await probe).cause is Cause.DISC_UNREACHABLE

    run(main)


def test_all_addresses_of_a_name_are_tried(fake_disc, run, monkeypatch):
    """The first is a black hole: the second has its share of the time, and is the first one next time."""
    disc = fake_disc()
    connected = aio._connected
    tried = []

    async def some(loop, address):
        tried.append(address[1][0])
        if address[1][0] == "192.0.2.1":
            await asyncio.sleep(60)
        return await connected(loop, address)

    def look_up(host, port, type=0):
        hosts = ["192.0.2.1", "127.0.0.1"]
        return [(socket.AF_INET, type, 6, "", (host, 0)) for host in hosts]

    monkeypatch.setattr(aio, "_connected", some)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    async def main():
        config = Config(
            diameter_client_host="disc.example",
            diameter_client_port=disc.port,
            connect_timeout=2.0,
            timeout=PATIENCE,
        )
        async with AsyncAuthDiameter(config) as client:
            assert await ask(client)
            assert tried == ["192.0.2.1", "127.0.0.1"]
            disc.connections[0].close()
            await until(lambda: not client._transport.pool.connections)
            assert await ask(client)
            assert tried[2:] == ["127.0.0.1"]

    run(main)


def test_what_disc_does_not_read_is_bounded(fake_disc, run):
    """1 MiB for a connection, beyond what the kernel takes; then 503 at once."""
    go_on = threading.Event()
    disc = fake_disc()
    big = build_request(extra=("Authorization: " + build_credentials(),), request_uri=f"sip:{'b' * 50_000}@h")

    async def main():
        async with new_client(disc, timeout=PATIENCE) as client:
            assert await ask(client)
            disc.script = lambda connection, questions: go_on.wait(2 * PATIENCE)
            tasks = []
            for _ in range(400):
                tasks.append(asyncio.create_task(ask(client, big)))
                await asyncio.sleep(0)
                for connection in client._transport.pool.connections:
                    unsent = len(connection.outgoing) + connection.transport.get_write_buffer_size()
                    assert unsent <= 1 << 20
            decision, immediate = await at_once(client, big)
            assert decision.cause is Cause.OVERLOADED
            assert b"\r\nRetry-After: " in decision.reply
            assert immediate
            assert len(client._transport.pool.connections) == 1
            assert {task.result().cause for task in tasks if task.done()} == {Cause.OVERLOADED}
            go_on.set()
        causes = [decision.cause for decision in await asyncio.gather(*tasks)]
        assert set(causes) == {Cause.OVERLOADED, Cause.DISC_LOST}

    run(main)


def test_five_times_too_much(fake_disc, run):
    """DISC answers 1000 a second at most, and is asked five times as often as it answers.

    It has work at any time, and yet no queue of more than it answers in a second.
    """

    def slow(connection, questions):
        for question in questions:
            time.sleep(0.001)
            answered.append(question)
            connection.send(judge(question))

    answered = []
    disc = fake_disc(slow)

    async def main():
        async with new_client(disc, timeout=PATIENCE) as client:
            assert await ask(client)
            tasks, queues = [], []
            while len(answered) < 1000:
                more = 150 + 5 * len(answered) - len(tasks)
                tasks += [asyncio.create_task(ask(client)) for _ in range(more)]
                await asyncio.sleep(0)  # and all have asked
                queues.append(client.stats().under_way)
                await asyncio.sleep(0.001)
            causes = [decision.cause for decision in await asyncio.gather(*tasks)]
            assert set(causes) == {Cause.AUTHORIZED, Cause.OVERLOADED}
            assert causes.count(Cause.OVERLOADED) > causes.count(Cause.AUTHORIZED)
            assert min(queues) >= 100
            assert statistics.median(queues) < 1000

    run(main)


# ------------------------------------------------------------------ tasks and callbacks


def test_cancelled_tasks_harm_nobody(fake_disc, run):
    release = threading.Event()

    def slow(connection, questions):
        release.wait(PATIENCE)
        answer_all(connection, questions)

    disc = fake_disc(slow)

    async def main():
        async with new_client(disc) as client:
            early = [asyncio.create_task(ask(client)) for _ in range(5)]
            await asyncio.sleep(0)
            early[0].cancel()  # while it waits for a connection
            await until(lambda: disc.questions)
            for task in early[1:3]:
                task.cancel()  # while DISC thinks about it
            await asyncio.sleep(0)
            release.set()
            outcomes = await asyncio.gather(*early, return_exceptions=True)
            assert [isinstance(outcome, asyncio.CancelledError) for outcome in outcomes[:3]] == [True] * 3
            assert all(outcomes[3:])
            await until(lambda: not client._transport.pool.pending)
            assert client._transport.pool.connections[0].under_way == 0
            assert await ask(client)

    run(main)


def test_a_timeout_of_the_caller(fake_disc, run):
    async def main():
        async with new_client(fake_disc(say_nothing)) as client:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ask(client), 0.05)

    run(main)


def test_a_callback_that_fails_keeps_no_other_from_its_decision(fake_disc, run):
    async def main():
        problems = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        async with new_client(fake_disc()) as client:
            decisions = []

            def fail(decision):
                raise ValueError("of the caller")

            for callback in (decisions.append, fail, decisions.append):
                question = client.authorizer().www_authorize(RIGHT, "$fd", 0.0)
                client.ask(question, callback)
            await until(lambda: len(decisions) == 2)
            assert all(decisions)
            assert [type(context["exception"]) for context in problems] == [ValueError]

    run(main)


def test_a_callback_may_ask_again(fake_disc, run):
    async def main():
        async with new_client(fake_disc(), max_in_flight=2, max_connections=1) as client:
            left = [50]
            done = asyncio.Event()

            def again(decision):
                assert decision
                left[0] -= 1
                if left[0] > 0:
                    client.ask(client.authorizer().www_authorize(RIGHT, "$fd", 0.0), again)
                elif not client._transport.pool.pending:
                    done.set()

            for _ in range(4):
                client.ask(client.authorizer().www_authorize(RIGHT, "$fd", 0.0), again)
            await done.wait()

    run(main)


def test_a_forked_child_has_connections_of_its_own(fake_disc):
    """Its parent's event loop is not touched."""
    disc = fake_disc()

    async def main():
        client = new_client(disc)
        assert await ask(client)
        child = os.fork()
        if not child:
            os._exit(0 if in_child(client) else 1)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert all(await ask_many(client, 20))
        assert client.stats().connects == 1
        await client.aclose()

    def in_child(client):
        async def work():
            good = all(await ask_many(client, 20))
            await client.aclose()
            return good and client.stats().connects == 1

        return asyncio.run(work())

    asyncio.run(main())
    assert len(disc.connections) == 2
    ids = [question.hop_by_hop for question in disc.questions]
    assert len(set(ids)) == len(ids) == 41


def test_a_loop_that_was_held_up_takes_no_stale_answers(fake_disc, run):
    """As after SIGSTOP: the answers are there, and the time limit has passed."""

    async def main():
        async with new_client(fake_disc(), timeout=1.0) as client:
            assert await ask(client)
            tasks = [asyncio.create_task(ask(client)) for _ in range(5)]
            await asyncio.sleep(0)
            client._transport._send()
            time.sleep(1.2)
            assert {decision.cause for decision in await asyncio.gather(*tasks)} == {Cause.DISC_TIMEOUT}
            await asyncio.sleep(0.05)
            assert await ask(client)

    run(main)


# ------------------------------------------------------------------ its end


def test_a_closed_client_is_the_callers_mistake(fake_disc, run):
    async def main():
        client = new_client(fake_disc())
        assert await ask(client)
        await client.aclose()
        await client.aclose()
        with pytest.raises(DiscError, match="closed"):
            await ask(client)

    run(main)


@pytest.mark.parametrize("when", ["before connecting", "connecting", "asked"])
def test_close_ends_the_calls_that_wait(when, fake_disc, run):
    disc = fake_disc(say_nothing)

    async def main():
        client = new_client(disc)
        tasks = [asyncio.create_task(ask(client)) for _ in range(5)]
        await asyncio.sleep(0)
        if when == "connecting":
            await asyncio.sleep(0)
        elif when == "asked":
            await until(lambda: len(disc.questions) == 5)
        await client.aclose()
        for decision in await asyncio.gather(*tasks):
            assert decision.status == 503
            assert decision.cause in (Cause.DISC_LOST, Cause.DISC_UNREACHABLE)
        assert client._transport.pool.connections == []

    run(main)


def test_no_socket_is_left_open(fake_disc, run):
    disc = fake_disc()

    async def main(script):
        disc.script = script
        async with new_client(disc, timeout=0.1, max_in_flight=1) as client:
            await ask_many(client, 8)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for script in (answer_all, say_nothing, hang_up):
            run(partial(main, script))
        gc.collect()
    assert [warning for warning in caught if warning.category is ResourceWarning] == []


def test_the_socket_does_not_wait_for_more_to_send(fake_disc, run):
    async def main():
        async with new_client(fake_disc()) as client:
            assert await ask(client)
            sock = client._transport.pool.connections[0].transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    run(main)


def test_an_answer_that_cannot_be_judged_fails_alone(fake_disc):
    """Of those that one read brings, the others get their decisions; it is told, and lets nobody in."""
    problems = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        async with new_client(fake_disc()) as client:
            conclude = client._authorizer.conclude
            outcomes = iter([1, 0])

            def once(question, answer, now):
                if next(outcomes, 1) == 0:
                    raise ZeroDivisionError
                return conclude(question, answer, now)

            client._authorizer.conclude = once
            async with asyncio.timeout(PATIENCE):
                return [decision.cause for decision in await ask_many(client, 5)]

    causes = asyncio.run(main())
    assert sorted(causes, key=lambda cause: cause.name) == 4 * [Cause.AUTHORIZED] + [Cause.DISC_UNUSABLE]
    assert [type(context["exception"]) for context in problems] == [ZeroDivisionError]
