"""Two servers of Erlang/OTP, one of which is killed: RFC 6733, 5.5.4, by the client without a relay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from kit.machine import until, wait_until
from kit.strict_sip import StrictSip
from kit.uac import Account

import auth_diameter as ad
from auth_diameter import Cause

pytestmark = pytest.mark.peers

CALLS = 8
Servers = tuple[StrictSip, StrictSip]


@pytest.fixture
def hold(tmp_path: Path) -> Path:
    """While this file is there, no MAR is answered."""
    file = tmp_path / "hold"
    file.touch()
    return file


@pytest.fixture
def servers(start_strict_sip: Callable[..., StrictSip], hold: Path) -> Servers:
    """Two servers, which hold their answers back."""
    first, second = (start_strict_sip(f"{name}.h.test", f"hold={hold}") for name in ("one", "two"))
    return first, second


@pytest.fixture
def config(servers: Servers) -> ad.Config:
    """How both are asked."""
    return ad.Config(
        application="sip",
        origin_host="sip.c.test",
        peers=[server.where for server in servers],
        watchdog=6.0,
        timeout=30.0,
    )


async def connect(auth: ad.AsyncAuthDiameter) -> None:
    """Has a client exchange capabilities with all servers."""
    await auth.connect()
    await until(lambda: all(peer.state == "up" for peer in auth.stats().peers))


def all_asked(servers: Servers) -> bool:
    """Whether all calls are under way."""
    return sum(len(server.asked()) for server in servers) == CALLS


def check_asked_again(dead: StrictSip, alive: StrictSip, own: int) -> None:
    """The questions of the dead server came again with T, and those of the other one did not."""
    lost = dead.asked()
    found = alive.asked()
    again = found[own:]
    assert [mar.retransmitted for mar in found] == [False] * own + [True] * len(lost)
    assert {mar.end_to_end for mar in again} == {mar.end_to_end for mar in lost}
    assert {mar.hop_by_hop for mar in found} & {mar.hop_by_hop for mar in lost} == set()
    assert len({mar.end_to_end for mar in found}) == CALLS
    assert {mar.errors for mar in found + lost} == {"[]"}


@pytest.mark.parametrize("killed", [0, 1], ids=["first", "second"])
def test_questions_go_to_the_other_server_with_the_t_flag(servers, config, hold, killed):
    """RFC 6733, 3 and 5.5.4: T, the same End-to-End and another Hop-by-Hop Identifier; one answer to each."""
    dead, alive = servers[killed], servers[1 - killed]

    async def work() -> list[ad.Decision]:
        async with ad.AsyncAuthDiameter(config) as auth:
            await connect(auth)
            asked = [
                asyncio.create_task(auth.diameter_www_authorize(Account().request(), "$td"))
                for _ in range(CALLS)
            ]
            await until(lambda: all_asked(servers))
            own = len(alive.asked())
            assert 0 < own < CALLS
            dead.kill()
            await until(lambda: len(alive.asked()) == CALLS)
            check_asked_again(dead, alive, own)
            hold.unlink()
            return await asyncio.gather(*asked)

    assert [decision.cause for decision in asyncio.run(work())] == [Cause.CHALLENGED] * CALLS
    assert len(alive.asked()) == CALLS
    assert alive.complaints() == []


def test_the_same_with_threads(servers, config, hold):
    """RFC 6733, 5.5.4. The other server is connected to only now."""
    with ad.AuthDiameter(config) as auth, ThreadPoolExecutor(CALLS) as threads:
        asked = [
            threads.submit(auth.diameter_www_authorize, Account().request(), "$td") for _ in range(CALLS)
        ]
        wait_until(lambda: all_asked(servers))
        alive, dead = sorted(servers, key=lambda server: len(server.asked()))
        own = len(alive.asked())
        dead.kill()
        wait_until(lambda: len(alive.asked()) == CALLS)
        check_asked_again(dead, alive, own)
        hold.unlink()
        assert [future.result().cause for future in asked] == [Cause.CHALLENGED] * CALLS
    assert alive.complaints() == []


def test_a_server_that_comes_back_is_asked_again(start_strict_sip, servers, config, hold):
    """RFC 3539, 3.4.1: next to another one it first has to answer three DWR; alone it is asked at once."""
    hold.unlink()
    first, second = servers

    async def work() -> None:
        async with ad.AsyncAuthDiameter(config) as auth:
            await connect(auth)
            first.kill()
            back = start_strict_sip("one.h.test", port=first.port)
            await until(lambda: "UP " in back.out())
            second.kill()
            decision = await auth.diameter_www_authorize(Account().request(), "$td")
            assert decision.cause is Cause.CHALLENGED
            assert len(back.wait_for_asked(1)) == 1

    asyncio.run(work())
