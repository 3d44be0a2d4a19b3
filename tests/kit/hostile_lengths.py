"""Hostile input in two lengths, and a program that has valgrind count what reading each of it costs.

    valgrind --tool=callgrind --dump-before=getppid* python -m kit.hostile_lengths

Each kind of input is made of what its grammar repeats or scans for: commas, folds, quotes, backslashes,
brackets, header fields, Via, parameters, groups. `os.getppid()` tells valgrind where a reading begins and
ends; nothing else here calls it.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from contextlib import suppress

from kit.answer_stream import AnswerStream
from kit.pool import new_question

import auth_diameter as ad
from auth_diameter._core import Challenge, RequestStream, Uri

LARGE = 65_000  # bytes, all but what a UDP datagram or a DISC's message may have
SMALL = LARGE // 8
TIMES = 16  # as long is a message in pieces, so that copies of all that came would be seen
PIECE = 256  # bytes


def request(*lines: bytes, uri: bytes = b"sip:siphub.net", to: bytes = b"<sip:alice@siphub.net>") -> bytes:
    head = [
        b"REGISTER " + uri + b" SIP/2.0",
        b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1",
        b"From: <sip:alice@siphub.net>;tag=1",
        b"To: " + to,
        b"Call-ID: 1@192.0.2.1",
        b"CSeq: 1 REGISTER",
    ]
    return b"\r\n".join([*head, *lines, b"", b""])


def credentials(more: bytes) -> bytes:
    return (
        b'Digest username="alice", realm="siphub.net", nonce="n", uri="sip:siphub.net", response="'
        + b"0" * 32
        + b'", '
        + more
    )


def filled(piece: bytes, size: int) -> bytes:
    return piece * (size // len(piece))


def avp(code: int, data: bytes) -> bytes:
    return (
        code.to_bytes(4, "big") + b"\x40" + (8 + len(data)).to_bytes(3, "big") + data + bytes(-len(data) % 4)
    )


def message(body: bytes, flags: int = 0) -> bytes:
    return (
        b"\x01"
        + (20 + len(body)).to_bytes(3, "big")
        + bytes([flags])
        + b"\0\x01\x09\0\0\0\x01"
        + bytes(8)
        + body
    )


def groups(size: int) -> bytes:
    """Groups in groups, 16 deep, around as much as there is room for."""
    data = filled(avp(1, b"alice"), size)
    for _ in range(16):
        data = avp(297, data)  # Experimental-Result
    return data


def read_request(data: bytes) -> None:
    try:
        found = ad.SipRequest(data, ("192.0.2.9", 5060))
    except ad.ParseError as error:
        found = error.request
    if found is not None:
        found.reply(400, "Bad Request")
        with suppress(ad.ParseError):
            found.credentials("siphub.net")
        with suppress(ad.ParseError):
            found.contacts  # noqa: B018


def read_credentials(data: bytes) -> None:
    with suppress(ad.ParseError):
        ad.Credentials.parse(data)


def read_challenge(data: bytes) -> None:
    with suppress(ad.ParseError):
        Challenge.parse(data)


def read_uri(data: bytes) -> None:
    with suppress(ad.ParseError):
        Uri.parse(data)


def read_message(data: bytes) -> None:
    with suppress(ad.ParseError):
        level = ad.Message.decode(data).avps
        while level and level[0].code == 297:
            level = level[0].avps


def read_in_pieces(data: bytes) -> None:
    """A message of a single AVP, 16 times as long as the data, whose rest does not come."""
    whole = message(avp(1, data * TIMES))
    stream = RequestStream(limit=len(whole))
    for start in range(0, len(whole) - PIECE, PIECE):
        stream.feed(whole[start : start + PIECE])


def ask_disc(data: bytes) -> None:
    RequestStream().feed(data)


def answer_client(data: bytes) -> None:
    AnswerStream().feed(data, {0: new_question()})


CASES: dict[str, tuple[Callable[[bytes], None], Callable[[int], bytes]]] = {
    # SIP requests
    "empty lines": (read_request, lambda n: filled(b"\r\n", n)),
    "spaces in the Request-Line": (read_request, lambda n: request(uri=filled(b" ", n))),
    "a Request-URI of escapes": (read_request, lambda n: request(uri=b"sip:" + filled(b"%61", n) + b"@b")),
    "a Request-URI of parameters": (read_request, lambda n: request(uri=b"sip:a" + filled(b";b=c", n))),
    "folds": (read_request, lambda n: request(b"X: a" + filled(b"\r\n b", n))),
    "nothing but folds": (read_request, lambda n: request(b"X:" + filled(b"\r\n ", n))),
    "control characters": (read_request, lambda n: request(b"X: " + filled(b"\x01", n))),
    "escaped control characters": (read_request, lambda n: request(b'X: "' + filled(b"\\\x01", n) + b'"')),
    "header fields": (read_request, lambda n: request(*[b"X:" + filled(b"a ", 325)] * (n // 330))),
    "lines that are none": (read_request, lambda n: request(filled(b"X\r\n", n))),
    "Via lines": (
        read_request,
        lambda n: request(*[b"Via: SIP/2.0/UDP a" + filled(b";b", 310)] * (n // 330)),
    ),
    "via-parms": (read_request, lambda n: request(b"Via: SIP/2.0/UDP a" + filled(b",SIP/2.0/UDP a", n))),
    "via parameters": (
        read_request,
        lambda n: b"A sip:a SIP/2.0\r\nVia: SIP/2.0/UDP a" + filled(b";received=a", n),
    ),
    "quotes in a via parameter": (
        read_request,
        lambda n: b"A sip:a SIP/2.0\r\nVia: SIP/2.0/UDP a" + filled(b';a="b"', n) + b"\r\n\r\n",
    ),
    "brackets in Via": (read_request, lambda n: request(b"Via: SIP/2.0/UDP " + filled(b"[", n))),
    "brackets in To": (read_request, lambda n: request(to=filled(b"<", n))),
    "tokens in To": (read_request, lambda n: request(to=filled(b"a ", n))),
    "quotes in To": (read_request, lambda n: request(to=filled(b'"', n))),
    "backslashes in To": (read_request, lambda n: request(to=b'"' + filled(b"\\\\", n) + b'" <sip:a@b>')),
    "parameters of To": (read_request, lambda n: request(to=b"<sip:a@b>" + filled(b";a=b", n))),
    "at signs in To": (read_request, lambda n: request(to=b"sip:a" + filled(b"@", n))),
    "Authorization lines": (
        read_request,
        lambda n: request(*[b"Authorization: " + credentials(filled(b",", 180))] * (n // 330)),
    ),
    "realms of a malformed field": (
        read_request,
        lambda n: request(b"Authorization: Digest =, " + filled(b"realm=x.net, ", n)),
    ),
    "quotes of a malformed field": (
        read_request,
        lambda n: request(b"Authorization: Digest =" + filled(b'"', n)),
    ),
    "backslashes of a malformed field": (
        read_request,
        lambda n: request(b'Authorization: Digest =, realm="' + filled(b"\\x", n)),
    ),
    "contacts": (read_request, lambda n: request(b"m: sip:a@b" + filled(b",<sip:a@b>", n))),
    "names without quotes": (read_request, lambda n: request(b"m: " + filled(b"a;b ", n) + b"<sip:a@b>")),
    "parameters of Contact": (read_request, lambda n: request(b"m: <sip:a@b>" + filled(b';a="\\b"', n))),
    # Digest
    "commas": (read_credentials, lambda n: credentials(filled(b",", n))),
    "spaces": (read_credentials, lambda n: credentials(filled(b" ", n))),
    "quotes": (read_credentials, lambda n: credentials(b'opaque="' + filled(b'"', n))),
    "backslashes": (read_credentials, lambda n: credentials(b'opaque="' + filled(b"\\\\", n) + b'"')),
    "unknown parameters": (read_credentials, lambda n: credentials(filled(b"abcdefgh=1,", n))),
    "a parameter's name": (read_credentials, lambda n: credentials(filled(b"a", n) + b"=b")),
    "equal signs": (read_credentials, lambda n: credentials(b"a" + filled(b"=", n))),
    "a challenge of commas": (read_challenge, lambda n: b'Digest realm="a", nonce="b"' + filled(b",", n)),
    # URIs
    "parameters of a URI": (read_uri, lambda n: b"sip:a@b" + filled(b";a=b", n)),
    "headers of a URI": (read_uri, lambda n: b"sip:a@b?a=b" + filled(b"&a=b", n)),
    "digits of a port": (read_uri, lambda n: b"sip:a@b:" + filled(b"0", n) + b"1"),
    "an address of colons": (read_uri, lambda n: b"sip:[" + filled(b":", n) + b"]"),
    "another scheme": (read_uri, lambda n: b"urn:" + filled(b"%41", n)),
    # Diameter
    "empty AVPs": (read_message, lambda n: message(filled(avp(1, b""), n))),
    "AVPs without a name": (read_message, lambda n: message(filled(avp(99_999, b"1234"), n))),
    "groups": (read_message, lambda n: message(groups(n - 200))),
    "a message in pieces": (read_in_pieces, bytes),
    "AVPs of a question": (ask_disc, lambda n: message(filled(avp(1, b"alice"), n), 0x80)),
    "NULs at the end of a user": (
        ask_disc,
        lambda n: message(avp(1, filled(b"\0", n)) + avp(283, b"a") + avp(404, b"6"), 0x80),
    ),
    "credentials of commas": (
        ask_disc,
        lambda n: message(
            avp(1, b"a")
            + avp(283, b"a")
            + avp(404, b"6")
            + avp(403, b"A")
            + avp(401, credentials(filled(b",", n))),
            0x80,
        ),
    ),
    "questions of a header": (ask_disc, lambda n: filled(message(b"", 0x80), n)),
    "Challenges": (answer_client, lambda n: message(filled(avp(402, b"Digest a"), n))),
    "a Challenge of line ends": (answer_client, lambda n: message(avp(402, filled(b"\r\n", n)))),
    "answers of a header": (answer_client, lambda n: filled(message(b""), n)),
}


ORDINARY = request(
    b"Contact: <sip:alice@192.0.2.1>",
    b"Authorization: " + credentials(b'qop=auth, nc=00000001, cnonce="a"'),
)


def read_ordinary(data: bytes) -> None:
    """One request after the other, in all as long as what is compared with it."""
    for _ in range(LARGE // len(data)):
        read_request(data)


def main() -> None:
    """Read ordinary requests, then each kind in both lengths; each is done once before it is counted."""
    readings = [(read_ordinary, ORDINARY)]
    for read, make in CASES.values():
        readings += [(read, make(SMALL)), (read, make(LARGE))]
    gc.disable()  # it would count for whoever is read when it comes
    for read, data in readings:
        read(data)
        os.getppid()
        read(data)
        os.getppid()


if __name__ == "__main__":
    main()
