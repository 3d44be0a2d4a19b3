"""Our DISC as the HSS of an S-CSCF: Kamailio's ims_auth asks it over Cx for HA1, and verifies itself."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kit.process import Server, run_command
from kit.tshark import Tshark
from kit.uac import Uac

from auth_diameter.lab.uac import parse_reply

pytestmark = pytest.mark.peers

HERE = Path(__file__).parent
HSS, SCSCF, REALM = "hss.ims.test", "scscf.ims.test", "siphub.net"
PEERS = """<?xml version="1.0" encoding="UTF-8"?>
<DiameterPeer FQDN="{scscf}" Realm="{realm}" Vendor_Id="10415" Product_Name="CDiameterPeer"
  AcceptUnknownPeers="0" DropUnknownOnDisconnect="1" Tc="6" Workers="2" QueueLength="32"
  ConnectTimeout="3" TransactionTimeout="5" SessionsHashSize="128" DefaultAuthSessionTimeout="60"
  MaxAuthSessionTimeout="300">
  <Peer FQDN="{hss}" Realm="{realm}" port="{port}"/>
  <Auth id="16777216" vendor="10415"/>
  <SupportedVendor vendor="10415"/>
  <DefaultRoute FQDN="{hss}" metric="10"/>
</DiameterPeer>
"""
SCHEMES = {"SIP Digest": "3GPP-Digest", "unknown": "HSS-Selected"}


@pytest.fixture
def disc_port(start_ours: Callable[..., Server], subscribers: Path) -> tuple[Server, int]:
    """Our DISC, which tells the S-CSCF HA1; and where it speaks standard Diameter."""
    names = ("--origin-host", HSS, "--origin-realm", REALM, "--tell-ha1", SCSCF, "--peer", SCSCF)
    server = start_ours("disc", "--db", subscribers, "--diameter", "127.0.0.1:0", *names)
    found = server.wait_until(
        lambda: re.search(r"Diameter listening on 127\.0\.0\.1:(\d+)", server.out()),
        "the second readiness line",
    )
    return server, int(found[1])


@pytest.fixture(scope="session")
def local_names(peer: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What has Kamailio find all names of the tests on this machine."""
    made = tmp_path_factory.mktemp("names") / "local_names.so"
    done = run_command(
        peer("cc", package="gcc"), "-shared", "-fPIC", "-o", made, HERE / "local_names.c", "-ldl"
    )
    assert done.status == 0, done
    return made


@pytest.fixture
def start_scscf(
    peer: Callable[..., str],
    unavailable_peer: Callable[[str], None],
    start: Callable[..., Any],
    free_udp_port: Callable[[], int],
    local_names: Path,
    disc_port: tuple[Server, int],
    tmp_path: Path,
) -> Callable[[str], tuple[str, int]]:
    """Starts Kamailio with a scheme of its own name; returns where it listens."""
    program = peer("kamailio", package="kamailio")
    if not list(Path("/usr/lib").glob("*/kamailio/modules/ims_auth.so")):
        unavailable_peer("ims_auth is not installed; it is in the Debian package kamailio-ims-modules")
    server, port = disc_port

    def run(scheme: str) -> tuple[str, int]:
        sip_port = free_udp_port()
        peers = tmp_path / "diameter.xml"
        peers.write_text(PEERS.format(scscf=SCSCF, hss=HSS, realm=REALM, port=port))
        defined = {
            "SIP_PORT": sip_port,
            "DIAMETER": f'"{peers}"',
            "REALM": f'"{REALM}"',
            "SCHEME": f'"{scheme}"',
        }
        start(
            "env", f"LD_PRELOAD={local_names}", "NAMES_UNDER=.ims.test",
            program, "-f", HERE / "kamailio-cx.cfg", "-DD", "-E", "-m", "64", "-M", "16",
            "-P", tmp_path / "kamailio.pid", "-w", tmp_path, "-Y", tmp_path,
            *[word for name, value in defined.items() for word in ("-A", f"{name}={value}")],
        )  # fmt: skip
        server.wait_for_line(rf"peer {re.escape(SCSCF)}: is connected")
        return "127.0.0.1", sip_port

    return run


def register(address: tuple[str, int], name: str, password: str) -> list[int]:
    """The statuses: of a REGISTER that names its user as an IMS telephone does, and of one with an answer."""
    found = []
    private = f"{name}@{REALM}"
    empty = f'Digest username="{private}", realm="{REALM}", nonce="", uri="sip:{REALM}", response=""'
    with Uac(address, name=name, password=password, domain=REALM) as phone:
        phone.send(phone.request("REGISTER", ("Authorization", empty), call_id=name))
        reply = final(phone)
        found.append(reply.status)
        if reply.challenge() is not None:
            time.sleep(0.05)  # ims_auth sends a challenge, and then stores what it verifies the answer with
            answer = phone.answer(reply, username=private)
            phone.send(phone.request("REGISTER", answer, call_id=name, cseq=2))
            found.append(final(phone).status)
    return found


def final(phone: Uac) -> Any:
    while True:
        reply = parse_reply(phone.receive_bytes(10) or b"")
        if reply.status >= 200:
            return reply


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_telephone_registers(start_scscf, people, disc_port, scheme):
    """MAR and MAA for a REGISTER without credentials; the S-CSCF makes the nonce, and verifies the answer."""
    address = start_scscf(SCHEMES[scheme])
    assert register(address, *people["member"]) == [401, 200]
    assert register(address, people["member"][0], "guess") == [401, 403]
    assert register(address, *people["unknown"]) == [403]
    server, _ = disc_port
    assert "DELEGATED" in server.stop().err


def test_sipp_registers(start_scscf, people, sipp):
    """RFC 3261, 22.2: without a word of its user before the challenge, unlike a telephone of IMS."""
    address, (name, password) = start_scscf(SCHEMES["SIP Digest"]), people["member"]
    # One after the other: ims_auth mixes up two registrations of one user that are under way at once.
    options = {"to": address, "calls": 3, "rate": 1, "username": f"{name}@{REALM}"}
    calls = sipp("register.xml", user=(name, password), **options)
    assert (calls.successful, calls.failed) == (3, 0), calls.report
    calls = sipp("register_refused.xml", user=(name, "guess"), **options)
    assert (calls.successful, calls.failed) == (3, 0), calls.report


def test_baresip_registers(start_scscf, people, baresip):
    address, (name, password) = start_scscf(SCHEMES["SIP Digest"]), people["member"]
    right = baresip(address, (name, password), f"{name}@{REALM}")
    right.wait_for_line(r"200 OK")
    right.stop()
    wrong = baresip(address, (name, "guess"), f"{name}@{REALM}")
    wrong.wait_for_line(r"403 Forbidden")
    wrong.stop()


def test_tshark_has_nothing_to_complain_about(
    start_scscf, people, disc_port, record: Callable[[int], Callable[[int], bytes]], plain_tshark: Tshark
):
    _, port = disc_port
    stop = record(port)
    address = start_scscf(SCHEMES["SIP Digest"])
    register(address, *people["member"])
    register(address, *people["unknown"])
    messages = plain_tshark.messages(stop(3), port)
    assert [message.complaints for message in messages if message.complaints] == []
    assert {message.command for message in messages} >= {257, 303}
