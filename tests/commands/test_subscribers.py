"""auth-diameter user and group: who DISC knows."""

import contextlib
import os
import pty
import select
import signal
import sqlite3
import subprocess
import sys

import pytest
from kit.lookups import accounts_of, ha1, is_member
from kit.machine import PATIENCE
from kit.process import OURS, assert_one_line
from kit.sip import ACCOUNT

import auth_diameter as ad
from auth_diameter.store import schema
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.sqlite import SqliteStore

STORED = "HA1 for MD5, SHA-256, SHA-512-256 in realm siphub.net"

# --- user ----------------------------------------------------------------------------------------------


def test_user_add_makes_the_database_and_keeps_no_password(cli, tmp_path):
    path = tmp_path / "new.sqlite"
    done = cli("user", "add", ACCOUNT, "--password-stdin", "--db", path, stdin=b"open sesame\n")
    assert done == (0, f"added {ACCOUNT}: {STORED}\n", "")
    with SqliteStore.open(path) as store:
        assert ha1(store, "alice", "siphub.net") == ad.ha1("alice", "siphub.net", "open sesame")
    for file in tmp_path.iterdir():
        assert b"open sesame" not in file.read_bytes()


@pytest.mark.parametrize("line", [b"s p a c e ", b"s p a c e \n", b"s p a c e \r\n", b"s p a c e \nmore\n"])
def test_a_password_is_the_first_line_but_for_its_end(cli, tmp_path, line):
    path = tmp_path / "new.sqlite"
    assert cli("user", "add", ACCOUNT, "--password-stdin", "--db", path, stdin=line).status == 0
    with SqliteStore.open(path) as store:
        assert ha1(store, "alice", "siphub.net") == ad.ha1("alice", "siphub.net", "s p a c e ")


@pytest.mark.parametrize(
    ("line", "what"),
    [(b"", "empty"), (b"\n", "empty"), (b"caf\xe9\n", "not UTF-8"), (b"a\x07b\n", "U+0007")],
)
def test_a_password_that_cannot_be_used_is_not_repeated(cli, tmp_path, line, what):
    path = tmp_path / "new.sqlite"
    done = cli("user", "add", ACCOUNT, "--password-stdin", "--db", path, stdin=line)
    assert_one_line(done, "password", what)
    assert "caf" not in done.err


def test_without_a_terminal_the_password_must_come_on_stdin(cli, db):
    """Not from a prompt that nobody sees, and never with an echo."""
    assert_one_line(cli("user", "add", "bob@siphub.net", "--db", db, stdin=b"x\nx\n"), "--password-stdin")


@pytest.fixture
def asked(db, ctrl_c_is_heeded):
    """user add when it has asked for the password; the process, and the other end of its terminal."""
    ours, theirs = pty.openpty()
    command = [*OURS, "user", "add", "bob@siphub.net", "--db", db]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while b"Password of bob@siphub.net: " not in shown:
            shown += os.read(ours, 4096)
        yield process, ours
        process.kill()
    os.close(ours)


def rest_of(terminal):
    """What was written to it before all closed it."""
    text = b""
    with contextlib.suppress(OSError):
        while data := os.read(terminal, 4096):
            text += data
    return text


def test_ctrl_c_at_the_password_ends_without_a_word(asked):
    process, terminal = asked
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    assert rest_of(terminal).strip() == b""


def test_no_password_at_the_terminal(asked):
    process, terminal = asked
    os.write(terminal, b"\x04")  # ^D
    assert process.wait(PATIENCE) == 2
    assert rest_of(terminal).strip() == b"auth-diameter: no password was given"


def test_a_user_who_exists_is_only_changed_on_demand(cli, db):
    add = ("user", "add", ACCOUNT, "--password-stdin", "--db", db)
    assert_one_line(cli(*add, stdin=b"new\n"), ACCOUNT, "exists already", "--replace")
    assert cli(*add, "--replace", stdin=b"new\n").out == f"changed {ACCOUNT}: {STORED}\n"
    with SqliteStore.open(db) as store:
        assert ha1(store, "alice", "siphub.net") == ad.ha1("alice", "siphub.net", "new")


