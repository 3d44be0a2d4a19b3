"""SIP requests of several test modules."""

from __future__ import annotations

import pytest

from auth_diameter import ParseError, SipRequest

DOMAIN = "siphub.net"
ACCOUNT = f"alice@{DOMAIN}"
PASSWORD = "wonderland"
SOURCE = ("192.0.2.9", 4711)

REGISTER = (
    b"REGISTER sip:siphub.net SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776asdhds\r\n"
    b"Max-Forwards: 70\r\n"
    b"From: Alice <sip:alice@siphub.net>;tag=1928301774\r\n"
    b"To: <sip:alice@siphub.net>\r\n"
    b"Call-ID: a84b4c76e66710@pc33\r\n"
    b"CSeq: 1 REGISTER\r\n"
    b"Content-Length: 0\r\n"
    b"\r\n"
)
DIGEST = (
    b'Digest username="alice", realm="siphub.net", nonce="bm9uY2U=", uri="sip:siphub.net", '
    b'response="00000000000000000000000000000000"'
)


def with_line(line: bytes, data: bytes = REGISTER) -> bytes:
    """The request with one more header field, or several, before Content-Length."""
    return data.replace(b"Content-Length", line + b"\r\nContent-Length")


def changed(old: bytes, new: bytes, data: bytes = REGISTER) -> bytes:
    assert data.count(old) == 1
    return data.replace(old, new)


def refused(data: bytes) -> ParseError:
    with pytest.raises(ParseError) as caught:
        SipRequest(data, SOURCE)
    assert 0 <= caught.value.offset <= len(data)
    return caught.value


def shortest(method="REGISTER"):
    """A request of which a challenge is more than twice as large."""
    return (
        f"{method} sip:{DOMAIN} SIP/2.0\r\nv: SIP/2.0/UDP a;branch=z9hG4bK1;rport\r\n"
        f"f: <sip:a@{DOMAIN}>;tag=1\r\nt: <sip:a@{DOMAIN}>\r\ni: 1\r\nCSeq: 1 {method}\r\n\r\n"
    ).encode()
