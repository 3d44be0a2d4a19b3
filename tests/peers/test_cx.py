"""Our DISC as the HSS of an S-CSCF: Kamailio's ims_auth asks it over Cx for HA1, and verifies itself.

In the second half Kamailio is a whole home network: ims_icscf asks where a request goes (UAR, LIR), and
ims_registrar_scscf tells who is registered (SAR), and takes RTR. It takes no PPR; python-diameter does.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import shlex
import sqlite3
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from kit.places import ROOT
from kit.process import Server, run_command
from kit.tshark import Tshark
from kit.uac import Uac

import auth_diameter as ad
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
    return start_disc(start_ours, subscribers)


def start_disc(start_ours: Callable[..., Server], db: Path) -> tuple[Server, int]:
    names = ("--origin-host", HSS, "--origin-realm", REALM, "--tell-ha1", SCSCF, "--peer", SCSCF)
    server = start_ours("disc", "--db", db, "--diameter", "127.0.0.1:0", *names)
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
def start_kamailio(
    peer: Callable[..., str],
    unavailable_peer: Callable[[str], None],
    start: Callable[..., Any],
    local_names: Path,
    tmp_path: Path,
) -> Callable[..., None]:
    """Starts Kamailio with a file of this folder and what that wants to have defined, as a peer of ours."""
    program = peer("kamailio", package="kamailio")

    def run(
        file: str, disc: tuple[Server, int], modules: dict[str, str], sip_port: int, **defined: object
    ) -> None:
        for module, package in modules.items():
            if not list(Path("/usr/lib").glob(f"*/kamailio/modules/{module}.so")):
                unavailable_peer(f"{module} is not installed; it is in the Debian package {package}")
        server, port = disc
        peers = tmp_path / "diameter.xml"
        peers.write_text(PEERS.format(scscf=SCSCF, hss=HSS, realm=REALM, port=port))
        values = {"DIAMETER": f'"{peers}"', "HSS": f'"{HSS}"', "REALM": f'"{REALM}"', **defined}
        start(
            "env", f"LD_PRELOAD={local_names}", "NAMES_UNDER=.ims.test",
            program, "-f", HERE / file, "-DD", "-E", "-m", "64", "-M", "16",
            "-P", tmp_path / "kamailio.pid", "-w", tmp_path, "-Y", tmp_path,
            *[word for name, value in values.items() for word in ("-A", f"{name}={value}")],
        )  # fmt: skip
        # Ours is open before Kamailio has read the CEA, and a MAR that it cannot send gets no reply.
        server.wait_for_line(rf"peer {re.escape(SCSCF)}: is connected")
        server.wait_until(lambda: is_ready(("127.0.0.1", sip_port)), "Kamailio to have its HSS")

    return run


def is_ready(address: tuple[str, int]) -> bool:
    """Whether Kamailio has a connection to its HSS."""
    with Uac(address) as phone:
        phone.send(phone.request("OPTIONS"))
        return bool(final(phone).status == 200)


@pytest.fixture
def start_scscf(
    start_kamailio: Callable[..., None],
    free_udp_port: Callable[[], int],
    disc_port: tuple[Server, int],
) -> Callable[[str], tuple[str, int]]:
    """Starts Kamailio with a scheme of its own name; returns where it listens."""

    def run(scheme: str) -> tuple[str, int]:
        sip_port = free_udp_port()
        modules = {"ims_auth": "kamailio-ims-modules"}
        defined = {"SIP_PORT": sip_port, "SCHEME": f'"{scheme}"'}
        start_kamailio("kamailio-cx.cfg", disc_port, modules, sip_port, **defined)
        return "127.0.0.1", sip_port

    return run


def register(address: tuple[str, int], name: str, password: str, private: str | None = None) -> list[int]:
    """The statuses: of a REGISTER that names its user as an IMS telephone does, and of one with an answer."""
    found = []
    private = private or f"{name}@{REALM}"
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


def test_what_readme_shows(
    start_ours: Callable[..., Server],
    start: Callable[..., Any],
    peer: Callable[..., str],
    local_names: Path,
    subscribers: Path,
    people: dict[str, tuple[str, str]],
    free_udp_port: Callable[[], int],
    tmp_path: Path,
) -> None:
    """Its command, its file of peers and its script, with other ports and paths alone."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text[text.index("\n## An S-CSCF") :]
    shown = dict(re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL)[:3])
    _, *command = shlex.split(shown["sh"].replace("\\\n", " "))
    places = {"users.sqlite": str(subscribers), "127.0.0.1": "127.0.0.1:0"}
    server = start_ours(*(places.get(word, word) for word in command))
    listening = server.wait_until(
        lambda: re.search(r"Diameter listening on 127\.0\.0\.1:(\d+)", server.out()),
        "the second readiness line",
    )
    peers, script, sip_port = tmp_path / "diameter.xml", tmp_path / "kamailio.cfg", free_udp_port()
    peers.write_text(shown["xml"].replace("3868", listening[1]))
    head = f"#!KAMAILIO\nlog_stderror=yes\ndisable_tcp=yes\nchildren=1\nlisten=udp:127.0.0.1:{sip_port}\n"
    script.write_text(head + shown["cfg"].replace("/etc/kamailio/diameter.xml", str(peers)))
    start(
        "env", f"LD_PRELOAD={local_names}", "NAMES_UNDER=.siphub.net",
        peer("kamailio", package="kamailio"), "-f", script, "-DD", "-E", "-m", "64", "-M", "16",
        "-P", tmp_path / "kamailio.pid", "-w", tmp_path, "-Y", tmp_path,
    )  # fmt: skip
    server.wait_for_line(r"peer scscf\.siphub\.net: is connected")
    address = ("127.0.0.1", sip_port)
    server.wait_until(lambda: register(address, *people["member"]) == [401, 200], "Kamailio to have its HSS")
    assert register(address, people["member"][0], "guess") == [401, 403]
    assert register(address, *people["member"], private=people["member"][0]) == [
        401,
        403,
    ]  # no private identity


