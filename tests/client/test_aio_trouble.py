"""The asyncio driver and a DISC in trouble: down, silent, slow or wrong.

Where a test measures time, it is the contract's: no call takes longer than its deadline.
"""

from __future__ import annotations

import asyncio
import random
import socket
import threading
import time

import pytest
from kit.aio_client import ask, ask_many, new_client, took
from kit.disc import answer_all, hang_up, judge, say_nothing
from kit.machine import PATIENCE, SLACK, until
from kit.sip import build_credentials, build_request
from kit.wire import build_answer

from auth_diameter import AsyncAuthDiameter, Cause, Config


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
            assert not pool.in_flight
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
