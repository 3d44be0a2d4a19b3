"""Programs of tests/c, compiled apart from the package."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from kit.places import ROOT


def compiled(folder: Path, name: str, *options: str) -> Path:
    """The program of tests/c/NAME.c in `folder`; the test is skipped where there is no compiler."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"no C compiler: {compiler[0]} is not found")
    program = folder / name
    command = [
        *compiler, "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", *options,
        f"-I{ROOT / 'src/_core/base'}", "-o", program,
        ROOT / f"tests/c/{name}.c",
    ]  # fmt: skip
    subprocess.run(command, check=True)
    return program