def test_user_add_says_in_which_spelling_of_the_realm_it_stored(cli, db, tmp_path):
    """A challenge has that one: a password is hashed for it, whatever was typed."""
    add = ("user", "add", "bob@SIPHub.net", "--password-stdin", "--db", db)
    note = "not SIPHub.net: challenges have the spelling of the database"
    assert cli(*add, stdin=b"x\n").out == f"added bob@siphub.net: {STORED} ({note})\n"
    # As it was imported with HA1, which was made for that spelling.
    path = tmp_path / "users.csv"
    path.write_text(f"username,domain,ha1\n1000,3CXPhoneSystem,{ad.ha1('1000', '3CXPhoneSystem', 'x')}\n")
    assert cli("user", "import", path, "--db", db).out == "1 added, 0 changed, 0 group memberships\n"
    done = cli("user", "add", "1001@3CXPhoneSystem", "--password-stdin", "--db", db, stdin=b"x\n")
    assert done.out == (
        "added 1001@3CXPhoneSystem: HA1 for MD5, SHA-256, SHA-512-256 in realm 3CXPhoneSystem\n"
    )


def test_user_del_takes_the_groups_along(cli, db):
    assert cli("user", "del", ACCOUNT, "--db", db) == (0, f"deleted {ACCOUNT}\n", "")
    assert_one_line(cli("user", "del", ACCOUNT, "--db", db), ACCOUNT, db)
    with SqliteStore.open(db) as store:
        assert not is_member(store, "alice", "siphub.net", "voicemail")


def test_user_list_is_a_line_for_each_user_whatever_its_length(cli, db):
    """Nothing is cut, and stdout holds users alone, so that scripts can read it."""
    long_name = f"{'a' * 64}@{'b' * 60}.example.org"
    with Accounts.open(db, writable=True) as store:
        store.add_user("bob", "example.org", "x")
        store.add_user(*long_name.split("@"), "x")
    done = cli("user", "list", "--db", db)
    assert sorted(done.out.splitlines()) == [long_name, f"{ACCOUNT} voicemail", "bob@example.org"]
    assert (done.status, done.err) == (0, "3 users\n")
    assert cli("user", "list", "siphub.net", "--db", db) == (0, f"{ACCOUNT} voicemail\n", "1 user\n")
    assert cli("user", "list", "nowhere.org", "--db", db) == (0, "", "0 users\n")


def test_user_list_shows_no_secret(cli, db):
    with contextlib.closing(sqlite3.connect(db)) as connection, connection:
        connection.execute("UPDATE subscriber SET password = 'wonderland'")
    done = cli("user", "list", "--db", db)
    assert "wonderland" not in done.out
    assert ad.ha1("alice", "siphub.net", "wonderland") not in done.out


