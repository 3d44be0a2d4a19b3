"""auth-diameter disc --diameter: standard Diameter beside the dialect, in a process of its own."""

from __future__ import annotations

import asyncio
import re

import pytest
from kit.doors import DOORS
from kit.mar import REALM, RawPeer, mar, result_of
from kit.phone import Phone
from kit.process import Server, assert_one_line, run_ours
from kit.sip import ACCOUNT, build_credentials, build_request
from kit.uac import Uac
from kit.wire import Connection

import auth_diameter as ad
from auth_diameter.lab.uac import make_request

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


# ------------------------------------------------------------------ our own client


@pytest.fixture
def peers_disc(db):
    """A DISC that serves RFC 4740, and tells the gateway HA1."""
    names = (*NAMES, "--tell-ha1", "gateway.siphub.net")
    with Server("disc", "--db", db, "--diameter", "127.0.0.1:0", *names) as server:
        yield diameter_port(server)


def test_check_asks_a_server_of_rfc_4740(peers_disc, tmp_path):
    request = tmp_path / "request.sip"
    request.write_bytes(make_request("REGISTER", f"sip:{REALM}", ACCOUNT))
    options = ("--application", "sip", "--origin-host", "check.siphub.net", "--realm", REALM)
    done = run_ours("check", request, "--disc", f"127.0.0.1:{peers_disc}", *options)
    assert (done.status, done.err) == (1, "")
    assert "cause        CHALLENGED: " in done.out
    assert f'realm="{REALM}"' in done.out


def test_serve_asks_a_server_of_rfc_4740(peers_disc):
    options = ("--application", "sip", "--origin-host", "serve.siphub.net")
    with Server("serve", "--disc", f"127.0.0.1:{peers_disc}", *options) as server:
        assert f"asking sip at 127.0.0.1:{peers_disc}" in server.out()
        with Uac(server.address) as uac:
            assert [reply.status for reply in uac.log_in()] == [401, 200]


def test_a_gateway_from_the_dialect_to_an_hss(peers_disc):
    """The HSS is a DISC, and another one is in front of it."""
    url = f"cx://127.0.0.1:{peers_disc}/{REALM}"
    with (
        Server("disc", "--db", url, "--origin-host", "gateway.siphub.net") as gateway,
        Connection(gateway.address) as dialect,
    ):
        assert dialect.ask()
        done = gateway.stop()
    assert "stopped; answered: CHALLENGED 1" in done.err


def test_a_gateway_is_told_of_changes_at_the_hss(db, peers_disc):
    """TS 29.228, 6.2.2 and 6.1.3: PPR and RTR. By itself it would go on with what it has for five minutes."""
    url = f"cx://127.0.0.1:{peers_disc}/{REALM}"
    user = f"alice@{REALM}"
    with Server("disc", "--db", url, "--origin-host", "gateway.siphub.net", "--no-penalty") as gateway:
        host, port = gateway.address
        config = ad.Config(diameter_client_host=host, diameter_client_port=port)
        with DOORS["threads"](config) as door:
            phone = Phone(door)
            assert phone.logs_in()
            done = run_ours("user", "add", user, "--replace", "--password-stdin", "--db", db, stdin=b"new\n")
            assert done.status == 0, done
            gateway.wait_until(lambda: not phone.logs_in(), "the gateway to refuse the former password")
            assert phone.logs_in(password="new")
            assert run_ours("user", "del", user, "--db", db).status == 0
            gateway.wait_until(lambda: not phone.logs_in(password="new"), "the gateway to refuse the user")
        done = gateway.stop()
    assert "Push-Profile-Request of a user at hand" in done.err
    assert "Registration-Termination-Request of a user at hand" in done.err


def test_check_without_the_hss_says_what_to_look_at(tmp_path, free_port):
    request = tmp_path / "request.sip"
    request.write_bytes(build_request(extra=("Authorization: " + build_credentials(),)))
    hss = ("--application", "cx", "--origin-host", "a.b", "--disc", f"127.0.0.1:{free_port}")
    done = run_ours("check", request, "--www", *hss)
    assert done.status == 2
    assert f"no HA1 from the HSS at 127.0.0.1:{free_port}" in done.err


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("serve", "--application", "sip"), "--origin-host"),
        (("serve", "--application", "sip", "--origin-host", "a.b", "--workers", "2"), "--workers"),
        (("serve", "--application", "cx", "--origin-host", "a.b"), "--db cx://HOST/REALM"),
        (("serve", "--db", "cx://127.0.0.1/a.b", "--origin-host", "a.b", "--workers", "2"), "--workers"),
        (("serve", "--application", "sip", "--origin-host", "a.b", "--realms", "a.b"), "--realms"),
        (("disc", "--db", "cx://hss.example.net"), "--origin-host"),
        (("user", "list", "--db", "cx://hss.example.net"), "has its own commands"),
    ],
)
def test_what_is_missing_is_said(command, said):
    assert_one_line(run_ours(*command), said)
