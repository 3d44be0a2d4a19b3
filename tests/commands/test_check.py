"""auth-diameter check: one SIP request asked of DISC."""

import re
import signal
import socket

import pytest
from kit.machine import PATIENCE
from kit.process import OURS, Program, Server, assert_one_line
from kit.sip import ACCOUNT

import auth_diameter as ad
from auth_diameter.lab.uac import authorization, make_request


@pytest.fixture
def check(cli, disc, tmp_path):
    """Check a request against the DISC of this module."""

    def run(data, *options):
        path = tmp_path / "request.sip"
        path.write_bytes(data)
        return cli("check", path, "--disc", disc.where, *options)

    return run


def challenge_in(done):
    name = "WWW-Authenticate: " if "WWW-Auth" in done.out else "Proxy-Authenticate: "
    line = next(line for line in done.out.splitlines() if line.startswith(name))
    return ad.Challenge.parse(line.removeprefix(name))


def right_request(check, method="REGISTER", password="wonderland"):
    challenge = challenge_in(check(make_request(method, "sip:siphub.net", ACCOUNT)))
    name = "Authorization" if method == "REGISTER" else "Proxy-Authorization"
    value = authorization(challenge, "alice", password, method, "sip:siphub.net")
    return make_request(method, "sip:siphub.net", ACCOUNT, headers=[(name, value)])


@pytest.mark.parametrize(("method", "status"), [("REGISTER", "401"), ("INVITE", "407")])
def test_check_shows_the_challenge(check, method, status):
    done = check(make_request(method, "sip:siphub.net", ACCOUNT))
    function = "diameter_www_authorize" if method == "REGISTER" else "diameter_proxy_authorize"
    assert (done.status, done.err) == (1, "")
    assert f"function     {function}\ndecision     refused\ncause        CHALLENGED: " in done.out
    assert f"\nSIP/2.0 {status} " in done.out


@pytest.mark.parametrize("method", ["REGISTER", "INVITE"])
def test_check_lets_through(check, method):
    done = check(right_request(check, method))
    assert (done.status, done.err) == (0, "")
    assert "decision     let through" in done.out
    assert "username     alice" in done.out


def test_check_refuses(check):
    done = check(right_request(check, password="guess"))
    assert done.status == 1
    assert "FORBIDDEN" in done.out
    assert "SIP/2.0 403 Forbidden" in done.out


@pytest.mark.parametrize(("group", "status"), [("voicemail", 0), ("managers", 1)])
def test_check_asks_for_a_group(check, group, status):
    done = check(right_request(check), "--group", group)
    assert done.status == status
    assert ("NOT_MEMBER" in done.out) == bool(status)


def test_check_which_function(check):
    data = make_request("REGISTER", "sip:siphub.net", ACCOUNT)
    assert "SIP/2.0 407 " in check(data, "--proxy").out
    assert "SIP/2.0 401 " in check(data.replace(b"REGISTER", b"INVITE"), "--www").out


def test_check_with_another_realm(check):
    data = make_request("REGISTER", "sip:siphub.net", ACCOUNT)
    assert "REALM_NOT_SERVED" in check(data, "--realm", "example.org").out
    assert_one_line(check(data, "--realm", "$nope"), "$nope")


def test_check_takes_a_file_from_an_editor(check):
    """With LF at the end of its lines, and without the empty line behind the header."""
    data = make_request("REGISTER", "sip:siphub.net", ACCOUNT)
    for text in (data.replace(b"\r\n", b"\n"), data.replace(b"\r\n", b"\n").rstrip(), data.rstrip()):
        assert check(text).status == 1


def test_check_of_a_hostile_request_shows_nothing_that_acts_on_a_terminal(cli, disc, tmp_path):
    value = (
        'Digest username="\\\x1b[2Jalice", realm="siphub.net", nonce="n", uri="sip:siphub.net", '
        f'response="{"0" * 32}"'
    )
    data = make_request("REGISTER", "sip:siphub.net", ACCOUNT, headers=[("Authorization", value)])
    path = tmp_path / "request.sip"
    path.write_bytes(data.replace(b"<sip:", b'"\xc2\x9b\\\x07" <sip:', 1))
    done = cli("check", path, "--disc", disc.where)
    assert done.status == 1
    assert "\\x1b[2Jalice" in done.out
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.out)


def test_check_reads_stdin(cli, disc):
    data = make_request("REGISTER", "sip:siphub.net", ACCOUNT)
    done = cli("check", "-", "--disc", disc.where, stdin=data)
    assert (done.status, done.err) == (1, "")


@pytest.mark.parametrize("data", [b"", b"hello\n", b"SIP/2.0 200 OK\r\n\r\n", bytes(100)])
def test_check_of_what_is_no_request(check, data):
    assert_one_line(check(data), "request.sip", "at byte")


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_the_place_of_a_fault_is_that_in_the_file(check, end):
    """A file of LF alone is sent with CRLF; people look for the fault in the file."""
    data = make_request("REGISTER", "sip:siphub.net", ACCOUNT).replace(b"\r\n", end)
    at = data.index(b"CSeq: ") + len(b"CSeq: ")
    assert_one_line(check(data[:at] + b"x" + data[at + 1 :]), "CSeq", f"(at byte {at})")


def test_check_of_a_file_that_is_not_there(cli, tmp_path):
    assert_one_line(cli("check", tmp_path / "nope"), "nope", "No such file")
    assert_one_line(cli("check", tmp_path), tmp_path, "directory")


def test_check_tells_a_disc_that_is_down_from_a_refusal(cli, tmp_path):
    """Status 2 and a line on stderr; the reply that a telephone would get stays on stdout."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        disc_address = f"127.0.0.1:{free.getsockname()[1]}"
    path = tmp_path / "request.sip"
    path.write_bytes(make_request("REGISTER", "sip:siphub.net", ACCOUNT))
    done = cli("check", path, "--disc", disc_address)
    assert done.status == 2
    assert "SIP/2.0 503 Service Unavailable" in done.out
    assert done.err.count("\n") == 1
    assert done.err.startswith(f"auth-diameter: no answer from DISC at {disc_address}: ")
    assert done.err.endswith("; is auth-diameter disc running?\n")


def test_check_of_a_disc_that_does_not_allow_us(cli, db, tmp_path):
    """It takes the connection and hangs up, so that it is running."""
    path = tmp_path / "request.sip"
    path.write_bytes(make_request("REGISTER", "sip:siphub.net", ACCOUNT))
    with Server("disc", "--db", db, "--allow", "192.0.2.1") as server:
        done = cli("check", path, "--disc", server.where)
    assert done.status == 2
    assert done.err.endswith("; see its log: does its --allow name this machine?\n")


@pytest.mark.usefixtures("ctrl_c_is_heeded")
def test_ctrl_c_while_disc_does_not_answer(tmp_path):
    path = tmp_path / "request.sip"
    path.write_bytes(make_request("REGISTER", "sip:siphub.net", ACCOUNT))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        disc_address = f"127.0.0.1:{silent.getsockname()[1]}"
        with Program(*OURS, "check", path, "--disc", disc_address) as check:
            silent.settimeout(PATIENCE)
            connection, _ = silent.accept()
            with connection:
                assert connection.recv(65536)
                done = check.stop(signal.SIGINT)
    assert (done.status, done.out, done.err.strip()) == (130, "", "")
