"""tshark reads what our client and servers of others say in standard Diameter, captured on loopback.

Wireshark's own dictionary knows RFC 6733, RFC 4740 and 3GPP Cx.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kit.cx import V
from kit.doors import DOORS
from kit.phone import Phone
from kit.sip import DOMAIN
from kit.tshark import Seen

import auth_diameter as ad
from auth_diameter import Avp

pytestmark = pytest.mark.peers

CAPABILITIES_EXCHANGE, SIP_MULTIMEDIA_AUTH, DISCONNECT_PEER = 257, 286, 282
CX_MULTIMEDIA_AUTH, SERVER_ASSIGNMENT = 303, 284


def check(messages: list[Seen], commands: list[int], application: str) -> None:
    """All is well-formed, has a name, and each question has its answer."""
    assert [message.complaints for message in messages if message.complaints] == []
    assert [message.command for message in messages] == [code for code in commands for _ in range(2)]
    assert [message.request for message in messages] == [True, False] * len(commands)
    assert all(message.answer_to for message in messages if not message.request)
    assert [name for message in messages for name in message.names if "Unknown" in name] == []
    names = {name for message in messages for name in message.names if name.startswith("ApplicationId")}
    assert names == {"ApplicationId: Diameter Common Messages (0)", f"ApplicationId: {application}"}


def test_rfc_4740(record, plain_tshark, start_strict_sip):
    """CER, MAR without and with credentials, also with auth-int's hash of the body, and DPR."""
    server = start_strict_sip("disc.h.test", "auth_int")
    stop = record(server.port)
    with DOORS["asyncio"](ad.Config(**server.settings(server_uri=f"sip:registrar.{DOMAIN}"))) as door:
        phone = Phone(door)
        assert phone.logs_in(body=b"v=0\r\n")
        assert not phone.logs_in(password="looking-glass")
    messages = plain_tshark.messages(stop(6), server.port)
    commands = [CAPABILITIES_EXCHANGE, *[SIP_MULTIMEDIA_AUTH] * 4, DISCONNECT_PEER]
    check(messages, commands, "Diameter Session Initiation Protocol (SIP) Application (6)")
    named = {name.partition(": ")[2] for message in messages for name in message.names}
    assert {"376 SIP-Auth-Data-Item", "380 SIP-Authorization", "112 Digest-Entity-Body-Hash"} <= named


def test_rfc_4740_delegated(record, plain_tshark, start_strict_sip):
    """The MAA with HA1, and SAR for the registration that is judged here."""
    server = start_strict_sip("disc.h.test", "delegate")
    stop = record(server.port)
    with DOORS["threads"](ad.Config(**server.settings(server_uri=f"sip:registrar.{DOMAIN}"))) as door:
        assert Phone(door).logs_in()
        server.wait_until_counted(SERVER_ASSIGNMENT, "answer", "send")
    messages = plain_tshark.messages(stop(4), server.port)
    commands = [CAPABILITIES_EXCHANGE, SIP_MULTIMEDIA_AUTH, SERVER_ASSIGNMENT, DISCONNECT_PEER]
    check(messages, commands, "Diameter Session Initiation Protocol (SIP) Application (6)")


def test_cx(record, plain_tshark, start: Callable[..., Any]):
    """CER with Vendor-Specific-Application-Id, MAR with the scheme alone, HA1 in the MAA, and DPR."""
    pytest.importorskip("diameter.node")
    hss = start(sys.executable, Path(__file__).parent / "python_diameter_hss.py")
    port = int(hss.wait_for_line(r"listening on 127.0.0.1:(\d+)\n")[1])
    stop = record(port)
    with DOORS["asyncio"](ad.Config(db=f"cx://127.0.0.1:{port}", origin_host="scscf.c.test")) as door:
        assert Phone(door).logs_in()
    messages = plain_tshark.messages(stop(3), port)
    check(messages, [CAPABILITIES_EXCHANGE, CX_MULTIMEDIA_AUTH, DISCONNECT_PEER], "3GPP Cx (16777216)")
    named = {name.partition(": ")[2] for message in messages for name in message.names}
    assert {"612 3GPP-SIP-Auth-Data-Item", "635 SIP-Digest-Authenticate", "121 Digest-HA1"} <= named


WIRESHARK = Path("/usr/share/wireshark/diameter")
#: What Wireshark calls otherwise than the standard, by vendor and code; "" is obsolete.
OTHERWISE = {
    (V, 606): "User-Data",
    (V, 627): "",
    (V, 634): "Wildcarded-Public-Identity",
    (V, 647): "Associated-Registered-Groups",
}


def defined(name: str, vendor: int, codes: range) -> Iterator[tuple[int, str]]:
    """The AVPs of a file of Wireshark's dictionary."""
    text = (WIRESHARK / name).read_text(encoding="utf-8", errors="replace")
    for avp, code in re.findall(r'<avp name="([^"]+)" code="(\d+)"', text):
        if int(code) in codes:
            yield int(code), OTHERWISE.get((vendor, int(code)), avp.removeprefix("3GPP-"))


@pytest.mark.parametrize(
    ("file", "vendor", "codes"),
    [("sip.xml", 0, range(368, 394)), ("TGPP.xml", V, range(600, 700))],
)
def test_each_avp_has_the_name_that_wireshark_knows(file, vendor, codes):
    """RFC 4740, 9, and 3GPP TS 29.229, 6.3."""
    theirs = {code: name for code, name in defined(file, vendor, codes) if name}
    assert theirs
    assert {code: Avp(code, b"", vendor_id=vendor or None).name for code in theirs} == theirs
