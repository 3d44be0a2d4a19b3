"""Options that several commands have, and the values that options take."""

import dataclasses

import click
import pytest
from kit.process import assert_one_line

import auth_diameter as ad
from auth_diameter.cli import main
from auth_diameter.commands.options import (
    NetworkText,
    db_option,
    networks,
    option_name,
    settings,
    table_options,
)
from auth_diameter.disc.config import ListenerConfig
from auth_diameter.store.config import StoreConfig
from auth_diameter.verifier.config import VerifierConfig


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
        (
            ("disc", "--db", "x", "--allow", "10.0.0.1/8"),
            "'--allow': 10.0.0.1/8 has host bits set: write 10.0.0.0/8, or 10.0.0.1 alone",
        ),
        (("disc", "--db", "x", "-v"), "-v stands before the command: auth-diameter -v disc …"),
        (("user", "list", "--verbose"), "--verbose stands before the command: auth-diameter --verbose user"),
        (("disc", "--db", "x", "--allow", "a\x1b"), r"'--allow': 'a\x1b' does not appear to be an IPv4 or"),
        (("disc", "--db", "x", "--max-connections", "0"), "--max-connections"),
        (
            ("disc", "--db", "x", "--max-question-time", "-1"),
            "'--max-question-time': expected a number above 0",
        ),
        (("disc", "--db", "x", "--algorithms", "SHA-1"), "'--algorithms': expected MD5, SHA-256"),
        (("disc", "--db", "x", "--uri-policy", "lax"), "'lax' is not one of 'host', 'strict', 'off'"),
        (("disc", "--db", "x", "--allow", "@no-such-file"), "--allow no-such-file: No such file"),
        (("serve", "--timeout", "0"), "'--timeout': expected seconds above 0, up to 3600, not 0.0"),
        (("serve", "--max-delay", "never"), "'--max-delay': 'never' is neither a number nor none"),
        (("serve", "--max-delay", "nan"), "'--max-delay': expected seconds above 0"),
        (("serve", "--unavailable-status", "404"), "'--unavailable-status': expected 500 or 503"),
        (("serve", "--realm", "$zz"), "unknown pseudo-variable"),
        (("serve", "--realm", "a", "--route", "b.py"), "--realm is for the default route"),
        (("serve", "--log-format", "xml"), "'--log-format'"),
        (("serve", "--log-file", "no/such/folder"), "--log-file no/such/folder: No such file or directory"),
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


# --- options that are derived from the dataclasses of settings -------------------------------------------

SETTINGS = [
    # --disc has the first three; what is named in another way is not derived, nor is the mapping of realms.
    (
        "serve",
        ad.Config,
        {"diameter_client_host", "diameter_client_port", "peers"}
        | {"db", "db_password", "nonce_key", "state", "realms"},
    ),
    ("disc", VerifierConfig, set()),
    ("disc", ListenerConfig, set()),
]


@pytest.mark.parametrize(("command", "kind", "by_hand"), SETTINGS)
def test_every_setting_is_an_option_with_its_default_and_help(command, kind, by_hand):
    options = {option.name: option for option in main.commands[command].params}
    for field in dataclasses.fields(kind):
        if field.name in by_hand:
            continue
        option = options[field.name]
        assert option_name(field.name) in option.opts
        assert (option.help or "").strip().endswith("."), field.name
        if option.is_flag:
            assert f"--no-{option_name(field.name)[2:]}" in option.secondary_opts


def test_defaults_of_serve_are_those_of_a_library_but_for_two():
    """A DISC of ours counts guesses by source, and alice@b.example must not pass for alice@a.example."""
    options = {option.name: option for option in main.commands["serve"].params}
    other = {
        field.name
        for field in dataclasses.fields(ad.Config)
        if field.name in options
        and field.name in ad.Config.__annotations__  # the others are of disc, too
        and field.name not in ("db", "nonce_key", "state")
        and options[field.name].default != field.default
    }
    assert other == {"tell_source", "use_domain"}
    assert options["tell_source"].default is options["use_domain"].default is True


def test_help_is_the_first_sentence_of_the_docstring(cli):
    """Of the field, in the source: written once."""
    help_text = " ".join(cli("serve", "--help").out.split())
    assert "--connect-timeout SECONDS Seconds for one attempt to connect" in help_text
    assert "--max-delay SECONDS|none Seconds that a question may have to wait" in help_text
    assert "for threads 256" not in help_text  # a later sentence


def test_what_is_wrong_with_no_option_is_told_as_it_is():
    """A setting that is not on the command line: no option is to blame."""

    @dataclasses.dataclass
    class Settings:
        size: int = 1

        def __post_init__(self):
            raise ad.ConfigError("room: there is none")

    with pytest.raises(ad.ConfigError, match=r"^room: there is none$"):
        settings(Settings, {"size": 2})


