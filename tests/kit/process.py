"""Programs in processes of their own: ours and those of others, until they end or are stopped."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self, TypeVar
from urllib.request import urlopen

from kit.canaries import secrets_in
from kit.machine import PATIENCE, wait_until

from auth_diameter.bench.programs import cpu_seconds, resident_bytes

OURS = [sys.executable, "-m", "auth_diameter"]
UNBUFFERED = {"PYTHONUNBUFFERED": "1"}  # for what a route script prints

T = TypeVar("T")


class Done(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


def assert_one_line(done: Done, *parts: object) -> None:
    """Status 2, nothing on stdout, and one line on stderr with these parts in it."""
    assert done.status == 2, done
    assert done.out == ""
    assert done.err.startswith("auth-diameter: ")
    assert done.err.count("\n") == 1, done.err
    assert done.err.endswith("\n")
    for part in parts:
        assert str(part) in done.err


def run_command(
    *command: object,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    patience: float = PATIENCE,
    **options: Any,
) -> Done:
    """Runs a program to its end.

    Args:
        env: more of the environment.
        patience: seconds that it may take.
        options: of `subprocess.run`.
    """
    done = subprocess.run(
        [str(word) for word in command],
        input=stdin,
        capture_output=True,
        env={**os.environ, **(env or {})},
        timeout=patience,
        check=False,
        **options,
    )
    return Done(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def run_ours(*arguments: object, **options: Any) -> Done:
    """Runs ``auth-diameter`` with these arguments to its end.

    Args:
        options: of `run_command`.
    """
    return run_command(*OURS, *arguments, **options)


def run_python(code: str, *arguments: object, **options: Any) -> Done:
    """Runs Python code to its end.

    Args:
        options: of `run_command`.
    """
    return run_command(sys.executable, "-c", code, *arguments, **options)


class Program:
    """A program in the background, in a session of its own; it is killed at the end of the block.

    Attributes:
        process: its process; after `start`, the last one.
        live: of the class: all whose block has not ended. The report of a failing test shows what they said.
    """

    live: ClassVar[list[Program]] = []

    def __init__(self, *command: object, env: Mapping[str, str] | None = None) -> None:
        self.name = " ".join(map(str, command))
        self._env = {**os.environ, **(env or {})}
        self._files = contextlib.ExitStack()
        # Files and no pipes: nobody has to read them for the program to go on.
        self._out = self._files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        self._err = self._files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        self.process = self._run(command)
        self.live.append(self)

    def _run(self, command: Sequence[object]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            env=self._env,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Its process ID."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    # --- what it says ---------------------------------------------------------------------------------

    def out(self) -> str:
        """What it has written to stdout so far."""
        return self._read(self._out)

    def err(self) -> str:
        """What it has written to stderr so far."""
        return self._read(self._err)

    def output(self) -> str:
        """Both, stdout first."""
        return self.out() + self.err()

    @staticmethod
    def _read(file: Any) -> str:
        # The position of the file is the program's.
        return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode(errors="replace")

    def wait_until(self, what: Callable[[], T], why: str = "what was waited for") -> T:
        """Waits until `what()` is true; returns what it is then. Fails if the program ends before."""
        deadline = time.monotonic() + PATIENCE
        while True:
            ended = not self.running
            if found := what():
                return found
            assert not ended, f"{self.name}: ended before {why}\n{self.output()}"
            assert time.monotonic() < deadline, f"{self.name}: {why} did not come\n{self.output()}"
            time.sleep(0.005)

    def wait_for_line(self, pattern: str) -> re.Match[str]:
        """Waits until it has written this."""
        return self.wait_until(lambda: re.search(pattern, self.output()), f"a line like {pattern!r}")

    # --- what becomes of it ---------------------------------------------------------------------------

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        self.process.send_signal(number)

    def freeze(self) -> None:
        """Stops it with SIGSTOP: it is there, its kernel takes what is sent to it, and nothing comes back."""
        self.send(signal.SIGSTOP)
        wait_until(lambda: is_stopped(self.pid))

    def thaw(self) -> None:
        """Lets it go on after `freeze`, with SIGCONT."""
        self.send(signal.SIGCONT)

    def wait(self) -> Done:
        """Waits until it ends; returns how it ended."""
        status = self.process.wait(PATIENCE)
        return Done(status, self.out(), self.err())

    def stop(self, how: signal.Signals = signal.SIGTERM) -> Done:
        """Asks it to end; returns how it ended."""
        self.send(how)
        return self.wait()

    def kill(self) -> None:
        """Kills it; returns when it is gone."""
        self.send(signal.SIGKILL)
        self.process.wait(PATIENCE)

    def end(self) -> None:
        """Kills whatever is left of it and of its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()
        self.live.remove(self)
        self._files.close()

    # --- what it costs --------------------------------------------------------------------------------

    def resident_bytes(self) -> int:
        """Its memory (proc(5): resident)."""
        return resident_bytes([self.pid])

    def cpu_seconds(self) -> float:
        """The CPU time that it has used (proc(5): utime, stime)."""
        return cpu_seconds([self.pid])

    def children(self) -> list[int]:
        """The live processes that it has started."""
        return [pid for pid, parent in living().items() if parent == self.pid]


