"""An HSS that speaks Cx (3GPP TS 29.228, 6.3), with the base protocol and the codec of python-diameter.

It has one subscriber. It prints the address it listens on, and each MAR that came.
"""

from __future__ import annotations

import hashlib
import logging
import socket
import sys
import threading
from typing import Any

from diameter.message import Avp, Message, MessageHeader
from diameter.node import Node
from diameter.node.application import SimpleThreadingApplication

HOST, REALM = "hss.siphub.net", "siphub.net"
USER, PASSWORD = "alice", "wonderland"
CLIENT, CLIENT_REALM = "scscf.c.test", "c.test"

TGPP, CX = 10415, 16_777_216
SUCCESS, USER_UNKNOWN = 2001, 5001


def avp(code: int, value: Any, vendor: int = 0) -> Avp:
    """An AVP; python-diameter's dictionary knows its type and its flags."""
    return Avp.new(code, vendor, value=value)


def digest() -> Avp:
    """SIP-Digest-Authenticate, which must not have the M flag (TS 29.229, table 6.3.1)."""
    ha1 = hashlib.md5(f"{USER}:{REALM}:{PASSWORD}".encode(), usedforsecurity=False).hexdigest()
    found = avp(635, [avp(104, REALM), avp(111, "MD5"), avp(110, "auth"), avp(121, ha1)], TGPP)
    found.is_mandatory = False
    return found


def told(asked: dict[int, bytes]) -> list[Avp]:
    """What a MAA says besides the AVPs that all have."""
    if asked[1].decode() != USER:
        return [avp(297, [avp(266, TGPP), avp(298, USER_UNKNOWN)])]
    item = [avp(613, 1, TGPP), avp(608, "SIP Digest", TGPP), digest()]
    return [
        avp(268, SUCCESS),
        avp(1, USER),
        Avp(601, TGPP, asked[601], 0xC0),
        avp(607, 1, TGPP),
        avp(612, item, TGPP),
    ]


def answer(_: SimpleThreadingApplication, message: Message) -> Message:
    """Answers a MAR."""
    asked = {member.code: member.payload for member in message.avps}
    scheme = next(member for member in message.avps if member.code == 612).value[0]
    print(f"MAR {asked[1].decode()} {asked[601].decode()} {scheme.value}", flush=True)
    # Of no class of a command: that of MAA has a Result-Code always.
    header = MessageHeader(
        command_code=message.header.command_code,
        command_flags=0x40,
        application_id=message.header.application_id,
        hop_by_hop_identifier=message.header.hop_by_hop_identifier,
        end_to_end_identifier=message.header.end_to_end_identifier,
    )
    always = [
        Avp(263, payload=asked[263], flags=0x40),
        avp(260, [avp(266, TGPP), avp(258, CX)]),
        avp(277, 1),
        avp(264, HOST.encode()),
        avp(296, REALM.encode()),
    ]
    return Message(header, [*always, *told(asked)])


def started() -> tuple[Node, int]:
    """A node that listens, and its port."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        node = Node(HOST, REALM, ip_addresses=["127.0.0.1"], tcp_port=port, vendor_ids=[TGPP])
        # Its grammar of a MAR has RFC 4740's AVPs in the place of 3GPP's.
        node.validate_received_request_avps = False
        application = SimpleThreadingApplication(
            application_id=CX, is_auth_application=True, request_handler=answer
        )
        client = node.add_peer(f"aaa://{CLIENT}", CLIENT_REALM)
        node.add_application(application, [client], realms=[REALM])
        try:
            node.start()
        except OSError:  # another program has taken the port meanwhile
            continue
        return node, port


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    node, port = started()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    threading.Event().wait()
