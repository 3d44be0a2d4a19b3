"""What the peer tests share: programs started and ended, and the peers found or skipped.

A peer that is not installed skips its tests with the name of the Debian package that has it; with
AUTH_DIAMETER_REQUIRE_PEERS=1, as in CI, it fails them. `.ci/install-peers` installs them all.

Everything talks on 127.0.0.1 only. A program counts as started when it says or shows so (a line it
prints, a request it answers), never after a fixed sleep; it gets SIGTERM at the end, and SIGKILL
when that has no effect. The last lines of what every live program printed stand in the report of a
test that fails.
"""

import contextlib
import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from kit.machine import unused_udp_port

import auth_diameter as ad

HERE = Path(__file__).parent
STARTUP_SECONDS = 30.0
STOP_SECONDS = 20.0
OURS = [sys.executable, "-m", "auth_diameter"]

DOMAIN = "siphub.net"
# Our DISC knows alice, who is in the group "voicemail", and bob, who is in none; not mallory. Of carol it has
# HA1 by MD5 alone, as an older database does.
ALICE = ("alice", "open sesame")
BOB = ("bob", "swordfish")
CAROL = ("carol", "rosebud")
UNKNOWN = ("mallory", "anything")

Address = tuple[str, int]


@pytest.fixture(scope="session")
def people() -> dict[str, tuple[str, str]]:
    """Name and password of a group member, of one outside it, of one with MD5 alone, of nobody DISC knows."""
    return {"member": ALICE, "outsider": BOB, "md5_only": CAROL, "unknown": UNKNOWN}


# -- peers -----------------------------------------------------------------------------------------


def unavailable(message: str) -> None:
    """Skip the test; fail it where the peers are required."""
    if os.environ.get("AUTH_DIAMETER_REQUIRE_PEERS") == "1":
        pytest.fail(f"{message} (AUTH_DIAMETER_REQUIRE_PEERS=1)", pytrace=False)
    pytest.skip(message)


@pytest.fixture(scope="session")
def unavailable_peer() -> Callable[[str], None]:
    """Skip or fail with a message, for what only shows when a peer is tried."""
    return unavailable


@pytest.fixture(scope="session")
def peer() -> Callable[..., str]:
    """Find a program that we did not write: `peer("sipp", package="sip-tester")` → its path."""

    def find(program: str, *, package: str) -> str:
        # Debian keeps servers where a plain user's PATH does not look.
        path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if path is None:
            unavailable(f"{program} is not installed; it is in the Debian package {package}")
        return path

    return find


# -- programs --------------------------------------------------------------------------------------