class Server(Program):
    """One of our commands that listens, up: ``Server("disc", "--db", path)``.

    Args:
        listen: where: the port 0 is one that the kernel chooses.
        program: what takes the arguments.

    Attributes:
        line: what it said when it was ready.
        host: where it listens.
        port: where it listens.
    """

    def __init__(
        self,
        *arguments: object,
        listen: str = "127.0.0.1:0",
        program: Sequence[str] = OURS,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._command = [*program, *arguments]
        self._before = 0  # characters of stdout up to its last start
        super().__init__(*self._command, "--listen", listen, env=env)
        self._wait_for_readiness()

    def start(self) -> Self:
        """Starts it again, where it listened before."""
        assert not self.running
        self._before = len(self.out())
        self.process = self._run([*self._command, "--listen", self.where])
        self._wait_for_readiness()
        return self

    def _wait_for_readiness(self) -> None:
        try:
            self.line = self.wait_until(self._first_line, "the readiness line")
        except BaseException:
            self.__exit__()
            raise
        found = re.search(r"listening on (\S+):(\d+)", self.line)
        assert found, self.line
        self.host, self.port = found[1].strip("[]"), int(found[2])

    def _first_line(self) -> str:
        line, newline, _ = self.out()[self._before :].partition("\n")
        return line + newline if newline else ""

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return self.host, self.port

    @property
    def where(self) -> str:
        """The same, as an option has it."""
        return f"{self.host}:{self.port}"

    def wait(self) -> Done:
        """Waits until it ends; returns how it ended, and what it said after the readiness line: no secret."""
        done = super().wait()
        assert secrets_in(done.err) == [], done.err
        return done._replace(out=done.out[self._before + len(self.line) :])

    def metrics_ports(self) -> list[int]:
        """Where its metrics are, of each worker; it was started with ``--metrics``."""
        line = self.wait_for_line(r"metrics at .*\n")[0]
        return [int(port) for port in re.findall(r"http://127\.0\.0\.1:(\d+)/metrics", line)]

    def metrics(self) -> str:
        """What it counts, as Prometheus gets it; it was started with ``--metrics``, and has one process."""
        (port,) = self.metrics_ports()
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
            return answer.read().decode()


def is_stopped(pid: int) -> bool:
    """Whether a process that was sent SIGSTOP has stopped: a thread on another core goes on for a moment."""
    states = []
    for thread in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            states.append(thread.read_text().rpartition(") ")[2][0])
    return all(state in "TtZX" for state in states)


def living() -> dict[int, int]:
    """All live processes, and their parents. A zombie is not live."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                found[int(stat.parent.name)] = int(parent)
    return found
