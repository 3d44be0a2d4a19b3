"""What a registrar tells the server whose HA1 it has: RFC 4740, 6.3 and 8.3."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kit.doors import DOORS, OfAsyncio
from kit.hss import SipServer, running
from kit.machine import wait_until
from kit.phone import Phone
from kit.sip import DOMAIN, PASSWORD
from kit.uac import Account

import auth_diameter as ad
from auth_diameter.client.registrar import assignment_of
from auth_diameter.diameter.assignment import Assignment
from auth_diameter.diameter.base import value_of
from auth_diameter.lab.uac import parse_reply

SERVER_URI = f"sip:registrar.{DOMAIN}"
CONTACT = ("Contact", "<sip:alice@192.0.2.4>")
GONE = ("Contact", "<sip:alice@192.0.2.4>;expires=0")


@pytest.fixture
def server() -> Iterator[SipServer]:
    with running(SipServer) as found:
        found.passwords["alice", DOMAIN] = PASSWORD
        yield found


def register(*headers: tuple[str, str]) -> bytes:
    """A REGISTER of alice with these headers, and no Contact but theirs."""
    lines = Account().request("REGISTER").split(b"\r\n")
    kept = [line for line in lines if not line.startswith(b"Contact:")]
    return b"\r\n".join([kept[0], *(f"{name}: {value}".encode() for name, value in headers), *kept[1:]])


class Registrar:
    """Our client as a registrar, a telephone in front of it, and the server that delegates to it."""

    def __init__(self, door: Any, server: SipServer) -> None:
        self.door, self.server = door, server
        self.phone = Phone(door)

    def registers(self, challenge: ad.Challenge, *headers: tuple[str, str], nc: int = 1) -> None:
        """A REGISTER that is let in."""
        answer = self.phone.account.answer(challenge, nc=nc)
        assert self.phone.resend(register(answer, *(headers or (CONTACT,)))).authorized
        self.go_on()

    def go_on(self) -> None:
        """Has the loop of asyncio send, and take what came."""
        if isinstance(self.door, OfAsyncio):
            self.door.runner.run(asyncio.sleep(0.02))

    def told(self, number: int) -> list[Any]:
        """The SAR, once there are so many."""

        def came() -> bool:
            self.go_on()
            return len(self.server.assigned) >= number

        wait_until(came)
        return self.server.assigned

    def settles(self) -> None:
        """Once more than one MAR was asked after what is under way, that has ended."""
        self.phone.challenge()
        self.phone.challenge()


@pytest.fixture(params=["threads", "asyncio", "asyncio-callback"])
def open_registrar(request: pytest.FixtureRequest, server: SipServer) -> Iterator[Callable[..., Registrar]]:
    opened: list[Any] = []

    def run(**settings: Any) -> Registrar:
        config = ad.Config(
            application="sip",
            origin_host="sip.h.test",
            peers=[("127.0.0.1", server.port)],
            **{"server_uri": SERVER_URI, **settings},
        )
        opened.append(DOORS[request.param](config))
        return Registrar(opened[-1].__enter__(), server)

    yield run
    for door in opened:
        door.__exit__(None, None, None)


@pytest.fixture
def registrar(open_registrar: Callable[..., Registrar]) -> Registrar:
    return open_registrar()


def test_a_registration_that_was_judged_here_is_told(registrar: Registrar) -> None:
    """6.3: SAR with REGISTRATION; the MAR had SIP-Server-URI, and there is no second one."""
    registrar.registers(registrar.phone.challenge())
    [sar] = registrar.told(1)
    named = {avp.name: avp.value for avp in sar.avps}
    assert (named["SIP-AOR"], named["User-Name"]) == (f"sip:alice@{DOMAIN}", "alice")
    assert named["SIP-Server-URI"] == SERVER_URI
    assert named["SIP-Server-Assignment-Type"] == Assignment.REGISTRATION
    assert named["SIP-User-Data-Already-Available"] == 1
    assert (named["Origin-Host"], named["Destination-Realm"]) == ("sip.h.test", DOMAIN)
    [mar] = registrar.server.asked
    assert value_of(mar, "SIP-Server-URI") == SERVER_URI
    assert mar.end_to_end != sar.end_to_end
    assert mar.hop_by_hop != sar.hop_by_hop
    assert value_of(mar, "Session-Id") != named["Session-Id"]


def test_a_refresh_tells_nothing_new(registrar: Registrar) -> None:
    challenge = registrar.phone.challenge()
    registrar.registers(challenge)
    registrar.told(1)
    registrar.registers(challenge, nc=2)
    registrar.settles()
    assert len(registrar.server.assigned) == 1


def test_a_user_who_leaves_is_told(registrar: Registrar) -> None:
    """8.3: USER_DEREGISTRATION; and who comes back is told again."""
    challenge = registrar.phone.challenge()
    registrar.registers(challenge)
    registrar.registers(challenge, GONE, nc=2)
    registrar.registers(challenge, nc=3)
    kinds = [value_of(sar, "SIP-Server-Assignment-Type") for sar in registrar.told(3)]
    assert kinds == [Assignment.REGISTRATION, Assignment.USER_DEREGISTRATION, Assignment.REGISTRATION]


@pytest.mark.parametrize(("result", "times"), [(5012, 2), (3001, 1)])
def test_a_server_that_did_not_take_it_is_told_again(
    registrar: Registrar, caplog: pytest.LogCaptureFixture, result: int, times: int
) -> None:
    """With the next REGISTER; not one that knows no SAR (3001, command unsupported)."""
    registrar.server.assignment = result
    challenge = registrar.phone.challenge()
    registrar.registers(challenge)
    registrar.told(1)
    registrar.settles()
    registrar.registers(challenge, nc=2)
    registrar.told(times)
    registrar.settles()
    assert len(registrar.server.assigned) == times
    assert ("not told of a registration: Result-Code 5012" in caplog.text) == (result == 5012)


def test_without_an_answer_it_is_told_again(
    open_registrar: Callable[..., Registrar], caplog: pytest.LogCaptureFixture
) -> None:
    registrar = open_registrar(timeout=0.2)
    registrar.server.assignment = None
    challenge = registrar.phone.challenge()
    registrar.registers(challenge)

    def is_late() -> bool:
        registrar.go_on()
        return "not told of a registration: no answer" in caplog.text

    wait_until(is_late)
    registrar.registers(challenge, nc=2)
    registrar.told(2)


def test_a_lost_connection_is_no_answer(registrar: Registrar, caplog: pytest.LogCaptureFixture) -> None:
    registrar.server.assignment = None
    challenge = registrar.phone.challenge()
    registrar.registers(challenge)
    registrar.told(1)
    registrar.server.hang_up()

    def is_late() -> bool:
        registrar.go_on()
        return "not told of a registration: no answer" in caplog.text

    wait_until(is_late)


def test_others_are_not_told(registrar: Registrar, open_registrar: Callable[..., Registrar]) -> None:
    """Neither of calls, nor of REGISTER without Contact; nor by a client that is no registrar (8.7)."""
    account, own = registrar.phone.account, f"sip:alice@{DOMAIN}"
    decision = registrar.phone.resend(account.request("INVITE", uri=own), proxy=True)
    answer = account.answer(parse_reply(decision.reply or b""), "INVITE", uri=own)
    assert registrar.phone.resend(account.request("INVITE", answer, uri=own), proxy=True).authorized
    answer = account.answer(registrar.phone.challenge())
    assert registrar.phone.resend(register(answer)).authorized
    wrong = registrar.phone.challenge()
    assert registrar.phone.answer(wrong, password="guess").status == 403
    proxy = open_registrar(server_uri=None)
    proxy.registers(proxy.phone.challenge())
    for each in (registrar, proxy):
        each.settles()
    assert registrar.server.assigned == []


def test_the_server_s_own_verdict_needs_none(registrar: Registrar) -> None:
    """Scenario A (6.2): the server has let the user in itself, with a MAR that had SIP-Server-URI."""
    registrar.server.delegates = False
    registrar.server.verdict = 2001
    registrar.registers(registrar.phone.challenge())
    registrar.settles()
    assert registrar.server.assigned == []


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ((CONTACT,), Assignment.REGISTRATION),
        ((CONTACT, ("Expires", "0")), Assignment.USER_DEREGISTRATION),
        ((GONE,), Assignment.USER_DEREGISTRATION),
        ((GONE, ("Contact", "<sip:alice@192.0.2.5>")), Assignment.REGISTRATION),
        ((("Contact", "*"), ("Expires", "0")), Assignment.USER_DEREGISTRATION),
        ((("Contact", "*"),), None),
        ((("Contact", "<sip:alice"),), None),
        ((), None),
    ],
)
def test_what_a_register_does(headers: tuple[tuple[str, str], ...], kind: Assignment | None) -> None:
    """RFC 3261, 10.2: adds, removes or asks for bindings."""
    assert assignment_of(ad.SipRequest(register(*headers))) is kind


def test_a_handler_of_the_log_may_call_the_client(server: SipServer) -> None:
    """Such as when a server was not told of a registration: no lock is held while that is logged."""
    server.assignment = 5012
    config = ad.Config(
        application="sip",
        origin_host="sip.h.test",
        peers=[("127.0.0.1", server.port)],
        server_uri=SERVER_URI,
    )
    with DOORS["threads"](config) as door:
        registrar = Registrar(door, server)
        first, second = registrar.phone.challenge(), registrar.phone.challenge()
        let_in: list[bool] = []

        class Handler(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if not let_in:
                    registrar.registers(second)
                    let_in.append(True)

        log, handler = logging.getLogger("auth_diameter.pool"), Handler(logging.WARNING)
        log.addHandler(handler)
        try:
            registrar.registers(first)
            wait_until(lambda: bool(let_in))
        finally:
            log.removeHandler(handler)
        registrar.told(2)