def test_a_password_is_asked_for_without_an_echo(db):
    """On a terminal, twice. The process gets a terminal of its own."""
    spawn = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
    command = [*OURS, "user", "add", "bob@siphub.net", "--db", str(db)]
    process = subprocess.Popen(
        [sys.executable, "-c", spawn, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with process, contextlib.ExitStack() as stack:
        stack.callback(process.kill)
        shown = b""

        def read_until(text):
            nonlocal shown
            while text not in shown:
                ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
                assert ready, shown
                data = os.read(process.stdout.fileno(), 4096)
                assert data, shown
                shown += data

        for prompt in (b"Password of bob@siphub.net: ", b"Repeat for confirmation: "):
            read_until(prompt)
            process.stdin.write(b"builder\n")
            process.stdin.flush()
        read_until(b"added bob@siphub.net")
        process.stdin.close()
        process.wait(PATIENCE)
    assert b"builder" not in shown
    with SqliteStore.open(db) as store:
        assert ha1(store, "bob", "siphub.net") == ad.ha1("bob", "siphub.net", "builder")


CSV = (
    b"username,domain,password,groups\nbob,siphub.net,builder,voicemail;managers\ncarol,siphub.net,secret,\n"
)


@pytest.mark.parametrize("source", ["file", "stdin"])
def test_user_import(cli, db, tmp_path, source):
    path = tmp_path / "users.csv"
    path.write_bytes(CSV)
    if source == "file":
        done = cli("user", "import", path, "--db", db)
    else:
        done = cli("user", "import", "-", "--db", db, stdin=CSV)
    # No progress bar where there is no terminal.
    assert done == (0, "2 added, 0 changed, 2 group memberships\n", "")
    with SqliteStore.open(db) as store:
        assert accounts_of(store).groups("bob", "siphub.net") == ("managers", "voicemail")


def test_user_import_names_the_line_of_each_bad_row_and_writes_nothing(cli, db, tmp_path):
    path = tmp_path / "users.csv"
    path.write_bytes(CSV + b"dave\n,siphub.net,x,\neve,siphub.net,,\nfay,siphub.net,good,\n")
    done = cli("user", "import", path, "--db", db)
    assert (done.status, done.out) == (2, "")
    *rows, last = done.err.splitlines()
    assert [row.partition(": ")[0] for row in rows] == [f"{path}, line {line}" for line in (4, 5, 6)]
    assert last == f"auth-diameter: {path}: nothing was imported"
    assert cli("user", "list", "--db", db).err == "1 user\n"


def test_user_import_without_a_header_says_what_to_write(cli, db):
    done = cli("user", "import", "-", "--db", db, stdin=b"bob,siphub.net,hushhush\n")
    assert (done.status, done.out) == (2, "")
    assert done.err == (
        "stdin, line 1: does not name the columns: put a header line in front of it, as "
        "username,domain,password or, of Kamailio's table, id,username,domain,password,ha1,ha1b\n"
        "auth-diameter: stdin: nothing was imported\n"
    )


def test_user_import_of_ha1_for_another_spelling_of_the_realm(cli, db, tmp_path):
    path = tmp_path / "users.csv"
    path.write_text(f"username,domain,ha1\nbob,SIPHub.net,{ad.ha1('bob', 'SIPHub.net', 'x')}\n")
    done = cli("user", "import", path, "--db", db)
    assert (done.status, done.out) == (2, "")
    assert f"{path}, line 2: column domain: the database has this realm as 'siphub.net'" in done.err
    assert cli("user", "list", "--db", db).err == "1 user\n"


def test_user_import_says_which_columns_it_does_not_use(cli, db, tmp_path):
    path = tmp_path / "subscriber.csv"
    ha1 = ad.ha1("bob", "siphub.net", "x")
    path.write_text(f"id;username;domain;password;ha1;ha1b;r\x1bpid\n1;bob;siphub.net;;{ha1};;\n")
    done = cli("user", "import", path, "--db", db)
    assert done == (
        0,
        "1 added, 0 changed, 0 group memberships\n",
        f"{path}: columns not used: id, r\\x1bpid\n",
    )


def test_user_import_of_those_who_exist(cli, db, tmp_path):
    path = tmp_path / "users.csv"
    path.write_bytes(b"username,domain,password\nalice,siphub.net,new\n")
    done = cli("user", "import", path, "--db", db)
    assert done.status == 2
    assert f"{path}, line 2" in done.err
    assert cli("user", "import", path, "--db", db, "--replace").out.startswith("0 added, 1 changed")


def test_user_import_of_a_file_that_cannot_be_read(cli, tmp_path):
    path = tmp_path / "new.sqlite"
    assert_one_line(cli("user", "import", tmp_path / "nope.csv", "--db", path), "nope.csv", "No such file")
    assert_one_line(cli("user", "import", tmp_path, "--db", path), tmp_path, "directory")
    assert not path.exists()


# --- group ---------------------------------------------------------------------------------------------


def test_groups(cli, db):
    in_managers = ("managers", "--db", db)
    assert cli("group", "add", ACCOUNT, *in_managers).out == f"{ACCOUNT} is now in managers\n"
    assert cli("group", "add", ACCOUNT, *in_managers).out == f"{ACCOUNT} is already in managers\n"
    assert cli("group", "list", ACCOUNT, "--db", db) == (0, "managers\nvoicemail\n", "")
    assert cli("group", "del", ACCOUNT, *in_managers).out == f"{ACCOUNT} is no longer in managers\n"
    assert_one_line(cli("group", "del", ACCOUNT, *in_managers), ACCOUNT, "managers")
    assert cli("group", "list", ACCOUNT, "--db", db).out == "voicemail\n"


def test_groups_of_nobody(cli, db):
    """A typing error in the name is told, instead of an empty list."""
    nobody = "mallory@siphub.net"
    assert_one_line(cli("group", "list", nobody, "--db", db), nobody)
    assert_one_line(cli("group", "add", nobody, "voicemail", "--db", db), nobody)
    assert_one_line(cli("group", "del", nobody, "voicemail", "--db", db), nobody)


def test_a_user_without_groups_has_an_empty_list(cli, db):
    cli("user", "add", "bob@siphub.net", "--password-stdin", "--db", db, stdin=b"x\n")
    assert cli("group", "list", "bob@siphub.net", "--db", db) == (0, "", "")


# --- databases that others can read --------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ("user", "add", "bob@siphub.net", "--password-stdin", "--replace"),
        ("user", "import", "-", "--replace"),
        ("group", "add", ACCOUNT, "managers"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_a_database_that_others_can_read_is_one_warning_with_the_command_that_mends_it(
    cli, db, caplog, command
):
    """An HA1 in it is as good as a password. The change is made all the same."""
    db.chmod(0o640)
    assert cli(*command, "--db", db, stdin=CSV).status == 0
    (record,) = caplog.records
    command_line = f"chmod 600 {db}"
    assert record.getMessage() == f"{db}: users other than its owner can read it (mode 640): {command_line}"
    assert subprocess.run(command_line.split(), check=False).returncode == 0
    caplog.clear()
    assert cli(*command, "--db", db, stdin=CSV).status == 0
    assert caplog.records == []


# --- databases that cannot be used ---------------------------------------------------------------------

READERS = [
    ("user", "list"),
    ("user", "del", ACCOUNT),
    ("group", "list", ACCOUNT),
    ("group", "add", ACCOUNT, "x"),
    ("group", "del", ACCOUNT, "x"),
    ("disc", "--listen", "127.0.0.1:0"),
]


@pytest.mark.parametrize("command", READERS, ids=lambda command: " ".join(command[:2]))
def test_a_database_that_is_not_there(cli, tmp_path, command):
    path = tmp_path / "nope.sqlite"
    assert_one_line(cli(*command, "--db", path), path, "no such")
    assert not path.exists()


@pytest.mark.parametrize("command", READERS, ids=lambda command: " ".join(command[:2]))
def test_a_file_that_is_no_database(cli, tmp_path, command):
    path = tmp_path / "corrupt.sqlite"
    path.write_text("hello " * 1000)
    assert_one_line(cli(*command, "--db", path), path, "is not an SQLite database")


def test_a_database_without_subscribers(cli, tmp_path):
    path = tmp_path / "other.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE other (x)")
    assert_one_line(cli("disc", "--db", path, "--listen", "127.0.0.1:0"), path, "subscriber")


def test_a_database_in_a_folder_that_is_not_there(cli, tmp_path):
    path = tmp_path / "nowhere" / "users.sqlite"
    done = cli("user", "add", ACCOUNT, "--password-stdin", "--db", path, stdin=b"x\n")
    assert_one_line(done, path, "No such file or directory")


def test_a_locked_database(cli, db, monkeypatch):
    monkeypatch.setattr(schema, "WRITER_WAIT", 0.05)
    with contextlib.closing(sqlite3.connect(db, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN EXCLUSIVE")
        assert_one_line(cli("disc", "--db", db, "--listen", "127.0.0.1:0"), db, "lock")
        assert_one_line(cli("user", "del", ACCOUNT, "--db", db), db, "lock")


def test_list_takes_a_domain(cli, db):
    """A user who was asked for would not be found, and would look unknown."""
    assert_one_line(cli("user", "list", ACCOUNT, "--db", db), ACCOUNT, "DOMAIN", "user list siphub.net")
