"""What names a database: a path or a URL, without its password in any message."""

import pytest

from auth_diameter import ConfigError
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.store.url import database_name


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("users.sqlite", "users.sqlite"),
        ("/var/lib/users.sqlite", "/var/lib/users.sqlite"),
        ("sqlite:///users.sqlite", "users.sqlite"),
        ("sqlite:////var/lib/users.sqlite", "/var/lib/users.sqlite"),
        ("sqlite:///a:b@c.sqlite", "a:b@c.sqlite"),
        ("sqlite:///:memory:", ":memory:"),
        (":memory:", ":memory:"),
        ("a:b/c.sqlite", "a:b/c.sqlite"),
        ("C:/users.sqlite", "C:/users.sqlite"),
        ("./mysql://x", "./mysql://x"),
        ("", ""),
    ],
)
def test_a_database_is_named_by_its_path_or_a_url_of_sqlite(name, path):
    assert database_name(name).text == path


@pytest.mark.parametrize("name", ["users\0", "users\ud800", "sqlite:///users\0"], ids=ascii)
def test_a_name_that_no_file_can_have(name):
    for use in (database_name, SqliteStore.open, Accounts.create):
        with pytest.raises(ConfigError, match="no file can have this name"):
            use(name)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mysql://user:hush@host/kamailio", "mysql://host/kamailio"),
        ("mariadb://user:hush@host/kamailio", "mariadb://host/kamailio"),
        ("postgresql://user:hush@[2001:db8::1]:5432/kamailio", "postgresql://[2001:db8::1]:5432/kamailio"),
        ("postgresql://user:hush@a:5432,b:5433/kamailio", "postgresql://a:5432,b:5433/kamailio"),
        ("postgres:///kamailio?host=/run/postgresql&password=hush", "postgres:///kamailio"),
        ("redis://:hush@host/0", "redis://host/0"),
        ("valkeys://:hush@host/0", "valkeys://host/0"),
        ("mysql://user:hu@hush@host/kamailio", "mysql://host/kamailio"),
        ("mysql://user:hush/a@host", "mysql://host"),
        ("mysql://user:hush?a@host/x", "mysql://…"),
        ("mysql://user:h#ush@host/x", "mysql://…"),
        ("postgresql://host/x?user=a&password=hush", "postgresql://host/x"),
        ("postgresql://host/x?user=a@b&password=hush", "postgresql://…"),
        ("mysql://host/x;password=hush", "mysql://…"),
        ("mysql://user:hush@host/a\nb", "mysql://…"),
        ("mysql://user:hush", "mysql://…"),
        ("postgresql://user:hush/kamailio", "postgresql://…"),
        ("mysql://user:hush:127.0.0.1/kamailio", "mysql://…"),
        ("redis://:hush/0", "redis://…"),
        ("postgresql://a,user:hush/x", "postgresql://…"),
    ],
)
def test_a_url_is_shown_without_its_password(url, shown):
    name = database_name(url)
    assert name.text == url
    assert str(name) == shown
    assert "hush" not in repr(name)


@pytest.mark.parametrize(
    "text",
    [
        '"postgresql://user:hush@host/kamailio"',
        " postgresql://user:hush@host/kamailio",
        "jdbc:postgresql://user:hush@host/kamailio",
        "postgresql:/user:hush@host/kamailio",
        "AUTH_DIAMETER_DB=mysql://user:hush@host/kamailio",
        "postgresql//user:hush@host/kamailio",
        "postgresql;//user:hush@host/kamailio",
        "postgresql;user:hush@host",
        "postgresql:user:hush@host/kamailio",
        "user:hush@host/kamailio",
        "mysql:user",
    ],
)
def test_what_is_nearly_a_url_is_no_file_and_is_not_shown(text):
    with pytest.raises(ConfigError, match="neither a path nor a URL") as error:
        database_name(text)
    assert "hush" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+asyncpg://user:hush@/kamailio", "postgresql+asyncpg:///kamailio"),
        ("ldap://user:hush@host/x", "ldap://host/x"),
        ("sqlite://users.sqlite", "sqlite://users.sqlite"),
        ("sqlite://", "sqlite://"),
        ("sqlite:///", "sqlite:///"),
        ("sqlite:///users.sqlite?key=hush", "sqlite:///users.sqlite"),
    ],
)
def test_another_url_is_refused_in_one_line_without_a_password(url, shown):
    for use in (database_name, SqliteStore.open, Accounts.create):
        with pytest.raises(ConfigError) as error:
            use(url)
        assert str(error.value).startswith(f"{shown}: ")
        assert "hush" not in str(error.value)
        assert "\n" not in str(error.value)


def test_sqlite_files_alone_are_opened_as_such():
    for use in (SqliteStore.open, Accounts.create):
        with pytest.raises(ConfigError, match="postgresql://host/x: expected a file of SQLite"):
            use("postgresql://user:hush@host/x")


@pytest.mark.parametrize(
    ("url", "kind"),
    [("postgresql://h/x", "postgresql"), ("mariadb://h/x", "mysql"), ("valkey://h/0", "redis")],
)
def test_a_missing_driver_is_told_with_what_installs_it(url, kind, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError) as error:
        database_name(url)
    assert str(error.value) == f"{url}: needs a driver: pip install 'auth-diameter[{kind}]'"
