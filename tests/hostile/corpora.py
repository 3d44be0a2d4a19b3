"""The sets of hostile and odd input, each as name → bytes.

Those made for this project lie in tests/vectors, but for the largest, which are written down here as
what they are. The torture tests of RFC 4475 and RFC 5118 and real Diameter messages lie next to the
project; where they do not, their sets are empty and their tests are skipped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest
from kit.places import SHARED, VECTORS

from auth_diameter import ParseError, SipRequest

DATA = SHARED / "data"

ZEROS = "0" * 32
DIGEST = (
    'Digest username="alice", realm="example.com", nonce="bm9uY2U=", uri="sip:example.com", '
    f'response="{ZEROS}"'
)


class DigestHeader(NamedTuple):
    """One value of an Authorization header, and what was proposed to do with it."""

    verdict: str  # ok, bad (breaks the grammar), reject (nobody's), nocred (passed over)
    value: bytes


def register(*lines: str, uri: str = "sip:example.com", to: str = "<sip:alice@example.com>") -> bytes:
    """The request that the set of SIP requests varies."""
    return "\r\n".join(
        [
            f"REGISTER {uri} SIP/2.0",
            "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776asdhds",
            "Max-Forwards: 70",
            "From: <sip:alice@example.com>;tag=1928301774",
            f"To: {to}",
            "Call-ID: a84b4c76e66710@pc33",
            "CSeq: 1 REGISTER",
            *lines,
            "Content-Length: 0",
            "",
            "",
        ]
    ).encode()


_LARGE_REQUESTS = {
    "angle_bomb": register(to="<" * 20_000),
    "hdr_64k": register("X: " + "a" * 60_000),
    "hundred_auth": register(
        *("Authorization: " + DIGEST.replace("example.com", f"r{n}.org", 1) for n in range(100))
    ),
    "keepalive_flood": b"\r\n" * 20_000,
    "line_fold_bomb": register("X: a" + "\r\n b" * 15_000),
    "paren_bomb": register("Subject: " + "(" * 50_000),
    "quote_bomb": register(to='"' * 20_001),
    "ruri_8k": register(uri=f"sip:{'a' * 8000}@example.com"),
}
_LARGE_HEADERS = {
    "resp_4096": ("bad", DIGEST.replace(ZEROS, "0" * 4096)),
    "resp_65535": ("bad", DIGEST.replace(ZEROS, "0" * 65_535)),
    "nonce_8192": ("bad", DIGEST.replace("bm9uY2U=", "A" * 8192)),
    "unknownpar_8192": ("bad", f'{DIGEST}, x="{"A" * 8192}"'),
    "user_65000": ("bad", DIGEST.replace("alice", "A" * 65_000)),
    "nonce_65000": ("bad", DIGEST.replace("bm9uY2U=", "A" * 65_000)),
    "ws_bomb": ("ok", DIGEST.replace(" ", " " * 60_001, 1)),
    "bs_bomb": ("bad", DIGEST.replace("alice", "\\" * 60_000)),
}


def _files(folder: Path, suffix: str) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted(folder.glob(f"*{suffix}"))}


def sip_requests() -> dict[str, bytes]:
    """Requests that RFC 4475 lacks: credentials, framing, smuggling, shapes of published flaws."""
    return _files(VECTORS / "sip-requests", ".dat") | _LARGE_REQUESTS


def torture_requests() -> dict[str, bytes]:
    """The messages of RFC 4475 and RFC 5118, where they are at hand."""
    return _files(DATA / "rfc4475", ".dat") | _files(DATA / "rfc5118", ".dat")


def digest_headers() -> dict[str, DigestHeader]:
    """Odd and hostile Digest credentials."""
    rows = [json.loads(line) for line in (VECTORS / "digest-headers.jsonl").read_text().splitlines()]
    found = {row["id"]: (row["verdict"], row["header"]) for row in rows} | _LARGE_HEADERS
    return {name: DigestHeader(verdict, value.encode("latin-1")) for name, (verdict, value) in found.items()}


def diameter_malformed() -> dict[str, bytes]:
    """Malformed and hostile Diameter messages: questions and answers."""
    rows = [line.split("\t") for line in (VECTORS / "diameter-malformed.tsv").read_text().splitlines()]
    found = {row[0]: bytes.fromhex(row[3].replace("-", "")) for row in rows if row[0][0] != "#"}
    # A whole question and 7,000 empty AVPs behind it.
    avps = found["cmd_max"][20:] + bytes.fromhex("0000270f00000008") * 7_000
    found["many_avps"] = _headed(0x80, avps)
    # An answer whose Challenge is a realm that never ends.
    challenge = b'Digest realm="' + b"A" * 60_000 + b'"\r\n'
    avps = found["no_resultcode"][20:] + bytes.fromhex("0000010c4000000c00000fa1")
    avps += bytes.fromhex("00000192 40") + (8 + len(challenge)).to_bytes(3, "big") + challenge
    found["challenge_64k"] = _headed(0, avps + bytes(-len(avps) % 4))
    return found


def _headed(flags: int, avps: bytes) -> bytes:
    size = (20 + len(avps)).to_bytes(3, "big")
    return b"\1" + size + bytes([flags]) + bytes.fromhex("000109 00000001") + bytes(8) + avps


def diameter_real() -> dict[str, bytes]:
    """Messages of other Diameter applications, where they are at hand."""
    return _files(DATA / "diameter-real", ".bin")


def disc_captured() -> dict[str, bytes]:
    """Questions as Kamailio 5.6.3 sends them."""
    return _files(VECTORS / "disc-captured", ".bin")


def domains() -> set[str]:
    """The hosts of From and To in the requests: realms that DISC must serve, or it will not challenge."""
    found: set[str] = set()
    for data in (sip_requests() | torture_requests()).values():
        try:
            request = SipRequest(data)
        except ParseError:
            continue
        found |= {host for host in (request.from_host, request.to_host) if host}
    return found


def params(names: Iterable[str], what: str) -> list[object]:
    """The names as parameters of a test, which is skipped where there are none."""
    skip = pytest.mark.skip(reason=f"{what} lie in ../shared, which is not here")
    return list(names) or [pytest.param("", marks=skip)]
