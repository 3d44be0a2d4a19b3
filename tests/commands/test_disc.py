"""auth-diameter disc: DISC in a process of its own."""

import contextlib
import signal
import sys

import pytest
from kit.machine import wait_until
from kit.process import Server
from kit.sip import ACCOUNT
from kit.uac import Account
from kit.wire import Connection

import auth_diameter as ad
from auth_diameter.lab.uac import parse_reply

ALICE = Account()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_disc_says_where_it_listens_and_stops_on_a_signal(db, how):
    with Server("disc", "--db", db) as server:
        assert server.line == f"DISC listening on 127.0.0.1:{server.port}, users from {db}\n"
        with Connection(server.address):
            done = server.stop(how)
    assert (done.status, done.out) == (0, "")
    assert "stopped; answered: nothing" in done.err
    assert done.err.count("\n") == 1


def test_disc_takes_more_connections_than_the_shell_allows_files(db):
    """A soft limit of 1024 files is what most shells give; DISC has one connection for each process."""
    script = (
        "import resource, sys; hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1];"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard));"
        "sys.argv = ['auth-diameter', *sys.argv[1:]];"
        "from auth_diameter.__main__ import main; main()"
    )
    with (
        Server("disc", "--db", db, program=[sys.executable, "-c", script]) as server,
        contextlib.ExitStack() as stack,
    ):
        for _ in range(200):
            assert stack.enter_context(Connection(server.address)).ask()
        assert "CHALLENGED 200" in server.stop().err


def is_challenged(port, source="127.0.0.1"):
    """Whether a connection of this source is answered; else DISC has closed it."""
    with Connection(("127.0.0.1", port), source) as connection:
        return connection.ask() is not None


def test_disc_takes_connections_from_allowed_networks_only(db):
    allowed = ("--allow", "127.0.0.2", "--allow", "127.1.0.0/16")
    with Server("disc", "--db", db, *allowed, listen="0.0.0.0:0") as server:
        sources = ("127.0.0.1", "127.0.0.2", "127.1.2.3")
        assert [is_challenged(server.port, source) for source in sources] == [False, True, True]
        err = server.stop().err
    assert "refused a connection from 127.0.0.1: the address is in no network of --allow" in err
    assert "anybody" not in err


def test_disc_that_anybody_may_ask_says_so(db):
    with Server("disc", "--db", db, listen="0.0.0.0:0") as server:
        err = server.stop().err
    assert f"WARNING anybody who reaches 0.0.0.0:{server.port} may ask: name the networks" in err
    assert err.count("\n") == 2  # it and "stopped"


def test_disc_closes_the_connections_beyond_its_limits(db):
    with (
        Server("disc", "--db", db, "--max-per-source", "2") as server,
        Connection(server.address),
        Connection(server.address),
    ):
        assert not is_challenged(server.port)
        assert is_challenged(server.port, "127.0.0.2")


def test_verbose_disc_logs_each_question_without_secrets(db, cli, tmp_path):
    with Server("-v", "disc", "--db", db) as server:
        path = tmp_path / "request.sip"
        path.write_bytes(ALICE.request())
        assert cli("check", path, "--disc", server.where).status == 1
        done = server.stop()
    assert f" DEBUG CHALLENGED about='{ACCOUNT}' source=- server=127.0.0.1 credentials=no\n" in done.err
    assert "nonce" not in done.err


def test_verbose_disc_logs_which_group_was_asked_for(db):
    request = ALICE.request("INVITE")
    with Server("-v", "disc", "--db", db) as server:
        with ad.AuthDiameter(ad.Config(diameter_client_host=server.where)) as auth:
            assert not auth.diameter_is_user_in(request, "From", "no one's")
        done = server.stop()
    line = r" DEBUG NOT_MEMBER about='alice' source=- server=127.0.0.1 group='no\x20one\x27s'"
    assert line + "\n" in done.err


# --- SIGHUP, and what stands at the start of the log ---------------------------------------------------


