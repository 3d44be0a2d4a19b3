"""Our client of RFC 4740 behind freeDiameterd: as the neighbour, as a relay, and with TLS.

freeDiameterd binds every address. So each test has a network of its own, which takes root.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kit.certificates import Authority
from kit.doors import DOORS
from kit.free_diameter import PORT, TLS_PORT, FreeDiameter, Next
from kit.machine import until
from kit.network import NoNetworkError, own_network
from kit.phone import Phone
from kit.process import Server
from kit.sip import DOMAIN
from kit.strict_sip import StrictSip
from kit.uac import Account

import auth_diameter as ad
from auth_diameter import Cause

pytestmark = pytest.mark.peers

CLIENT = "sip.c.test"
CALLS = 4

both_kinds = pytest.mark.parametrize("kind", ["threads", "asyncio"])


@pytest.fixture(scope="module")
def authority(peer: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who certifies all peers."""
    peer("openssl", package="openssl")
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(autouse=True)
def network(peer: Callable[..., str], unavailable_peer: Callable[[str], None]) -> Iterator[None]:
    """A network of this test's own."""
    peer("ip", package="iproute2")
    try:
        with own_network():
            yield
    except NoNetworkError as error:
        unavailable_peer(str(error))


@pytest.fixture
def start_free_diameter(
    network: None, peer: Callable[..., str], authority: Authority, tmp_path: Path
) -> Iterator[Callable[..., FreeDiameter]]:
    """Start freeDiameterd: `start_free_diameter(servers=[…], named="*.r.test")`."""
    program = peer("freeDiameterd", package="freediameterd")
    started: list[FreeDiameter] = []

    def run(named: str = "relay.r.test", **options: Any) -> FreeDiameter:
        found = FreeDiameter(program, tmp_path, authority.certify(named, named), **options)
        started.append(found.__enter__())
        return found

    yield run
    for program_ in started:
        program_.__exit__()


def config(**settings: Any) -> ad.Config:
    """Our client."""
    default: dict[str, Any] = {
        "application": "sip",
        "origin_host": CLIENT,
        "diameter_client_host": "127.0.0.1",
        "diameter_client_port": PORT,
        "watchdog": 6.0,
        "timeout": 20.0,
    }
    return ad.Config(**default | settings)


# ------------------------------------------------------------------ the neighbour


@both_kinds
def test_a_neighbour_that_is_a_relay(start_free_diameter, kind):
    """RFC 6733, 5.3 and 5.4: CER and CEA with the relay application; 3002 is an answer; DPR and DPA."""
    relay = start_free_diameter()
    with DOORS[kind](config()) as door:
        decision = Phone(door).send()
        assert (decision.status, decision.cause) == (503, Cause.DISC_UNREACHABLE)
    relay.wait_for_line(f"Peer '{CLIENT}' sent a DPR with cause: REBOOTING")
    relay.wait_until(lambda: relay.saw("SND to", "Disconnect-Peer-Answer"), "a DPA")
    assert relay.states(CLIENT)[:2] == ["STATE_OPEN", "STATE_CLOSING"]
    assert relay.errors() == []


def test_an_idle_connection_stays(start_free_diameter):
    """RFC 3539, 3.4.1, with Tw of 6 s on both sides."""
    relay = start_free_diameter()
    with DOORS["threads"](config()) as door:
        Phone(door).send()

        def watched() -> bool:
            asked = relay.saw("RCV from", "Device-Watchdog-Request")
            answered = relay.saw("RCV from", "Device-Watchdog-Answer")
            return asked + answered >= 2

        relay.wait_until(watched, "two DWR")
        assert relay.states(CLIENT) == ["STATE_OPEN"]
        requests = relay.saw("RCV from", "Device-Watchdog-Request")
        relay.wait_until(
            lambda: relay.saw("SND to", "Device-Watchdog-Answer") >= requests, "an answer to each"
        )


def test_a_client_that_it_does_not_know(start_free_diameter, caplog):
    """RFC 6733, 5.3 and 7.1.3: 3010 with the E flag in the CEA; the log says why the peer is down."""
    start_free_diameter(allowed="*.other.test")
    with DOORS["threads"](config()) as door:
        assert Phone(door).send().cause is Cause.DISC_UNREACHABLE
    assert "is down: it answers the CER with 3010" in caplog.text


# ------------------------------------------------------------------ TLS


@both_kinds
def test_tls_with_a_certificate(start_free_diameter, authority, kind):
    """RFC 6733, 13.1: TLS comes first, with certificates of both; DPR is the last message."""
    relay = start_free_diameter()
    settings = authority.certify(CLIENT, CLIENT).settings()
    with DOORS[kind](config(diameter_client_port=TLS_PORT, **settings)) as door:
        phone = Phone(door)
        for _ in range(5):
            assert phone.send().cause is Cause.DISC_UNREACHABLE
    relay.wait_for_line(f"CONNECTED TO '{CLIENT}' .*TLS")
    relay.wait_for_line(f"'{CLIENT}' sent a DPR")
    relay.wait_for_line("STATE_ZOMBIE")


def test_tls_without_a_certificate(start_free_diameter, authority, caplog):
    """It wants one. With TLS 1.3 the handshake is over for our side before it hangs up."""
    start_free_diameter()
    with DOORS["threads"](config(diameter_client_port=TLS_PORT, tls_ca=str(authority.certificate))) as door:
        assert Phone(door).send().cause is Cause.DISC_UNREACHABLE
    assert "is down: it hangs up instead of sending a CEA; it may want another tls_cert" in caplog.text


