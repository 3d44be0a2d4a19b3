"""auth-diameter disc --diameter: standard Diameter beside the dialect, in a process of its own."""

from __future__ import annotations

import asyncio
import re

import pytest
from kit.mar import REALM, RawPeer, mar, result_of
from kit.process import Server, assert_one_line, run_ours
from kit.wire import Connection

NAMES = ("--origin-host", "disc.siphub.net", "--origin-realm", REALM)


def diameter_port(server: Server) -> int:
    """The port of the second line that says where it listens."""
    found = server.wait_until(
        lambda: re.search(r"Diameter listening on 127\.0\.0\.1:(\d+), as disc\.siphub\.net\n", server.out()),
        "the second readiness line",
    )
    return int(found[1])


def test_both_ports_are_served(db):
    """The dialect stays where it was; the identity is in the line that says where peers are listened for."""

    async def ask(port):
        peer = await RawPeer.open(("127.0.0.1", port))
        maa = await peer.ask(mar())
        stopped = asyncio.get_running_loop().run_in_executor(None, server.stop)
        await peer.leave()
        return maa, await stopped

    with Server("disc", "--db", db, "--diameter", "127.0.0.1:0", *NAMES) as server:
        with Connection(server.address) as dialect:
            assert dialect.ask()
        maa, done = asyncio.run(ask(diameter_port(server)))
    assert result_of(maa) == 1001
    assert done.status == 0
    assert "peer sip.example.net: is disconnected: as agreed" in done.err
    assert "stopped; answered: CHALLENGED 2" in done.err


BAD = {
    "without its identity": (("--diameter", "127.0.0.1"), "--origin-host"),
    "without its realm": (("--diameter", "127.0.0.1", *NAMES[:2]), "--origin-realm"),
    "no name": (
        ("--diameter", "127.0.0.1", "--origin-host", "disc", *NAMES[2:]),
        "disc.example.net, not 'disc'",
    ),
    "no port": (("--diameter", "127.0.0.1:x", *NAMES), "--diameter '127.0.0.1:x': the port is not a number"),
    "a peer that is no name": (("--diameter", "127.0.0.1", *NAMES, "--peer", "sip"), "--peer"),
    "too quick": (("--diameter", "127.0.0.1", *NAMES, "--watchdog", "5"), "6 seconds or more"),
    "options without it": (NAMES[:2], "--origin-host: is of standard Diameter; add --diameter HOST:PORT"),
    "TLS without it": (("--tls-cert", "x"), "--tls-cert: is of standard Diameter"),
    "TLS without a key": (("--diameter", "127.0.0.1", *NAMES, "--tls-cert", "x"), "add --tls-key FILE"),
    "files that are not there": (
        ("--diameter", "127.0.0.1", *NAMES, "--tls-cert", "/no", "--tls-key", "/no", "--tls-ca", "/no"),
        "--tls-cert /no: No such file",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_options_that_cannot_be(db, case):
    """One line says what and where."""
    options, message = BAD[case]
    assert_one_line(run_ours("disc", "--db", db, "--listen", "127.0.0.1:0", *options), message)


def test_a_port_that_is_taken(db):
    with Server("disc", "--db", db) as other:
        done = run_ours("disc", "--db", db, "--listen", "127.0.0.1:0", "--diameter", other.where, *NAMES)
        assert_one_line(done, other.where, "is in use", "--diameter")


def test_metrics(db):
    """Answers by command and Result-Code, peers by the state of their watchdog, events of connections."""

    async def ask(port):
        peer = await RawPeer.open(("127.0.0.1", port))
        await peer.ask(mar())
        return peer

    with (
        Server("disc", "--db", db, "--diameter", "127.0.0.1:0", *NAMES, "--metrics", "0") as server,
        asyncio.Runner() as runner,
    ):
        peer = runner.run(ask(diameter_port(server)))
        found = server.metrics().splitlines()
        runner.run(peer.close())
    answers = 'auth_diameter_disc_diameter_answers_total{command="%s",result="%d"} 1.0'
    assert answers % ("Multimedia-Auth-Answer", 1001) in found
    assert answers % ("Capabilities-Exchange-Answer", 2001) in found
    assert 'auth_diameter_disc_peers{state="okay"} 1.0' in found
    assert 'auth_diameter_disc_diameter_connection_events_total{event="accepted"} 1.0' in found
