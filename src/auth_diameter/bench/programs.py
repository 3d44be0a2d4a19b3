"""Programs under test, each in a process of its own, with their CPU time and memory from /proc."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from auth_diameter._core import Error

OURS = [sys.executable, "-m", "auth_diameter"]
LOOPBACK = "127.0.0.1"
COUNTING = ("--metrics", f"{LOOPBACK}:0")  # options of ours for `Program.counters`

_TICK = 10**9 // os.sysconf("SC_CLK_TCK")  # nanoseconds
_HAS_SCHEDSTAT = Path("/proc/self/schedstat").exists()
_PAGE = os.sysconf("SC_PAGE_SIZE")
_STARTUP_SECONDS = 90.0  # enough for valgrind on a busy machine
_OUTPUT = 1 << 20  # bytes of output that are read


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time of the processes so far; 0 for a process that is gone.

    It is that of their threads of now, in nanoseconds (schedstat of the kernel's scheduler). A kernel without
    these statistics gives user and system time in ticks of some 10 ms (proc(5): utime, stime).
    """
    nanoseconds = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            if _HAS_SCHEDSTAT:
                for thread in Path(f"/proc/{pid}/task").iterdir():
                    nanoseconds += int((thread / "schedstat").read_text().split()[0])
            else:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                nanoseconds += (int(fields[11]) + int(fields[12])) * _TICK
    return nanoseconds / 1e9


def resident_bytes(pids: Iterable[int]) -> int:
    """Memory of the processes (proc(5): resident)."""
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE for pid in pids)


class Program:
    """A program under test, which is ended at the end of the block.

    Args:
        command: the command and its arguments.
        wait: whether to wait until it prints the address it listens on.

    Attributes:
        log: file of its output.
        process: the process.
        port: the port it listens on; 0: not waited for.

    Raises:
        Error: it does not start.
    """

    def __init__(self, command: Sequence[str | Path], *, wait: bool = True) -> None:
        self._command = " ".join(map(str, command))
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the program
        self.process = subprocess.Popen(  # noqa: S603 - the commands are ours
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self.port = self._wait_for_port() if wait else 0

    def output(self) -> str:
        """What the program has printed; read without moving the file position, which the program shares."""
        return os.pread(self.log.fileno(), _OUTPUT, 0).decode(errors="replace")

    def _wait_for_port(self) -> int:
        deadline = time.monotonic() + _STARTUP_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            found = re.search(r"listening on 127\.0\.0\.1:(\d+)", self.output())
            if found:
                return int(found[1])
            time.sleep(0.01)
        said = self.output() or "it said nothing"
        self.__exit__()
        raise Error(f"bench: {self._command} did not start: {said}")

    def pids(self) -> list[int]:
        """The process ids of the program and its descendants."""
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
        """CPU time of all its processes so far; see `cpu_seconds`."""
        return cpu_seconds(self.pids())

    def resident_bytes(self) -> int:
        """Memory of all its processes; see `resident_bytes`."""
        return resident_bytes(self.pids())

    def counters(self) -> Counter[str]:
        """Its counters so far, by their names in Prometheus; it must be started with `COUNTING`.

        Raises:
            Error: it serves no metrics.
        """
        found = re.search(r"metrics at http://127\.0\.0\.1:(\d+)", self.output())
        if found is None:
            raise Error(f"bench: {self._command} has no metrics: {self.output()}")
        connection = http.client.HTTPConnection(LOOPBACK, int(found[1]), timeout=_STARTUP_SECONDS)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if line.startswith("auth_diameter_"))
        return Counter({name: int(float(value)) for name, _, value in pairs})

    def stop(self) -> None:
        """Terminates the program; kills it after five seconds."""
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
