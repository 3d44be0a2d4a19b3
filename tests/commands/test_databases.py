"""`user`, `group` and `db` with databases of servers, as an operator types them."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys

import pytest
from kit.machine import PATIENCE
from kit.process import OURS, assert_one_line
from kit.sip import ACCOUNT
from kit.stores import KINDS, end_servers, fresh
from kit.tables import HA1, KAMAILIO, run_sql, select

SERVERS = KINDS[1:]
CSV = "username,domain,password,groups\nbob,siphub.net,x,staff\ncarol,siphub.net,x,\n"


@pytest.fixture(scope="module", autouse=True)
def _servers_end():
    yield
    end_servers()


@pytest.fixture(params=KINDS)
def database(request):
    with fresh(request.param) as found:
        yield found


@pytest.fixture(params=SERVERS)
def server(request):
    with fresh(request.param) as found:
        yield found


@pytest.fixture
def old(tmp_path):
    """A database of SQLite as Kamailio's scripts make it, with alice."""
    path = tmp_path / "kamailio.sqlite"
    run_sql(path, KAMAILIO)
    run_sql(path, f"INSERT INTO subscriber (username, domain, ha1) VALUES ('alice', 'siphub.net', '{HA1}')")
    return path


def test_a_day_of_an_operator(cli, server, monkeypatch, caplog):
    """The password is in the environment: `ps` shows the URL."""
    monkeypatch.setenv("AUTH_DIAMETER_DB", server.server.url(server.name, password=False))
    monkeypatch.setenv("AUTH_DIAMETER_DB_PASSWORD", "correct horse")
    done = cli("user", "add", ACCOUNT, "--password-stdin", stdin=b"secret\n")
    assert (done.status, done.out) == (0, f"added {ACCOUNT}: HA1 for MD5 in realm siphub.net\n")
    (record,) = caplog.records
    assert record.getMessage().endswith(
        "/"
        + server.name
        + ": table 'subscriber' has no columns for HA1 by SHA-2, so its users have MD5 alone;"
        " auth-diameter db upgrade adds them"
    )
    assert cli("group", "add", ACCOUNT, "staff").out == f"{ACCOUNT} is now in staff\n"
    assert cli("group", "add", ACCOUNT, "staff").out == f"{ACCOUNT} is already in staff\n"
    assert cli("user", "list") == (0, f"{ACCOUNT} staff\n", "1 user\n")
    assert cli("group", "list", ACCOUNT).out == "staff\n"
    assert cli("group", "del", ACCOUNT, "staff").out == f"{ACCOUNT} is no longer in staff\n"
    assert_one_line(cli("group", "del", ACCOUNT, "staff"), ACCOUNT, "staff")
    done = cli("user", "import", "-", stdin=CSV.encode())
    assert done == (0, "2 added, 0 changed, 1 group memberships\n", "")
    assert cli("user", "list", "siphub.net").out == f"{ACCOUNT}\nbob@siphub.net staff\ncarol@siphub.net\n"
    assert cli("user", "del", ACCOUNT).out == f"deleted {ACCOUNT}\n"
    assert_one_line(cli("user", "del", ACCOUNT), ACCOUNT, server.name)
    assert_one_line(cli("group", "list", ACCOUNT), ACCOUNT, server.name)


