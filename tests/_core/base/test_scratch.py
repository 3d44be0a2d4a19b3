"""The memory of one batch of work (src/_core/base/scratch.h): it may hold secrets."""

import subprocess
from pathlib import Path

from kit.compiled import compiled


def test_what_was_taken_is_wiped(tmp_path: Path) -> None:
    """Before it is freed, and before it serves the next batch."""
    done = subprocess.run([compiled(tmp_path, "scratch_test")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
