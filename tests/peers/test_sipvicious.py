"""SIPVicious, which scans for telephones, accounts and passwords, against a `serve` of ours on loopback.

It asks in the realm of the host that it scans, here 127.0.0.1. One account is in it, 100, whose password
is in the list that svcrack is given. That it finds it without the limits shows that it tries.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from kit.machine import PATIENCE
from kit.process import Server

from auth_diameter.store.accounts import Accounts

pytestmark = pytest.mark.peers

ACCOUNT, PASSWORD = "100", "4321"


@pytest.fixture
def scan(tmp_path):
    """A function that runs one of its programs on a server; all that it has written."""
    (tmp_path / "passwords").write_text("".join(f"{number}\n" for number in range(4300, 4400)))

    def scan(program, server, *options):
        command = Path(sys.executable).parent / f"sipvicious_{program}"
        if not command.exists():
            pytest.fail("pip install sipvicious")
        done = subprocess.run(
            [command, "-p", str(server.port), *options, server.host],
            capture_output=True,
            text=True,
            timeout=3 * PATIENCE,
            env={**os.environ, "HOME": str(tmp_path)},  # where it keeps its sessions
            check=False,
        )
        return done.stdout + done.stderr

    return scan


@contextlib.contextmanager
def running(tmp_path, *options):
    db = tmp_path / "users.sqlite"
    if not db.exists():
        with Accounts.create(db) as store:
            store.add_user(ACCOUNT, "127.0.0.1", PASSWORD)
    with (
        Server("disc", "--db", db, *options) as disc,
        Server(*("serve", "--disc", disc.where), *options) as server,
    ):
        yield server


def test_svmap_finds_a_sip_server_that_does_not_say_what_it_is(scan, tmp_path):
    with running(tmp_path) as server:
        found = scan("svmap", server)
    assert f"{server.host}:{server.port}" in found
    assert "unknown" in found


@pytest.mark.parametrize("method", ["REGISTER", "INVITE", "OPTIONS"])
def test_svwar_finds_no_account(scan, tmp_path, method):
    """Who exists is challenged as who does not."""
    with running(tmp_path) as server:
        found = scan("svwar", server, "--force", "-m", method, "-e", "90-110")
    assert "found nothing" in found, found


def test_svcrack_finds_no_password(scan, tmp_path):
    passwords = str(tmp_path / "passwords")
    with running(tmp_path, "--no-penalty") as server:
        assert PASSWORD in scan("svcrack", server, "-u", ACCOUNT, "-d", passwords)
    with running(tmp_path) as server:
        found = scan("svcrack", server, "-u", ACCOUNT, "-d", passwords)
    assert "found nothing" in found, found
