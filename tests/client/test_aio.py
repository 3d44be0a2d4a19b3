"""The asyncio driver against a DISC on loopback that does what the test says.

Where a test measures time, it is the contract's: no call takes longer than its deadline.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import threading
import time
import warnings
from functools import partial

import pytest
from kit.aio_client import ask, ask_many, new_client
from kit.disc import CHALLENGE_VALUE, answer_all, hang_up, judge, say_nothing
from kit.machine import PATIENCE, until
from kit.sip import FIRST, RIGHT, build_credentials, build_request
from kit.wire import build_answer

from auth_diameter import Cause, DiscError, SipRequest

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
            client.ask_about(client.authorizer().www_authorize(FIRST, "$fd", 0.0), done.set_result)
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
            assert not client._transport.pool.in_flight

    run(main)
    assert len(disc.questions) == 3000


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
            await until(lambda: not client._transport.pool.in_flight)
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
                client.ask_about(question, callback)
            await until(lambda: len(decisions) == 2)
            assert all(decisions)
            assert [type(context["exception"]) for context in problems] == [ValueError]

    run(main)


def test_a_callback_that_ends_the_loop_keeps_no_other_from_its_decision(fake_disc):
    """The exception is the loop's; what another task waits for is there before."""
    decisions = []

    async def main():
        async with new_client(fake_disc()) as client:
            assert await ask(client)

            def leave(decision):
                decisions.append(decision)
                raise SystemExit(3)

            for callback in (decisions.append, leave, decisions.append):
                client.ask_about(client.authorizer().www_authorize(RIGHT, "$fd", 0.0), callback)
            await asyncio.Event().wait()

    with pytest.raises(SystemExit, match="3"):
        asyncio.run(main())
    assert len(decisions) == 3
    assert all(decisions)


def test_a_decision_that_was_not_awaited_is_neither_true_nor_false(fake_disc, run):
    """`if auth.diameter_www_authorize(…):` without `await` must not let everybody in."""

    async def main():
        async with new_client(fake_disc()) as client:
            for pending in (
                client.diameter_www_authorize(RIGHT, "$fd"),
                client.diameter_www_authorize_many([RIGHT], "$fd"),
            ):
                with pytest.raises(TypeError, match="await it"):
                    bool(pending)
                assert await pending

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
                    client.ask_about(client.authorizer().www_authorize(RIGHT, "$fd", 0.0), again)
                elif not client._transport.pool.in_flight:
                    done.set()

            for _ in range(4):
                client.ask_about(client.authorizer().www_authorize(RIGHT, "$fd", 0.0), again)
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
            client._transport.send_written()
            time.sleep(1.2)
            assert {decision.cause for decision in await asyncio.gather(*tasks)} == {Cause.DISC_TIMEOUT}
            await asyncio.sleep(0.05)
            assert await ask(client)

    run(main)


def test_who_has_connected_has_a_connection(fake_disc, run):
    """So that `serve` has one before it says that it is ready."""

    async def main():
        async with new_client(fake_disc()) as client:
            await client.connect()
            assert len(client._transport.pool.connections) == 1

    run(main)


@pytest.mark.parametrize("turns", range(5))
def test_a_loop_that_was_held_up_does_not_blame_disc(fake_disc, run, turns):
    """As after SIGSTOP: the time limit of an attempt to connect has passed, and nobody looked meanwhile."""
    disc = fake_disc()

    async def main():
        async with new_client(disc, connect_timeout=0.1) as client:
            connecting = asyncio.create_task(client.connect())
            for _ in range(1 + turns):
                await asyncio.sleep(0)
            time.sleep(0.3)
            assert await ask(client)
            await connecting

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
                return [decision.cause for decision in await ask_many(client, 5, FIRST)]

    causes = asyncio.run(main())
    assert sorted(causes, key=lambda cause: cause.name) == 4 * [Cause.CHALLENGED] + [Cause.DISC_UNUSABLE]
    assert [type(context["exception"]) for context in problems] == [ZeroDivisionError]
