"""Hostile input costs work in proportion to its length: twice the bytes, twice the work, whatever they are.

Work is instructions, counted by valgrind: as many on a busy machine as on an idle one. It is compared over
a factor of 8 in length: 8 where the work is in proportion to it, 64 where each byte looks at all the others.
Nor is any kind much dearer than as many bytes of ordinary requests.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from kit.hostile_lengths import CASES, LARGE, SMALL

TESTS = Path(__file__).parents[1]
LITTLE = 50_000  # instructions: what costs no more for 64 KiB is done after one look


def counted(folder: Path) -> list[int]:
    """Instructions of each reading, in the order in which the program reads."""
    done = subprocess.run(
        ["valgrind", "--tool=callgrind", "--dump-before=getppid*", f"--callgrind-out-file={folder}/out",
         sys.executable, "-m", "kit.hostile_lengths"],
        env={**os.environ, "PYTHONPATH": str(TESTS), "PYTHONMALLOC": "malloc"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    dumps = sorted(folder.glob("out.*"), key=lambda path: int(path.suffix[1:]))
    found = [int(re.search(r"^summary: (\d+)", path.read_text(), re.MULTILINE)[1]) for path in dumps]
    return found[1::2]  # before each is the dump of what led up to it


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is missing (apt install valgrind)")
def test_work_grows_in_proportion_to_the_length(tmp_path: Path) -> None:
    """And 64 KiB of anything cost less than six times what as many bytes of ordinary requests do."""
    ordinary, *of_cases = counted(tmp_path)
    assert len(of_cases) == 2 * len(CASES)
    wrong = []
    for name, small, large in zip(CASES, of_cases[::2], of_cases[1::2], strict=True):
        if large > 6 * ordinary or large > max(16 * small, LITTLE):
            wrong.append(f"{name}: {large:,}; an eighth of it {small:,}; ordinary {ordinary:,}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", CASES)
def test_what_is_compared_has_those_lengths(name: str) -> None:
    _, make = CASES[name]
    assert len(make(LARGE)) > 7 * len(make(SMALL)) > 0
