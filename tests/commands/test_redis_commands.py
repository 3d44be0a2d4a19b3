"""`user`, `group` and `db` with Redis, as an operator types them."""

from __future__ import annotations

import pytest
from kit.process import assert_one_line
from kit.redis_server import RedisServer
from kit.sip import ACCOUNT

CSV = b"username,domain,password,groups\nbob,siphub.net,x,staff\ncarol,siphub.net,x,\n"


@pytest.fixture(scope="module")
def one_server():
    with RedisServer(requirepass="correct horse") as server:
        yield server


@pytest.fixture
def server(one_server, monkeypatch):
    """A Redis without a key; its password is in the environment, since `ps` shows a URL."""
    one_server.say("FLUSHALL")
    monkeypatch.setenv("AUTH_DIAMETER_DB", one_server.url)
    monkeypatch.setenv("AUTH_DIAMETER_DB_PASSWORD", "correct horse")
    return one_server


def test_a_day_of_an_operator(cli, server):
    done = cli("user", "add", ACCOUNT, "--password-stdin", stdin=b"secret\n")
    stored = "HA1 for MD5, SHA-256, SHA-512-256 in realm siphub.net"
    assert done == (0, f"added {ACCOUNT}: {stored}\n", "")
    assert cli("group", "add", ACCOUNT, "staff").out == f"{ACCOUNT} is now in staff\n"
    assert cli("group", "add", ACCOUNT, "staff").out == f"{ACCOUNT} is already in staff\n"
    assert cli("user", "list") == (0, f"{ACCOUNT} staff\n", "1 user\n")
    assert cli("group", "list", ACCOUNT).out == "staff\n"
    assert cli("group", "del", ACCOUNT, "staff").out == f"{ACCOUNT} is no longer in staff\n"
    assert_one_line(cli("group", "del", ACCOUNT, "staff"), ACCOUNT, "staff")
    done = cli("user", "import", "-", "--dry-run", stdin=CSV)
    assert done == (0, "would be: 2 added, 0 changed, 1 group memberships\n", "")
    done = cli("user", "import", "-", stdin=CSV)
    assert done == (0, "2 added, 0 changed, 1 group memberships\n", "")
    assert cli("user", "list", "siphub.net").out == f"{ACCOUNT}\nbob@siphub.net staff\ncarol@siphub.net\n"
    assert cli("user", "import", "-", "--sync", "--yes", stdin=CSV).out.startswith(
        "0 added, 0 changed, 2 there"
    )
    assert_one_line(cli("user", "del", ACCOUNT), ACCOUNT, server.url)
    assert_one_line(cli("group", "list", ACCOUNT), ACCOUNT, server.url)


def test_from_redis_to_a_file_and_back(cli, server, tmp_path, monkeypatch):
    cli("user", "import", "-", stdin=CSV)
    monkeypatch.setenv("AUTH_DIAMETER_FROM_PASSWORD", "correct horse")
    path = tmp_path / "users.sqlite"
    done = cli("user", "import", "--from", server.url, "--db", path)
    assert done == (0, "2 added, 0 changed, 1 group memberships\n", "")
    server.say("FLUSHALL")
    assert cli("user", "import", "--from", path).out == done.out
    assert cli("user", "list").out == "bob@siphub.net staff\ncarol@siphub.net\n"


def test_there_is_nothing_to_upgrade(cli, server):
    assert cli("db", "upgrade") == (0, f"{server.url}: has no tables, so there is nothing to upgrade\n", "")


@pytest.mark.parametrize(
    "option", [("--table", "phones"), ("--password-column", "pass"), ("--no-domain",)], ids=str
)
def test_options_of_tables_do_not_apply(cli, server, option):
    assert_one_line(
        cli("user", "list", *option), f"{server.url}: has no tables, so {option[0]} does not apply"
    )
    assert_one_line(cli("disc", "--listen", "127.0.0.1:0", *option), f"so {option[0]} does not apply")


def test_a_wrong_password_is_not_shown(cli, server, monkeypatch):
    monkeypatch.setenv("AUTH_DIAMETER_DB_PASSWORD", "hush")
    for command in (("user", "list"), ("disc", "--listen", "127.0.0.1:0")):
        done = cli(*command)
        assert_one_line(done, server.url, "the password is wrong")
        assert "hush" not in done.err
