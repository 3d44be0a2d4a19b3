"""Servers of standard Diameter that do what they should not, or rarely do, against the client on a socket.

An answer that cannot be used makes a decision of 500, of its question alone. A connection is closed only
where framing is lost, or where RFC 6733, 5.6 has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import pytest
from kit.machine import until
from kit.neighbour import SERVER
from kit.odd_peer import REJECTED, SUCCESS, OddPeer, OddServer, changed, maa, odd_server, with_session

import auth_diameter as ad
from auth_diameter import Avp, Cause, Message
from auth_diameter.diameter.base import (
    CAPABILITIES_EXCHANGE,
    COMMAND_UNSUPPORTED,
    DEVICE_WATCHDOG,
    avp_named,
    request,
    value_of,
)
from auth_diameter.diameter.capabilities import cea, cer

MULTIMEDIA_AUTH, REGISTRATION_TERMINATION = 286, 287

Script = Callable[[OddServer, OddPeer], Coroutine[None, None, None]]


def play(script: Script) -> None:
    """Plays a script on a connection on which capabilities have been exchanged; then it must still work."""

    async def work() -> None:
        async with odd_server() as server:
            peer = await server.welcomed()
            await script(server, peer)
            await check_works(server, peer)

    asyncio.run(work())


async def check_works(server: OddServer, peer: OddPeer) -> None:
    """A question on that connection gets its answer."""
    [asked] = server.ask()
    peer.send(maa(await peer.read()))
    assert (await asked).cause is Cause.AUTHORIZED


async def decisions(asked: list[asyncio.Task[ad.Decision]]) -> list[int | None]:
    """The status of each decision; None: let in."""
    return [decision.status for decision in await asyncio.gather(*asked)]


# ------------------------------------------------------------------ answers, in any order and piece


def test_answers_out_of_order():
    """RFC 6733, 3: an answer belongs to the question with its Hop-by-Hop Identifier."""

    async def script(server: OddServer, peer: OddPeer) -> None:
        asked = server.ask(3)
        first, second, third = [await peer.read() for _ in range(3)]
        peer.send(maa(third), maa(first), maa(second, REJECTED))
        assert sorted(await decisions(asked), key=str) == [403, None, None]

    play(script)


def test_an_answer_in_single_bytes():
    async def script(server: OddServer, peer: OddPeer) -> None:
        asked = server.ask()
        for byte in maa(await peer.read()).encode():
            peer.send(bytes([byte]))
            await asyncio.sleep(0)
        assert await decisions(asked) == [None]

    play(script)


def test_a_dwr_between_answers():
    """RFC 6733, 5.5: it is answered, and the answers around it count."""

    async def script(server: OddServer, peer: OddPeer) -> None:
        asked = server.ask(2)
        first, second = await peer.read(), await peer.read()
        peer.send(maa(first), request(SERVER, DEVICE_WATCHDOG, [*SERVER.origin()], 99), maa(second))
        told = await peer.read()
        assert (told.command, told.hop_by_hop, told.is_request) == (DEVICE_WATCHDOG, 99, False)
        assert await decisions(asked) == [None, None]

    play(script)


def test_an_answer_twice():
    """The second one has no question any more."""

    async def script(server: OddServer, peer: OddPeer) -> None:
        asked = server.ask()
        told = maa(await peer.read())
        peer.send(told, told)
        assert await decisions(asked) == [None]
        await until(lambda: server.auth.stats().unknown == 1)

    play(script)


def test_ten_thousand_answers_to_nothing():
    async def script(server: OddServer, peer: OddPeer) -> None:
        asked = server.ask()
        mar = await peer.read()
        told = maa(mar)
        strangers = (changed(told, hop_by_hop=(mar.hop_by_hop + 1 + n) & 0xFFFFFFFF) for n in range(10_000))
        peer.send(*strangers, told)
        assert await decisions(asked) == [None]
        assert server.auth.stats().unknown == 10_000

    play(script)


# ------------------------------------------------------------------ answers that cannot be used


def cut(message: Message) -> bytes:
    """Its header alone, as python-diameter answers what it does not know."""
    data = bytearray(message.encode()[:20])
    data[1:4] = (20).to_bytes(3)
    return bytes(data)


def overlong(message: Message) -> bytes:
    """The last AVP ends beyond the message."""
    data = bytearray(message.encode())
    data[20 + 5 : 20 + 8] = (0xFFFF).to_bytes(3)
    return bytes(data)


UNUSABLE = {
    "20 bytes": cut,
    "an AVP beyond the end": overlong,
    "another command": lambda told: changed(told, command=285),
    "another application": lambda told: changed(told, application_id=16_777_216),
    "the E flag with success": lambda told: changed(told, flags=told.flags | 0x20),
    "the session of another": lambda told: with_session(told, b"sip.c.test;1;2"),
    "the session of another host": lambda told: with_session(told, b"other.c.test;1;2"),
    "a Session-Id that is no text": lambda told: with_session(told, b"\xff\0\xfe"),
    "an empty Session-Id": lambda told: with_session(told, b""),
    "no Result-Code": lambda told: changed(told, avps=[avp for avp in told.avps if avp.code != 268]),
    "two Result-Codes": lambda told: changed(told, avps=[*told.avps, avp_named("Result-Code", REJECTED)]),
    "an unknown AVP with the M flag": lambda told: changed(
        told, avps=[*told.avps, Avp(4_000_000, b"1234", flags=0x40)]
    ),
    "a result nobody knows": lambda told: changed(
        told, avps=[avp for avp in told.avps if avp.code != 268] + [avp_named("Result-Code", 2999)]
    ),
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_an_answer_that_cannot_be_used(what):
    """500 for its question; the other one on the connection gets its answer, and the connection stays."""

    async def script(server: OddServer, peer: OddPeer) -> None:
        asked = server.ask(2)
        first, second = await peer.read(), await peer.read()
        bad = UNUSABLE[what](maa(first))
        peer.send(bad, maa(second))
        assert sorted(await decisions(asked), key=str) == [500, None]

    play(script)


USABLE = {
    "an unknown AVP without the M flag": lambda told: changed(
        told, avps=[*told.avps, Avp(4_000_000, b"1234", flags=0)]
    ),
    "Route-Record": lambda told: changed(told, avps=[*told.avps, avp_named("Route-Record", "relay.r.test")]),
    "without the P flag": lambda told: changed(told, flags=0),
    "with the T flag": lambda told: changed(told, flags=told.flags | 0x10),
    "reserved flags": lambda told: changed(told, flags=told.flags | 0x0F),
    "another End-to-End Identifier": lambda told: changed(told, end_to_end=told.end_to_end ^ 1),
    "Session-Id at the end": lambda told: changed(told, avps=[*told.avps[1:], told.avps[0]]),
}


@pytest.mark.parametrize("what", USABLE)
def test_an_odd_answer_that_counts(what):
    """RFC 6733, 3: what is reserved is ignored; 4.1: so is what is not mandatory."""

    async def script(server: OddServer, peer: OddPeer) -> None:
        asked = server.ask()
        peer.send(USABLE[what](maa(await peer.read())))
        assert await decisions(asked) == [None]

    play(script)


# ------------------------------------------------------------------ what the peer asks


def test_a_request_that_is_not_served():
    """RFC 6733, 7.1.3: a Registration-Termination-Request gets 3001 with the E flag."""

    async def script(server: OddServer, peer: OddPeer) -> None:
        asked = server.ask()
        mar = await peer.read()
        peer.send(
            Message(
                REGISTRATION_TERMINATION,
                [avp_named("Session-Id", "disc.h.test;1;2"), *SERVER.origin()],
                application_id=6,
                flags=0xC0,
                hop_by_hop=7,
            )
        )
        told = await peer.read()
        assert (told.command, told.hop_by_hop) == (REGISTRATION_TERMINATION, 7)
        assert (value_of(told, "Result-Code"), told.flags & 0xA0) == (COMMAND_UNSUPPORTED, 0x20)
        peer.send(maa(mar))
        assert await decisions(asked) == [None]

    play(script)


def test_a_request_with_a_session_id_that_is_no_text():
    """Its answer does not carry it: there are agents that end at the sight of one."""

    async def script(server: OddServer, peer: OddPeer) -> None:
        session = avp_named("Session-Id", "").code
        peer.send(
            Message(REGISTRATION_TERMINATION, [Avp(session, b"\xff\xfe")], application_id=6, flags=0xC0)
        )
        told = await peer.read()
        assert told.command == REGISTRATION_TERMINATION
        assert told.find(session) is None

    play(script)


def test_a_cer_on_an_open_connection():
    """RFC 6733, 5.6 (I-Open): it is answered, and the connection stays."""

    async def script(server: OddServer, peer: OddPeer) -> None:
        peer.send(cer(SERVER, "127.0.0.1", 7))
        told = await peer.read()
        assert (told.command, told.is_request, told.hop_by_hop) == (CAPABILITIES_EXCHANGE, False, 7)

    play(script)


# ------------------------------------------------------------------ the CEA


def test_a_late_cea():
    """RFC 6733, 5.6: no question before it."""

    async def work() -> None:
        async with odd_server() as server:
            asked = server.ask(2)
            peer = await server.connected()
            capabilities = await peer.read()
            assert capabilities.command == CAPABILITIES_EXCHANGE
            await asyncio.sleep(0.2)
            assert not peer.reader._buffer
            peer.send(cea(SERVER, "127.0.0.1", capabilities))
            peer.send(maa(await peer.read()), maa(await peer.read()))
            assert await decisions(asked) == [None, None]

    asyncio.run(work())


def test_connect_waits_for_the_cea():
    """A connection of TCP alone takes no question, so `connect` does not return with it."""

    async def work() -> None:
        async with odd_server() as server:
            connecting = asyncio.create_task(server.auth.connect())
            peer = await server.connected()
            capabilities = await peer.read()
            await asyncio.sleep(0.1)
            assert not connecting.done()
            peer.send(cea(SERVER, "127.0.0.1", capabilities))
            await connecting
            assert [each.state for each in server.auth.stats().peers] == ["up"]

    asyncio.run(work())


def test_connect_returns_when_there_is_no_cea():
    async def work() -> None:
        async with odd_server() as server:
            connecting = asyncio.create_task(server.auth.connect())
            peer = await server.connected()
            await peer.read()
            peer.writer.close()
            await connecting
            assert [each.state for each in server.auth.stats().peers] == ["down"]

    asyncio.run(work())


def test_an_answer_before_the_cea():
    """It answers nothing, and is passed over; RFC 6733, 5.6 would have the connection closed."""

    async def work() -> None:
        async with odd_server() as server:
            asked = server.ask()
            peer = await server.connected()
            capabilities = await peer.read()
            avps = [avp_named("Result-Code", SUCCESS)]
            peer.send(Message(MULTIMEDIA_AUTH, avps, application_id=6, flags=0, hop_by_hop=1))
            peer.send(cea(SERVER, "127.0.0.1", capabilities))
            peer.send(maa(await peer.read()))
            assert await decisions(asked) == [None]
            assert server.auth.stats().unknown == 1

    asyncio.run(work())


def test_a_second_cea():
    async def script(server: OddServer, peer: OddPeer) -> None:
        asked = server.ask()
        mar = await peer.read()
        peer.send(cea(SERVER, "127.0.0.1", cer(SERVER, "127.0.0.1", 7)), maa(mar))
        assert await decisions(asked) == [None]

    play(script)


def of_version_2(cer_: Message) -> bytes:
    data = bytearray(cea(SERVER, "127.0.0.1", cer_).encode())
    data[0] = 2
    return bytes(data)


FIRST = {
    "a DWR": (
        lambda cer_: request(SERVER, DEVICE_WATCHDOG, [*SERVER.origin()], 9).encode(),
        "its first message is Device-Watchdog",
    ),
    "a CER": (
        lambda cer_: cer(SERVER, "127.0.0.1", 9).encode(),
        "its first message is Capabilities-Exchange",
    ),
    "version 2": (of_version_2, "it sends no CEA (Diameter version is 2, not 1"),
    "a web page": (
        lambda cer_: b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        "it sends no CEA (",
    ),
    "a length of 4": (lambda cer_: b"\1\0\0\4" + bytes(16), "it sends no CEA ("),
    "16 MiB": (lambda cer_: b"\1\xff\xff\xfc" + bytes(16), "it sends no CEA ("),
}


@pytest.mark.parametrize("what", FIRST)
def test_something_else_than_a_cea(what, caplog):
    """RFC 6733, 5.6 (Wait-I-CEA, Rcv-Non-CEA): the connection is closed, and the question says so."""
    make, why = FIRST[what]

    async def work() -> None:
        async with odd_server() as server:
            asked = server.ask()
            peer = await server.connected()
            peer.send(make(await peer.read()))
            assert await peer.hang_up_comes()
            assert await decisions(asked) == [503]

    asyncio.run(work())
    assert f"is down: {why}" in caplog.text
