"""Options that several commands have, and the values that options take."""

import pytest
from commands import assert_one_line


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
        (("user", "list", "--db", ""), "Invalid value for '--db': the name of the database is empty"),
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


def test_the_database_can_be_named_in_the_environment(cli, db, monkeypatch):
    monkeypatch.setenv("AUTH_DIAMETER_DB", str(db))
    assert cli("user", "list").err == "1 user\n"


# --- databases by URL ----------------------------------------------------------------------------------

WITH_A_DATABASE = [
    ("disc", "--listen", "127.0.0.1:0"),
    ("user", "add", "a@b.net", "--password-stdin"),
    ("user", "del", "a@b.net"),
    ("user", "list"),
    ("user", "import", "-"),
    ("group", "add", "a@b.net", "x"),
    ("group", "del", "a@b.net", "x"),
    ("group", "list", "a@b.net"),
]


@pytest.mark.parametrize("how", ["option", "environment"])
@pytest.mark.parametrize("command", WITH_A_DATABASE, ids=lambda command: " ".join(command[:2]))
def test_a_url_that_is_not_understood_yet_is_said_without_its_password(
    cli, tmp_path, monkeypatch, command, how
):
    monkeypatch.chdir(tmp_path)
    url = "mysql://kamailio:hushhush@db.example.net:3306/kamailio"
    if how == "option":
        done = cli(*command, "--db", url, stdin=b"x\n")
    else:
        monkeypatch.setenv("AUTH_DIAMETER_DB", url)
        done = cli(*command, stdin=b"x\n")
    assert_one_line(
        done, "'--db'", "mysql://db.example.net:3306/kamailio", "cannot be used yet", "sqlite:///"
    )
    assert "hushhush" not in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("slashes", ["sqlite:///", "SQLite:///"])
def test_a_url_of_sqlite_is_its_path(cli, db, monkeypatch, slashes):
    assert cli("user", "list", "--db", f"{slashes}{db}").err == "1 user\n"  # from the root: four slashes
    monkeypatch.chdir(db.parent)
    assert cli("user", "list", "--db", f"{slashes}{db.name}").err == "1 user\n"
    assert cli("group", "add", "alice@siphub.net", "x", "--db", f"{slashes}{db.name}").status == 0
