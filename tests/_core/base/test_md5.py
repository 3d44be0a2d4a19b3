"""MD5 (src/_core/base/md5.c) against hashlib and RFC 1321, on each kind of lanes that runs here.

The C source is compiled here, apart from the package, together with tests/c/md5_test.c, which
prints digests of known pieces of known bytes.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from kit.places import ROOT

LANES = ["avx512", "avx2", "sse2", "neon", "scalar"]
BUILDS = {
    "optimized": ["-O3", "-Werror"],
    "sanitized": ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
}

# As tests/c/md5_test.c fills its memory.
BYTES = bytes((i * 131 + i // 256 * 7) % 256 for i in range(1 << 16))

# RFC 1321, appendix A.5.
RFC_1321_SUITE = {
    "": "d41d8cd98f00b204e9800998ecf8427e",
    "a": "0cc175b9c0f1b6a831c399e269772661",
    "abc": "900150983cd24fb0d6963f7d28e17f72",
    "message digest": "f96b697d7cb7938d525a2f31aaf161d0",
    "abcdefghijklmnopqrstuvwxyz": "c3fcd3d76192e4007dfb496cca67e13b",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789": ("d174ab98d277d9f5a5611c2c9f419d9f"),
    "1234567890" * 8: "57edf4a22be3c955ac49da2e2107b67a",
}


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def run(program: Path, *arguments: str) -> list[list[str]]:
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"exit status {done.returncode}: {done.stderr}"
    return [line.split() for line in done.stdout.splitlines()]


@pytest.fixture(scope="module", params=["optimized", pytest.param("sanitized", marks=pytest.mark.campaign)])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"no C compiler: {compiler[0]} is not found")
    target = tmp_path_factory.mktemp("md5") / "md5_test"
    done = subprocess.run(
        [
            *compiler, "-std=c11", "-Wall", "-Wextra", *BUILDS[request.param],
            f"-I{ROOT / 'src/_core/base'}", "-o", target,
            ROOT / "tests/c/md5_test.c", ROOT / "src/_core/base/md5.c",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0 and request.param == "sanitized" and "san" in done.stderr:
        pytest.skip(f"the compiler comes without its sanitizers: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def available(program: Path) -> list[str]:
    return [name for (name,) in run(program, "lanes")]


@pytest.fixture(params=LANES)
def lanes(request: pytest.FixtureRequest, available: list[str]) -> str:
    if request.param not in available:
        pytest.skip(f"this machine has no {request.param}")
    return request.param


def test_scalar_lanes_run_everywhere_and_unknown_names_are_refused(available: list[str]) -> None:
    """ad_md5_use_lanes takes what runs here; another name leaves the choice alone."""
    assert "scalar" in available
    assert set(available) <= set(LANES)


def test_rfc_1321_suite(program: Path, lanes: str) -> None:
    """RFC 1321, appendix A.5: often enough to fill every lane, in turn."""
    texts = list(RFC_1321_SUITE) * 10
    digests = [digest for *_, digest in run(program, "text", lanes, *texts)]
    assert digests == [RFC_1321_SUITE[text] for text in texts]


def test_every_function_agrees_with_hashlib(program: Path, lanes: str) -> None:
    """Lengths 0 to 300 next to unreadable pages, 0 to 70 jobs of mixed lengths, null data.

    The program itself fails if ad_md5_many writes outside of a digest, or if ad_md5_compress2
    differs from ad_md5_compress.
    """
    seen: dict[str, set[int]] = {"many": set(), "one": set(), "stream": set()}
    expected: dict[tuple[int, int], str] = {}
    for function, *place, digest in run(program, "digests", lanes):
        offset, length = map(int, place)
        if (offset, length) not in expected:
            expected[offset, length] = md5(BYTES[offset : offset + length])
        assert digest == expected[offset, length], f"{function}: {length} bytes from {offset}"
        seen[function].add(length)
    for function, lengths in seen.items():
        assert lengths >= set(range(301)), function


def test_length_in_bits_takes_64_bits(program: Path) -> None:
    """RFC 1321, section 3.2: the length appended is a 64-bit number of bits, low word first."""
    ((*_, digest),) = run(program, "large")
    whole = hashlib.md5(usedforsecurity=False)
    mebibyte = bytes(1 << 20)
    for _ in range(512):
        whole.update(mebibyte)
    whole.update(bytes(3))
    assert digest == whole.hexdigest()
