"""The connections to a database server: which are closed, what is tried again, and when."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from auth_diameter.store.connections import MOST, Connections
from auth_diameter.store.store import StoreError
from auth_diameter.store.url import database_name

ALWAYS = 1 << 30


class LostError(OSError):
    """The server has closed the connection."""


class Server:
    """A dialect, and its server, which fails as often as it is told to.

    Attributes:
        made: all connections that there were.
        fails: how many connections more it refuses.
    """

    errors = (OSError, TimeoutError)

    def __init__(self):
        self.made = []
        self.fails = 0
        self.tried = 0

    async def connect(self, name, timeout):
        self.tried += 1
        if self.fails:
            self.fails -= 1
            raise OSError("refused")
        self.made.append(SimpleNamespace(open=True))
        return self.made[-1]

    def is_open(self, connection):
        return connection.open

    def discard(self, connection):
        connection.open = False

    def is_lost(self, error):
        return isinstance(error, LostError)

    def describe(self, error):
        return str(error)

    @property
    def open(self):
        return sum(connection.open for connection in self.made)


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def clock(monkeypatch):
    """The time, which passes when a test says so."""
    found = SimpleNamespace(now=1000.0)
    fake = SimpleNamespace(monotonic=lambda: found.now)
    monkeypatch.setattr("auth_diameter.store.connections.time", fake)
    return found


def with_connections(server, work, timeout=5.0):
    async def run():
        return await work(Connections(server, database_name("redis://h/0"), timeout))

    return asyncio.run(run())


async def nothing(connection):
    return connection


async def fails(connections, work=nothing):
    with pytest.raises(StoreError):
        await connections.run(work)


# --- a server that fails ------------------------------------------------------------------------------


def test_a_server_that_has_failed_is_left_alone_for_a_moment(server, clock):
    """Then it is tried again. Meanwhile statements fail at once, with the same words."""
    server.fails = 1

    async def work(connections):
        for _ in range(3):
            with pytest.raises(StoreError, match="redis://h/0: refused"):
                await connections.run(nothing)
        assert server.tried == 1
        clock.now += 0.1
        assert (await connections.run(nothing)).open

    with_connections(server, work)


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_the_pause_is_doubled_with_each_failure_up_to_two_seconds(server, clock, monkeypatch, share):
    """It is drawn from half to all of it; a success makes it short again."""
    drawn = SimpleNamespace(uniform=lambda low, high: {0.5: low, 1.0: high}[share])
    monkeypatch.setattr("auth_diameter.store.connections.random", drawn)

    async def fails_for(connections, seconds):
        """Fails, and is tried again after these seconds and no sooner."""
        tried = server.tried
        await fails(connections)
        assert server.tried == tried + 1
        clock.now += seconds - 0.001
        await fails(connections)
        assert server.tried == tried + 1
        clock.now += 0.002

    async def work(connections):
        server.fails = ALWAYS
        for pause in (0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0):
            await fails_for(connections, pause * share)
        server.fails = 0
        server.discard(await connections.run(nothing))
        server.fails = 1
        await fails_for(connections, 0.1 * share)
        await connections.run(nothing)

    with_connections(server, work)


def test_one_statement_tries_a_server_that_has_failed_and_others_do_not_wait(server, clock):
    """A server that hangs costs one deadline, and not one for each statement."""
    server.fails = 1

    async def work(connections):
        await fails(connections)
        clock.now += 0.1
        go = asyncio.Event()

        async def tries(connection):
            await go.wait()

        trying = asyncio.ensure_future(connections.run(tries))
        while server.tried < 2:
            await asyncio.sleep(0)
        for _ in range(3):
            async with asyncio.timeout(5):
                await fails(connections)
        assert server.tried == 2
        go.set()
        await trying
        await connections.run(nothing)

    with_connections(server, work)


def test_a_try_that_fails_is_not_the_last(server, clock):
    server.fails = 2

    async def work(connections):
        for _ in range(2):
            await fails(connections)
            clock.now += 2.0
        await connections.run(nothing)

    with_connections(server, work)


# --- connections that are no good any more ------------------------------------------------------------


def test_a_connection_whose_statement_fails_is_closed(server, clock):
    """Nobody knows what the server would say on it next."""

    async def refused(connection):
        raise OSError("syntax error")

    async def work(connections):
        await fails(connections, refused)
        assert (len(server.made), server.open) == (1, 0)

    with_connections(server, work)


def test_a_connection_whose_statement_takes_too_long_or_is_given_up_is_closed(server):
    async def hangs(connection):
        await asyncio.sleep(60)

    async def work(connections):
        await fails(connections, hangs)
        assert (len(server.made), server.open) == (1, 0)
        connections._retry_at = 0.0
        task = asyncio.ensure_future(connections.run(hangs))
        while len(server.made) < 2:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert server.open == 0

    with_connections(server, work, timeout=0.05)


def test_what_was_lost_while_it_was_idle_is_done_once_more(server, clock):
    """All idle connections are lost then, and closed; of a new one the loss is told."""

    async def work(connections):
        async def at_once(connection):
            while len(server.made) < 2:
                await asyncio.sleep(0)
            await asyncio.sleep(0)

        await asyncio.gather(connections.run(at_once), connections.run(at_once))
        assert server.open == 2
        lost = list(server.made)
        asked = []

        async def look(connection):
            asked.append(connection)
            if connection in lost:
                raise LostError("gone")
            return connection

        assert await connections.run(look) is server.made[2]
        assert [each.open for each in server.made] == [False, False, True]
        assert len(asked) == 2, "the other one that was idle is not asked"
        lost[:] = server.made
        await connections.run(look)
        assert len(server.made) == 4

        async def loses(connection):
            raise LostError("gone")

        with pytest.raises(StoreError, match="gone"):
            await connections.run(loses)
        assert len(server.made) == 5

    with_connections(server, work)


def test_what_is_in_use_when_all_are_closed_is_closed_when_it_is_free(server):
    async def work(connections):
        go = asyncio.Event()

        async def waits(connection):
            await go.wait()

        await connections.run(nothing)
        task = asyncio.ensure_future(connections.run(waits))
        await asyncio.sleep(0)
        connections.close()
        assert server.open == 1
        go.set()
        await task
        assert server.open == 0

    with_connections(server, work)


def test_there_are_no_more_than_a_few(server):
    async def work(connections):
        async def some(connection):
            await asyncio.sleep(0)

        await asyncio.gather(*(connections.run(some) for _ in range(5 * MOST)))
        assert len(server.made) == server.open == MOST

    with_connections(server, work)
