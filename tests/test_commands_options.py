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
