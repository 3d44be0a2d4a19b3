"""NH with 64-bit words, twice (src/_core/base/nh.h), against NH written down once more, in Python."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from kit.places import ROOT

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


def generator() -> Iterator[int]:
    """The bytes of nh_test.c."""
    state = 1
    while True:
        state = state * 48271 % (2**31 - 1)
        yield state >> 8 & 0xFF


@pytest.mark.parametrize("options", [(), ("-U__SIZEOF_INT128__",)], ids=["128 bits", "64 bits"])
def test_the_one_in_c_is_the_same(tmp_path: Path, options: tuple[str, ...]) -> None:
    """For every size, and without numbers of 128 bits, too. The second sum has the key from word 2 on."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"no C compiler: {compiler[0]} is not found")
    program = tmp_path / "nh_test"
    command = [
        *compiler, "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", *options,
        f"-I{ROOT / 'src/_core/base'}", "-o", program,
        ROOT / "tests/c/nh_test.c",
    ]  # fmt: skip
    subprocess.run(command, check=True)
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    lines = [[int(word, 16) for word in line.split()] for line in done.stdout.splitlines()]
    stream = generator()
    key = words(bytes(islice(stream, BLOCK + 16)))
    assert len(lines) == BLOCK + 1
    for size, (low, high, second_low, second_high) in enumerate(lines):
        message = bytes(islice(stream, size))
        assert low | high << 64 == nh(key, message)
        assert second_low | second_high << 64 == nh(key[2:], message)
