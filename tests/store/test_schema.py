"""The database file: Kamailio's tables, opening it, and what goes wrong in one line."""

import contextlib
import os
import shutil
import sqlite3
import stat
import tempfile
from pathlib import Path

import pytest
from kit.lookups import ha1, version

from auth_diameter._core.errors import ConfigError
from auth_diameter.store import schema
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.sqlite import SqliteStore


@contextlib.contextmanager
def plain_connection(path):
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


def columns(path, table):
    with plain_connection(path) as connection:
        return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


def one_line(error):
    message = str(error.value)
    assert "\n" not in message
    return message


@contextlib.contextmanager
def unprivileged():
    """Runs as somebody to whom permissions apply, where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public_dir():
    """A directory below which anybody may look, unlike pytest's."""
    directory = tempfile.mkdtemp()
    os.chmod(directory, 0o755)
    yield Path(directory)
    os.chmod(directory, 0o755)
    shutil.rmtree(directory)


# --- a new database -------------------------------------------------------------------------------


def test_a_new_database_has_kamailios_tables_and_versions(tmp_path):
    path = tmp_path / "disc.sqlite"
    Accounts.create(path).close()
    assert columns(path, "subscriber") == [
        *("id", "username", "domain", "password", "ha1", "ha1b"),
        *("ha1_sha256", "ha1_sha512t256"),  # of OpenSIPS' table; Kamailio does not look at them
    ]
    assert columns(path, "grp") == ["id", "username", "domain", "grp", "last_modified"]
    with plain_connection(path) as connection:
        versions = dict(connection.execute("SELECT table_name, table_version FROM version"))
    assert versions == {"version": 1, "subscriber": 7, "grp": 2}


def test_a_new_database_keeps_a_write_ahead_log_and_is_the_owners_alone(tmp_path):
    path = tmp_path / "disc.sqlite"
    Accounts.create(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with plain_connection(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_opening_for_writing_creates_and_does_not_create_twice(tmp_path):
    path = tmp_path / "disc.sqlite"
    for _ in range(2):
        Accounts.open(path, writable=True).close()
    with plain_connection(path) as connection:
        assert connection.execute("SELECT count(*) FROM version").fetchone() == (3,)


def test_create_refuses_an_existing_file(tmp_path):
    path = tmp_path / "disc.sqlite"
    path.touch()
    with pytest.raises(ConfigError, match="exists already") as error:
        Accounts.create(path)
    assert str(path) in one_line(error)


def test_a_name_with_characters_of_a_uri(tmp_path):
    path = tmp_path / "a?mode=memory#b %41.sqlite"
    Accounts.create(path).close()
    assert path.stat().st_size > 0
    SqliteStore.open(path).close()


def test_a_creation_that_was_killed_half_way_is_completed(tmp_path):
    path = tmp_path / "disc.sqlite"
    path.touch()
    Accounts.open(path, writable=True).close()
    SqliteStore.open(path).close()


# --- somebody else's database ---------------------------------------------------------------------


def test_tables_that_kamailio_did_not_make_are_added_to_its_database(tmp_path):
    path = tmp_path / "kamailio.sqlite"
    with plain_connection(path) as connection:
        connection.execute("CREATE TABLE version (table_name TEXT, table_version INTEGER)")
        connection.execute("INSERT INTO version VALUES ('version', 1), ('grp', 2)")
    Accounts.open(path, writable=True).close()
    with plain_connection(path) as connection:
        rows = connection.execute("SELECT table_name, table_version FROM version ORDER BY 1")
        assert rows.fetchall() == [("grp", 2), ("subscriber", 7), ("version", 1)]
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_a_database_for_something_else_is_left_alone(tmp_path):
    path = tmp_path / "photos.sqlite"
    with plain_connection(path) as connection:
        connection.execute("CREATE TABLE photos (id INTEGER)")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="for something else") as error:
        Accounts.open(path, writable=True)
    assert str(path) in one_line(error)
    assert path.read_bytes() == before
    with pytest.raises(ConfigError, match="has no table 'subscriber'"):
        SqliteStore.open(path)


@pytest.mark.parametrize(
    ("table", "lacks"),
    [
        ("subscriber (username TEXT, ha1 TEXT)", "domain"),
        ("subscriber (domain TEXT, ha1 TEXT)", "username"),
        ("subscriber (username TEXT, domain TEXT)", "ha1"),
    ],
)
def test_a_table_that_lacks_a_column_is_refused_by_name(tmp_path, table, lacks):
    path = tmp_path / "odd.sqlite"
    with plain_connection(path) as connection:
        connection.execute(f"CREATE TABLE {table}")
    with pytest.raises(ConfigError, match=f"no column '{lacks}'"):
        SqliteStore.open(path)


# --- what goes wrong ------------------------------------------------------------------------------


def test_a_reader_does_not_create(tmp_path):
    path = tmp_path / "missing.sqlite"
    with pytest.raises(ConfigError, match="no such database; adding a first user") as error:
        SqliteStore.open(path)
    assert one_line(error).startswith(str(path))
    assert not path.exists()


@pytest.mark.parametrize("writable", [False, True])
def test_not_a_database(tmp_path, writable):
    path = tmp_path / "notes.txt"
    path.write_bytes(b"these are notes, and no database at all\n" * 50)
    with pytest.raises(ConfigError, match="is not an SQLite database") as error:
        Accounts.open(path, writable=writable)
    assert one_line(error).startswith(str(path))


@pytest.mark.parametrize("writable", [False, True])
def test_a_directory(tmp_path, writable):
    with pytest.raises(ConfigError) as error:
        Accounts.open(tmp_path, writable=writable)
    assert one_line(error).startswith(str(tmp_path))


def test_a_directory_that_does_not_exist(tmp_path):
    with pytest.raises(ConfigError, match="cannot be created: No such file or directory"):
        Accounts.open(tmp_path / "none" / "disc.sqlite", writable=True)


def test_an_empty_file_has_no_subscribers(tmp_path):
    path = tmp_path / "empty.sqlite"
    path.touch()
    with pytest.raises(ConfigError, match="has no table 'subscriber'"):
        SqliteStore.open(path)


@pytest.mark.parametrize("writable", [False, True])
def test_a_damaged_file(tmp_path, writable):
    path = tmp_path / "disc.sqlite"
    with Accounts.create(path) as store:
        store.add_user("alice", "siphub.net", "secret")
    content = bytearray(path.read_bytes())
    content[100:200] = b"\xff" * 100  # the first page's b-tree header, that of sqlite_master
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="is damaged") as error:
        Accounts.open(path, writable=writable)
    assert one_line(error).startswith(str(path))


