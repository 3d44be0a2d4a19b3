"""Our client of Cx against an HSS made of python-diameter (python_diameter_hss.py)."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kit.doors import DOORS
from kit.phone import Phone
from kit.sip import DOMAIN
from kit.uac import Account

import auth_diameter as ad
from auth_diameter import Cause

pytestmark = pytest.mark.peers

HSS = Path(__file__).parent / "python_diameter_hss.py"

both_kinds = pytest.mark.parametrize("kind", ["threads", "asyncio"])


@pytest.fixture
def hss(start: Callable[..., Any]) -> Iterator[Any]:
    """The HSS, up; `port` is where it listens. At the end it must not have objected to anything."""
    pytest.importorskip("diameter.node")
    program = start(sys.executable, HSS)
    program.port = int(program.wait_for_line(r"listening on 127.0.0.1:(\d+)\n")[1])
    yield program
    assert re.findall("(?m)^(?:ERROR|CRITICAL).*|.*failed.*|.*reject.*", program.err()) == []


@pytest.fixture
def connect(hss: Any) -> Iterator[Callable[..., Phone]]:
    """A telephone in front of our client, which has the HSS for its database."""
    doors: list[Any] = []

    def run(kind: str, account: Account | None = None, **where: Any) -> Phone:
        where = where or {"db": f"cx://127.0.0.1:{hss.port}/{DOMAIN}"}
        door = DOORS[kind](ad.Config(origin_host="scscf.c.test", watchdog=6.0, db_timeout=10.0, **where))
        doors.append(door)
        return Phone(door.__enter__(), account or Account())

    yield run
    for door in doors:
        door.__exit__(None, None, None)


@both_kinds
def test_a_register_is_challenged_and_then_let_in(hss, connect, kind):
    """TS 29.228, 6.3 and annex P of 33.203: the HSS gives HA1, the nonce is ours."""
    phone = connect(kind)
    decision = phone.send()
    assert (decision.status, decision.cause) == (401, Cause.CHALLENGED)
    assert phone.logs_in()
    assert phone.logs_in(), "and HA1 is at hand for the next one"
    assert re.findall("^MAR .*", hss.out(), re.MULTILINE) == [f"MAR alice sip:alice@{DOMAIN} SIP Digest"]


@both_kinds
def test_the_hss_in_the_place_of_disc(hss, connect, kind):
    """The same with the address of the HSS where that of DISC would be."""
    where = {"diameter_client_host": "127.0.0.1", "diameter_client_port": hss.port, "application": "cx"}
    phone = connect(kind, **where)
    assert phone.logs_in()
    assert not phone.logs_in(password="looking-glass")
    assert len(re.findall("^MAR ", hss.out(), re.MULTILINE)) == 1


@both_kinds
def test_a_wrong_password_is_refused(connect, kind):
    """The response is checked here; the HSS does not see it."""
    phone = connect(kind)
    assert not phone.logs_in(password="looking-glass")
    assert phone.logs_in()


@both_kinds
def test_an_unknown_identity_is_refused(hss, connect, kind):
    """TS 29.229, 6.2.2.1: Experimental-Result 5001."""
    phone = connect(kind, Account("mallory"))
    decision = phone.answer(phone.challenge())
    assert (decision.status, decision.authorized) == (403, False)
    assert "MAR mallory " in hss.out()


@both_kinds
def test_goodbye_is_said(hss, kind):
    """RFC 6733, 5.4: DPR, which python-diameter answers."""
    config = ad.Config(db=f"cx://127.0.0.1:{hss.port}", origin_host="scscf.c.test", db_timeout=10.0)
    with DOORS[kind](config) as door:
        assert Phone(door).logs_in()
    hss.wait_for_line("sending DPA")
