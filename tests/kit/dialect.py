"""The DISC dialect as tests write it: questions, answers, and pieces of both."""

from __future__ import annotations

import random
from typing import Any

from auth_diameter import digest_response, ha1
from auth_diameter._core import (
    AaRequest,
    Answer,
    Avp,
    Message,
    Question,
    RequestStream,
    SipRequest,
    Verdict,
    append_question,
    authentication,
    format_challenge,
    group_check,
)

USER_NAME, RESULT_CODE, DESTINATION_REALM = 1, 268, 283
RESOURCE, RESPONSE, CHALLENGE, METHOD, SERVICE_TYPE, USER_GROUP, SIP_MSGID = range(400, 407)
AUTHENTICATION, GROUP_CHECK = b"6", b"8"
DIGEST = (
    'Digest username="{}", realm="siphub.net", nonce="bm9uY2U=", uri="sip:siphub.net", '
    'response="00000000000000000000000000000000"'
)


def sip_bytes(
    method: str = "REGISTER",
    *,
    uri: str = "sip:siphub.net",
    from_: str = "<sip:alice@siphub.net>;tag=1",
    to: str = "<sip:bob@siphub.net>",
    credentials: str | None = None,
) -> bytes:
    line = "" if credentials is None else f"Authorization: {credentials}\r\n"
    text = (
        f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: {from_}\r\nTo: {to}\r\n"
        f"Call-ID: 1\r\nCSeq: 1 {method}\r\n{line}\r\n"
    )
    return text.encode("utf-8", "surrogateescape")


def sip(*args: str, source: tuple[str, int] | None = None, **given: Any) -> SipRequest:
    return SipRequest(sip_bytes(*args, **given), source)


def credentials(
    nonce: str,
    *,
    user: str = "bob",
    hashed: str | None = None,
    password: str = "secret",
    nc: int = 1,
    realm: str = "siphub.net",
    **more: str,
) -> str:
    """Credentials of a telephone; `hashed` is the username that HA1 is made with."""
    given = {"qop": "auth", "nc": f"{nc:08x}", "cnonce": "abc"}
    base = more.get("algorithm", "MD5").removesuffix("-sess")
    secret = ha1(hashed or user, realm, password, algorithm=base)
    response = digest_response(secret, "REGISTER", "sip:siphub.net", nonce, **given, **more)
    extra = "".join(f", {name}={value}" for name, value in more.items())
    return (
        f'Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="sip:siphub.net", '
        f'response="{response}", qop=auth, nc={nc:08x}, cnonce="abc"{extra}'
    )


def ask(request: SipRequest, *, with_credentials: bool = False, realm: str = "siphub.net") -> Question:
    credentials = request.credentials(realm) if with_credentials else None
    assert (credentials is not None) == with_credentials
    return authentication(request, realm, credentials, False)


def group_question(user_name: str = "alice@siphub.net", group: str = "voicemail") -> Question:
    return group_check(sip("INVITE"), "siphub.net", user_name, group)


def wire(question: Question, msgid: int = 0x01020304) -> bytes:
    out = bytearray()
    append_question(out, question, msgid)
    return bytes(out)


def pairs(data: bytes) -> list[tuple[int, bytes]]:
    return [(avp.code, avp.data) for avp in Message.decode(data).avps]


def decoded(data: bytes) -> dict[int, bytes]:
    found = pairs(data)
    assert len({code for code, _ in found}) == len(found)
    return dict(found)


def answer(*avps: tuple[int, bytes], command: int = 265, flags: int = 0, hop_by_hop: int = 7) -> bytes:
    return Message(
        command,
        [Avp(code, data) for code, data in avps],
        application_id=1,
        flags=flags,
        hop_by_hop=hop_by_hop,
    ).encode()


SUCCESS = (RESULT_CODE, (2001).to_bytes(4, "big"))
REJECTED = (RESULT_CODE, (4001).to_bytes(4, "big"))
SERVICE = (SERVICE_TYPE, AUTHENTICATION)
MSGID = (SIP_MSGID, b"\0\0\0\5")
VALUE = format_challenge("siphub.net", "bm9uY2U=").encode()


def splits(data: bytes) -> dict[str, list[bytes]]:
    pick = random.Random(len(data))
    cuts = sorted(pick.sample(range(len(data)), min(20, len(data))))
    return {
        "whole": [data],
        "byte by byte": [data[n : n + 1] for n in range(len(data))],
        "at random": [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)],
    }


def saying(code: int) -> Answer:
    return Answer(Verdict.FAILURE, code=code)


def received(data: bytes) -> AaRequest:
    stream = RequestStream()
    (found,) = stream.feed(data)
    assert stream.fault is None
    return found


def question_of(*avps: tuple[int, bytes], **fields: Any) -> bytes:
    return Message(265, [Avp(*avp) for avp in avps], **{"application_id": 1, **fields}).encode()


REALM = (DESTINATION_REALM, b"siphub.net")
NAME = (USER_NAME, b"alice@siphub.net")
FULL = [REALM, SERVICE, MSGID, NAME]
GROUP = [REALM, (SERVICE_TYPE, GROUP_CHECK), MSGID, NAME, (USER_GROUP, b"g")]
