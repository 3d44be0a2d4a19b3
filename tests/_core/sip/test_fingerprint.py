"""The fingerprint of a request: what is a retransmission, and what is another request."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from auth_diameter import SipRequest
from auth_diameter._core import authentication

HEAD = (
    b"REGISTER sip:siphub.net SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"
    b"From: <sip:alice@siphub.net>;tag=1\r\nTo: <sip:alice@siphub.net>\r\n"
    b"Call-ID: c1\r\nCSeq: 1 REGISTER\r\n\r\n"
)
SOURCE = ("192.0.2.1", 5060)
BLOCK = 1024  # bytes that NH takes at a time


def fingerprint(data: bytes, source: tuple[object, ...] | None = SOURCE) -> bytes:
    return authentication(SipRequest(data, source), "siphub.net", None, False).request_id


def of_size(size: int) -> bytes:
    """A request of that many bytes; zeros follow its header fields."""
    return HEAD.ljust(size, b"\0")


def test_a_retransmission_has_the_same() -> None:
    assert fingerprint(HEAD) == fingerprint(bytes(bytearray(HEAD)))
    assert len(fingerprint(HEAD)) == 16


@pytest.mark.parametrize(
    "size", [len(HEAD) + n for n in range(17)] + [BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 7]
)
def test_each_bit_of_each_byte_counts(size: int) -> None:
    """In a whole block, in the last pair of words, and in one that is filled with zeros."""
    data = of_size(size)
    found = {fingerprint(data)}
    for at in range(len(HEAD), size):
        for bit in (0x01, 0x80):
            changed = bytearray(data)
            changed[at] ^= bit
            found.add(fingerprint(bytes(changed)))
    assert len(found) == 1 + 2 * (size - len(HEAD))


def test_zeros_at_the_end_count() -> None:
    """NH fills the last words with zeros; the size is hashed, so that no two sizes meet."""
    sizes = [
        *range(len(HEAD), len(HEAD) + 40),
        *range(BLOCK - 20, BLOCK + 20),
        *range(2 * BLOCK - 4, 2 * BLOCK + 20),
    ]
    assert len({fingerprint(of_size(size)) for size in sizes}) == len(sizes)


def test_blocks_that_change_places_count() -> None:
    first, second = b"a" * BLOCK, b"b" * BLOCK
    head = of_size(BLOCK)
    assert len({fingerprint(head + body) for body in (first + second, second + first, first + first)}) == 3


def test_each_part_of_the_source_counts() -> None:
    sources = [
        None, ("", 0), ("192.0.2.1", 0), ("192.0.2.1", 5060), ("192.0.2.2", 5060), ("192.0.2.1", 5061),
        ("192.0.2.10", 5060), ("192.0.2.1", 65535), ("fe80::1", 5060), ("fe80::1", 5060, 1, 0),
        ("fe80::1", 5060, 0, 1), ("fe80::1", 5060, 0, 2**32 - 1), ("fe80::1", 5060, 2**20 - 1, 0),
    ]  # fmt: skip
    assert len({fingerprint(HEAD, source) for source in sources}) == len(sources)
    assert fingerprint(HEAD, ("fe80::1", 5060, 0, 0)) == fingerprint(HEAD, ("fe80::1", 5060))


def test_each_process_has_its_own_key() -> None:
    """So nobody who has tried it out at home knows which two requests share one."""
    code = "from test_fingerprint import *; print(fingerprint(HEAD).hex())"
    path = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert len(done.stdout.strip()) == 32
    assert done.stdout.strip() != fingerprint(HEAD).hex()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_has_the_same() -> None:
    """Workers answer each other's retransmissions alike."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, fingerprint(HEAD))
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    found = os.read(reading, 100)
    os.close(reading)
    assert found == fingerprint(HEAD)
