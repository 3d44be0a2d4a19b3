"""A client of RFC 4740 on python-diameter, whose node does the base protocol. This writes the AVPs of MAR.

    python mar_of_python_diameter.py PORT HOST REALM USER PASSWORD

It prints the Result-Code of each answer, and what it holds, as JSON, one answer a line.
"""

import hashlib
import json
import sys

from diameter.message import Avp, Message, constants
from diameter.node import Node
from diameter.node.application import SimpleThreadingApplication

SIP_AOR, ITEM, SCHEME, AUTHENTICATE, AUTHORIZATION, INFO, METHOD = 122, 376, 377, 379, 380, 381, 393
GROUPS = (ITEM, AUTHENTICATE, INFO, constants.AVP_FAILED_AVP)
USERNAME, REALM, NONCE, URI, RESPONSE, QOP, ALGORITHM, CNONCE, COUNT = (
    115,
    104,
    105,
    109,
    103,
    110,
    111,
    113,
    114,
)
MANDATORY = 0x40


def avp(code: int, value: bytes) -> bytes:
    return bytes(Avp(code, payload=value, flags=MANDATORY).as_bytes())


def inside(payload: bytes) -> list[Avp]:
    found = []
    while payload:
        size = int.from_bytes(payload[5:8], "big")
        size += -size % 4
        found.append(Avp.from_bytes(payload[:size]))
        payload = payload[size:]
    return found


def values(avps: list[Avp]) -> dict[int, str]:
    """The values by code, those in groups included."""
    found: dict[int, str] = {}
    for each in avps:
        if each.code in GROUPS:
            found |= values(inside(each.payload))
        else:
            found[each.code] = each.payload.hex()
    return found


def main(port: str, host: str, realm: str, user: str, password: str) -> None:
    node = Node("client.example.net", "example.net")
    peer = node.add_peer(f"aaa://{host}:{port}", realm, ip_addresses=["127.0.0.1"], is_persistent=True)
    application = SimpleThreadingApplication(application_id=6, is_auth_application=True)
    node.add_application(application, [peer], realms=[realm])
    node.start()
    application.wait_for_ready(10)
    session = node.session_generator.next_id()

    def ask(*credentials: tuple[int, bytes]) -> dict[int, str]:
        message = Message()
        message.header.command_code, message.header.application_id = 286, 6
        message.header.is_request = message.header.is_proxyable = True
        message.destination_realm = realm.encode()  # by which the node routes
        for code, value in (
            (constants.AVP_SESSION_ID, session),
            (constants.AVP_AUTH_APPLICATION_ID, 6),
            (constants.AVP_AUTH_SESSION_STATE, 1),
            (constants.AVP_ORIGIN_HOST, b"client.example.net"),
            (constants.AVP_ORIGIN_REALM, b"example.net"),
            (constants.AVP_DESTINATION_REALM, realm.encode()),
            (constants.AVP_USER_NAME, user),
        ):
            message.append_avp(Avp.new(code, value=value))
        for code, text in ((SIP_AOR, f"sip:{user}@{realm}"), (METHOD, "REGISTER")):
            message.append_avp(Avp(code, payload=text.encode(), flags=MANDATORY))
        if credentials:
            inner = b"".join(avp(code, value) for code, value in credentials)
            item = avp(SCHEME, bytes(4)) + avp(AUTHORIZATION, inner)
            message.append_avp(Avp(ITEM, payload=item, flags=MANDATORY))
        found = values(application.send_request(message, timeout=10).avps)
        print(json.dumps({"result": int(found[constants.AVP_RESULT_CODE], 16), "avps": found}), flush=True)
        return found

    def md5(*parts: bytes) -> bytes:
        return hashlib.md5(b":".join(parts)).hexdigest().encode()

    nonce = bytes.fromhex(ask()[NONCE])
    uri = f"sip:{realm}".encode()
    for word in (b"guess", password.encode()):
        ha1 = md5(user.encode(), realm.encode(), word)
        response = md5(ha1, nonce, b"00000001", b"0a4f", b"auth", md5(b"REGISTER", uri))
        ask(
            *((USERNAME, user.encode()), (REALM, realm.encode()), (NONCE, nonce), (URI, uri)),
            *(
                (RESPONSE, response),
                (ALGORITHM, b"MD5"),
                (QOP, b"auth"),
                (CNONCE, b"0a4f"),
                (COUNT, b"00000001"),
            ),
        )
    node.stop()


main(*sys.argv[1:])