class Program:
    """A program in the background, with its own process group and one file for all it prints."""

    # All that run now: the report of a failing test shows what they printed.
    live: ClassVar[list["Program"]] = []

    def __init__(self, args: Sequence[str | Path], log: Path) -> None:
        self.name = " ".join(str(arg) for arg in args)
        self.ours = list(args[: len(OURS)]) == OURS
        self.log = log
        with log.open("wb") as sink:
            self.process = subprocess.Popen(
                [str(arg) for arg in args],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        Program.live.append(self)

    def output(self) -> str:
        """Everything it has printed so far."""
        return self.log.read_text(errors="replace")

    def tail(self) -> str:
        """The end of what it has printed, and whether it still runs: what a report shows."""
        status = self.process.poll()
        state = "running" if status is None else f"ended with status {status}"
        return f"({state})\n" + "\n".join(self.output().splitlines()[-60:])

    def wait_until(self, ready: Callable[[], Any], what: str) -> Any:
        """Poll `ready` until it gives something true, and return that; fail if the program ends."""
        deadline = time.monotonic() + STARTUP_SECONDS
        while True:
            ended = self.process.poll() is not None
            if found := ready():
                return found
            if ended or time.monotonic() > deadline:
                pytest.fail(f"{self.name}: {what} not seen {self.tail()}", pytrace=False)
            time.sleep(0.02)

    def wait_for_line(self, pattern: str) -> re.Match[str]:
        """Wait for a line that it prints."""
        return self.wait_until(lambda: re.search(pattern, self.output()), f"a line like {pattern!r}")

    def listening(self) -> Address:
        """Where one of ours listens; it was given port 0 and says which one it got."""
        found = self.wait_for_line(r"listening on (\S+):(\d+)")
        return found[1], int(found[2])

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it and its children; one of ours must obey, and must have printed no traceback."""
        obeyed = True
        try:
            self.process.send_signal(how)
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            obeyed = False
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(STOP_SECONDS)
            Program.live = [program for program in Program.live if program is not self]
        if self.ours:
            assert obeyed, f"{self.name}: did not end on {how.name} {self.tail()}"
            assert "Traceback" not in self.output(), f"{self.name}: {self.tail()}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    """Show what the programs printed beside a test that failed."""
    report = yield
    if report.failed:
        report.sections += [(program.name, program.tail()) for program in Program.live]
    return report


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Start a program: `start("kamailio", "-f", file)`; the last started is ended first."""
    programs: list[Program] = []

    def run(*args: str | Path) -> Program:
        program = Program(args, tmp_path / f"{len(programs)}-{Path(args[0]).name}.log")
        programs.append(program)
        return program

    yield run
    # One that does not end well must not keep the others running.
    with contextlib.ExitStack() as stack:
        for program in programs:
            stack.callback(program.stop)


@pytest.fixture(scope="session")
def cli() -> Callable[..., str]:
    """Run one `auth-diameter` command to its end: what it printed. `text` goes to its stdin."""

    def run(*args: str | Path, text: str = "") -> str:
        command = [*OURS, *(str(arg) for arg in args)]
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            timeout=STARTUP_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            said = f"{' '.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}"
            pytest.fail(said, pytrace=False)
        return done.stdout

    return run


@pytest.fixture(scope="session")
def subscribers(cli: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DISC's store, made with the commands that an operator uses."""
    file = tmp_path_factory.mktemp("disc") / "subscribers.sqlite"
    for name, password in (ALICE, BOB):
        user = f"{name}@{DOMAIN}"
        cli("user", "add", user, "--password-stdin", "--db", file, text=f"{password}\n")
    name, password = CAROL
    row = f"{name},{DOMAIN},{ad.ha1(name, DOMAIN, password)}"
    cli("user", "import", "-", "--db", file, text=f"username,domain,ha1\n{row}\n")
    cli("group", "add", f"{ALICE[0]}@{DOMAIN}", "voicemail", "--db", file)
    return file


@pytest.fixture
def disc_options() -> tuple[str, ...]:
    """What else `auth-diameter disc` is given; a test with other options parametrizes this."""
    return ()


@pytest.fixture
def disc(start: Callable[..., Program], subscribers: Path, disc_options: Sequence[str]) -> Address:
    """Our DISC; the address it listens on."""
    return start(*OURS, "disc", "--listen", "127.0.0.1:0", "--db", subscribers, *disc_options).listening()


@pytest.fixture
def start_serve(start: Callable[..., Program], disc: Address) -> Callable[..., Program]:
    """Start our SIP host before our DISC: `start_serve()` or `start_serve(route=FILE)`."""

    def run(route: Path | None = None) -> Program:
        command = [*OURS, "serve", "--listen", "127.0.0.1:0", "--disc", f"{disc[0]}:{disc[1]}"]
        return start(*command, *(["--route", route] if route else []))

    return run


@pytest.fixture
def serve(start_serve: Callable[..., Program]) -> Callable[..., Address]:
    """The same, and where it listens: `serve()` or `serve(route=FILE)` → its address."""
    return lambda route=None: start_serve(route).listening()


@pytest.fixture
def free_udp_port() -> Callable[[], int]:
    """A port for a program that cannot choose one by itself."""
    return unused_udp_port


# -- sipp ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Calls:
    """How sipp's calls went: each is as its scenario says, or it failed."""

    successful: int
    failed: int
    report: str


@pytest.fixture
def sipp(peer: Callable[..., str], free_udp_port: Callable[[], int], tmp_path: Path) -> Callable[..., Calls]:
    """Run a scenario as one user: `sipp("register.xml", to=address, user=ALICE, calls=1000)`."""
    program = peer("sipp", package="sip-tester")

    def run(scenario: str, *, to: Address, user: tuple[str, str], calls: int, rate: int = 200) -> Calls:
        name, password = user
        errors, statistics = tmp_path / "sipp-errors.log", tmp_path / "sipp-statistics.csv"
        seconds = calls // rate + 15
        command = [
            program, f"{to[0]}:{to[1]}", "-sf", HERE / "sipp" / scenario,
            "-i", "127.0.0.1", "-p", free_udp_port(), "-ci", "127.0.0.1", "-bind_local", "-nostdin",
            "-s", name, "-au", name, "-ap", password, "-auth_uri", DOMAIN, "-key", "domain", DOMAIN,
            "-m", calls, "-r", rate, "-l", rate, "-timeout", seconds, "-timeout_error",
            "-default_behaviors", "all,-bye",
            "-trace_err", "-error_file", errors, "-trace_stat", "-stf", statistics,
        ]  # fmt: skip
        done = subprocess.run(
            [str(word) for word in command],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds + 15,
            check=False,
        )
        report = f"sipp {scenario}: status {done.returncode}\n{done.stderr[-2000:]}"
        if errors.exists():
            report += errors.read_text(errors="replace")[:4000]
        if not statistics.exists():
            pytest.fail(f"{report}{done.stdout[-2000:]}", pytrace=False)
        with statistics.open(newline="") as file:
            totals = list(csv.DictReader(file, delimiter=";"))[-1]
        return Calls(int(totals["SuccessfulCall(C)"]), int(totals["FailedCall(C)"]), report)

    return run
