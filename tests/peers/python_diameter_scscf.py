"""An S-CSCF on python-diameter, whose node does the base protocol and whose dictionary knows the AVPs of Cx.

    python python_diameter_scscf.py PORT HSS HOST REALM USER

It sends UAR, MAR, SAR and LIR for a user, and then obeys what comes. It prints each answer, and each request
that came, as JSON: the command, and the values by AVP code, those in groups included.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

from diameter.message import Avp, Message, MessageHeader
from diameter.node import Node
from diameter.node.application import SimpleThreadingApplication

TGPP, CX = 10415, 16_777_216
UAR, SAR, LIR, MAR = 300, 301, 302, 303
SESSION_ID, ORIGIN_HOST, ORIGIN_REALM, DESTINATION_REALM = 263, 264, 296, 283
SESSION_STATE, SPECIFIC_APPLICATION, VENDOR_ID, AUTH_APPLICATION, RESULT_CODE = 277, 260, 266, 258, 268
USER_NAME, VISITED_NETWORK, PUBLIC_IDENTITY, SERVER_NAME = 1, 600, 601, 602
AUTH_DATA_ITEM, SCHEME, ASSIGNMENT_TYPE, HAS_USER_DATA = 612, 608, 614, 624
REGISTRATION, SUCCESS, NO_STATE_MAINTAINED = 1, 2001, 1


def avp(code: int, value: Any, vendor: int = 0) -> Avp:
    """An AVP; python-diameter's dictionary knows its type and its flags."""
    return Avp.new(code, vendor, value=value)


def values(avps: list[Avp]) -> dict[int, Any]:
    """The values by code, those in groups included."""
    found: dict[int, Any] = {}
    for each in avps:
        value = each.value
        if isinstance(value, list):
            found |= values(value)
        else:
            found[each.code] = value.decode() if isinstance(value, bytes) else value
    return found


def tell(message: Message) -> None:
    line = {"command": message.header.command_code, "avps": values(message.avps)}
    print(json.dumps(line), flush=True)


def main(port: str, hss: str, host: str, realm: str, user: str) -> None:
    """Asks for a user, and obeys."""
    node = Node(host, realm, vendor_ids=[TGPP])
    node.validate_received_request_avps = False

    def common(session: str) -> list[Avp]:
        return [
            avp(SESSION_ID, session),
            avp(SPECIFIC_APPLICATION, [avp(VENDOR_ID, TGPP), avp(AUTH_APPLICATION, CX)]),
            avp(SESSION_STATE, NO_STATE_MAINTAINED),
            avp(ORIGIN_HOST, host.encode()),
            avp(ORIGIN_REALM, realm.encode()),
        ]

    def obey(_: SimpleThreadingApplication, message: Message) -> Message:
        tell(message)
        asked = message.header
        header = MessageHeader(
            command_code=asked.command_code,
            command_flags=0x40,
            application_id=asked.application_id,
            hop_by_hop_identifier=asked.hop_by_hop_identifier,
            end_to_end_identifier=asked.end_to_end_identifier,
        )
        session = next(each.value for each in message.avps if each.code == SESSION_ID)
        return Message(header, [*common(session), avp(RESULT_CODE, SUCCESS)])

    peer = node.add_peer(f"aaa://{hss}:{port}", realm, ip_addresses=["127.0.0.1"], is_persistent=True)
    application = SimpleThreadingApplication(
        application_id=CX, is_auth_application=True, request_handler=obey
    )
    node.add_application(application, [peer], realms=[realm])
    node.start()
    application.wait_for_ready(10)

    def ask(command: int, *more: Avp) -> None:
        message = Message()
        message.header.command_code, message.header.application_id = command, CX
        message.header.is_request = message.header.is_proxyable = True
        message.destination_realm = realm.encode()  # by which the node routes
        session = node.session_generator.next_id()
        for each in (*common(session), avp(DESTINATION_REALM, realm.encode()), *more):
            message.append_avp(each)
        tell(application.send_request(message, timeout=10))

    name, identity = avp(USER_NAME, user), avp(PUBLIC_IDENTITY, f"sip:{user}", TGPP)
    server = avp(SERVER_NAME, f"sip:{host}", TGPP)
    ask(UAR, name, identity, avp(VISITED_NETWORK, realm.encode(), TGPP))
    ask(MAR, name, identity, server, avp(AUTH_DATA_ITEM, [avp(SCHEME, "SIP Digest", TGPP)], TGPP))
    assigned = avp(ASSIGNMENT_TYPE, REGISTRATION, TGPP)
    ask(SAR, name, identity, server, assigned, avp(HAS_USER_DATA, 0, TGPP))
    ask(LIR, identity)
    threading.Event().wait()


main(*sys.argv[1:])
