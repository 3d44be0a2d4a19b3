"""Our DISC as a server of RFC 4740 for clients that we did not write: Erlang's Diameter and python-diameter.

Erlang's codec is strict, with a dictionary of Ericsson's. tshark reads all of it, and has nothing
to complain about.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from kit.machine import PATIENCE
from kit.process import Done, Server, run_command
from kit.tshark import Tshark

pytestmark = pytest.mark.peers

HERE = Path(__file__).parent
HOST, REALM = "disc.siphub.net", "siphub.net"
DICTIONARIES = ("rfc4590_digest", "rfc4740_sip")
CHALLENGE, SUCCESS, WRONG, NOT_SERVED = 1001, 2001, 4001, 3003


@pytest.fixture
def server(start_ours: Callable[..., Server], subscribers: Path) -> Server:
    """Our DISC, with standard Diameter as well."""
    names = ("--origin-host", HOST, "--origin-realm", REALM)
    return start_ours("disc", "--db", subscribers, "--diameter", "127.0.0.1:0", *names, "--watchdog", 6)


@pytest.fixture
def port(server: Server) -> int:
    """Where it speaks standard Diameter."""
    found = server.wait_until(
        lambda: re.search(r"Diameter listening on 127\.0\.0\.1:(\d+)", server.out()),
        "the second readiness line",
    )
    return int(found[1])


@pytest.fixture(scope="session")
def erlang_client(
    peer: Callable[..., str],
    unavailable_peer: Callable[[str], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Done]:
    """Runs the client of sip4740.erl: `erlang_client(port, "siphub.net", "alice", "open sesame")`."""
    folder = tmp_path_factory.mktemp("erlang")
    diameterc, erlc = peer("diameterc", package="erlang-diameter"), peer("erlc", package="erlang-base")
    found = sorted(Path("/usr/lib/erlang/lib").glob("diameter-*/examples/dict"))
    if not found:
        unavailable_peer(
            "the dictionary of RFC 4740 is not installed; it is in the Debian package erlang-examples"
        )
    for name in DICTIONARIES:
        shutil.copy(found[-1] / f"{name}.dia", folder)
    shutil.copy(HERE / "sip4740.erl", folder)
    inherited = ("--inherits", "common/diameter_gen_base_rfc6733", "-i", ".")
    for command in (
        (diameterc, "rfc4590_digest.dia"),
        (erlc, "rfc4590_digest.erl"),
        (diameterc, *inherited, "rfc4740_sip.dia"),
        (erlc, "rfc4740_sip.erl", "sip4740.erl"),
    ):
        done = run_command(*command, cwd=folder, patience=2 * PATIENCE)
        assert done.status == 0, done
    erl = peer("erl", package="erlang-base")

    def run(*arguments: object) -> Done:
        return run_command(
            erl, "-noshell", "-s", "sip4740", "main", *arguments, cwd=folder, patience=2 * PATIENCE
        )

    return run


def run_python_diameter(port: int, people: Sequence[str]) -> list[dict[str, object]]:
    """The answers that the client of python-diameter got."""
    script = HERE / "mar_of_python_diameter.py"
    done = run_command(sys.executable, script, port, HOST, REALM, *people, patience=2 * PATIENCE)
    assert done.status == 0, done
    return [json.loads(line) for line in done.out.splitlines()]


def test_erlang(erlang_client, people, port, server):
    """Challenge, wrong password, success, replay, other realm: no decode error, and DPR at the end."""
    done = erlang_client(port, REALM, *people["member"])
    assert done.out.splitlines() == [
        "up",
        f"first MAA {CHALLENGE}",
        f"wrong MAA {WRONG}",
        f"right MAA {SUCCESS}",
        f"replay MAA {CHALLENGE}",
        f"realm answer-message {NOT_SERVED}",
    ], done
    assert done.status == 0
    server.wait_for_line(r"peer erl\.example\.net: leaves, because of REBOOTING")


def test_python_diameter(people, port, server):
    """Without SIP-Server-URI, as a proxy asks: 2008, and 2006 (RFC 4740, figure 2)."""
    answers = run_python_diameter(port, people["member"])
    assert [each["result"] for each in answers] == [2008, WRONG, 2006]
    server.wait_for_line(r"peer client\.example\.net: leaves, because of REBOOTING")


def test_tshark_has_nothing_to_complain_about(
    erlang_client, people, port, record: Callable[[int], Callable[[int], bytes]], plain_tshark: Tshark
):
    """All that Erlang and python-diameter say to our DISC, and hear."""
    stop = record(port)
    erlang_client(port, REALM, *people["member"])
    run_python_diameter(port, people["member"])
    capture = stop(2 * 2 + 5 + 3)  # CEA and DPA of both, and MAA
    messages = plain_tshark.messages(capture, port)
    assert [message.complaints for message in messages if message.complaints] == []
    assert {message.command for message in messages} >= {257, 282, 286}
    answers = [message for message in messages if not message.request]
    assert all(message.answer_to for message in answers)
