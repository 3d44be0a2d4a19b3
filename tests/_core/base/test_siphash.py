"""SipHash-1-3 with 128 bits (src/_core/base/siphash.h) against SipHash written down once more, in Python.

That one is checked by the vectors of its authors ("SipHash: a fast short-input PRF", appendix A, and those
of the double output in their reference), which have other numbers of rounds; and by Python itself, whose
hash of bytes is SipHash-1-3 with a key of zeros where PYTHONHASHSEED is 0.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from kit.compiled import compiled

KEY = bytes(range(16))
MASK = (1 << 64) - 1


def siphash(key: bytes, message: bytes, c: int, d: int, double: bool) -> bytes:
    """So many rounds for each word and at the end."""
    k0, k1 = (int.from_bytes(key[at : at + 8], "little") for at in (0, 8))
    v = [
        k0 ^ 0x736F6D6570736575,
        k1 ^ 0x646F72616E646F6D,
        k0 ^ 0x6C7967656E657261,
        k1 ^ 0x7465646279746573,
    ]

    def rotate(x: int, n: int) -> int:
        return (x << n | x >> (64 - n)) & MASK

    def rounds(count: int) -> None:
        for _ in range(count):
            for a, b, n in ((0, 1, 13), (2, 3, 16)):
                v[a] = (v[a] + v[b]) & MASK
                v[b] = rotate(v[b], n) ^ v[a]
            v[0] = rotate(v[0], 32)
            for a, b, n in ((2, 1, 17), (0, 3, 21)):
                v[a] = (v[a] + v[b]) & MASK
                v[b] = rotate(v[b], n) ^ v[a]
            v[2] = rotate(v[2], 32)

    if double:
        v[1] ^= 0xEE
    padded = message.ljust(len(message) // 8 * 8 + 7, b"\0") + bytes([len(message) & 0xFF])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        v[3] ^= word
        rounds(c)
        v[0] ^= word
    v[2] ^= 0xEE if double else 0xFF
    rounds(d)
    out = (v[0] ^ v[1] ^ v[2] ^ v[3]).to_bytes(8, "little")
    if double:
        v[1] ^= 0xDD
        rounds(d)
        out += (v[0] ^ v[1] ^ v[2] ^ v[3]).to_bytes(8, "little")
    return out


def test_the_one_in_python_is_that_of_the_paper() -> None:
    """Appendix A: the message 00 01 … 0e gives a129ca6149be45e5."""
    assert siphash(KEY, bytes(range(15)), 2, 4, False)[::-1].hex() == "a129ca6149be45e5"
    assert siphash(KEY, b"", 2, 4, False).hex() == "310e0edd47db6f72"


def test_the_double_output_is_that_of_the_reference() -> None:
    assert siphash(KEY, b"", 2, 4, True).hex() == "a3817f04ba25a8e66df67214c7550293"
    assert siphash(KEY, b"\0", 2, 4, True).hex() == "da87c1d86b99af44347659119b22fc45"


@pytest.mark.skipif(sys.hash_info.algorithm != "siphash13", reason="this Python hashes otherwise")
def test_one_round_a_word_is_what_python_does() -> None:
    messages = [bytes(range(size)) for size in range(1, 64)]
    done = subprocess.run(
        [sys.executable, "-c", f"print([hash(message) for message in {messages!r}])"],
        env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    expected = [
        int.from_bytes(siphash(bytes(16), one, 1, 3, False), "little", signed=True) for one in messages
    ]
    assert eval(done.stdout) == expected


@pytest.mark.skipif(sys.byteorder != "little", reason="it reads words as the machine has them")
def test_the_one_in_c_is_the_same(tmp_path: Path) -> None:
    done = subprocess.run([compiled(tmp_path, "siphash_test")], capture_output=True, text=True, check=True)
    found = [
        b"".join(int(half, 16).to_bytes(8, "little") for half in line.split())
        for line in done.stdout.splitlines()
    ]
    assert found == [siphash(KEY, bytes(range(size)), 1, 3, True) for size in range(64)]
