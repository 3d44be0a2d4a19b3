"""NH and CLNH with 64-bit words, twice (src/_core/base/nh.h), against both once more in Python."""

import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from kit.compiled import compiled

BLOCK = 1024


def words(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + 8], sys.byteorder) for at in range(0, len(data), 8)]


def nh(key: list[int], message: bytes) -> int:
    """RFC 4418, 5.2.2, with 64 bits for each 32 of it, neighbours multiplied, and without the length."""
    m = words(message + b"\0" * (-len(message) % 16))
    total = 0
    for i in range(0, len(m), 2):
        total += (m[i] + key[i]) % 2**64 * ((m[i + 1] + key[i + 1]) % 2**64)
    return total % 2**128


def clnh(key: list[int], message: bytes) -> int:
    """The same without carries: what is added is an exclusive or, in a product, too."""
    m = words(message + b"\0" * (-len(message) % 16))
    total = 0
    for i in range(0, len(m), 2):
        a, b = m[i] ^ key[i], m[i + 1] ^ key[i + 1]
        while b:
            total ^= a * (b & -b)  # a times one power of two
            b &= b - 1
    return total


def generator() -> Iterator[int]:
    """The bytes of nh_test.c."""
    state = 1
    while True:
        state = state * 48271 % (2**31 - 1)
        yield state >> 8 & 0xFF


@pytest.mark.parametrize("options", [(), ("-U__SIZEOF_INT128__",)], ids=["128 bits", "64 bits"])
def test_the_one_in_c_is_the_same(tmp_path: Path, options: tuple[str, ...]) -> None:
    """For every size, and without numbers of 128 bits, too. The second sum has the key from word 2 on."""
    done = subprocess.run(
        [compiled(tmp_path, "nh_test", *options)], capture_output=True, text=True, check=True
    )
    lines = [[int(word, 16) for word in line.split()] for line in done.stdout.splitlines()]
    stream = generator()
    key = words(bytes(islice(stream, BLOCK + 16)))
    assert len(lines) == BLOCK + 1
    for size, line in enumerate(lines):
        message = bytes(islice(stream, size))
        sums = [low | high << 64 for low, high in zip(line[::2], line[1::2], strict=True)]
        assert sums[:2] == [nh(key, message), nh(key[2:], message)]
        if sums[2:] and (size % 16 in (0, 1, 15) or size < 100):  # slow in Python
            assert sums[2:] == [clnh(key, message), clnh(key[2:], message)]
