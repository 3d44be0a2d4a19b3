"""Our client of RFC 4740 against Erlang/OTP, whose base protocol, codec and dictionary are strict.

The rules of its SIP server are in strict_sip.erl. It says which AVPs of a MAR it objects to.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kit.doors import DOORS
from kit.machine import until
from kit.phone import Phone
from kit.sip import DOMAIN
from kit.strict_sip import StrictSip
from kit.uac import Account

import auth_diameter as ad
from auth_diameter import Cause
from auth_diameter.diameter.sip import Servers, SipRequests, servers_of
from auth_diameter.lab.uac import parse_reply

pytestmark = pytest.mark.peers

DEVICE_WATCHDOG, DISCONNECT_PEER, SERVER_ASSIGNMENT = 280, 282, 284
REGISTRAR = f"sip:registrar.{DOMAIN}"

both_kinds = pytest.mark.parametrize("kind", ["threads", "asyncio"])
Connect = Callable[..., tuple[StrictSip, Phone]]


@pytest.fixture
def connect(start_strict_sip: Callable[..., StrictSip]) -> Iterator[Connect]:
    """A telephone in front of our client, which asks a new server: `connect("threads", "sha256")`."""
    doors: list[Any] = []
    servers: list[StrictSip] = []

    def run(
        kind: str, *words: str, account: Account | None = None, **settings: Any
    ) -> tuple[StrictSip, Phone]:
        server = start_strict_sip("disc.h.test", *words)
        door = DOORS[kind](ad.Config(**server.settings(**settings)))
        phone = Phone(door.__enter__(), account or Account())
        doors.append(door)
        servers.append(server)
        return server, phone

    yield run
    for door in doors:
        door.__exit__(None, None, None)
    for server in servers:
        assert server.complaints() == []


@both_kinds
def test_a_register_is_challenged_and_then_let_in(connect, kind):
    """RFC 4740, 6.2: 1001 with a challenge, then 2001; a registrar tells its URI (8.7)."""
    server, phone = connect(kind, server_uri=REGISTRAR)
    challenge = phone.challenge()
    assert (challenge.realm, challenge.algorithm, challenge.qop) == (DOMAIN, "MD5", ("auth",))
    decision = phone.answer(challenge)
    assert decision.authorized
    first, second = server.wait_for_asked(2)
    assert "'User-Name'" not in first.names
    assert "'SIP-Server-URI'" in first.names
    assert "'SIP-Auth-Data-Item'" not in first.names
    assert "'SIP-Auth-Data-Item'" in second.names
    assert first.end_to_end != second.end_to_end
    assert not first.retransmitted
    assert not second.retransmitted


@both_kinds
def test_a_call_is_challenged_by_a_proxy(connect, kind):
    """RFC 4740, 6.4 and figure 2: without SIP-Server-URI the results are 2008 and 2006."""
    server, phone = connect(kind)
    decision = phone.send(method="INVITE")
    assert (decision.status, decision.cause) == (407, Cause.CHALLENGED)
    [challenge] = parse_reply(decision.reply).challenges()
    assert phone.answer(challenge, "INVITE").authorized
    assert all("'SIP-Server-URI'" not in mar.names for mar in server.asked())


@both_kinds
def test_a_wrong_password_is_refused(connect, kind):
    """RFC 6733, 7.1.4: 4001."""
    _, phone = connect(kind)
    decision = phone.answer(phone.challenge(), password="looking-glass")
    assert (decision.status, decision.authorized) == (403, False)


@both_kinds
def test_an_unknown_user_is_refused(connect, kind):
    """RFC 4740, 10.1.4: 5032."""
    _, phone = connect(kind, account=Account("mallory"))
    decision = phone.answer(phone.challenge())
    assert (decision.status, decision.authorized) == (403, False)


@both_kinds
@pytest.mark.parametrize("body", [b"", b"v=0\r\n"], ids=["empty", "with a body"])
def test_the_body_is_protected(connect, kind, body):
    """RFC 4740, 9.5.4: Digest-Entity-Body-Hash; another body than that of the digest is refused."""
    _, phone = connect(kind, "auth_int")
    assert phone.challenge("INVITE").qop == ("auth-int",)
    assert phone.answer(phone.challenge("INVITE"), "INVITE", qop="auth-int", body=body).authorized
    challenge = phone.challenge("INVITE")
    changed = phone.answer(challenge, "INVITE", qop="auth-int", body=body, sent_body=body + b"a=x\r\n")
    assert changed.status == 403


@both_kinds
def test_another_algorithm_passes(connect, kind):
    """RFC 7616: SHA-256 by the names of its own; the digest AVPs are texts (RFC 4740, 9.5.3)."""
    _, phone = connect(kind, "sha256")
    challenge = phone.challenge()
    assert challenge.algorithm == "SHA-256"
    assert phone.answer(challenge).authorized
    assert phone.answer(phone.challenge(), password="looking-glass").status == 403


@both_kinds
def test_a_server_that_delegates_is_understood(connect, kind):
    """RFC 4740, 6.3: HA1 comes with the challenge; who does not use it may ask again."""
    _, phone = connect(kind, "delegate", server_uri=REGISTRAR)
    assert phone.logs_in()
    assert not phone.logs_in(password="looking-glass")


@both_kinds
def test_a_registration_that_was_judged_here_is_told(connect, kind):
    """RFC 4740, 6.3: SAR and SAA behind a MAR with HA1; the strict codec has nothing against it."""
    server, phone = connect(kind, "delegate", server_uri=REGISTRAR)
    assert phone.logs_in()
    if kind == "asyncio":
        phone.door.runner.run(asyncio.sleep(0.1))
    found = server.wait_for_line(r"SAR errors=(.*) names=(.*)\n")
    assert found[1] == "[]"
    assert {"'SIP-Server-Assignment-Type'", "'SIP-Server-URI'"} <= set(found[2].strip("[]").split(","))
    server.wait_until_counted(SERVER_ASSIGNMENT, "answer", "send")
    assert len(server.wait_for_asked(1)) == 1


def test_where_a_user_is_registered(start_strict_sip):
    """RFC 4740, 8.1 and 8.5: UAR and LIR; UAA with SIP-Server-URI, LIA with SIP-Server-Capabilities."""
    server = start_strict_sip("disc.h.test")
    requests = SipRequests(origin_host="sip.c.test", origin_realm="c.test")
    address = f"sip:alice@{DOMAIN}"

    async def work() -> list[Servers]:
        found = []
        async with ad.AsyncAuthDiameter(ad.Config(**server.settings())) as auth:
            await auth.connect()
            for make in (
                lambda *numbers: requests.uar(*numbers, DOMAIN, address, "alice"),
                lambda *numbers: requests.lir(*numbers, DOMAIN, address),
            ):
                told = asyncio.get_running_loop().create_future()
                auth._transport.request(DOMAIN, make, told.set_result)
                found.append(servers_of(await told))
        return found

    assert asyncio.run(work()) == [
        Servers(2004, "sip:registrar.siphub.net", (), ()),
        Servers(2005, None, (1, 7), (3,)),
    ]
    for name in ("UAR", "LIR"):
        assert server.wait_for_line(rf"{name} errors=(.*) names=.*\n")[1] == "[]"
    assert server.complaints() == []


def test_a_call_keeps_its_session(connect):
    """RFC 6733, 8.8: an answer counts only with the Session-Id of its question; each of these has it."""
    _, phone = connect("asyncio")
    assert [phone.logs_in() for _ in range(20)] == [True] * 20


# ------------------------------------------------------------------ the base protocol


def test_an_idle_connection_stays(connect):
    """RFC 3539, 3.4.1: both sides ask after Tw of 6 s whether the other is alive, and neither suspects it."""
    server, phone = connect("threads")
    phone.challenge()

    def watched() -> bool:
        asked = (
            server.counted(DEVICE_WATCHDOG, "request", "recv"),
            server.counted(DEVICE_WATCHDOG, "answer", "recv"),
        )
        return sum(asked) >= 2

    server.wait_until(watched, "two DWR")
    assert phone.logs_in()
    assert server.out().count("\nUP ") == 1
    assert "suspect" not in server.out()
    assert "DOWN" not in server.out()


@both_kinds
def test_goodbye_is_said(connect, start_strict_sip, kind):
    """RFC 6733, 5.4: a client that is closed sends DPR, gets DPA, and then closes."""
    server = start_strict_sip("disc.h.test")
    with DOORS[kind](ad.Config(**server.settings())) as door:
        Phone(door).challenge()
    server.wait_for_line("DOWN sip.c.test")
    server.wait_until_counted(DISCONNECT_PEER, "request", "recv")
    server.wait_until_counted(DISCONNECT_PEER, "answer", "send")
    assert server.complaints() == []


def test_a_server_that_leaves_is_left(start_strict_sip):
    """RFC 6733, 5.4: its DPR gets a DPA; the next question says that nobody is there."""
    server = start_strict_sip("disc.h.test")

    async def work() -> None:
        async with ad.AsyncAuthDiameter(ad.Config(**server.settings())) as auth:
            request = Account().request()
            assert (await auth.diameter_www_authorize(request, "$td")).cause is Cause.CHALLENGED
            server.send(signal.SIGTERM)
            await until(lambda: not server.running)
            await until(lambda: not auth._transport.pool.connections)
            assert (await auth.diameter_www_authorize(request, "$td")).cause is Cause.DISC_UNREACHABLE

    asyncio.run(work())


def test_its_name_is_taken_once(start_strict_sip, caplog):
    """RFC 6733, 5.6.4: a second client with the same Origin-Host is refused, and says why."""
    server = start_strict_sip("disc.h.test")
    config = ad.Config(**server.settings())
    with DOORS["threads"](config) as first:
        Phone(first).challenge()
        with DOORS["threads"](config) as second:
            decision = Phone(second).send()
            assert decision.cause is Cause.DISC_UNREACHABLE
        assert Phone(first).logs_in()
    assert "is down: it answers the CER with" in caplog.text
