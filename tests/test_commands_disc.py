"""auth-diameter disc: DISC in a process of its own."""

import contextlib
import re
import signal
import socket
import subprocess
import sys

import pytest
from commands import ACCOUNT, Server
from machine import PATIENCE

import auth_diameter as ad
from auth_diameter.uac import make_request

# A question without credentials, which is answered with a challenge.
QUESTION = ad.Message(
    265, [ad.Avp(283, "siphub.net"), ad.Avp(404, b"6"), ad.Avp(1, ACCOUNT)], application_id=1
).encode()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_disc_says_where_it_listens_and_stops_on_a_signal(db, how):
    with Server("disc", "--listen", "127.0.0.1:0", "--db", db) as server:
        assert server.line == f"DISC listening on 127.0.0.1:{server.port}, users from {db}\n"
        with socket.create_connection(("127.0.0.1", server.port)):
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
    process = subprocess.Popen(
        [sys.executable, "-c", script, "disc", "--listen", "127.0.0.1:0", "--db", str(db)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process, contextlib.ExitStack() as stack:
        stack.callback(process.kill)
        port = int(re.search(rb"listening on \S+:(\d+)", process.stdout.readline())[1])
        for _ in range(200):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
            sock.sendall(QUESTION)
            assert sock.recv(65536)
        process.terminate()
        _, err = process.communicate(timeout=PATIENCE)
    assert b"CHALLENGED 200" in err


def is_challenged(port, source="127.0.0.1"):
    """Whether a connection of this source is answered; else DISC has closed it."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE, (source, 0)) as sock:
        try:
            sock.sendall(QUESTION)
            return bool(sock.recv(65536))
        except ConnectionError:
            return False


def test_disc_takes_connections_from_allowed_networks_only(db):
    allowed = ("--allow", "127.0.0.2", "--allow", "127.1.0.0/16")
    with Server("disc", "--listen", "0.0.0.0:0", "--db", db, *allowed) as server:
        sources = ("127.0.0.1", "127.0.0.2", "127.1.2.3")
        assert [is_challenged(server.port, source) for source in sources] == [False, True, True]
        err = server.stop().err
    assert "refused a connection from 127.0.0.1: none of the networks that --allow names" in err
    assert "anybody" not in err


def test_disc_that_anybody_may_ask_says_so(db):
    with Server("disc", "--listen", "0.0.0.0:0", "--db", db) as server:
        err = server.stop().err
    assert f"WARNING anybody who reaches 0.0.0.0:{server.port} may ask: name the networks" in err
    assert err.count("\n") == 2  # it and "stopped"


def test_disc_closes_the_connections_beyond_its_limits(db):
    with Server("disc", "--listen", "127.0.0.1:0", "--db", db, "--max-per-source", "2") as server:
        address = ("127.0.0.1", server.port)
        with socket.create_connection(address, PATIENCE), socket.create_connection(address, PATIENCE):
            assert not is_challenged(server.port)
            assert is_challenged(server.port, "127.0.0.2")


def test_verbose_disc_logs_each_question_without_secrets(db, cli, tmp_path):
    with Server("-v", "disc", "--listen", "127.0.0.1:0", "--db", db) as server:
        path = tmp_path / "request.sip"
        path.write_bytes(make_request("REGISTER", "sip:siphub.net", ACCOUNT))
        assert cli("check", path, "--disc", f"127.0.0.1:{server.port}").status == 1
        done = server.stop()
    assert "CHALLENGED" in done.err
    assert ACCOUNT in done.err
    assert "nonce" not in done.err
