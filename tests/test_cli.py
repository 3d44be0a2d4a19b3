"""The commands as an operator meets them: what they print, where, and with which exit status.

0 done; 1 refused; 2 unusable arguments or configuration, and then one line on stderr that says what
and where. Most run in this process; servers, signals and terminals have processes of their own.
"""

import contextlib
import io
import os
import re
import select
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from commands import OURS, PATIENCE, Done, Server

import auth_diameter as ad
from auth_diameter import __main__ as main_module
from auth_diameter import cli as cli_module
from auth_diameter.disc import schema
from auth_diameter.disc.names import Hashes
from auth_diameter.disc.store import Store
from auth_diameter.uac import authorization, make_request, parse_reply

ACCOUNT = "alice@siphub.net"


def assert_one_line(done, *parts):
    """Status 2, nothing on stdout, and one line on stderr with these parts in it."""
    assert done.status == 2, done
    assert done.out == ""
    assert done.err.startswith("auth-diameter: ")
    assert done.err.count("\n") == 1, done.err
    assert done.err.endswith("\n")
    for part in parts:
        assert str(part) in done.err


@pytest.fixture
def cli(monkeypatch, capsys):
    """Run one command to its end."""

    def run(*args, stdin=b""):
        monkeypatch.setattr(sys, "argv", ["auth-diameter", *map(str, args)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), "utf-8"))
        capsys.readouterr()
        status = 0
        try:
            cli_module.run()
        except SystemExit as end:
            status = end.code or 0
        return Done(status, *capsys.readouterr())

    return run


@pytest.fixture
def db(tmp_path):
    path = tmp_path / "users.sqlite"
    with Store.create(path) as store:
        store.add_user("alice", "siphub.net", "wonderland")
        store.add_group("alice", "siphub.net", "voicemail")
    return path


@pytest.fixture(scope="module")
def disc(tmp_path_factory):
    """A DISC that knows alice, for all tests of this module that only ask it."""
    path = tmp_path_factory.mktemp("disc") / "users.sqlite"
    with Store.create(path) as store:
        store.add_user("alice", "siphub.net", "wonderland")
        store.add_group("alice", "siphub.net", "voicemail")
    with Server("disc", "--listen", "127.0.0.1:0", "--db", path) as server:
        yield server


# --- in general ----------------------------------------------------------------------------------------

