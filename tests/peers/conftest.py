"""What the peer tests share: programs started and ended, and the peers found or skipped.

A peer that is not installed skips its tests with the name of the Debian package that has it; with
AUTH_DIAMETER_REQUIRE_PEERS=1, as in CI, it fails them. `.ci/install-peers` installs them all.

Everything talks on 127.0.0.1 only. A program counts as started when it says or shows so (a line it
prints, a request it answers), never after a fixed sleep; it gets SIGTERM at the end, and SIGKILL
when that has no effect.
"""

import contextlib
import csv
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kit import strict_sip
from kit.machine import unused_udp_port
from kit.process import UNBUFFERED, Done, Program, Server, run_command, run_ours
from kit.tshark import Tshark

import auth_diameter as ad

HERE = Path(__file__).parent

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


class Peer(Program):
    """A program that we did not write."""

    def stop(self, how: signal.Signals = signal.SIGTERM) -> Done | None:
        """Ends it and its children; None: it did not obey."""
        try:
            return super().stop(how)
        except subprocess.TimeoutExpired:
            return None
        finally:
            self.end()


@pytest.fixture
def start() -> Iterator[Callable[..., Peer]]:
    """Start a program: `start("kamailio", "-f", file)`; the last started is ended first."""
    with contextlib.ExitStack() as stack:

        def run(*command: object) -> Peer:
            peer = stack.enter_context(Peer(*command, env=UNBUFFERED))
            stack.callback(peer.stop)
            return peer

        yield run


@pytest.fixture
def start_ours() -> Iterator[Callable[..., Server]]:
    """Start a server of ours, which must obey at the end, and have said nothing of a traceback."""

    def stop(server: Server) -> None:
        server.stop()
        assert "Traceback" not in server.output(), server.output()

    with contextlib.ExitStack() as stack:

        def run(*arguments: object) -> Server:
            server = stack.enter_context(Server(*arguments, env=UNBUFFERED))
            stack.callback(stop, server)
            return server

        yield run


@pytest.fixture(scope="session")
def cli() -> Callable[..., str]:
    """Run one `auth-diameter` command to its end: what it printed. `text` goes to its stdin."""

    def run(*args: object, text: str = "") -> str:
        done = run_ours(*args, stdin=text.encode())
        if done.status != 0:
            pytest.fail(f"{args}: {done}", pytrace=False)
        return done.out

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
def disc(start_ours: Callable[..., Server], subscribers: Path, disc_options: Sequence[str]) -> Address:
    """Our DISC; the address it listens on."""
    return start_ours("disc", "--db", subscribers, *disc_options).address


@pytest.fixture
def start_serve(start_ours: Callable[..., Server], disc: Address) -> Callable[..., Server]:
    """Start our SIP host before our DISC: `start_serve()` or `start_serve(route=FILE)`."""

    def run(route: Path | None = None) -> Server:
        where = f"{disc[0]}:{disc[1]}"
        return start_ours("serve", "--disc", where, *(["--route", route] if route else []))

    return run


@pytest.fixture
def serve(start_serve: Callable[..., Server]) -> Callable[..., Address]:
    """The same, and where it listens: `serve()` or `serve(route=FILE)` → its address."""
    return lambda route=None: start_serve(route).address


@pytest.fixture
def free_udp_port() -> Callable[[], int]:
    """A port for a program that cannot choose one by itself."""
    return unused_udp_port


# -- tshark ----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def plain_tshark(peer: Callable[..., str]) -> Tshark:
    """tshark as it is installed."""
    return Tshark(peer("tshark", package="tshark"), None)


@pytest.fixture
def record(
    peer: Callable[..., str],
    unavailable_peer: Callable[[str], None],
    start: Callable[..., Any],
    plain_tshark: Tshark,
    tmp_path: Path,
) -> Callable[[int], Callable[[int], bytes]]:
    """Record a TCP port: `stop = record(port)`, traffic, `stop(answers)` → the capture's bytes."""
    dumpcap = peer("dumpcap", package="tshark")

    def begin(port: int) -> Callable[[int], bytes]:
        file = tmp_path / "loopback.pcapng"
        recorder = start(dumpcap, "-i", "lo", "-f", f"tcp port {port}", "-w", file)

        def recording() -> bool:
            if "permission" in recorder.output():
                unavailable_peer("dumpcap may not capture on lo: be root or in the group wireshark")
            return "File: " in recorder.output()

        recorder.wait_until(recording, "the start of the capture")

        def stop(answers: int) -> bytes:
            def whole() -> bool:
                """Packets reach the file some time after they were sent."""
                flags = plain_tshark.run(
                    *("-d", f"tcp.port=={port},diameter", "-Y", "diameter.flags.request == 0"),
                    *("-T", "fields", "-e", "diameter.flags.request"),
                    capture=file.read_bytes(),
                )
                return len(re.findall("[01]", flags)) >= answers

            recorder.wait_until(whole, "the last answer in the capture")
            recorder.stop()
            return file.read_bytes()

        return stop

    return begin


