"""What the benchmarks share: our C tools, programs under test, and where results go.

What `auth-diameter bench` has too is in the package, and only handed on here.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from auth_diameter.bench.loopback import serve
from auth_diameter.bench.pairs import REQUEST, has_avx512, request
from auth_diameter.bench.programs import COUNTING, LOOPBACK, OURS, Program
from auth_diameter.bench.report import table, verdict

__all__ = [
    "COUNTING", "LOOPBACK", "OURS", "REQUEST", "Program", "Stub", "arguments", "check_asked", "command_of",
    "environment", "finish", "has_avx512", "median", "request", "run_json", "serve", "sipload", "table",
    "tools", "unused_udp_port", "verdict",
]  # fmt: skip

HERE = Path(__file__).resolve().parent
MD5 = HERE.parent / "src" / "_core" / "base"  # the folder of md5.c

sys.path.insert(0, str(HERE.parent / "tests"))  # for what the benchmarks share with the tests
from kit.machine import unused_udp_port  # noqa: E402

# ---------------------------------------------------------------------------------- programs


@contextlib.contextmanager
def tools(*names: str) -> Iterator[Path]:
    """A folder that lasts as long as the block, with these programs of bench/tools compiled in it."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise SystemExit("bench: no C compiler found; install one, or set CC")
    with tempfile.TemporaryDirectory(prefix="auth-diameter-bench-") as folder:
        for name in names:
            sources = [HERE / "tools" / f"{name}.c"]
            if name in ("discload", "digestload"):  # they compute the right responses themselves
                sources.append(MD5 / "md5.c")
            command = [compiler, "-O2", "-I", MD5, "-o", Path(folder, name), *sources]
            subprocess.run([str(word) for word in command], check=True)
        yield Path(folder)


def command_of(folder: str | None, *under: str) -> list[str]:
    """Our command, to be continued with its arguments.

    Args:
        folder: where `pip install --target` has put the version; None: this one.
        under: a program that is to run it, with its options.
    """
    # An older one runs outside of any virtual environment, where an editable install would come first.
    python = sys.executable if folder is None else os.path.realpath(sys.executable)
    return ["env", f"PYTHONPATH={folder or ''}", *under, python, "-P", "-m", "auth_diameter"]


class Stub(Program):
    """A DISC that verifies nothing, and counts what it is asked."""

    def __init__(self, folder: Path, *options: str | float) -> None:
        super().__init__([folder / "discstub", *map(str, options)])

    def asked(self) -> int:
        """How many questions so far."""
        said = self.output().count("asked ")
        self.process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + 10
        while len(lines := re.findall(r"asked (\d+)\n", self.output())) == said:
            if time.monotonic() > deadline:
                raise SystemExit("bench: the stub of a DISC does not say what it was asked")
            time.sleep(0.001)
        return int(lines[-1])


def check_asked(asked: int, done: int, resent: int = 0) -> None:
    """Ends the program where what was done was not asked of DISC once each.

    Then some was answered from a memory, of retransmissions or another, and what was measured is that.

    Args:
        done: decisions, or replies.
        resent: requests that were sent again, which may have been asked again, too.
    """
    if not done <= asked <= done + resent:
        raise SystemExit(
            f"bench: {done:,} were done, and {resent:,} sent again, but DISC was asked {asked:,}"
        )


def run_json(*command: str | Path | float, lossy: bool = False) -> dict[str, Any]:
    """Runs a load generator to its end; the line of JSON that it prints.

    It must have had no failure, but for requests without a reply where the load is `lossy`.
    """
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, timeout=1800
    )
    if done.returncode != 0 and not (lossy and done.stdout):
        raise SystemExit(f"bench: {Path(command[0]).name} failed: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def sipload(
    folder: Path,
    port: int,
    stub: Stub | None,
    count: int,
    window: int,
    template: Path = REQUEST,
    resend: float = 0.5,
    *,
    sources: int = 1,
    again: int = 0,
    status: int = 200,
    asked: int | None = None,
) -> dict[str, Any]:
    """Loads the SIP host on `port`; each reply must have one status, and `stub` must have been asked for it.

    Args:
        stub: the DISC that it asks; None: it asks nobody.
        resend: seconds without a reply after which a request is sent again.
        sources: sockets that the requests come from.
        again: how often each request is sent again after its reply.
        status: the status.
        asked: how many questions DISC must get; None: one for each request.
    """
    before = stub.asked() if stub is not None else 0
    options = (
        *("-b", f"{LOOPBACK}:{unused_udp_port()}"),
        *("-n", count, "-w", window, "-k", sources, "-a", again, "-t", resend),
    )
    result = run_json(folder / "sipload", *options, LOOPBACK, port, template)
    if set(result["statuses"]) != {str(status)}:
        raise SystemExit(f"bench: expected {status} alone, got {result['statuses']}")
    if stub is not None:
        check_asked(stub.asked() - before, count if asked is None else asked, result["resent"])
    return result


# ---------------------------------------------------------------------------------- results


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser with the option that every script has."""
    parser = argparse.ArgumentParser(
        description=(description or "").split("\n\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also write every single figure to this file"
    )
    return parser


def environment() -> dict[str, Any]:
    """What the figures depend on: machine, kernel, versions."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    versions = {}
    for name in ("auth-diameter", "uvloop", "sipmessage", "python-diameter", "Cython"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {
        "machine": model[1] if model else platform.processor(),
        "cores": os.cpu_count(),
        "avx512": has_avx512(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": versions,
        "load": os.getloadavg()[0],
    }


def finish(options: argparse.Namespace, result: dict[str, Any]) -> None:
    """Writes the result where `--json` says."""
    if options.json:
        options.json.write_text(json.dumps({"environment": environment(), **result}, indent=1) + "\n")


def median(runs: Sequence[dict[str, Any]], key: str) -> float:
    return statistics.median(run[key] for run in runs)
