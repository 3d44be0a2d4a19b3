"""What strangers can take of DISC is bounded: connections, in all and of a source, and descriptors."""

import asyncio
import contextlib
import os
import resource
import socket
import time
from ipaddress import ip_network

import pytest
from disc.streams import (
    close_all,
    end_closed,
    end_reset,
    open_connections,
    question,
    read_answers,
    until,
    writer_gone,
)
from kit.machine import PATIENCE, needs_ipv6

import auth_diameter as ad
from auth_diameter._core import network_of
from auth_diameter.disc.admission import Admission, ConnectionEvent
from auth_diameter.disc.config import ListenerConfig


async def is_answered(address, source="127.0.0.1", within=PATIENCE):
    """Whether a new connection from `source` gets an answer, or else is closed."""
    reader, writer = await asyncio.open_connection(*address, local_addr=(source, 0))
    try:
        async with asyncio.timeout(within):
            writer.write(question(1))
            return bool(await reader.read(65536))
    except ConnectionError:
        return False
    finally:
        writer.close()
        await writer_gone(writer)


@pytest.mark.usefixtures("one_line_of_each_kind")
def test_connections_of_a_source_are_limited_and_another_source_gets_in(run, caplog):
    async def scenario(listener):
        opened = await open_connections(listener, 4)
        at_limit = [await is_answered(listener.address) for _ in range(3)]
        other = await is_answered(listener.address, "127.0.0.2")
        opened[0][1].write(question(1))  # those that are open go on
        await read_answers(opened[0][0], 1)
        opened[3][1].close()
        await until(lambda: listener.open == 3)
        place = await is_answered(listener.address)
        await close_all(opened)
        await until(lambda: not listener.open)
        return at_limit, other, place, listener.counts

    at_limit, other, place, counts = run(scenario, max_per_source=4)
    assert (at_limit, other, place) == ([False] * 3, True, True)
    assert counts == {ConnectionEvent.ACCEPTED: 6, ConnectionEvent.TOO_MANY_FROM_SOURCE: 3}
    (record,) = caplog.records  # three refusals in a second are one line
    assert (
        record.getMessage()
        == "refused a connection from 127.0.0.1: the limit of 4 from one source is reached"
    )


def test_connections_in_all_are_limited_and_no_source_may_have_them_all(run, caplog):
    async def scenario(listener):
        opened = await open_connections(listener, 8)  # three quarters of 8 are taken
        opened += await open_connections(listener, 2, "127.0.0.2")
        full = await is_answered(listener.address, "127.0.0.3")
        opened[0][1].write(question(1))
        await read_answers(opened[0][0], 1)
        now_open = listener.open
        await close_all(opened)
        return full, now_open, listener.counts

    full, now_open, counts = run(scenario, max_connections=8)
    assert (full, now_open) == (False, 8)
    assert counts == {
        ConnectionEvent.ACCEPTED: 8,
        ConnectionEvent.TOO_MANY_FROM_SOURCE: 2,
        ConnectionEvent.TOO_MANY: 1,
    }
    assert "127.0.0.3: the limit of 8 in all is reached" in caplog.text


def test_the_limit_leaves_descriptors_for_other_things_than_connections(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 100))
    assert Admission(ListenerConfig()).most == 100 - 32
    assert Admission(ListenerConfig(max_connections=10)).most == 10
    alone = Admission(ListenerConfig(max_connections=1))
    assert alone.most == alone.most_of_source == 1, "three quarters of one are none"
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert Admission(ListenerConfig(max_connections=10**6)).most == 10**6


@pytest.mark.parametrize("how", ["closed", "reset at once"])
def test_a_source_without_connections_is_forgotten(run, how):
    """Strangers have many addresses: each that once came would else cost memory for good."""

    async def scenario(listener):
        for number in range(1, 21):
            for _ in range(2):
                _, writer = await asyncio.open_connection(
                    *listener.address, local_addr=(f"127.0.0.{number}", 0)
                )
                await (end_closed if how == "closed" else end_reset)(None, writer)
                await writer_gone(writer)
        await until(lambda: listener.counts[ConnectionEvent.ACCEPTED] == 40 and not listener.open)
        return dict(listener._admission.sources)

    assert run(scenario) == {}


@needs_ipv6
def test_the_addresses_of_an_ipv6_host_are_one_source(run):
    """A host has a whole /64, and may take another address of it for each connection."""
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1") != network_of("2001:db8:0:1::1")
    assert network_of("fe80::1%lo") == network_of("fe80::2%lo")

    async def scenario(listener):
        opened = await open_connections(listener, 1, "::1")
        second = await is_answered(listener.address, "::1")
        await close_all(opened)
        return second

    assert not run(scenario, "::1", max_per_source=1)


