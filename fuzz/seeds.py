"""Writes the seeds of a target: what the project's test vectors hold, cut down to what that target reads.

    python fuzz/seeds.py TARGET FOLDER

The torture tests of RFC 4475 and RFC 5118 and real Diameter messages are taken, too, where ../shared has
them. Each seed is a file that is named by its contents, as libFuzzer names its own.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
VECTORS = ROOT / "tests" / "vectors"
SHARED = ROOT.parent / "shared" / "data"
MOST = 4096  # bytes; a fuzzer gets nowhere with larger ones


def files(*patterns: Path) -> Iterator[bytes]:
    for pattern in patterns:
        for path in sorted(pattern.parent.glob(pattern.name)):
            yield path.read_bytes()


def requests() -> Iterator[bytes]:
    yield from files(
        VECTORS / "sip-requests" / "*.dat", SHARED / "rfc4475" / "*.dat", SHARED / "rfc5118" / "*.dat"
    )
    yield from (exchange["request"].encode() for exchange in kamailio())
    yield from (
        loose_request(digest, address) for digest, address in zip(LOOSE_DIGESTS, LOOSE_ADDRESSES, strict=True)
    )


def loose_request(digest: bytes, address: bytes) -> bytes:
    return (
        b"REGISTER sip:siphub.net SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: %b\r\n"
        b"To: <sip:a@b>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\nm: %b\r\nAuthorization: %b\r\n\r\n"
    ) % (address, address, digest)


def kamailio() -> list[dict[str, str]]:
    return json.loads((VECTORS / "kamailio-5.6.3.json").read_text())


def digests() -> Iterator[bytes]:
    for path in (VECTORS / "digest-headers.jsonl", SHARED / "digest-headers.jsonl"):
        if path.exists():
            for line in path.read_text().splitlines():
                yield json.loads(line)["header"].encode()
    yield from LOOSE_DIGESTS
    for answer in answers():
        yield from re.findall(rb"Digest [^\r\0]+", answer)


# What breaks the grammar and is taken, or passed over, all the same.
LOOSE_DIGESTS = [
    b'Digest username="alice@siphub.net",realm="siphub.net",nonce="",uri="sip:siphub.net",response=""',
    b'Digest username="a, realm="b", REALM = "\\c" x, Digest realm=siphub.net',
    b'Digest realm="siphub.net", response="", algorithm=AKAv1-MD5, auts="QUFB"',
    b'Digest username="a",realm="b",nonce="n",uri="u",qop="",response="00000000000000000000000000000000"',
]
LOOSE_ADDRESSES = [
    "Virtu\u00e1lis koll\u00e9ga, 2nd (x) <sip:9901#1@siphub.net>;tag=1".encode(),
    b'NET\\alice <tel:+33123>;expires=0, "A \\"B\\"" <sip:a@b>;+sip.instance="<urn:uuid:1>",sip:c@d;q=1',
    b"sip:c@d, <sip:a@b>",
    b"*",
]


def header_fields(*names: bytes) -> Iterator[bytes]:
    for request in requests():
        yield from re.findall(rb"(?im)^(?:" + b"|".join(names) + rb") *: *(.*?)\r$", request)


def uris() -> Iterator[bytes]:
    for request in requests():
        yield from re.findall(rb"\A\w+ (.*) SIP/", request)
        yield from re.findall(rb"<([^<>\r]+)>", request)


def questions() -> Iterator[bytes]:
    yield from files(VECTORS / "disc-captured" / "*.bin")
    for exchange in kamailio():
        yield from (bytes.fromhex(pair["request"]) for pair in exchange["diameter"])


def answers() -> Iterator[bytes]:
    for exchange in kamailio():
        yield from (bytes.fromhex(pair["answer"]) for pair in exchange["diameter"])


def malformed() -> Iterator[bytes]:
    for line in (VECTORS / "diameter-malformed.tsv").read_text().splitlines():
        if not line.startswith("#"):
            yield bytes.fromhex(line.split("\t")[3].replace("-", ""))


def messages() -> Iterator[bytes]:
    yield from questions()
    yield from answers()
    yield from malformed()
    yield from files(SHARED / "diameter-real" / "*.bin", SHARED / "diameter-malformed" / "*.bin")


def records(*events: tuple[int, int, bytes]) -> bytes:
    return b"".join(
        bytes((event, whom)) + len(data).to_bytes(2, "big") + data for event, whom, data in events
    )


def sites() -> Iterator[bytes]:
    """Requests, and answers to the first of them: its SIP-MSGID is 0 there."""
    datagram, again, from_disc, time, broken, odd, close = range(7)
    for exchange in kamailio():
        request = exchange["request"].encode()
        for pair in exchange["diameter"]:
            answer = bytes.fromhex(pair["answer"])
            answer = answer.replace(answer[12:16], bytes(4))
            yield records((datagram, 0, request), (again, 0, b""), (from_disc, 0, answer), (again, 0, b""))
            yield records((datagram, 1, request), (from_disc, 1, answer[:30]), (from_disc, 1, answer[30:]))
    request = next(requests())
    yield records(
        *((datagram, number, request) for number in range(8)),
        (time, 90, b""),
        (broken, 0, b""),
        (odd, 0, b""),
        (close, 0, b""),
    )


def datagrams() -> Iterator[bytes]:
    """Requests from an IPv4 and from an IPv6 address, also with credentials for what the SIP server knows."""
    for request in requests():
        yield from (b"\0" + request, b"\1" + request)
    for digest in _FOR_ALICE:
        for method, header in ((b"REGISTER", b"Authorization"), (b"INVITE", b"Proxy-Authorization")):
            yield b"\0" + _CALL % (method, method, header, digest)


_CALL = (
    b"%b sip:siphub.net SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"
    b"From: <sip:alice@siphub.net>;tag=1\r\nTo: <sip:alice@siphub.net>\r\n"
    b"Call-ID: 1\r\nCSeq: 1 %b\r\n%b: %b\r\n\r\n"
)
_FOR_ALICE = [
    b'Digest username="%b", realm="siphub.net", nonce="%b", uri="sip:siphub.net", response="%b", '
    b"algorithm=%b%b" % (name, b"0" * 56, b"0" * digits, algorithm, more)
    for name in (b"alice", b"bob")
    for algorithm, digits in ((b"MD5", 32), (b"SHA-256", 64), (b"SHA-512-256-sess", 64))
    for more in (
        b"",
        b', qop=auth, nc=00000001, cnonce="0a"',
        b', userhash=true, qop=auth, nc=1, cnonce="0a"',
    )
]


def standard() -> Iterator[bytes]:
    """Messages of RFC 4740, of Cx and of the base protocol between programs of others."""
    for path in sorted((VECTORS / "diameter").glob("*.hex")):
        for line in path.read_text(encoding="ascii").splitlines():
            yield bytes.fromhex(line.split()[-1])


SEEDS = {
    "local_path": datagrams,
    "request_path": sites,
    "sip": requests,
    "digest": digests,
    "uri": uris,
    "fields": lambda: [*header_fields(b"From", b"To", b"Via", b"[ftv]", b"Contact"), *LOOSE_ADDRESSES],
    "diameter": messages,
    "disc_session": messages,
    "client_answers": messages,
    "standard_answers": standard,
    "standard_questions": standard,
}


def main(target: str, folder: str) -> None:
    into = Path(folder)
    into.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS[target]():
        if len(seed) <= MOST:
            (into / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)


if __name__ == "__main__":
    main(*sys.argv[1:])
