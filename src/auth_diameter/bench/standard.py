"""Rows 16 and 17: MAR and MAA of RFC 4740, beside python-diameter.

It has no such command: it writes and reads AVPs of an undefined message, and makes nothing of their values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import auth_diameter as ad
from auth_diameter._core import Answer, SipApplication, Verdict, authentication
from auth_diameter.bench.pairs import REALM, THEIRS, Pair, check, peer_module, request
from auth_diameter.diameter.base import avp_named

_MULTIMEDIA_AUTH, _SIP = 286, 6
_SESSION = "sip.example.net;1;2"
_RESULT_CODE, _ITEM, _AUTHENTICATE = 268, 376, 379


def standard() -> list[Pair]:
    """The rows; both sides of each were checked."""
    pd = peer_module("diameter.message")
    return [_mar(pd), *_maa(pd)]


def _application() -> SipApplication:
    return SipApplication("sip.example.net", "example.net", 1)


def _mar(pd: Any) -> Pair:
    incoming = ad.SipRequest(request())
    credentials = incoming.credentials(REALM)
    assert credentials is not None
    application = _application()

    def ours() -> bytearray:
        out = bytearray()
        application.append(out, authentication(incoming, REALM, credentials, False), 7)
        return out

    whole = bytes(ours())
    model = ad.Message.decode(whole)
    content = list(_plain(model.avps))

    def peer() -> bytes:
        header = pd.MessageHeader(
            command_flags=0xC0,
            command_code=_MULTIMEDIA_AUTH,
            application_id=_SIP,
            hop_by_hop_identifier=7,
            end_to_end_identifier=model.end_to_end,
        )
        encoded: bytes = pd.Message(header, _with(pd, content)).as_bytes()
        return encoded

    if pd is not None:
        check(peer() == whole)
    what = f"MAR of {len(whole)} bytes from a SipRequest"
    return Pair("16", what, THEIRS, ours, peer if pd is not None else None, 60)


def _plain(avps: Any) -> Iterator[tuple[int, Any]]:
    """The AVPs as the peer gets them: code and data, of a group the same of its AVPs."""
    for avp in avps:
        yield avp.code, list(_plain(avp.value)) if isinstance(avp.value, tuple) else avp.data


def _with(pd: Any, content: list[tuple[int, Any]]) -> list[Any]:
    made = []
    for code, data in content:
        grouped = isinstance(data, list)
        payload = b"".join(avp.as_bytes() for avp in _with(pd, data)) if grouped else data
        made.append(pd.Avp(code, 0, payload, 0x40))
    return made


def _maa(pd: Any) -> list[Pair]:
    # As a server sends them, each challenge has another nonce.
    nonces = "66f1c2a09b3d5e7f4821d0c6b5a39e88", "66f1c2a10d5c1f0e9a7b3348e2d4c5f6"
    challenges = [_answer(1001, _challenge(nonce)) for nonce in nonces]
    successes = [_answer(2001), _answer(2001)]
    return [
        _read(pd, "17", challenges, Verdict.CHALLENGE, nonces[1]),
        _read(pd, "17b", successes, Verdict.SUCCESS, None),
    ]


def _challenge(nonce: str) -> ad.Avp:
    named = (
        ("Digest-Realm", REALM),
        ("Digest-Nonce", nonce),
        ("Digest-Opaque", "c07d5e1b42f94a66"),
        ("Digest-Algorithm", "MD5"),
        ("Digest-Qop", "auth"),
    )
    inner = avp_named("SIP-Authenticate", tuple(avp_named(*each) for each in named))
    return avp_named("SIP-Auth-Data-Item", (avp_named("SIP-Authentication-Scheme", 0), inner))


def _answer(result: int, *more: ad.Avp) -> bytes:
    avps = [
        avp_named("Session-Id", _SESSION),
        avp_named("Auth-Application-Id", _SIP),
        avp_named("Result-Code", result),
        avp_named("Auth-Session-State", 1),
        avp_named("Origin-Host", "disc.example.net"),
        avp_named("Origin-Realm", "example.net"),
        *more,
    ]
    return ad.Message(_MULTIMEDIA_AUTH, avps, application_id=_SIP, flags=0x40, hop_by_hop=7).encode()


def _read(pd: Any, row: str, both: list[bytes], verdict: Verdict, nonce: str | None) -> Pair:
    read = _application().decode

    def ours() -> Answer:
        for data in both:
            answer = read(data)
        return answer

    def peer() -> tuple[int, bytes | None]:
        code, found = 0, None
        for data in both:
            for avp in pd.Message.from_bytes(data, plain_msg=True).avps:
                if avp.code == _RESULT_CODE:
                    code = avp.value
                elif avp.code == _ITEM:
                    for inner in _inside(pd, avp.payload):
                        if inner.code == _AUTHENTICATE:
                            found = _inside(pd, inner.payload)[1].payload
        return code, found

    answer = ours()
    check(answer.verdict is verdict and answer.fault is None)
    if pd is not None:
        check(peer() == (answer.code, None if nonce is None else nonce.encode()))
    what = f"two MAA {answer.code} of {len(both[0])} bytes to Answers"
    return Pair(row, what, THEIRS, ours, peer if pd is not None else None, 60)


def _inside(pd: Any, data: bytes) -> list[Any]:
    """The AVPs in a group, as the peer reads them."""
    unpack: Callable[[Any], Any] = pd.Avp.from_unpacker
    unpacker = pd.packer.Unpacker(data)
    found = []
    while not unpacker.is_done():
        found.append(unpack(unpacker))
    return found