def test_only_the_networks_that_are_allowed_get_in(run, caplog):
    networks = (ip_network("127.0.0.0/31"), ip_network("127.0.1.0/24"), ip_network("::1"))

    async def scenario(listener):
        sources = ("127.0.0.1", "127.0.0.2", "127.0.1.77", "127.0.2.1")
        return [await is_answered(listener.address, source) for source in sources], listener.counts

    answered, counts = run(scenario, allow=networks)
    assert answered == [True, False, True, False]
    assert counts == {ConnectionEvent.ACCEPTED: 2, ConnectionEvent.NOT_ALLOWED: 2}
    (record,) = caplog.records
    assert "127.0.0.2: the address is in no network" in record.getMessage()


def test_other_networks_while_connections_are_open(run):
    """SIGHUP: who is allowed no more gets the answers to what he asked, and is closed; the others go on."""

    async def scenario(listener):
        reader, writer = await asyncio.open_connection(*listener.address)
        other, other_writer = await asyncio.open_connection(*listener.address, local_addr=("127.0.0.2", 0))
        for each, number in ((writer, 1), (other_writer, 2)):
            each.write(question(number))
        await read_answers(reader, 1)
        await read_answers(other, 1)
        other_writer.write(question(3))  # it is in the kernel when the networks change
        await asyncio.sleep(0)
        listener.use(ListenerConfig(allow=(ip_network("127.0.0.1"),)))
        await read_answers(other, 1)
        assert await asyncio.wait_for(other.read(), PATIENCE) == b""
        other_writer.close()
        writer.write(question(4))
        await read_answers(reader, 1)
        still = [await is_answered(listener.address, source) for source in ("127.0.0.1", "127.0.0.2")]
        writer.close()
        return still, listener.open

    still, _ = run(scenario, allow=(ip_network("127.0.0.0/8"),), max_per_source=7)
    assert still == [True, False]


def test_other_networks_while_a_connection_is_taken(run):
    """It is in no list yet, and must not stay for ever all the same."""

    async def scenario(listener):
        with socket.socket() as sock:
            sock.bind(("127.0.0.2", 0))
            sock.connect(listener.address)
            listener._accept(listener._sockets[0])
            assert listener.counts[ConnectionEvent.ACCEPTED] == 1
            listener.use(ListenerConfig(allow=(ip_network("127.0.0.1"),)))
            reader, writer = await asyncio.open_connection(sock=sock.dup())
            writer.write(question(1))
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
            writer.close()

    run(scenario, allow=(ip_network("127.0.0.0/8"),))


def test_other_networks_are_all_that_changes(run):
    async def scenario(listener):
        listener.use(ListenerConfig(max_per_source=1))
        opened = await open_connections(listener, 2)
        await close_all(opened)
        return len(opened)

    assert run(scenario, max_per_source=2) == 2


@pytest.mark.parametrize("name", ["max_connections", "max_question_time", "max_unread"])
def test_a_limit_that_lets_nothing_through_is_a_mistake(name):
    with pytest.raises(ad.ConfigError, match=f"^{name}: expected a number above 0, not 0"):
        ListenerConfig(**{name: 0})


def test_without_a_free_descriptor_the_open_connections_go_on_and_accepting_resumes(run, caplog):
    """accept(2) fails then, and the loop would report the waiting connection again and again."""

    async def scenario(listener):
        reader, writer = await asyncio.open_connection(*listener.address)
        waiting = socket.socket()
        waiting.setblocking(False)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with open(os.devnull) as probe:
            lowest = probe.fileno()
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            await asyncio.get_running_loop().sock_connect(waiting, listener.address)
            await until(lambda: listener.counts[ConnectionEvent.NO_DESCRIPTOR])
            before = time.process_time(), time.monotonic()
            for number in range(50):
                writer.write(question(number))
                await read_answers(reader, 1)
                await asyncio.sleep(0.01)
            cpu, elapsed = time.process_time() - before[0], time.monotonic() - before[1]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        with waiting:
            await asyncio.get_running_loop().sock_sendall(waiting, question(7))
            async with asyncio.timeout(PATIENCE):
                late = await asyncio.get_running_loop().sock_recv(waiting, 4096)
        writer.close()
        await writer_gone(writer)
        return late, cpu / elapsed, listener.counts[ConnectionEvent.NO_DESCRIPTOR] / elapsed

    late, load, tries = run(scenario)
    assert ad.Message.decode(late).hop_by_hop == 7
    assert load < 0.5
    assert tries < 20
    assert [record.getMessage() for record in caplog.records] == [
        "cannot accept new connections: Too many open files; open connections are still served",
        "new connections are accepted again",
    ]