# -- Diameter --------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def strict_sip_folder(
    peer: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[strict_sip.Tools, Path]:
    """The programs of Erlang/OTP, and a folder with the compiled server of RFC 4740."""
    tools = strict_sip.Tools(
        peer("erl", package="erlang-base"),
        peer("erlc", package="erlang-base"),
        peer("diameterc", package="erlang-diameter"),
    )
    dictionaries = strict_sip.dictionary_folder(tools.erl)
    if dictionaries is None:
        unavailable("rfc4740_sip.dia is not installed; it is in the Debian package erlang-examples")
    folder = tmp_path_factory.mktemp("strict_sip")
    strict_sip.compile_into(folder, tools, dictionaries)
    return tools, folder


@pytest.fixture
def start_strict_sip(
    strict_sip_folder: tuple[strict_sip.Tools, Path],
) -> Iterator[Callable[..., strict_sip.StrictSip]]:
    """Start Erlang's server of RFC 4740: `start_strict_sip("disc.h.test", "auth_int")`."""
    tools, folder = strict_sip_folder
    with contextlib.ExitStack() as stack:

        def run(identity: str, *words: str, **options: Any) -> strict_sip.StrictSip:
            return stack.enter_context(strict_sip.StrictSip(tools.erl, folder, identity, *words, **options))

        yield run


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

    def run(
        scenario: str,
        *,
        to: Address,
        user: tuple[str, str],
        calls: int,
        rate: int = 200,
        username: str | None = None,  # of the digest; None: that of the address
    ) -> Calls:
        name, password = user
        errors, statistics = tmp_path / "sipp-errors.log", tmp_path / "sipp-statistics.csv"
        seconds = calls // rate + 15
        command = [
            program, f"{to[0]}:{to[1]}", "-sf", HERE / "sipp" / scenario,
            "-i", "127.0.0.1", "-p", free_udp_port(), "-ci", "127.0.0.1", "-bind_local", "-nostdin",
            "-s", name, "-au", username or name, "-ap", password,
            "-auth_uri", DOMAIN, "-key", "domain", DOMAIN,
            "-m", calls, "-r", rate, "-l", rate, "-timeout", seconds, "-timeout_error",
            "-default_behaviors", "all,-bye",
            "-trace_err", "-error_file", errors, "-trace_stat", "-stf", statistics,
        ]  # fmt: skip
        done = run_command(*command, cwd=tmp_path, patience=seconds + 15)
        report = f"sipp {scenario}: status {done.status}\n{done.err[-2000:]}"
        if errors.exists():
            report += errors.read_text(errors="replace")[:4000]
        if not statistics.exists():
            pytest.fail(f"{report}{done.out[-2000:]}", pytrace=False)
        with statistics.open(newline="") as file:
            totals = list(csv.DictReader(file, delimiter=";"))[-1]
        return Calls(int(totals["SuccessfulCall(C)"]), int(totals["FailedCall(C)"]), report)

    return run


BARESIP = """
sip_listen 127.0.0.1:0
module_path /usr/lib/baresip/modules
module_app account.so
module_app menu.so
"""


@pytest.fixture
def baresip(peer: Callable[..., str], start: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Start baresip: `baresip(address, (name, password))`, or with another username for the digest."""
    program = peer("baresip", package="baresip-core")

    def run(to: Address, user: tuple[str, str], username: str | None = None) -> Any:
        home = tmp_path / f"baresip-{user[1]}"
        home.mkdir()
        (home / "config").write_text(BARESIP)
        (home / "contacts").touch()
        (home / "accounts").write_text(
            f'<sip:{user[0]}@{DOMAIN}>;auth_user={username or user[0]};auth_pass="{user[1]}";regint=60'
            f';outbound="sip:{to[0]}:{to[1]}"\n'
        )
        return start("env", f"HOME={home}", program, "-4", "-n", "127.0.0.1", "-f", home)

    return run
