"""SIP requests, and replies read without mercy."""

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


def build_request(
    method: str = "INVITE",
    request_uri: str = "sip:bob@siphub.net",
    from_: str | None = "<sip:alice@siphub.net>;tag=a1",
    to: str | None = "<sip:bob@siphub.net>",
    extra: tuple[str, ...] = (),
    body: str = "",
) -> bytes:
    """A whole SIP request; `extra` are header lines."""
    lines = [f"{method} {request_uri} SIP/2.0", "Via: SIP/2.0/UDP 127.0.0.1:5066;branch=z9hG4bK-1"]
    if from_ is not None:
        lines.append(f"From: {from_}")
    if to is not None:
        lines.append(f"To: {to}")
    lines += ["Call-ID: c1@127.0.0.1", f"CSeq: 7 {method}", *extra, f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", body]).encode()


def build_credentials(username: str = "alice", realm: str = "siphub.net", **more: str) -> str:
    """The value of an Authorization header; the digest is for a DISC that does not look at it."""
    values = {"nonce": "5f3c9a1d", "uri": "sip:siphub.net", "response": "0" * 32} | more
    pairs = "".join(f', {name}="{value}"' for name, value in values.items())
    return f'Digest username="{username}", realm="{realm}"{pairs}'


FIRST = build_request()  # it has no credentials yet
RIGHT = build_request(extra=("Authorization: " + build_credentials(),))


def parse_reply(reply: bytes) -> tuple[int, str, list[tuple[str, str]]]:
    """Status, reason and header fields of a SIP reply without a body, read without mercy."""
    head, empty, body = reply.partition(b"\r\n\r\n")
    assert empty, "no empty line"
    assert body == b"", "a reply of ours has no body"
    first, *lines = head.decode("utf-8", "surrogateescape").split("\r\n")
    version, status, reason = first.split(" ", 2)
    assert version == "SIP/2.0"
    headers = []
    for line in lines:
        name, colon, value = line.partition(": ")
        assert colon, f"{line!r} is no header field"
        assert name.strip() == name != "", f"{line!r} is no header field"
        assert not set(value) & set("\r\n\0"), f"a control character in {line!r}"
        headers.append((name, value))
    return int(status), reason, headers