COMMANDS = [
    (),
    ("check",),
    ("decode",),
    ("demo",),
    ("disc",),
    ("group",),
    ("group", "add"),
    ("group", "del"),
    ("group", "list"),
    ("serve",),
    ("user",),
    ("user", "add"),
    ("user", "del"),
    ("user", "import"),
    ("user", "list"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(cli, command, option):
    done = cli(*command, option)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(" ".join(["Usage: auth-diameter", *command]))


@pytest.mark.parametrize("command", [(), ("user",), ("group",)])
def test_without_a_command_the_help_comes_on_stderr(cli, command):
    """Nothing was done, which is no success for a script either."""
    done = cli(*command)
    assert (done.status, done.out) == (2, "")
    assert done.err == cli(*command, "--help").out


def test_version(cli):
    assert cli("--version") == (0, f"auth-diameter {ad.__version__}\n", "")


@pytest.mark.parametrize(
    ("args", "what"),
    [
        (("frobnicate",), "No such command 'frobnicate'. (auth-diameter --help)"),
        (("--frobnicate",), "No such option"),
        (("disc", "--frobnicate"), "No such option"),
        (("disc",), "Missing option '--db'. (auth-diameter disc --help)"),
        (("check",), "Missing argument"),
        (("decode", "00", "11"), "unexpected extra argument"),
        (("user", "add"), "Missing argument 'USER@DOMAIN'"),
        (("disc", "--db", "x", "--listen", "3000"), "address '3000': expected HOST:PORT"),
        (("disc", "--db", "x", "--listen", "a:70000"), "the port is not a number up to 65535"),
        (("disc", "--db", "x", "--listen", "[::1:3000"), "expected [IPv6]:PORT"),
        (("disc", "--db", "x", "--nonce-lifetime", "0"), "--nonce-lifetime"),
        (("disc", "--db", "x", "--allow", "10.0.0.1/8"), "'--allow': 10.0.0.1/8 has host bits set"),
        (("disc", "--db", "x", "--allow", "a\x1b"), r"'--allow': 'a\x1b' does not appear to be an IPv4 or"),
        (("disc", "--db", "x", "--max-connections", "0"), "--max-connections"),
        (("serve", "--disc", "a:b"), "Invalid value for '--disc': address 'a:b'"),
        (("serve", "--disc", ""), "Invalid value for '--disc'"),
        (("serve", "--disc", "a,,b"), "Invalid value for '--disc'"),
        (("serve", "--disc", "a:0"), "no DISC is on port 0"),
        (("check", "x", "--disc", ":3000"), "Invalid value for '--disc'"),
        (
            ("user", "add", "alice", "--password-stdin", "--db", "x"),
            "user 'alice': must be written user@domain",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_arguments_that_cannot_be_used(cli, args, what):
    assert_one_line(cli(*args), what)


def test_python_m_is_the_same_command():
    done = subprocess.run([*OURS, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"auth-diameter {ad.__version__}\n"


@pytest.mark.parametrize("package", ["click", "rich"])
def test_without_its_packages_the_command_says_how_to_get_them(monkeypatch, capsys, package):
    """The library alone needs none; the command says what it misses, in one line."""
    monkeypatch.delitem(sys.modules, "auth_diameter.cli", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(ad, "cli", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SystemExit) as end:
        main_module.main()
    assert_one_line(
        Done(end.value.code, *capsys.readouterr()), package, "pip install 'auth-diameter[server]'"
    )


def test_an_error_that_nobody_expected_is_not_hidden(cli, monkeypatch):
    """A defect of ours shows its traceback: it must be found."""
    monkeypatch.setattr(Store, "open", lambda *args, **more: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli("user", "list", "--db", "x")


# --- user ----------------------------------------------------------------------------------------------


def test_user_add_makes_the_database_and_keeps_no_password(cli, tmp_path):
    path = tmp_path / "new.sqlite"
    done = cli("user", "add", ACCOUNT, "--password-stdin", "--db", path, stdin=b"open sesame\n")
    assert done == (0, f"added {ACCOUNT}\n", "")
    with Store.open(path) as store:
        assert store.ha1("alice", "siphub.net") == ad.ha1("alice", "siphub.net", "open sesame")
    for file in tmp_path.iterdir():
        assert b"open sesame" not in file.read_bytes()


@pytest.mark.parametrize("line", [b"s p a c e ", b"s p a c e \n", b"s p a c e \r\n", b"s p a c e \nmore\n"])
def test_a_password_is_the_first_line_but_for_its_end(cli, tmp_path, line):
    path = tmp_path / "new.sqlite"
    assert cli("user", "add", ACCOUNT, "--password-stdin", "--db", path, stdin=line).status == 0
    with Store.open(path) as store:
        assert store.ha1("alice", "siphub.net") == ad.ha1("alice", "siphub.net", "s p a c e ")


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


def test_a_user_who_exists_is_only_changed_on_demand(cli, db):
    add = ("user", "add", ACCOUNT, "--password-stdin", "--db", db)
    assert_one_line(cli(*add, stdin=b"new\n"), ACCOUNT, "exists already", "--replace")
    assert cli(*add, "--replace", stdin=b"new\n").out == f"changed {ACCOUNT}\n"
    with Store.open(db) as store:
        assert store.ha1("alice", "siphub.net") == ad.ha1("alice", "siphub.net", "new")


def test_user_del_takes_the_groups_along(cli, db):
    assert cli("user", "del", ACCOUNT, "--db", db) == (0, f"deleted {ACCOUNT}\n", "")
    assert_one_line(cli("user", "del", ACCOUNT, "--db", db), ACCOUNT, db)
    with Store.open(db) as store:
        assert not store.is_member("alice", "siphub.net", "voicemail")


def test_user_list_is_a_line_for_each_user_whatever_its_length(cli, db):
    """Nothing is cut, and stdout holds users alone, so that scripts can read it."""
    long_name = f"{'a' * 64}@{'b' * 60}.example.org"
    with Store.open(db, writable=True) as store:
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


def test_the_database_can_be_named_in_the_environment(cli, db, monkeypatch):
    monkeypatch.setenv("AUTH_DIAMETER_DB", str(db))
    assert cli("user", "list").err == "1 user\n"


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
    with Store.open(db) as store:
        assert store.groups("bob", "siphub.net") == ("managers", "voicemail")


def test_user_import_names_the_line_of_each_bad_row_and_writes_nothing(cli, db, tmp_path):
    path = tmp_path / "users.csv"
    path.write_bytes(CSV + b"dave\n,siphub.net,x,\neve,siphub.net,,\nfay,siphub.net,good,\n")
    done = cli("user", "import", path, "--db", db)
    assert (done.status, done.out) == (2, "")
    *rows, last = done.err.splitlines()
    assert [row.partition(": ")[0] for row in rows] == [f"{path}, line {line}" for line in (4, 5, 6)]
    assert last == f"auth-diameter: {path}: nothing was imported"
    assert cli("user", "list", "--db", db).err == "1 user\n"


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


# --- disc and serve ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_disc_says_where_it_listens_and_stops_on_a_signal(db, how):
    with Server("disc", "--listen", "127.0.0.1:0", "--db", db) as server:
        assert server.line == f"DISC listening on 127.0.0.1:{server.port}, users from {db}\n"
        with socket.create_connection(("127.0.0.1", server.port)):
            done = server.stop(how)
    assert (done.status, done.out) == (0, "")
    assert "stopped; answered: nothing" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_serve_says_where_it_listens_and_stops_on_a_signal(how):
    with Server("serve", "--listen", "127.0.0.1:0", "--disc", "127.0.0.1:1") as server:
        assert server.line == (f"SIP/UDP listening on 127.0.0.1:{server.port}, asking DISC at 127.0.0.1:1\n")
        assert server.stop(how) == (0, "", "")


def test_without_uvloop_the_servers_run_on_asyncio(db, tmp_path):
    (tmp_path / "uvloop.py").write_text("raise ModuleNotFoundError('No module named uvloop')\n")
    with Server("disc", "--listen", "127.0.0.1:0", "--db", db, env={"PYTHONPATH": str(tmp_path)}) as server:
        assert server.stop().status == 0


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
        question = ad.Message(
            265,
            [ad.Avp(283, "siphub.net"), ad.Avp(404, b"6"), ad.Avp(1, "alice@siphub.net")],
            application_id=1,
        ).encode()
        for _ in range(200):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
            sock.sendall(question)
            assert sock.recv(65536)
        process.terminate()
        _, err = process.communicate(timeout=PATIENCE)
    assert b"CHALLENGED 200" in err


def is_challenged(port, source="127.0.0.1"):
    """Whether a connection of this source is answered; else DISC has closed it."""
    question = ad.Message(
        265,
        [ad.Avp(283, "siphub.net"), ad.Avp(404, b"6"), ad.Avp(1, "alice@siphub.net")],
        application_id=1,
    ).encode()
    with socket.create_connection(("127.0.0.1", port), PATIENCE, (source, 0)) as sock:
        try:
            sock.sendall(question)
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


def test_a_port_that_is_taken(cli, db):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        assert_one_line(cli("disc", "--db", db, "--listen", listen), f"{listen} is in use", "--listen")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        assert_one_line(cli("serve", "--listen", listen), f"{listen} is in use", "--listen")


@pytest.mark.parametrize(
    ("listen", "what"),
    [
        ("192.0.2.1:0", "assign requested address"),
        ("nowhere.invalid:0", "cannot listen on nowhere.invalid:0"),
    ],
)
def test_an_address_that_cannot_be_listened_on(cli, db, listen, what):
    """192.0.2.0/24 is for documentation (RFC 5737), .invalid is never a name (RFC 6761)."""
    assert_one_line(cli("disc", "--db", db, "--listen", listen), listen, what)
    assert_one_line(cli("serve", "--listen", listen), listen, what)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (None, "No such file"),
        ("def f(:\n", "line 1: invalid syntax"),
        ("x = 1\nraise KeyError('boo')\n", "line 2: KeyError: 'boo'"),
        ("import sys\nsys.exit(0)\n", "line 2: SystemExit: 0"),
        ("", "expected async def request_route(request, auth)"),
        ("async def request_route(): pass\n", "line 1: request_route must take (request, auth)"),
    ],
)
def test_a_route_script_with_an_error(cli, tmp_path, text, what):
    path = tmp_path / "route.py"
    if text is not None:
        path.write_text(text)
    assert_one_line(cli("serve", "--listen", "127.0.0.1:0", "--route", path), f"route {path}", what)


def ask(sock, address, data):
    sock.sendto(data, address)
    return parse_reply(sock.recv(65536))


@pytest.mark.parametrize("with_route", [False, True])
def test_a_telephone_registers_through_serve_and_disc(disc, tmp_path, with_route):
    route = ()
    if with_route:
        (tmp_path / "route.py").write_text(
            "async def request_route(request, auth):\n"
            "    decision = await auth.diameter_www_authorize(request, '$fd')\n"
            "    return request.reply(202, 'Accepted') if decision else decision\n"
        )
        route = ("--route", tmp_path / "route.py")
    with (
        Server("serve", "--listen", "127.0.0.1:0", "--disc", f"127.0.0.1:{disc.port}", *route) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
    ):
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(PATIENCE)
        address = (server.host, server.port)
        request = ("REGISTER", "sip:siphub.net", ACCOUNT)
        first = ask(sock, address, make_request(*request, local=sock.getsockname()))
        value = authorization(first.challenge(), "alice", "wonderland", *request[:2])
        headers = [("Authorization", value)]
        second = ask(sock, address, make_request(*request, local=sock.getsockname(), headers=headers))
        assert (first.status, second.status) == (401, 202 if with_route else 200)
        assert server.stop() == (0, "", "")


def test_verbose_disc_logs_each_question_without_secrets(db, cli, tmp_path):
    with Server("-v", "disc", "--listen", "127.0.0.1:0", "--db", db) as server:
        path = tmp_path / "request.sip"
        path.write_bytes(make_request("REGISTER", "sip:siphub.net", ACCOUNT))
        assert cli("check", path, "--disc", f"127.0.0.1:{server.port}").status == 1
        done = server.stop()
    assert "CHALLENGED" in done.err
    assert ACCOUNT in done.err
    assert "nonce" not in done.err


# --- check ---------------------------------------------------------------------------------------------


@pytest.fixture
def check(cli, disc, tmp_path):
    """Check a request against the DISC of this module."""

    def run(data, *options):
        path = tmp_path / "request.sip"
        path.write_bytes(data)
        return cli("check", path, "--disc", f"127.0.0.1:{disc.port}", *options)

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
    assert "FORBIDDEN" in check(data, "--realm", "example.org").out
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
    done = cli("check", path, "--disc", f"127.0.0.1:{disc.port}")
    assert done.status == 1
    assert "\\x1b[2Jalice" in done.out
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.out)


def test_check_reads_stdin(cli, disc):
    data = make_request("REGISTER", "sip:siphub.net", ACCOUNT)
    done = cli("check", "-", "--disc", f"127.0.0.1:{disc.port}", stdin=data)
    assert (done.status, done.err) == (1, "")


@pytest.mark.parametrize("data", [b"", b"hello\n", b"SIP/2.0 200 OK\r\n\r\n", bytes(100)])
def test_check_of_what_is_no_request(check, data):
    assert_one_line(check(data), "request.sip", "at byte")


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


# --- decode --------------------------------------------------------------------------------------------

MESSAGE = ad.Message(265, [ad.Avp(1, ACCOUNT), ad.Avp(268, 2001)], application_id=1).encode()
# More hexadecimal digits than a file's name may have.
LONG = ad.Message(265, [ad.Avp(1, "a" * 3000)], application_id=1).encode()


@pytest.mark.parametrize("spelling", ["{}", "0x{}"])
def test_decode_hexadecimal(cli, spelling):
    done = cli("decode", spelling.format(MESSAGE.hex()))
    assert (done.status, done.err) == (0, "")
    assert ACCOUNT in done.out
    assert "2001" in done.out
    assert cli("decode", spelling.format(MESSAGE.hex(" ").upper())) == done


def test_decode_a_long_message(cli):
    done = cli("decode", LONG.hex())
    assert (done.status, done.err) == (0, "")
    assert "a" * 3000 in done.out


@pytest.mark.parametrize(
    "content", [MESSAGE * 3, (MESSAGE * 3).hex().encode(), MESSAGE.hex("\n").encode() * 3]
)
def test_decode_a_file_of_bytes_or_of_hexadecimal(cli, tmp_path, content):
    path = tmp_path / "capture"
    path.write_bytes(content)
    done = cli("decode", path)
    assert done.status == 0
    assert done.out.count(ACCOUNT) == 3
    assert cli("decode", "-", stdin=content) == done


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("zz", "zz: neither a file nor hexadecimal"),
        ("012", "neither a file nor hexadecimal"),
        ("z" * 5000, f"{'z' * 40}…: neither"),
        ("no\0name", "neither a file nor hexadecimal"),
        ("", "no bytes to decode"),
        ("/", "neither a file nor hexadecimal"),
        ("02" + MESSAGE.hex()[2:], "message 1: Diameter version is 2"),
        (MESSAGE.hex()[:-8], "message 1 is cut off"),
        ("01000014", "message 1 is cut off: 4 bytes"),
    ],
)
def test_decode_what_is_no_message(cli, source, what):
    if "\0" in source:
        source = source.replace("\0", "\x01")  # no argument of a program holds a NUL
    assert_one_line(cli("decode", source), what)


def test_decode_shows_what_comes_before_an_error(cli):
    done = cli("decode", MESSAGE.hex() + "ff" * 40)
    assert done.status == 2
    assert ACCOUNT in done.out
    assert done.err.startswith("auth-diameter: message 2: ")


def test_decode_names_the_byte_of_a_malformed_avp(cli):
    assert_one_line(cli("decode", MESSAGE.hex().replace("00000001400000", "000000014000ff", 1)), "at byte")


def test_decode_of_a_file_that_must_not_be_read(cli, tmp_path, monkeypatch):
    path = tmp_path / "secret"
    path.write_bytes(MESSAGE)

    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert_one_line(cli("decode", path), path, "Permission denied")


# --- terminals, pipes and locales ----------------------------------------------------------------------


def run_process(*args, env=None, **more):
    done = subprocess.run(
        [*OURS, *map(str, args)],
        capture_output=True,
        timeout=PATIENCE,
        check=False,
        env={**os.environ, **(env or {})},
        **more,
    )
    return Done(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def test_a_reader_that_has_seen_enough_is_no_traceback(db):
    """auth-diameter user list | head -1"""
    with Store.open(db, writable=True) as store, store.changing():
        for number in range(5000):
            store.put(f"user{number}", "siphub.net", Hashes("0" * 32, "0" * 32), exists=False)
    with subprocess.Popen(
        [*OURS, "user", "list", "--db", str(db)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 1
    assert err == b""


@pytest.mark.parametrize(
    "env",
    [{"PYTHONIOENCODING": "latin-1"}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}],
    ids=" ".join,
)
def test_where_there_is_no_utf_8_plain_characters_do(env, db):
    done = run_process("demo", env=env)
    assert (done.status, done.err) == (0, "")
    with Store.open(db, writable=True) as store:
        store.add_user("ünal", "siphub.net", "x")
    done = run_process("user", "list", "--db", db, env=env)
    assert (done.status, len(done.out.splitlines())) == (0, 2)


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
    with Store.open(db) as store:
        assert store.ha1("bob", "siphub.net") == ad.ha1("bob", "siphub.net", "builder")


def test_ctrl_c_is_130_without_a_traceback(cli, db, monkeypatch):
    """As a shell has it: 128 and the number of the signal."""

    def interrupt(*args, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "open", interrupt)
    done = cli("user", "list", "--db", db)
    assert (done.status, done.out, done.err.strip()) == (130, "", "")


def test_ctrl_c_while_disc_does_not_answer(tmp_path):
    path = tmp_path / "request.sip"
    path.write_bytes(make_request("REGISTER", "sip:siphub.net", ACCOUNT))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        disc_address = f"127.0.0.1:{silent.getsockname()[1]}"
        with subprocess.Popen(
            [*OURS, "check", str(path), "--disc", disc_address],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            silent.settimeout(PATIENCE)
            connection, _ = silent.accept()
            with connection:
                assert connection.recv(65536)
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err.strip()) == (130, b"", b"")