def test_networks_of_files(tmp_path):
    """With a byte order mark, as editors of Windows write it."""
    path = tmp_path / "allowed"
    path.write_text("\ufeff# SIP servers\n192.0.2.0/24\n\n  2001:db8::1  # the new one\n")
    found = networks([NetworkText("198.51.100.7"), NetworkText(f"@{path}")], "--allow")
    assert list(map(str, found)) == ["198.51.100.7/32", "192.0.2.0/24", "2001:db8::1/128"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (
            "192.0.2.0/24\n10.0.0.1/8\n",
            ", line 2: 10.0.0.1/8 has host bits set: write 10.0.0.0/8, or 10.0.0.1 alone",
        ),
        ("2001:db8::1/32\n", ", line 1: 2001:db8::1/32 has host bits set: write 2001:db8::/32, or"),
        ("", ": no network in it"),
        ("# none is left\n", ": no network in it"),
        (b"\xff\xfe", ": is not UTF-8"),
    ],
)
def test_a_file_of_networks_that_cannot_be_used(cli, tmp_path, text, what):
    """An empty one is no "everywhere"."""
    path = tmp_path / "allowed"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert_one_line(cli("disc", "--db", "x", "--allow", f"@{path}"), f"--allow {path}{what}")


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
def test_a_url_of_no_known_database_is_said_without_its_password(cli, tmp_path, monkeypatch, command, how):
    monkeypatch.chdir(tmp_path)
    url = "ldap://kamailio:hushhush@db.example.net:389/kamailio"
    if how == "option":
        done = cli(*command, "--db", url, stdin=b"x\n")
    else:
        monkeypatch.setenv("AUTH_DIAMETER_DB", url)
        done = cli(*command, stdin=b"x\n")
    assert_one_line(done, "'--db'", "ldap://db.example.net:389/kamailio", "mysql, redis or cx")
    assert "hushhush" not in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("slashes", ["sqlite:///", "SQLite:///"])
def test_a_url_of_sqlite_is_its_path(cli, db, monkeypatch, slashes):
    assert cli("user", "list", "--db", f"{slashes}{db}").err == "1 user\n"  # from the root: four slashes
    monkeypatch.chdir(db.parent)
    assert cli("user", "list", "--db", f"{slashes}{db.name}").err == "1 user\n"
    assert cli("group", "add", "alice@siphub.net", "x", "--db", f"{slashes}{db.name}").status == 0


# --- the password of a database server -----------------------------------------------------------------

SERVER = "postgresql://ours@db.example.net/kamailio"


@pytest.fixture
def given():
    """Runs a command with --db and the options of tables; gives their values."""
    found = []

    @click.command()
    @db_option
    @table_options
    def command(db, **options):
        found.append((db, settings(StoreConfig, options)))

    def run(*words):
        command.main(list(words), standalone_mode=False)
        return found.pop()

    return run


def test_a_password_comes_from_a_file_or_the_environment_and_is_not_shown(given, tmp_path, monkeypatch):
    assert given("--db", SERVER)[0].password is None
    monkeypatch.setenv("AUTH_DIAMETER_DB_PASSWORD", "hushhush")
    name, _ = given("--db", SERVER)
    assert name.password == "hushhush"
    assert "hushhush" not in repr(name)
    path = tmp_path / "password"
    path.write_bytes(b" open sesame\r\nmore\n")
    path.chmod(0o600)
    for words in (("--db", SERVER, "--db-password-file", path), ("--db-password-file", path, "--db", SERVER)):
        assert given(*map(str, words))[0].password == " open sesame"


@pytest.mark.parametrize(
    ("content", "what"),
    [(None, "No such file"), (b"", "its first line is empty"), (b"caf\xe9\n", "is not UTF-8")],
)
def test_a_file_without_a_password_is_named(given, tmp_path, content, what):
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ad.ConfigError, match=what) as error:
        given("--db", SERVER, "--db-password-file", str(path))
    assert str(error.value).startswith(f"--db-password-file {path}: ")


def test_a_password_that_others_can_read_is_a_warning(given, tmp_path, caplog):
    path = tmp_path / "password"
    path.write_bytes(b"hushhush\n")
    path.chmod(0o644)
    given("--db", SERVER, "--db-password-file", str(path))
    assert "users other than its owner can read it" in caplog.text


def test_tables_and_columns_are_named_by_options(given):
    _, config = given("--db", "x", "--table", "users", "--no-domain", "--calculate-ha1")
    assert config == StoreConfig(table="users", domain=False, calculate_ha1=True)
    with pytest.raises(click.BadParameter, match="expected a name of letters"):
        given("--db", "x", "--user-column", "a b")