def test_a_certificate_that_does_not_have_its_identity(start_free_diameter, authority, caplog):
    """RFC 6733, 13.1. freeDiameterd takes a wildcard for its own name; our client does not."""
    start_free_diameter(named="*.r.test")
    settings = authority.certify(CLIENT, CLIENT).settings()
    with DOORS["threads"](config(diameter_client_port=TLS_PORT, **settings)) as door:
        assert Phone(door).send().cause is Cause.DISC_UNREACHABLE
    assert "is down: it says that it is relay.r.test, which its certificate does not" in caplog.text


# ------------------------------------------------------------------ the relay


def behind(server: StrictSip) -> Next:
    """A server as the relay connects to it."""
    return Next(server.identity, *server.where)


@both_kinds
def test_servers_of_two_realms(start_free_diameter, start_strict_sip, kind):
    """RFC 6733, 6.1: the relay goes by Destination-Realm, adds Route-Record, and may do so in answers."""
    servers = {realm: start_strict_sip(f"aaa.{realm}") for realm in ("one.test", "two.test")}
    start_free_diameter(servers=[behind(server) for server in servers.values()])
    with DOORS[kind](config()) as door:
        for realm in servers:
            phone = Phone(door, Account(domain=realm))
            challenge = phone.challenge()
            assert challenge.realm == realm
            assert phone.answer(challenge).authorized
            assert phone.answer(phone.challenge(), password="looking-glass").status == 403
        assert Phone(door, Account(domain="three.test")).send().cause is Cause.DISC_UNREACHABLE
    for server in servers.values():
        assert [mar.routed for mar in server.wait_for_asked(4)] == [f'[<<"{CLIENT}">>]'] * 4
        assert server.complaints() == []


def test_a_server_behind_the_relay_dies(start_free_diameter, start_strict_sip, tmp_path):
    """RFC 6733, 5.5.4: the relay asks the other server with T; each question has one answer."""
    hold = tmp_path / "hold"
    hold.touch()
    servers = [start_strict_sip(f"{name}.h.test", f"hold={hold}") for name in ("one", "two")]
    start_free_diameter(servers=[behind(server) for server in servers])

    async def work() -> tuple[StrictSip, StrictSip]:
        async with ad.AsyncAuthDiameter(config()) as auth:
            asked = [
                asyncio.create_task(auth.diameter_www_authorize(Account(domain="h.test").request(), "$td"))
                for _ in range(CALLS)
            ]
            await until(lambda: sum(len(server.asked()) for server in servers) == CALLS)
            alive, dead = sorted(servers, key=lambda server: len(server.asked()))
            dead.kill()
            await until(lambda: len(alive.asked()) == CALLS)
            hold.unlink()
            decisions = await asyncio.gather(*asked)
            assert [decision.cause for decision in decisions] == [Cause.CHALLENGED] * CALLS
            return alive, dead

    alive, dead = asyncio.run(work())
    lost, found = dead.asked(), alive.asked()
    again = [mar for mar in found if mar.retransmitted]
    assert {mar.end_to_end for mar in again} == {mar.end_to_end for mar in lost}
    assert not any(mar.retransmitted for mar in lost)
    assert len(found) == CALLS


# ------------------------------------------------------------------ our own on both sides


@pytest.fixture
def start_disc(
    start_ours: Callable[..., Server], subscribers: Path, network: None
) -> Callable[[str], tuple[Server, Next]]:
    """Start our DISC with standard Diameter; how the relay connects to it."""

    def run(identity: str) -> tuple[Server, Next]:
        names = ("--origin-host", identity, "--origin-realm", DOMAIN, "--watchdog", 6)
        disc = start_ours("disc", "--db", subscribers, "--diameter", "127.0.0.1:0", *names)
        port = disc.wait_for_line(r"Diameter listening on 127\.0\.0\.1:(\d+)")[1]
        return disc, Next(identity, "127.0.0.1", int(port))

    return run


@both_kinds
def test_our_disc_behind_the_relay(start_free_diameter, start_disc, people, kind):
    """RFC 4740, 6.2, over an agent: the Route-Record and the new Hop-by-Hop Identifiers are no obstacle."""
    _, where = start_disc("one.siphub.net")
    start_free_diameter(servers=[where])
    with DOORS[kind](config()) as door:
        phone = Phone(door, Account(*people["member"]))
        assert phone.logs_in()
        assert not phone.logs_in(password="looking-glass")


def test_our_disc_behind_the_relay_dies(start_free_diameter, start_disc, people):
    """RFC 6733, 5.5.4: one DISC is killed with questions that it has not read; the other answers them."""
    (one, first), (two, second) = (start_disc(f"{name}.siphub.net") for name in ("one", "two"))
    relay = start_free_diameter(servers=[first, second])

    def sent(where: Next) -> int:
        return relay.saw("SND to", "Multimedia-Auth-Request", where.identity)

    async def work() -> list[ad.Decision]:
        async with ad.AsyncAuthDiameter(config()) as auth:
            one.freeze()
            two.freeze()
            request = Account(*people["member"]).request()
            asked = [asyncio.create_task(auth.diameter_www_authorize(request, "$td")) for _ in range(CALLS)]
            await until(lambda: sent(first) + sent(second) == CALLS)
            dead, alive = (one, two) if sent(first) >= sent(second) else (two, one)
            dead.kill()
            alive.thaw()
            return await asyncio.gather(*asked)

    assert [decision.cause for decision in asyncio.run(work())] == [Cause.CHALLENGED] * CALLS
