"""Servers of their own for some realms: the routes of RFC 6733, 2.7. The servers are doubles."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from kit.doors import DOORS
from kit.hss import Hss, SipServer, running
from kit.phone import Phone
from kit.sip import DOMAIN, build_request
from kit.uac import Account, AsyncUac

import auth_diameter as ad
from auth_diameter import Cause
from auth_diameter.host.server import serve

OTHER = "other.test"
both_kinds = pytest.mark.parametrize("kind", ["threads", "asyncio"])

Servers = tuple[SipServer, SipServer]


@pytest.fixture
def servers() -> Iterator[Servers]:
    """One for all realms, and one for OTHER alone."""
    with running(SipServer) as first, running(SipServer) as second:
        first.delegates = second.delegates = False
        yield first, second


def config(servers: Servers, **settings: Any) -> ad.Config:
    default, other = servers
    return ad.Config(
        application="sip",
        origin_host="sip.c.test",
        peers=[("127.0.0.1", default.port)],
        realms={OTHER.upper(): [("127.0.0.1", other.port)]},
        **settings,
    )


@both_kinds
def test_each_realm_is_asked_about_where_it_is_served(servers: Servers, kind: str) -> None:
    """Without regard to case. The servers are asked about their own realms alone."""
    default, other = servers
    with DOORS[kind](config(servers)) as door:
        for domain, server in ((DOMAIN, default), (OTHER, other), (OTHER.title(), other)):
            before = len(server.asked)
            decision = Phone(door, Account(domain=domain)).send()
            assert decision.cause is Cause.CHALLENGED, domain
            assert len(server.asked) == before + 1
    assert (len(default.asked), len(other.asked)) == (1, 2)
    assert (len(default.base), len(other.base)) == (2, 2), "CER and DPR"


@both_kinds
def test_a_realm_whose_servers_are_down_does_not_disturb_the_others(
    servers: Servers, free_port: int, kind: str
) -> None:
    default, _ = servers
    broken = ad.Config(
        application="sip",
        origin_host="sip.c.test",
        peers=[("127.0.0.1", default.port)],
        realms={OTHER: [("127.0.0.1", free_port)]},
    )
    with DOORS[kind](broken) as door:
        for _ in range(3):
            assert Phone(door, Account(domain=OTHER)).send().cause is Cause.DISC_UNREACHABLE
            assert Phone(door).send().cause is Cause.CHALLENGED


@both_kinds
def test_credentials_are_refused_after_many_wrong_ones_in_every_realm(servers: Servers, kind: str) -> None:
    """The counts of guesses are those of the client, so questions are held and released on their route."""
    with DOORS[kind](config(servers)) as door:
        phone = Phone(door, Account(domain=OTHER))
        causes = [phone.answer(phone.challenge()).cause for _ in range(12)]
    assert causes[0] is Cause.FORBIDDEN
    assert causes[-1] is Cause.PENALIZED


def test_the_statistics_are_those_of_all_routes(servers: Servers) -> None:
    async def work() -> ad.AsyncAuthDiameter:
        async with ad.AsyncAuthDiameter(config(servers)) as auth:
            await auth.connect()
            assert [peer.state for peer in auth.stats().peers] == ["up", "up"]
            for domain in (DOMAIN, OTHER):
                await auth.diameter_www_authorize(build_request("REGISTER"), domain)
            return auth

    stats = asyncio.run(work()).stats()
    assert (stats.asked, stats.answered, stats.connects) == (2, 2, 2)
    assert stats.answers["Multimedia-Auth-Answer", 1001] == 2
    assert [peer.address for peer in stats.peers] == [f"127.0.0.1:{server.port}" for server in servers]


def test_a_sip_server_asks_each_realm_where_it_is_served(servers: Servers) -> None:
    """The compiled way leaves such requests to Python."""

    async def work() -> list[int]:
        async with ad.AsyncAuthDiameter(config(servers)) as auth:
            host = await serve(auth, "127.0.0.1", 0)
            try:
                statuses = []
                for domain in (DOMAIN, OTHER, OTHER):
                    with await AsyncUac.open(host.address, domain=domain) as phone:
                        statuses.append((await phone.call()).status)
                return statuses
            finally:
                await host.aclose()

    assert asyncio.run(work()) == [401, 401, 401]
    assert [len(server.asked) for server in servers] == [1, 2]


def test_the_servers_of_each_route_are_tried(servers: Servers, free_port: int) -> None:
    default, _ = servers

    async def work() -> list[tuple[str, str]]:
        broken = ad.Config(
            application="sip",
            origin_host="sip.c.test",
            peers=[("127.0.0.1", default.port)],
            realms={OTHER: [("127.0.0.1", free_port)]},
        )
        async with ad.AsyncAuthDiameter(broken) as auth:
            return await auth.unreachable()

    [(address, _)] = asyncio.run(work())
    assert address == f"127.0.0.1:{free_port}"


@both_kinds
def test_an_hss_for_each_realm(kind: str) -> None:
    """The same with Cx: a user is looked up where the realm is served."""
    with running(Hss) as default, running(Hss) as other:
        default.passwords["alice", DOMAIN] = other.passwords["alice", OTHER] = "wonderland"
        settings = ad.Config(
            application="cx",
            origin_host="sip.c.test",
            peers=[("127.0.0.1", default.port)],
            realms={OTHER: [("127.0.0.1", other.port)]},
        )
        with DOORS[kind](settings) as door:
            for domain in (DOMAIN, OTHER):
                assert Phone(door, Account(domain=domain)).logs_in()
    assert (len(default.asked), len(other.asked)) == (1, 1)


@pytest.mark.parametrize(
    ("realms", "message"),
    [
        ({}, "realms: expected a dict of realms, each with its servers"),
        ([("a.test", ("h", 1))], "realms: expected a dict of realms, each with its servers"),
        ({"a b": [("h", 1)]}, "realms: expected a name as in the DNS, not 'a b'"),
        ({"a.test": [("h", 1)], "A.test": [("h", 1)]}, "realms: A.test is there twice"),
        ({"a.test": []}, r"realms: a.test: expected one \(host, port\) at least"),
        ({"a.test": "h:1"}, r"realms: a.test: expected one \(host, port\) at least"),
        ({"a.test": [("h", 0)]}, "realms: a.test: expected a port from 1 to 65535, not 0"),
    ],
)
def test_realms_that_cannot_be(realms: Any, message: str) -> None:
    with pytest.raises(ad.ConfigError, match=f"^{message}"):
        ad.Config(application="sip", origin_host="sip.c.test", realms=realms)


def test_the_dialect_has_no_routes() -> None:
    """An AA-Request of the dialect goes to a DISC, which has all realms."""
    with pytest.raises(ad.ConfigError, match=r"^realms: needs application"):
        ad.Config(realms={"a.test": [("h", 1)]})