def wait_for_line(path, text):
    return wait_until(lambda: next((line for line in path.read_text().splitlines() if text in line), None))


@pytest.fixture
def files(tmp_path):
    """A key, allowed networks, and a log."""
    key, allowed, log = tmp_path / "nonce.key", tmp_path / "allowed", tmp_path / "disc.log"
    key.write_bytes(b"the old key of all nodes")
    key.chmod(0o600)
    allowed.write_text("127.0.0.1\n")
    return key, allowed, log


@pytest.fixture
def served(db, files):
    db.chmod(0o600)
    key, allowed, log = files
    options = ("--nonce-key", key, "--allow", f"@{allowed}", "--log-file", log)
    with Server("disc", "--db", db, *options, listen="0.0.0.0:0") as server:
        yield server
        assert server.running


def decided(server, data):
    with ad.AuthDiameter(ad.Config(diameter_client_host=server.where)) as auth:
        return auth.diameter_www_authorize(data, "$fd")


def challenge_of(server):
    return parse_reply(decided(server, ALICE.request()).reply).challenge()


def log_in(server, challenge):
    return decided(server, ALICE.request("REGISTER", ALICE.answer(challenge))).cause


def test_sighup_reads_keys_and_networks_anew(served, files):
    key, allowed, log = files
    challenge = challenge_of(served)
    assert is_challenged(served.port)
    assert not is_challenged(served.port, "127.0.0.2")
    key.write_bytes(b"the new key of all nodes")
    allowed.write_text("127.0.0.1\n127.0.0.2\n")
    served.send(signal.SIGHUP)
    wait_for_line(log, "INFO SIGHUP: everything was reloaded")
    assert is_challenged(served.port, "127.0.0.2")
    assert log_in(served, challenge) is not ad.Cause.AUTHORIZED
    assert log_in(served, challenge_of(served)) is ad.Cause.AUTHORIZED


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("nonce.key", "short", "--nonce-key {}: expected 16 secret bytes or more, not 5"),
        ("nonce.key", None, "--nonce-key {}: No such file or directory"),
        ("allowed", "", "--allow {}: no network in it"),
        (
            "allowed",
            "127.0.0.1\nx\n",
            "--allow {}, line 2: 'x' does not appear to be an IPv4 or IPv6 network",
        ),
    ],
)
def test_what_cannot_be_read_keeps_all_as_it_was(served, files, tmp_path, name, text, why):
    """The other file is fine, and has a change; nobody is let in more than before, or less."""
    key, allowed, log = files
    challenge = challenge_of(served)
    key.write_bytes(b"the new key of all nodes")
    allowed.write_text("127.0.0.2\n")
    if text is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(text)
    served.send(signal.SIGHUP)
    line = wait_for_line(log, "SIGHUP")
    assert f"ERROR SIGHUP: nothing was changed: {why.format(tmp_path / name)}" in line
    assert log_in(served, challenge) is ad.Cause.AUTHORIZED
    assert not is_challenged(served.port, "127.0.0.2")


def test_sighup_without_anything_to_read_does_no_harm(db):
    db.chmod(0o600)
    with Server("disc", "--db", db) as server:
        challenge = challenge_of(server)
        for _ in range(3):
            server.send(signal.SIGHUP)
        server.wait_for_line("INFO SIGHUP: everything was reloaded")
        assert log_in(server, challenge) is ad.Cause.AUTHORIZED, "a key that no file has is kept"
        assert server.stop().status == 0


def test_files_that_others_can_read_are_warned_of(db, tmp_path):
    key = tmp_path / "nonce.key"
    key.write_bytes(b"0123456789abcdef")
    key.chmod(0o644)
    db.chmod(0o644)
    with Server("disc", "--db", db, "--nonce-key", key) as server:
        err = server.stop().err
    for path in (key, db):
        assert f"WARNING {path}: users other than its owner can read it (mode 644): chmod 600 " in err
