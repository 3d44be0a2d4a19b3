"""What the benchmarks share: our C tools, programs under test with their CPU time and memory, and tables."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).resolve().parent
CORE = HERE.parent / "src" / "_core"
REQUEST = HERE / "data" / "reg_auth.sip"
OURS = [sys.executable, "-m", "auth_diameter"]
LOOPBACK = "127.0.0.1"

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_STARTUP_SECONDS = 30.0


def request(serial: int = 1, source: str = "127.0.0.1:5066", template: Path = REQUEST) -> bytes:
    """The REGISTER with credentials that everything here is measured with, as a telephone sends it."""
    text = template.read_bytes()
    return text.replace(b"{serial}", b"%08d" % serial).replace(b"{source}", source.encode())


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
            if name == "discload":  # it computes the right responses itself
                sources.append(CORE / "md5.c")
            command = [compiler, "-O2", "-I", CORE, "-o", Path(folder, name), *sources]
            subprocess.run([str(word) for word in command], check=True)
        yield Path(folder)


class Program:
    """A program under test; ended with the block. It is up when it prints an address."""

    def __init__(self, command: Sequence[str | Path], *, wait: bool = True) -> None:
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the program
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self.port = self._wait_for_port() if wait else 0

    def output(self) -> str:
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def _wait_for_port(self) -> int:
        deadline = time.monotonic() + _STARTUP_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            found = re.search(r"listening on 127\.0\.0\.1:(\d+)", self.output())
            if found:
                return int(found[1])
            time.sleep(0.01)
        self.stop()
        raise SystemExit(f"bench: {self.process.args} did not start:\n{self.output()}")

    def pids(self) -> list[int]:
        """It and its descendants."""
        children: dict[int, list[int]] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                parent = int(stat.read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(stat.parent.name))
        found = [self.process.pid]
        for pid in found:
            found += children.get(pid, [])
        return found

    def cpu_seconds(self) -> float:
        """User and system time of all its processes so far (proc(5): utime, stime)."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])
        return total / _TICKS

    def resident_bytes(self) -> int:
        """Memory of all its processes (proc(5): resident)."""
        return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE for pid in self.pids())

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.log.close()


def stub(folder: Path) -> Program:
    """A DISC that verifies nothing."""
    return Program([folder / "discstub"])


def serve(disc_port: int) -> Program:
    """Our SIP host with its default route."""
    return Program([*OURS, "serve", "--listen", f"{LOOPBACK}:0", "--disc", f"{LOOPBACK}:{disc_port}"])


def run_json(*command: str | Path | int) -> dict[str, Any]:
    """Runs a load generator to its end; the line of JSON that it prints. It must have had no failure."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, timeout=1800
    )
    if done.returncode != 0:
        raise SystemExit(f"bench: {Path(command[0]).name} failed: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def sipload(folder: Path, port: int, count: int, window: int, template: Path = REQUEST) -> dict[str, Any]:
    """Loads the SIP host on `port`; every reply must be 200."""
    result = run_json(
        folder / "sipload",
        "-b",
        f"{LOOPBACK}:{free_udp_port()}",
        "-n",
        count,
        "-w",
        window,
        LOOPBACK,
        port,
        template,
    )
    if set(result["statuses"]) != {"200"}:
        raise SystemExit(f"bench: expected 200 alone, got {result['statuses']}")
    return result


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()[1]


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


def has_avx512() -> bool:
    """Whether the target for AVX-512 holds here, and not that for AVX2."""
    return "avx512f" in Path("/proc/cpuinfo").read_text()


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


def verdict(ratio: float, target: float, *, at_most: bool = False) -> str:
    """``met`` or by how much not."""
    met = ratio <= target if at_most else ratio >= target
    return "met" if met else "not met"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints aligned columns; what starts like a number goes to the right."""
    lines = [header, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    right = [
        all(line[i][:1].isdigit() or line[i] in ("", "–") for line in lines[1:]) for i in range(len(header))
    ]
    for n, line in enumerate(lines):
        cells = (
            cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(line, widths, right, strict=True)
        )
        print("  ".join(cells).rstrip())
        if n == 0:
            print("  ".join("-" * width for width in widths))