def test_a_locked_database_is_waited_for_and_then_refused(tmp_path, monkeypatch):
    path = tmp_path / "disc.sqlite"
    Accounts.create(path).close()
    monkeypatch.setattr(schema, "WRITER_WAIT", 0.05)
    with plain_connection(path) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ConfigError, match="locked by another process") as error:
            Accounts.open(path, writable=True)
        assert one_line(error).startswith(str(path))
        SqliteStore.open(path).close()  # a reader is not held up


def test_a_file_that_may_not_be_read(public_dir):
    path = public_dir / "disc.sqlite"
    Accounts.create(path).close()
    path.chmod(0)
    with (
        unprivileged(),
        pytest.raises(ConfigError, match="cannot be read: Permission denied"),
    ):
        SqliteStore.open(path)


def test_a_file_that_may_not_be_written(public_dir):
    path = public_dir / "disc.sqlite"
    Accounts.create(path).close()
    path.chmod(0o444)
    public_dir.chmod(0o555)
    with unprivileged(), pytest.raises(ConfigError, match="cannot be") as error:
        Accounts.open(path, writable=True)
    assert one_line(error).startswith(str(path))


# --- read-only medium -----------------------------------------------------------------------------


@pytest.fixture
def sealed(public_dir):
    """A database in WAL mode, in a directory where no ``-shm`` file can be made."""
    path = public_dir / "disc.sqlite"
    with Accounts.create(path) as store:
        store.add_user("alice", "siphub.net", "secret")
    path.chmod(0o444)
    public_dir.chmod(0o555)
    return path


def test_a_database_in_a_read_only_place_is_read(sealed):
    with unprivileged(), SqliteStore.open(sealed) as store:
        assert ha1(store, "alice", "siphub.net")
        assert version(store) == version(store)
    assert os.listdir(sealed.parent) == [sealed.name]


def test_a_change_by_somebody_who_may_write_there_is_seen(sealed):
    if os.geteuid() != 0:
        pytest.skip("needs a second user")
    with unprivileged():
        store = SqliteStore.open(sealed)
    with store:
        before = version(store)
        with Accounts.open(sealed, writable=True) as writer:
            writer.add_user("bob", "siphub.net", "secret")
        with unprivileged():
            assert version(store) != before
            assert ha1(store, "bob", "siphub.net")


def test_a_journal_that_a_killed_writer_left_is_rolled_back_by_a_reader(tmp_path):
    path, killed = tmp_path / "kamailio.sqlite", tmp_path / "killed.sqlite"
    with plain_connection(path) as connection:
        connection.execute("CREATE TABLE subscriber (username TEXT, domain TEXT, ha1 TEXT)")
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("PRAGMA cache_spill = 1")
        connection.execute("BEGIN")
        for number in range(2000):
            connection.execute("INSERT INTO subscriber VALUES (?, 'a.net', ?)", (number, "x" * 99))
        # What a kill leaves: the file half written, and the journal that undoes it.
        shutil.copy(path, killed)
        shutil.copy(f"{path}-journal", f"{killed}-journal")
        connection.execute("ROLLBACK")
    with Accounts.open(killed) as accounts:
        assert accounts.count_users() == 0


# --- databases by URL -----------------------------------------------------------------------------