def test_the_operators_own_tables(cli, database):
    database.run("CREATE TABLE phones (name VARCHAR(64), pass VARCHAR(64))")
    own = ("--table", "phones", "--user-column", "name", "--no-domain", "--calculate-ha1")
    own += ("--password-column", "pass", "--db", database.url)
    done = cli("user", "add", "100", "--password-stdin", *own, stdin=b"secret\n")
    assert done == (0, "added 100: the password\n", "")
    done = cli("user", "add", "101@siphub.net", "--password-stdin", *own, stdin=b"secret\n")
    assert done.out == "added 101@siphub.net: the password in realm siphub.net\n"
    assert cli("group", "add", "100", "staff", *own).status == 0
    assert cli("user", "list", *own) == (0, "100 staff\n101\n", "2 users\n")
    assert cli("user", "del", "100", *own).status == 0
    assert database.select("SELECT name, pass FROM phones") == [("101", "secret")]


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (("--table", "nope"), "has no table 'nope'"),
        (("--user-column", "nope"), "table 'subscriber' has no column 'nope'; see --user-column"),
        (("--db-password-file", "no-such-file"), "--db-password-file no-such-file: No such file"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(cli, server, more, what):
    for command in (("user", "list"), ("user", "import", "-"), ("group", "list", ACCOUNT)):
        assert_one_line(cli(*command, "--db", server.url, *more, stdin=CSV.encode()), what)


def test_a_wrong_password_is_not_shown(cli, server, tmp_path):
    path = tmp_path / "password"
    path.write_text("hush\n")
    path.chmod(0o600)
    url = server.server.url(server.name, password=False)
    for words in (("--db", server.url.replace("horse", "hush")), ("--db", url, "--db-password-file", path)):
        done = cli("user", "list", *words)
        assert_one_line(done, "the password is wrong", str(server.server.port))
        assert "hush" not in done.err


# --- import -----------------------------------------------------------------------------------------------


def test_sync_asks_first(cli, database, tmp_path):
    path = tmp_path / "users.csv"
    path.write_text(CSV)
    database.add("zoe")
    database.add("bob", "old")
    sync = ("user", "import", path, "--sync", "--db", database.url)
    done = cli(*sync)
    shown = re.sub("//.*@", "//", database.url)
    assert_one_line(done, f"{shown}: 1 user is not among the 2 of {path}")
    assert "confirm with --yes" in done.err
    assert cli(*sync, "--dry-run").out == ("would be: 1 added, 1 changed, 1 deleted, 1 group memberships\n")
    assert sorted(database.select("SELECT username FROM subscriber")) == [("bob",), ("zoe",)]
    assert cli(*sync, "--yes").out == "1 added, 1 changed, 1 deleted, 1 group memberships\n"
    assert sorted(database.select("SELECT username FROM subscriber")) == [("bob",), ("carol",)]
    assert cli(*sync).out == "0 added, 0 changed, 2 there already, 0 deleted, 0 group memberships\n"


def test_ctrl_c_ends_an_import_at_once_and_nothing_is_imported(server, ctrl_c_is_heeded):
    """Also while the file is read, and the server is asked nothing."""
    command = [*OURS, "user", "import", "-", "--db", server.url]
    rows = "".join(f"u{n},siphub.net,{'x' * 60}\n" for n in range(10_000))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdin.write(f"username,domain,password\n{rows}".encode())
        process.stdin.flush()  # more than the pipe holds, so it reads, and waits for more
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(PATIENCE) == 130
        finally:
            process.kill()
        assert b"Traceback" not in process.stderr.read()
    assert server.select("SELECT count(*) FROM subscriber") == [("0",)]


def test_a_dry_run_makes_no_file(cli, tmp_path):
    path = tmp_path / "new.sqlite"
    done = cli("user", "import", "-", "--dry-run", "--db", path, stdin=CSV.encode())
    assert done == (0, "would be: 2 added, 0 changed, 1 group memberships\n", "")
    assert not path.exists()


def test_users_of_another_database(cli, server, tmp_path, monkeypatch):
    path = tmp_path / "users.sqlite"
    server.add("alice")
    server.insert("grp", username="alice", domain="siphub.net", grp="staff")
    monkeypatch.setenv("AUTH_DIAMETER_FROM_PASSWORD", "correct horse")
    source = server.server.url(server.name, password=False)
    done = cli("user", "import", "--from", source, "--db", path)
    assert done == (0, "1 added, 0 changed, 1 group memberships\n", "")
    assert select(path, "SELECT username, domain, ha1 FROM subscriber") == [("alice", "siphub.net", HA1)]
    server.run("DELETE FROM subscriber; DELETE FROM grp")
    assert cli("user", "import", "--from", path, "--db", server.url).out == done.out
    assert server.select("SELECT username, domain, ha1 FROM subscriber") == [("alice", "siphub.net", HA1)]


def test_one_source_is_named(cli, db):
    for words in ((), ("x.csv", "--from", db)):
        assert_one_line(
            cli("user", "import", *words, "--db", db), "name a FILE.csv, or - for stdin, or a database"
        )


# --- db upgrade -------------------------------------------------------------------------------------------


def test_upgrade_prints_the_sql_and_does_nothing_without_a_yes(cli, old):
    before = old.read_bytes()
    done = cli("db", "upgrade", "--db", old)
    assert done.status == 2
    assert done.out == (
        "-- add column ha1_sha256 to table subscriber\n"
        'ALTER TABLE "subscriber" ADD COLUMN "ha1_sha256" VARCHAR(64) DEFAULT \'\' NOT NULL;\n'
        "-- add column ha1_sha512t256 to table subscriber\n"
        'ALTER TABLE "subscriber" ADD COLUMN "ha1_sha512t256" VARCHAR(64) DEFAULT \'\' NOT NULL;\n'
    )
    assert done.err == f"auth-diameter: {old}: nothing was changed; confirm with --yes\n"
    assert cli("db", "upgrade", "--db", old, "--dry-run") == (0, done.out, "")
    assert old.read_bytes() == before
    assert cli("db", "upgrade", "--db", old, "--yes") == (0, f"{done.out}{old}: done\n", "")
    assert cli("db", "upgrade", "--db", old) == (0, f"{old}: nothing is missing\n", "")
    done = cli("user", "add", ACCOUNT, "--password-stdin", "--replace", "--db", old, stdin=b"secret\n")
    assert "HA1 for MD5, SHA-256, SHA-512-256" in done.out


def test_user_add_to_an_older_table_says_what_is_missing(cli, old, caplog):
    done = cli("user", "add", ACCOUNT, "--password-stdin", "--replace", "--db", old, stdin=b"secret\n")
    assert done.out == f"changed {ACCOUNT}: HA1 for MD5 in realm siphub.net\n"
    assert "auth-diameter db upgrade adds them" in caplog.text
    assert "sha256" not in str(select(old, "SELECT sql FROM sqlite_master"))


def test_the_sql_can_be_run_by_the_administrator_instead(cli, server):
    """As where our user may not alter tables."""
    done = cli("db", "upgrade", "--db", server.url, "--dry-run")
    server.run(done.out)
    assert cli("db", "upgrade", "--db", server.url).out.endswith(": nothing is missing\n")


def test_upgrade_of_a_file_that_is_not_there(cli, tmp_path):
    assert_one_line(cli("db", "upgrade", "--db", tmp_path / "nope.sqlite"), "nope.sqlite", "no such file")
    assert list(tmp_path.iterdir()) == []


def test_sqlite3_takes_the_sql_too(cli, old):
    if not shutil.which("sqlite3"):
        pytest.skip("needs the program sqlite3")
    sql = cli("db", "upgrade", "--db", old, "--dry-run").out
    subprocess.run(["sqlite3", old], input=sql.encode(), check=True)
    assert cli("db", "upgrade", "--db", old).out == f"{old}: nothing is missing\n"


def test_no_lookup_needs_sqlalchemy():
    """`disc` and `serve` start without it."""
    code = "import sys, auth_diameter.cli, auth_diameter.store.opening; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
