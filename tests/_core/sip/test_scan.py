"""Header fields split 32 bytes at a time (lines.h), and byte by byte: the whole result is the same.

The vectors take the common form alone; RFC 3261, 7.3 and 25.1, is in parse.pyx for all forms. Only the inputs
here decide, since what a request is, is tested elsewhere.
"""

from __future__ import annotations

import json
import random

import pytest
from hostile import corpora
from hypothesis import given
from hypothesis import strategies as st
from kit.places import SHARED, VECTORS

from auth_diameter._core.sip.parse import is_scan_the_same
from auth_diameter.bench.pairs import request

HEAD = b"OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n"

if is_scan_the_same(HEAD, 65535, 256) is None:
    pytest.skip("this machine has one way alone", allow_module_level=True)


def same(data: bytes, max_lines: int = 256) -> bool:
    return bool(is_scan_the_same(data, 65535, max_lines))


def files() -> list[bytes]:
    """All files of requests that there are, and other bytes."""
    folders = [
        VECTORS / "sip-requests", SHARED / "data/rfc4475", SHARED / "data/rfc5118",
        SHARED / "data/sip-requests", SHARED / "data/diameter-malformed",
    ]  # fmt: skip
    found = [path.read_bytes() for folder in folders for path in sorted(folder.glob("*")) if path.is_file()]
    kamailio = json.loads((VECTORS / "kamailio-5.6.3.json").read_text())
    return [*found, *(exchange["request"].encode() for exchange in kamailio)]


def test_every_corpus() -> None:
    inputs = [*files(), *corpora.sip_requests().values()]
    assert len(inputs) > 50
    for data in inputs:
        assert same(data), data


def test_every_prefix_of_a_request() -> None:
    data = request()
    for size in range(len(data) + 1):
        assert same(data[:size]), size


def test_every_byte_at_every_place() -> None:
    """Of two lines: in and behind a name, at both ends of a value, in CR, LF and what follows them."""
    line = b"Subject: a b\r\nX-Long-Name-Of-28-Characters-A: " + b"v" * 40 + b"\r\n"
    for at in range(len(line)):
        for byte in range(256):
            changed = bytearray(line)
            changed[at] = byte
            assert same(HEAD + bytes(changed) + b"To: <sip:a@b>\r\n" * 4 + b"\r\n"), (at, byte)


@pytest.mark.parametrize("name", [b"a" * n for n in range(29, 36)])
@pytest.mark.parametrize("size", range(60, 68))
def test_lengths_around_those_of_vectors(name: bytes, size: int) -> None:
    for blanks in (b"", b" ", b" \t ", b"   "):
        line = name + b":" + blanks + b"v" * size + blanks + b"\r\n"
        for fold in (b"", b" fold\r\n", b"\tfold\r\n"):
            assert same(HEAD + line + fold + b"\r\n")
            assert same(HEAD + line + fold + line + fold)


@pytest.mark.parametrize("lines", range(40))
def test_limits_of_header_fields(lines: int) -> None:
    """The error is at the same place, in the middle of those that are split at once, too."""
    data = HEAD + b"X-Some: value of some length, so it takes a vector\r\n" * 36 + b"\r\n"
    assert same(data, lines)


def test_mutations() -> None:
    generator = random.Random(3261)
    pieces = [
        b"\r\n",
        b"\r",
        b"\n",
        b"\t",
        b" ",
        b":",
        b"\0",
        b"\x7f",
        b"\\\x01",
        b"\r\n ",
        b" :",
        b"\xff",
        b"\r\n\r\n",
    ]
    data = request()
    for _ in range(20_000):
        changed = bytearray(data)
        for _ in range(generator.randrange(1, 4)):
            at = generator.randrange(len(changed))
            changed[at : at + generator.randrange(3)] = generator.choice(pieces)
        assert same(bytes(changed)), bytes(changed)


@given(
    st.lists(
        st.sampled_from([b"To", b"a" * 31, b":", b" ", b"\t", b"\r\n", b"x" * 17, b"\x80", b"\0"]),
        max_size=40,
    )
)
def test_lines_of_any_pieces(pieces: list[bytes]) -> None:
    assert same(HEAD + b"".join(pieces) + b"\r\n" * 20)
