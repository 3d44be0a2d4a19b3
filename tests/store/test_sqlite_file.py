"""An open database: others at the same one, the file under it, and what goes wrong."""

import logging
import shutil
import sqlite3
import subprocess
import sys
import threading

import pytest
from kit.lookups import accounts_of, canonical_realm, ha1, version
from kit.tables import HA1, HA1B, select

from auth_diameter._core.errors import ConfigError, DiscError
from auth_diameter.store import schema
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.hashes import Hashes
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.store.store import StoreError

# --- others at the same database ------------------------------------------------------------------


def test_a_change_by_anybody_changes_the_data_version(store, path):
    with SqliteStore.open(path) as reader:
        seen = {version(reader)}
        assert version(reader) in seen
        store.add_user("alice", "siphub.net", "secret")
        assert version(reader) not in seen
        assert canonical_realm(reader, "siphub.net")
        seen = {version(store)}
        store.add_user("bob", "siphub.net", "secret")
        assert version(store) not in seen


def test_a_reader_does_not_wait_for_a_writer_and_sees_whole_changes(store, path):
    store.add_user("alice", "siphub.net", "secret")
    with SqliteStore.open(path) as reader:
        with store.session.changing():
            store.put("bob", "siphub.net", Hashes(HA1, HA1B), exists=False)
            assert ha1(reader, "alice", "siphub.net") == HA1
            assert ha1(reader, "bob", "siphub.net") is None
        assert ha1(reader, "bob", "siphub.net") == HA1


def test_a_change_that_fails_leaves_nothing(store):
    def fail_half_way():
        with store.session.changing():
            store.put("bob", "siphub.net", Hashes(HA1, HA1B), exists=False)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert store.count_users() == 0


def test_a_file_that_takes_the_place_of_ours_is_gone_over_to(path, tmp_path):
    with Accounts.create(path) as writer:
        writer.add_user("alice", "siphub.net", "secret")
    with Accounts.create(tmp_path / "new.sqlite") as writer:
        writer.add_user("bob", "siphub.net", "secret")
    with SqliteStore.open(path) as reader:
        before = version(reader)
        shutil.move(tmp_path / "new.sqlite", path)
        assert version(reader) != before
        assert ha1(reader, "alice", "siphub.net") is None
        assert ha1(reader, "bob", "siphub.net")


def test_an_unusable_file_in_the_place_of_ours_changes_nothing(path, tmp_path, caplog):
    with Accounts.create(path) as writer:
        writer.add_user("alice", "siphub.net", "secret")
    (tmp_path / "new").write_text("no database")
    with SqliteStore.open(path) as reader, caplog.at_level(logging.WARNING):
        (tmp_path / "new").replace(path)
        version(reader)
        version(reader)
        assert ha1(reader, "alice", "siphub.net") == HA1
    assert [record.message.count("is not an SQLite database") for record in caplog.records] == [1]


def test_a_store_may_be_handed_to_another_thread(store):
    store.add_user("alice", "siphub.net", "secret")
    found = []
    thread = threading.Thread(target=lambda: found.append(ha1(store, "alice", "siphub.net")))
    thread.start()
    thread.join()
    assert found == [HA1]


def test_a_killed_writer_leaves_the_last_whole_change(store, path):
    store.add_user("alice", "siphub.net", "secret")
    script = (
        "import os, signal, sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA cache_size = 1')\n"
        "c.execute('BEGIN')\n"
        "for n in range(5000):\n"
        "    c.execute('INSERT INTO subscriber (username, domain) VALUES (?, ?)', (n, 'x'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, path], check=False)
    assert done.returncode == -9
    with SqliteStore.open(path) as reader:
        assert [str(user) for user in accounts_of(reader).users()] == ["alice@siphub.net"]
    assert select(path, "PRAGMA integrity_check") == [("ok",)]


# --- what goes wrong ------------------------------------------------------------------------------


def test_a_reader_cannot_change_anything(store, path):
    with SqliteStore.open(path) as reader:
        with pytest.raises(ConfigError, match="opened for reading only"):
            accounts_of(reader).add_user("alice", "siphub.net", "secret")
        with pytest.raises(sqlite3.OperationalError):
            reader.database.connection.execute("DELETE FROM subscriber")


def test_a_lookup_in_a_locked_database_ends_soon_with_a_store_error(kamailio):
    store = kamailio(("alice", "siphub.net", "", HA1, ""))
    other = sqlite3.connect(kamailio.path, isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")  # a rollback journal, so readers are held up
        with pytest.raises(StoreError, match="locked by another process") as error:
            ha1(store, "alice", "siphub.net")
    finally:
        other.close()
    assert isinstance(error.value, DiscError)
    assert str(error.value).startswith(str(kamailio.path))
    assert ha1(store, "alice", "siphub.net") == HA1  # it passes


def test_a_change_in_a_locked_database_is_a_config_error(path, monkeypatch):
    monkeypatch.setattr(schema, "WRITER_WAIT", 0.05)
    with Accounts.create(path) as store, Accounts.open(path, writable=True) as other:
        with other.session.changing(), pytest.raises(ConfigError, match="locked by another process"):
            store.add_user("alice", "siphub.net", "secret")
        store.add_user("alice", "siphub.net", "secret")


def test_a_lookup_in_a_damaged_database_is_a_store_error(path):
    with Accounts.create(path) as store:
        for number in range(500):
            store.add_user(f"user{number}", "siphub.net", "secret")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(8 * 4096)  # behind the roots of the tables
        file.write(b"\xff" * (size - 8 * 4096))
    with SqliteStore.open(path) as store:
        with pytest.raises(StoreError, match="is damaged") as error:
            [ha1(store, f"user{number}", "siphub.net") for number in range(500)]
        with pytest.raises(StoreError, match="is damaged"):
            list(accounts_of(store).users())
    assert "\n" not in str(error.value)


def test_a_full_disk_is_a_config_error(store):
    store.database.connection.execute("PRAGMA max_page_count = 1")

    def fill():
        with store.session.changing():
            for number in range(1000):
                store.put(f"u{number}", "siphub.net", Hashes(HA1, HA1B), exists=False)

    with pytest.raises(ConfigError, match="the disk is full"):
        fill()
    assert store.count_users() == 0


def test_a_closed_store_says_so(path):
    store = Accounts.create(path)
    lookups = SqliteStore(store.database)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        ha1(lookups, "alice", "siphub.net")
    with pytest.raises(ConfigError, match="closed"):
        store.add_user("alice", "siphub.net", "secret")


def test_a_store_in_memory_dies_with_its_connection():
    with Accounts.create(":memory:") as store:
        store.add_user("alice", "siphub.net", "secret")
        assert ha1(store, "alice", "siphub.net") == HA1
    with Accounts.create(":memory:") as store:
        assert store.count_users() == 0