# -- a home network: UAR, MAR, SAR, LIR; PPR, RTR -------------------------------------------------------

MODULES = {
    "ims_icscf": "kamailio-ims-modules",
    "presence": "kamailio-presence-modules",
    "db_sqlite": "kamailio-sqlite-modules",
}
#: The tables of ims_icscf, with one S-CSCF.
TABLES = """
    CREATE TABLE version (table_name TEXT, table_version INTEGER);
    INSERT INTO version VALUES ('nds_trusted_domains', 1), ('s_cscf', 1), ('s_cscf_capabilities', 1);
    CREATE TABLE nds_trusted_domains (id INTEGER PRIMARY KEY, trusted_domain TEXT);
    CREATE TABLE s_cscf (id INTEGER PRIMARY KEY, name TEXT, s_cscf_uri TEXT);
    CREATE TABLE s_cscf_capabilities (id INTEGER PRIMARY KEY, id_s_cscf INTEGER, capability INTEGER);
    INSERT INTO s_cscf VALUES (1, 'the only one', '{server}');
    INSERT INTO s_cscf_capabilities VALUES (1, 1, 0);
"""
PASSWORD = "open sesame"
USER = f"alice@{REALM}"


class Network(NamedTuple):
    """Kamailio as I-CSCF and S-CSCF, and our DISC as their HSS.

    Attributes:
        icscf: where telephones send to.
        scscf: where the I-CSCF sends to.
        server: the HSS.
        port: where it speaks standard Diameter.
        db: its database.
    """

    icscf: tuple[str, int]
    scscf: tuple[str, int]
    server: Server
    port: int
    db: Path


@pytest.fixture
def network(
    start_kamailio: Callable[..., None],
    start_ours: Callable[..., Server],
    free_udp_port: Callable[[], int],
    cli: Callable[..., str],
    tmp_path: Path,
) -> Callable[[], Network]:
    """Starts a home network with one subscriber."""
    db = tmp_path / "users.sqlite"
    cli("user", "add", USER, "--password-stdin", "--db", db, text=f"{PASSWORD}\n")
    server, port = start_disc(start_ours, db)

    def run() -> Network:
        icscf_port, scscf_port = free_udp_port(), free_udp_port()
        uri = f"sip:127.0.0.1:{scscf_port}"
        tables = tmp_path / "icscf.sqlite"
        with contextlib.closing(sqlite3.connect(tables)) as connection:
            connection.executescript(TABLES.format(server=uri))
        start_kamailio(
            "kamailio-ims.cfg", (server, port), MODULES, icscf_port,
            ICSCF_PORT=icscf_port, SCSCF_PORT=scscf_port, SCSCF=f'"{uri}"', DB=f'"sqlite:///{tables}"',
        )  # fmt: skip
        return Network(("127.0.0.1", icscf_port), ("127.0.0.1", scscf_port), server, port, db)

    return run


def telephone(network: Network, name: str = "alice") -> Uac:
    """A telephone of the subscriber, or of somebody else."""
    return Uac(network.icscf, name=name, password=PASSWORD, domain=REALM)


def registers(phone: Uac, expires: int = 600) -> list[int]:
    """The statuses of a REGISTER as an IMS telephone sends it, and of one that answers the challenge."""
    private = f"{phone.name}@{REALM}"
    empty = f'Digest username="{private}", realm="{REALM}", nonce="", uri="sip:{REALM}", response=""'
    headers = [("P-Visited-Network-ID", REALM), ("Expires", str(expires))]
    call = {"call_id": secrets.token_hex(8)}
    phone.send(phone.request("REGISTER", ("Authorization", empty), *headers, **call))
    reply = final(phone)
    if reply.challenge() is None:
        return [reply.status]
    answer = phone.answer(reply, username=private)
    phone.send(phone.request("REGISTER", answer, *headers, **call, cseq=2))
    return [reply.status, final(phone).status]


