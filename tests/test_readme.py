"""README is true: what it shows runs, what it names exists, and what exists is named."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import auth_diameter as ad
from auth_diameter.disc.store import Store
from auth_diameter.uac import authorization, make_request, parse_reply

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8")
OURS = [sys.executable, "-m", "auth_diameter"]
PATIENCE = 20.0  # seconds after which a test gives up on a process; none waits that long
ACCOUNT, PASSWORD = "alice@siphub.net", "wonderland"


@contextlib.contextmanager
def running(*command):
    """A server of ours in a process of its own; yields its port."""
    process = subprocess.Popen(
        [*OURS, *map(str, command)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()  # or nothing, when it ends
        found = re.search(r"listening on \S+:(\d+)", line)
        assert found, line or process.communicate(timeout=PATIENCE)[1]
        yield int(found[1])
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    path = tmp_path_factory.mktemp("readme") / "users.sqlite"
    with Store.create(path) as store:
        store.add_user("alice", "siphub.net", PASSWORD)
        store.add_group("alice", "siphub.net", "voicemail")
    return path


def register(*headers):
    return make_request("REGISTER", "sip:siphub.net", ACCOUNT, headers=headers)


def answer_to(reply):
    """The header that answers a 401 with the right password."""
    challenge = parse_reply(reply).challenge()
    return ("Authorization", authorization(challenge, "alice", PASSWORD, "REGISTER", "sip:siphub.net"))


# --- several DISC ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [True, False])
def test_several_disc_accept_challenges_of_each_other_with_one_nonce_key(db, tmp_path, shared):
    """Else a telephone whose answer goes to another DISC is challenged once more."""
    options = ()
    if shared:
        key = tmp_path / "nonce.key"
        key.write_bytes(os.urandom(32))
        options = ("--nonce-key", key)
    disc = ("disc", "--listen", "127.0.0.1:0", "--db", db, *options)
    with running(*disc) as first, running(*disc) as second:
        with ad.AuthDiameter(ad.Config(diameter_client_host=f"127.0.0.1:{first}")) as auth:
            challenged = auth.diameter_www_authorize(register(), "$fd")
        with ad.AuthDiameter(ad.Config(diameter_client_host=f"127.0.0.1:{second}")) as auth:
            decision = auth.diameter_www_authorize(register(answer_to(challenged.reply)), "$fd")
    assert decision.cause is (ad.Cause.AUTHORIZED if shared else ad.Cause.CHALLENGED)


@pytest.mark.parametrize(
    ("content", "wrong"),
    [(None, "No such file or directory"), (b"x" * 15, "expected 16 secret bytes or more")],
)
def test_an_unusable_nonce_key_is_told_in_one_line(db, tmp_path, content, wrong):
    key = tmp_path / "nonce.key"
    if content is not None:
        key.write_bytes(content)
    done = subprocess.run(
        [*OURS, "disc", "--listen", "127.0.0.1:0", "--db", db, "--nonce-key", key],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"auth-diameter: --nonce-key {key}: {wrong}")
    assert done.stderr.count("\n") == 1
