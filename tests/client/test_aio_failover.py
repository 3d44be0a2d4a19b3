"""The asyncio driver and several DISC: fail-over, breaker, overload.

Where a test measures time, it is the contract's: no call takes longer than its deadline.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import threading
import time

from kit.aio_client import ask, ask_many, new_client, took
from kit.disc import answer_all, judge, say_nothing
from kit.machine import PATIENCE, SLACK, until
from kit.sip import RIGHT, build_credentials, build_request

from auth_diameter import AsyncAuthDiameter, Cause, Config
from auth_diameter.diameter import aio


def two(first, second, **settings):
    peers = [("127.0.0.1", first.port), ("127.0.0.1", second.port)]
    return AsyncAuthDiameter(Config(peers=peers, **{"timeout": 5.0, **settings}))


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


def test_a_request_that_waits_for_a_disc_that_rests_is_asked_once_it_has_rested(fake_disc, run):
    """Though nobody else asks meanwhile."""
    disc = fake_disc()

    async def main():
        async with new_client(disc, timeout=10.0) as client:
            await asyncio.sleep(0.1)
            transport = client._transport
            for connection in transport.pool.connections:
                connection.transport.abort()
            while transport.pool.connections:
                await asyncio.sleep(0)
            (peer,) = transport.pool.peers
            peer.rest_until = asyncio.get_running_loop().time() + 0.3
            decision, seconds = await took(client)
            assert decision.cause is Cause.AUTHORIZED
            assert seconds < 5.0

    run(main)


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
                    unsent = connection.unsent + connection.transport.get_write_buffer_size()
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