def status_at(address: tuple[str, int], to: str = USER) -> int:
    """What somebody gets who sends a MESSAGE to a user, by this CSCF."""
    with Uac(address, name="bob", password="", domain=REALM) as phone:
        phone.send(phone.request("MESSAGE", uri=f"sip:{to}"))
        return int(final(phone).status)


def test_a_telephone_of_a_home_network(network):
    """29.228, 6.1.1, 6.1.2 and 6.1.4: the I-CSCF finds the S-CSCF, which registers the telephone."""
    net = network()
    assert status_at(net.icscf) == 480, "DIAMETER_ERROR_IDENTITY_NOT_REGISTERED"
    with telephone(net) as phone:
        assert registers(phone) == [401, 200]
        assert status_at(net.icscf) == 202
        assert registers(phone) == [401, 200], "DIAMETER_SUBSEQUENT_REGISTRATION"
        assert registers(phone, expires=0) == [401, 200]
    assert status_at(net.icscf) == 480
    assert status_at(net.icscf, f"mallory@{REALM}") == 604, "DIAMETER_ERROR_USER_UNKNOWN"
    with telephone(net, "mallory") as phone:
        assert registers(phone)[0] >= 400


def test_the_hss_ends_a_registration(network, cli):
    """29.228, 6.1.3: RTR for a user who is gone."""
    net = network()
    with telephone(net) as phone:
        assert registers(phone) == [401, 200]
    assert status_at(net.scscf) == 202
    cli("user", "del", USER, "--db", net.db)
    net.server.wait_until(lambda: status_at(net.scscf) == 404, "the S-CSCF to forget the user")


def test_tshark_has_nothing_to_complain_about_in_a_home_network(
    network, record: Callable[[int], Callable[[int], bytes]], plain_tshark: Tshark
):
    """The answers to UAR, MAR, SAR and LIR; tshark does not know all that Kamailio puts into a SAR."""
    net = network()
    stop = record(net.port)
    with telephone(net) as phone:
        registers(phone)
    status_at(net.icscf)
    found = [message for message in plain_tshark.messages(stop(5), net.port) if not message.request]
    assert [message.complaints for message in found if message.complaints] == []
    assert {message.command for message in found} >= {300, 301, 302, 303}


# -- an S-CSCF that takes PPR -----------------------------------------------------------------------------


def test_an_s_cscf_is_told_of_changes(
    start: Callable[..., Any],
    start_ours: Callable[..., Server],
    cli: Callable[..., str],
    record: Callable[[int], Callable[[int], bytes]],
    plain_tshark: Tshark,
    tmp_path: Path,
):
    """python-diameter asks, and is told of a new password and of the end; tshark has no complaint."""
    pytest.importorskip("diameter.node")
    db = tmp_path / "users.sqlite"
    cli("user", "add", USER, "--password-stdin", "--db", db, text=f"{PASSWORD}\n")
    server, port = start_disc(start_ours, db)
    stop = record(port)
    scscf = start(sys.executable, HERE / "python_diameter_scscf.py", port, HSS, SCSCF, REALM, USER)

    def come() -> dict[int, dict[str, Any]]:
        told = map(json.loads, scscf.out().splitlines())
        return {line["command"]: line["avps"] for line in told}

    def wait_for(command: int) -> None:
        server.wait_until(lambda: command in come(), f"command {command} at the S-CSCF")

    wait_for(302)
    cli("user", "add", USER, "--replace", "--password-stdin", "--db", db, text="another\n")
    wait_for(305)
    cli("user", "del", USER, "--db", db)
    wait_for(304)
    uaa, saa, lia, maa, rtr, ppr = (avps for _, avps in sorted(come().items()))
    assert uaa["298"] == 2001
    assert [each["268"] for each in (saa, lia, maa)] == [2001] * 3
    assert ET.fromstring(saa["606"]).findtext("PrivateID") == USER
    assert lia["602"] == f"sip:{SCSCF}"
    for avps, password in ((maa, PASSWORD), (ppr, "another")):
        assert (avps["608"], avps["104"], avps["110"], avps["111"]) == ("SIP Digest", REALM, "auth", "MD5")
        assert avps["121"] == ad.ha1(USER, REALM, password)
    assert (ppr["1"], ppr["293"], ppr["283"]) == (USER, SCSCF, REALM)
    assert (rtr["1"], rtr["293"], rtr["601"], rtr["616"]) == (USER, SCSCF, f"sip:{USER}", 0)
    found = plain_tshark.messages(stop(7), port)
    assert [message.complaints for message in found if message.complaints] == []
    assert {message.command for message in found} >= set(range(300, 306))
