"""The store: who is a subscriber, with which HA1, in which groups."""

import logging
import shutil
import sqlite3
import subprocess
import sys
import threading

import pytest

from auth_diameter._core.errors import ConfigError, DiscError
from auth_diameter.disc import schema
from auth_diameter.disc.names import Hashes, compute_ha1
from auth_diameter.disc.store import Store, StoreError, User

HA1 = compute_ha1("alice", "siphub.net", "secret")
HA1B = compute_ha1("alice@siphub.net", "siphub.net", "secret")

# The tables as Kamailio 5.6's scripts define them, indexes included.
KAMAILIO = """
CREATE TABLE version (id INTEGER PRIMARY KEY NOT NULL, table_name VARCHAR(32) NOT NULL,
  table_version INTEGER DEFAULT 0 NOT NULL,
  CONSTRAINT version_table_name_idx UNIQUE (table_name));
CREATE TABLE subscriber (id INTEGER PRIMARY KEY NOT NULL, username VARCHAR(64) DEFAULT '' NOT NULL,
  domain VARCHAR(64) DEFAULT '' NOT NULL, password VARCHAR(64) DEFAULT '' NOT NULL,
  ha1 VARCHAR(128) DEFAULT '' NOT NULL, ha1b VARCHAR(128) DEFAULT '' NOT NULL,
  CONSTRAINT subscriber_account_idx UNIQUE (username, domain));
CREATE INDEX subscriber_username_idx ON subscriber (username);
CREATE TABLE grp (id INTEGER PRIMARY KEY NOT NULL, username VARCHAR(64) DEFAULT '' NOT NULL,
  domain VARCHAR(64) DEFAULT '' NOT NULL, grp VARCHAR(64) DEFAULT '' NOT NULL,
  last_modified TIMESTAMP WITHOUT TIME ZONE DEFAULT '2000-01-01 00:00:01' NOT NULL,
  CONSTRAINT grp_account_group_idx UNIQUE (username, domain, grp));
INSERT INTO version (table_name, table_version)
  VALUES ('version', 1), ('subscriber', 7), ('grp', 2);
"""


def run_sql(path, script):
    connection = sqlite3.connect(path)
    try:
        connection.executescript(script)
    finally:
        connection.close()


def select(path, query):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "disc.sqlite"


@pytest.fixture
def store(path):
    with Store.create(path) as created:
        yield created


@pytest.fixture
def kamailio(tmp_path):
    """Insert rows into a database that Kamailio's scripts made; then open it for reading."""
    path, opened = tmp_path / "kamailio.sqlite", []
    run_sql(path, KAMAILIO)

    def with_rows(*rows, table="subscriber (username, domain, password, ha1, ha1b)"):
        connection = sqlite3.connect(path)
        try:
            for row in rows:
                connection.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(row))})", row)
            connection.commit()
        finally:
            connection.close()
        if not opened:
            opened.append(Store.open(path))
        return opened[0]

    with_rows.path = path
    yield with_rows
    for store in opened:
        store.close()


# --- users ----------------------------------------------------------------------------------------


def test_a_user_is_stored_by_hash_and_never_by_password(store, path):
    assert store.add_user("alice", "siphub.net", "secret") is True
    assert select(path, "SELECT username, domain, password, ha1, ha1b FROM subscriber") == [
        ("alice", "siphub.net", "", HA1, HA1B)
    ]
    store.close()
    assert b"secret" not in path.read_bytes()


def test_an_existing_users_password_is_replaced_only_when_asked_for(store):
    store.add_user("alice", "siphub.net", "secret")
    with pytest.raises(ConfigError, match=r"alice@siphub\.net exists already"):
        store.add_user("alice", "SIPHUB.net", "other")
    assert store.ha1("alice", "siphub.net") == HA1
    assert store.add_user("alice", "SIPHUB.net", "other", replace=True) is False
    assert store.ha1("alice", "siphub.net") == compute_ha1("alice", "siphub.net", "other")
    assert store.count_users() == 1


@pytest.mark.parametrize(
    ("username", "domain", "password"),
    [
        ("a:b", "siphub.net", "secret"),
        ("", "siphub.net", "secret"),
        ("alice", 'sip"hub.net', "secret"),
        ("alice", "", "secret"),
        ("alice", "siphub.net", ""),
        ("alice", "siphub.net", "secret\n"),
    ],
)
def test_names_that_do_not_fit_are_refused_in_one_line(store, username, domain, password):
    with pytest.raises(ConfigError) as error:
        store.add_user(username, domain, password)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)
    assert store.count_users() == 0


def test_the_username_is_case_sensitive_and_the_realm_is_not(store):
    store.add_user("alice", "SIPHub.net", "secret")
    assert store.ha1("alice", "siphub.net") == HA1
    assert store.ha1("alice", "SIPHUB.NET") == HA1
    assert store.ha1("Alice", "siphub.net") is None
    assert store.ha1("alice", "other.net") is None


@pytest.mark.parametrize("name", ["\udcff", "a\0b", "' OR 1=1 --", "a" * 100_000, ""])
def test_a_name_that_nobody_can_have_is_just_unknown(store, name):
    store.add_user("alice", "siphub.net", "secret")
    assert store.ha1(name, "siphub.net") is None
    assert store.ha1("alice", name) is None
    assert store.ha1_candidates(f"{name}@siphub.net", "siphub.net") == ()
    assert store.serves(name) is False
    assert store.is_member(name, "", "staff") is False
    assert store.groups(name, name) == ()
    assert list(store.users(name)) == []


def test_deleting_a_user_takes_its_groups_along(store, path):
    store.add_user("alice", "siphub.net", "secret")
    store.add_group("alice", "siphub.net", "staff")
    assert store.delete_user("alice", "SIPHub.net") is True
    assert store.delete_user("alice", "siphub.net") is False
    assert select(path, "SELECT count(*) FROM grp") == [(0,)]


def test_a_name_that_is_no_text_cannot_be_changed_either(store):
    with pytest.raises(ConfigError, match="not UTF-8"):
        store.delete_user("\udcff", "siphub.net")


def test_users_are_listed_by_domain_and_name(store):
    for username, domain in [("bob", "b.net"), ("zoe", "a.net"), ("alice", "b.net")]:
        store.add_user(username, domain, "secret")
    assert [str(user) for user in store.users()] == ["zoe@a.net", "alice@b.net", "bob@b.net"]
    assert [str(user) for user in store.users("B.NET")] == ["alice@b.net", "bob@b.net"]
    assert store.count_users() == 3


def test_no_repr_shows_a_hash(store):
    store.add_user("alice", "siphub.net", "secret")
    (user,) = store.users()
    assert user.ha1 == HA1
    assert repr(user) == "User(username='alice', domain='siphub.net', plain_password=False)"
    assert HA1 not in repr(store._secrets(store._select, "alice", "siphub.net"))


# --- Kamailio's own table -------------------------------------------------------------------------


def test_kamailios_table_is_read_as_it_is(kamailio):
    store = kamailio(("alice", "siphub.net", "secret", HA1, HA1B))
    assert store.ha1("alice", "siphub.net") == HA1
    assert list(store.users()) == [User("alice", "siphub.net", HA1, plain_password=True)]


def test_ha1_comes_from_a_plain_password_where_there_is_no_hash(kamailio):
    store = kamailio(("alice", "siphub.net", "secret", "", ""))
    assert store.ha1("alice", "siphub.net") == HA1
    assert store.ha1_candidates("alice@siphub.net", "siphub.net") == (HA1B, HA1)


def test_a_plain_password_is_hashed_with_the_realm_as_the_client_spells_it(kamailio):
    store = kamailio(("alice", "siphub.net", "secret", "", ""))
    assert store.ha1("alice", "SIPHub.net") == compute_ha1("alice", "SIPHub.net", "secret")


def test_neither_hash_nor_password_is_no_user(kamailio):
    store = kamailio(("alice", "siphub.net", "", "", ""))
    assert store.ha1("alice", "siphub.net") is None
    assert store.ha1_candidates("alice@siphub.net", "siphub.net") == ()


def test_a_hash_in_capital_letters_is_the_same_hash(kamailio):
    store = kamailio(("alice", "siphub.net", "", HA1.upper(), HA1B.upper()))
    assert store.ha1_candidates("alice@siphub.net", "siphub.net") == (HA1B, HA1)


@pytest.mark.parametrize("stored", ["geheim", HA1[:-1], HA1 + "0", "g" * 32, b"\xff" * 32])
def test_an_unusable_hash_is_no_user_and_one_warning_without_it(kamailio, caplog, stored):
    store = kamailio(("alice", "siphub.net", "secret", stored, ""))
    with caplog.at_level(logging.WARNING):
        assert store.ha1("alice", "siphub.net") is None
        assert store.ha1("alice", "siphub.net") is None
    (record,) = caplog.records
    assert "ha1 of user 'alice' in realm 'siphub.net' is not 32 hex digits" in record.message
    assert str(stored) not in record.message
    assert [user.ha1 for user in store.users()] == [""]


def test_a_password_that_is_not_utf_8_is_never_quoted(kamailio):
    store = kamailio()
    run_sql(
        kamailio.path,
        "INSERT INTO subscriber (username, domain, password)"
        " VALUES ('alice', 'siphub.net', CAST(x'67FC6E' AS TEXT))",
    )
    assert store.ha1("alice", "siphub.net") == compute_ha1("alice", "siphub.net", b"g\xfcn")
    assert len(list(store.users())) == 1


TABLES = {
    "ours": None,
    "Kamailio's": KAMAILIO,
    "without numbers": "CREATE TABLE subscriber (username TEXT, domain TEXT, ha1 TEXT, ha1b TEXT,"
    " PRIMARY KEY (username, domain)) WITHOUT ROWID",
    "without an index": "CREATE TABLE subscriber (username TEXT, domain TEXT, ha1 TEXT, ha1b TEXT)",
}


@pytest.fixture
def table(request, path):
    """A database of the form that the parameter names."""
    if TABLES[request.param] is None:
        Store.create(path).close()
    else:
        run_sql(path, TABLES[request.param])
    return path


@pytest.mark.parametrize("table", TABLES, indirect=True)
def test_the_row_of_a_neighbour_is_nobodys(table):
    """An unknown user gets another one's row from the database, at either end of the index, too."""
    rows = {(user, domain) for domain in ("b.net", "d.net") for user in ("bob", "dave")}
    for user, domain in rows:
        run_sql(
            table,
            "INSERT INTO subscriber (username, domain, ha1, ha1b)"
            f" VALUES ('{user}', '{domain}', '{HA1}', '{HA1B}')",
        )
    with Store.open(table) as store:
        found = {
            (user, domain)
            for domain in ("a.net", "b.net", "c.net", "d.net", "e.net")
            for user in ("", "alice", "bob", "bob ", "carol", "dave", "eve")
            for asked in (user, f"{user}@{domain}")
            if store.ha1_candidates(asked, domain)
        }
    assert found == rows


@pytest.mark.parametrize("table", ["ours", "Kamailio's"], indirect=True)
def test_every_lookup_goes_by_an_index(table):
    with Store.open(table) as store:
        for select in (store._select, store._select_other):
            plan = store._connection.execute(
                f"EXPLAIN QUERY PLAN {select}", {"username": "a", "domain": "b"}
            ).fetchall()
            steps = [step[3].decode() for step in plan]
            assert steps[0].startswith("SEARCH subscriber USING INTEGER PRIMARY KEY")
            assert steps[2].startswith("SEARCH subscriber USING COVERING INDEX")
            assert not any("TEMP B-TREE" in step for step in steps)


def test_a_new_spelling_of_a_domain_is_seen_when_the_data_version_is(kamailio):
    store = kamailio(("alice", "siphub.net", "", HA1, ""))
    assert store.ha1("bob", "siphub.net") is None
    kamailio(("bob", "SIPHub.NET", "", HA1B, ""))
    store.data_version()
    assert store.ha1("bob", "siphub.net") == HA1B


def test_a_domain_in_capital_letters_is_found_in_any_spelling(kamailio):
    store = kamailio(
        ("alice", "SIPHub.NET", "", HA1, ""),
        ("bob", "siphub.net", "", HA1B, ""),
    )
    for realm in ("siphub.net", "SIPHUB.NET", "SIPHub.NET"):
        assert store.ha1("alice", realm) == HA1
        assert store.ha1("bob", realm) == HA1B


def test_the_spelling_asked_for_wins_over_others(kamailio):
    store = kamailio(("alice", "SIPHub.NET", "", HA1, ""), ("alice", "siphub.net", "", HA1B, ""))
    assert store.ha1("alice", "SIPHub.NET") == HA1
    assert store.ha1("alice", "siphub.net") == HA1B
    assert store.ha1("alice", "SIPHUB.NET") == HA1B


def test_a_new_user_joins_the_realm_in_the_spelling_it_has(kamailio):
    kamailio(("bob", "SIPHub.NET", "", HA1, ""))
    with Store.open(kamailio.path, writable=True) as store:
        store.add_user("alice", "siphub.net", "secret")
        assert store.canonical_realm("siphub.net") == "SIPHub.NET"
        assert store.ha1("alice", "siphub.net") == compute_ha1("alice", "SIPHub.NET", "secret")


def test_replacing_a_password_drops_the_plain_one(kamailio):
    kamailio(("alice", "siphub.net", "former", "", ""))
    with Store.open(kamailio.path, writable=True) as store:
        store.add_user("alice", "siphub.net", "secret", replace=True)
    assert select(kamailio.path, "SELECT password, ha1, ha1b FROM subscriber") == [("", HA1, HA1B)]


def test_a_table_without_ha1b_serves_and_is_written(tmp_path):
    path = tmp_path / "opensips.sqlite"
    run_sql(path, "CREATE TABLE subscriber (username TEXT, domain TEXT, ha1 TEXT NOT NULL)")
    with Store.open(path, writable=True) as store:
        store.add_user("alice", "siphub.net", "secret")
        assert store.ha1_candidates("alice@siphub.net", "siphub.net") == (HA1,)


def test_a_database_without_groups_has_no_members(tmp_path):
    path = tmp_path / "plain.sqlite"
    run_sql(path, "CREATE TABLE subscriber (username TEXT, domain TEXT, password TEXT)")
    with Store.open(path) as store:
        assert store.is_member("alice", "siphub.net", "staff") is False
        assert store.groups("alice", "siphub.net") == ()


# --- usernames with a domain ----------------------------------------------------------------------


def test_a_username_with_the_realm_gives_ha1b_first_and_then_ha1(store):
    store.add_user("alice", "siphub.net", "secret")
    assert store.ha1_candidates("alice@siphub.net", "siphub.net") == (HA1B, HA1)
    assert store.ha1_candidates("alice@SIPHub.net", "siphub.net") == (HA1B, HA1)
    assert store.ha1_at("alice@siphub.net", "siphub.net") == HA1B
    assert store.ha1_candidates("alice", "siphub.net") == (HA1,)


def test_a_username_with_another_domain_than_the_realm_is_nobody(store):
    store.add_user("alice", "siphub.net", "secret")
    assert store.ha1_candidates("alice@other.net", "siphub.net") == ()
    assert store.ha1_at("alice@other.net", "siphub.net") is None


def test_a_username_may_itself_hold_an_at_sign(store):
    store.add_user("alice@work", "siphub.net", "secret")
    own = compute_ha1("alice@work", "siphub.net", "secret")
    assert store.ha1_candidates("alice@work", "siphub.net") == (own,)
    assert len(store.ha1_candidates("alice@work@siphub.net", "siphub.net")) == 2


def test_without_ha1b_only_the_part_before_the_at_sign_is_left(kamailio):
    store = kamailio(("alice", "siphub.net", "", HA1, ""))
    assert store.ha1_candidates("alice@siphub.net", "siphub.net") == (HA1,)


# --- realms ---------------------------------------------------------------------------------------


def test_a_realm_is_served_as_long_as_it_has_a_subscriber(store):
    assert store.served_realms() == frozenset()
    store.add_user("alice", "siphub.net", "secret")
    store.add_user("bob", "example.org", "secret")
    assert store.served_realms() == {"siphub.net", "example.org"}
    assert store.serves("SIPHub.net")
    assert store.canonical_realm("SIPHub.net") == "siphub.net"
    store.delete_user("alice", "siphub.net")
    assert not store.serves("siphub.net")
    assert store.canonical_realm("siphub.net") is None


def test_realms_are_found_with_and_without_an_index_on_the_domain(kamailio, path):
    reader = kamailio(*(("u", f"d{n}.net", "", HA1, "") for n in range(50)))
    with Store.create(path) as indexed:
        for number in range(50):
            indexed.add_user("u", f"d{number}.net", "secret")
        assert indexed.served_realms() == reader.served_realms()
        assert len(indexed.served_realms()) == 50


def test_a_long_scan_is_not_repeated_at_every_change(kamailio, monkeypatch):
    store = kamailio(("alice", "a.net", "", HA1, ""))
    monkeypatch.setattr(schema, "_SHORT_SCAN", -1.0)
    monkeypatch.setattr(schema, "_SCAN_SHARE", 1e9)
    assert store.serves("a.net")
    kamailio(("alice", "b.net", "", HA1, ""))
    assert not store.serves("b.net")
    assert store.ha1("alice", "b.net") == HA1  # the lookup itself needs no scan


# --- groups ---------------------------------------------------------------------------------------


def test_a_member_is_one_until_taken_out(store):
    store.add_user("alice", "siphub.net", "secret")
    assert store.add_group("alice", "SIPHub.net", "voicemail") is True
    assert store.add_group("alice", "siphub.net", "voicemail") is False
    store.add_group("alice", "siphub.net", "admin")
    assert store.groups("alice", "siphub.net") == ("admin", "voicemail")
    assert store.is_member("alice", "SIPHUB.NET", "voicemail")
    assert not store.is_member("alice", "siphub.net", "Voicemail")
    assert not store.is_member("Alice", "siphub.net", "voicemail")
    assert store.delete_group("alice", "SIPHub.net", "voicemail") is True
    assert store.delete_group("alice", "siphub.net", "voicemail") is False
    assert not store.is_member("alice", "siphub.net", "voicemail")


def test_an_empty_domain_is_any_domain(store):
    store.add_user("alice", "a.net", "secret")
    store.add_group("alice", "a.net", "staff")
    assert store.is_member("alice", "", "staff")
    assert store.groups("alice", "") == ("staff",)
    assert not store.is_member("alice", "b.net", "staff")
    assert not store.is_member("bob", "", "staff")


def test_only_a_user_can_be_put_into_a_group(store):
    with pytest.raises(ConfigError, match=r"alice@siphub\.net does not exist"):
        store.add_group("alice", "siphub.net", "staff")


def test_groups_in_kamailios_table_are_found_in_any_spelling(kamailio):
    store = kamailio(
        ("alice", "SIPHub.NET", "staff"),
        ("alice", "siphub.net", "guests"),
        table="grp (username, domain, grp)",
    )
    assert store.is_member("alice", "siphub.net", "staff")
    assert store.is_member("alice", "SIPHUB.net", "guests")
    assert store.groups("alice", "siphub.net") == ("guests", "staff")


def test_the_time_of_a_membership_is_written_as_kamailio_writes_it(store, path):
    store.add_user("alice", "siphub.net", "secret")
    store.add_group("alice", "siphub.net", "staff")
    ((stamp, now),) = select(path, "SELECT last_modified, datetime('now') FROM grp")
    assert stamp[:13] == now[:13]


# --- others at the same database ------------------------------------------------------------------


def test_a_change_by_anybody_changes_the_data_version(store, path):
    with Store.open(path) as reader:
        seen = {reader.data_version()}
        assert reader.data_version() in seen
        store.add_user("alice", "siphub.net", "secret")
        assert reader.data_version() not in seen
        assert reader.serves("siphub.net")
        seen = {store.data_version()}
        store.add_user("bob", "siphub.net", "secret")
        assert store.data_version() not in seen


def test_a_reader_does_not_wait_for_a_writer_and_sees_whole_changes(store, path):
    store.add_user("alice", "siphub.net", "secret")
    with Store.open(path) as reader:
        with store.changing():
            store.put("bob", "siphub.net", Hashes(HA1, HA1B), exists=False)
            assert reader.ha1("alice", "siphub.net") == HA1
            assert reader.ha1("bob", "siphub.net") is None
        assert reader.ha1("bob", "siphub.net") == HA1


def test_a_change_that_fails_leaves_nothing(store):
    def fail_half_way():
        with store.changing():
            store.put("bob", "siphub.net", Hashes(HA1, HA1B), exists=False)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert store.count_users() == 0


def test_a_file_that_takes_the_place_of_ours_is_gone_over_to(path, tmp_path):
    with Store.create(path) as writer:
        writer.add_user("alice", "siphub.net", "secret")
    with Store.create(tmp_path / "new.sqlite") as writer:
        writer.add_user("bob", "siphub.net", "secret")
    with Store.open(path) as reader:
        before = reader.data_version()
        shutil.move(tmp_path / "new.sqlite", path)
        assert reader.data_version() != before
        assert reader.ha1("alice", "siphub.net") is None
        assert reader.ha1("bob", "siphub.net")


def test_an_unusable_file_in_the_place_of_ours_changes_nothing(path, tmp_path, caplog):
    with Store.create(path) as writer:
        writer.add_user("alice", "siphub.net", "secret")
    (tmp_path / "new").write_text("no database")
    with Store.open(path) as reader, caplog.at_level(logging.WARNING):
        (tmp_path / "new").replace(path)
        reader.data_version()
        reader.data_version()
        assert reader.ha1("alice", "siphub.net") == HA1
    assert [record.message.count("is not an SQLite database") for record in caplog.records] == [1]


def test_a_store_may_be_handed_to_another_thread(store):
    store.add_user("alice", "siphub.net", "secret")
    found = []
    thread = threading.Thread(target=lambda: found.append(store.ha1("alice", "siphub.net")))
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
    with Store.open(path) as reader:
        assert [str(user) for user in reader.users()] == ["alice@siphub.net"]
    assert select(path, "PRAGMA integrity_check") == [("ok",)]


# --- what goes wrong ------------------------------------------------------------------------------


def test_lookups_together_are_one_transaction(store, path):
    """One lock of the file for all of them; what others write meanwhile comes after it."""
    store.add_user("alice", "example.org", "secret")
    with Store.open(path) as reader:
        with reader.together():
            first = reader.ha1("alice", "example.org")
            store.add_user("alice", "example.org", "changed", replace=True)
            assert reader.ha1("alice", "example.org") == first
        assert reader.ha1("alice", "example.org") != first


def test_lookups_together_fail_one_by_one(store, path):
    reader = Store.open(path)
    reader.close()
    with reader.together(), pytest.raises(StoreError):
        reader.ha1("alice", "example.org")


def test_a_reader_cannot_change_anything(store, path):
    with Store.open(path) as reader:
        with pytest.raises(ConfigError, match="opened for reading only"):
            reader.add_user("alice", "siphub.net", "secret")
        with pytest.raises(sqlite3.OperationalError):
            reader._connection.execute("DELETE FROM subscriber")


def test_a_lookup_in_a_locked_database_ends_soon_with_a_store_error(kamailio):
    store = kamailio(("alice", "siphub.net", "", HA1, ""))
    other = sqlite3.connect(kamailio.path, isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")  # a rollback journal, so readers are held up
        with pytest.raises(StoreError, match="locked by another process") as error:
            store.ha1("alice", "siphub.net")
    finally:
        other.close()
    assert isinstance(error.value, DiscError)
    assert str(error.value).startswith(str(kamailio.path))
    assert store.ha1("alice", "siphub.net") == HA1  # it passes


def test_a_change_in_a_locked_database_is_a_config_error(path, monkeypatch):
    monkeypatch.setattr(schema, "WRITER_WAIT", 0.05)
    with Store.create(path) as store, Store.open(path, writable=True) as other:
        with other.changing(), pytest.raises(ConfigError, match="locked by another process"):
            store.add_user("alice", "siphub.net", "secret")
        store.add_user("alice", "siphub.net", "secret")


def test_a_lookup_in_a_damaged_database_is_a_store_error(path):
    with Store.create(path) as store:
        for number in range(500):
            store.add_user(f"user{number}", "siphub.net", "secret")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(8 * 4096)  # behind the roots of the tables
        file.write(b"\xff" * (size - 8 * 4096))
    with Store.open(path) as store:
        with pytest.raises(StoreError, match="is damaged") as error:
            [store.ha1(f"user{number}", "siphub.net") for number in range(500)]
        with pytest.raises(StoreError, match="is damaged"):
            list(store.users())
    assert "\n" not in str(error.value)


def test_a_full_disk_is_a_config_error(store):
    store._connection.execute("PRAGMA max_page_count = 1")

    def fill():
        with store.changing():
            for number in range(1000):
                store.put(f"u{number}", "siphub.net", Hashes(HA1, HA1B), exists=False)

    with pytest.raises(ConfigError, match="the disk is full"):
        fill()
    assert store.count_users() == 0


def test_a_closed_store_says_so(path):
    store = Store.create(path)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.ha1("alice", "siphub.net")
    with pytest.raises(ConfigError, match="closed"):
        store.add_user("alice", "siphub.net", "secret")


def test_a_store_in_memory_dies_with_its_connection():
    with Store.create(":memory:") as store:
        store.add_user("alice", "siphub.net", "secret")
        assert store.ha1("alice", "siphub.net") == HA1
    with Store.create(":memory:") as store:
        assert store.count_users() == 0


# --- HA1 by SHA-2 --------------------------------------------------------------------------------------

SHA_256 = compute_ha1("alice", "siphub.net", "secret", "SHA-256")
SHA_512 = compute_ha1("alice", "siphub.net", "secret", "SHA-512-256")
# The columns that count of OpenSIPS' table.
OPENSIPS = """
CREATE TABLE subscriber (id INTEGER PRIMARY KEY NOT NULL, username CHAR(64) DEFAULT '' NOT NULL,
  domain CHAR(64) DEFAULT '' NOT NULL, password CHAR(25) DEFAULT '' NOT NULL,
  email_address CHAR(64) DEFAULT '' NOT NULL, ha1 CHAR(64) DEFAULT '' NOT NULL,
  ha1_sha256 CHAR(64) DEFAULT '' NOT NULL, ha1_sha512t256 CHAR(64) DEFAULT '' NOT NULL,
  rpid CHAR(64) DEFAULT NULL,
  CONSTRAINT subscriber_account_idx UNIQUE (username, domain));
"""


def test_a_new_user_has_an_ha1_of_every_algorithm(store):
    store.add_user("alice", "siphub.net", "secret")
    assert store.ha1("alice", "siphub.net", "SHA-256") == SHA_256
    assert store.ha1("alice", "siphub.net", "SHA-512-256") == SHA_512
    assert store.ha1_candidates("alice@siphub.net", "siphub.net", "SHA-256") == (SHA_256,)
    assert store.algorithms("alice", "siphub.net") == ("MD5", "SHA-256", "SHA-512-256")
    assert store.algorithms("alice@siphub.net", "siphub.net") == ("MD5", "SHA-256", "SHA-512-256")


def test_a_plain_password_serves_every_algorithm(kamailio):
    store = kamailio(("alice", "siphub.net", "secret", "", ""))
    assert store.ha1("alice", "siphub.net", "SHA-256") == SHA_256
    assert store.algorithms("alice", "siphub.net") == ("MD5", "SHA-256", "SHA-512-256")
    whole = compute_ha1("alice@siphub.net", "siphub.net", "secret", "SHA-512-256")
    assert store.ha1_candidates("alice@siphub.net", "siphub.net", "SHA-512-256") == (whole, SHA_512)


def test_a_table_of_kamailio_has_md5_alone(kamailio):
    store = kamailio(("alice", "siphub.net", "", HA1, HA1B))
    assert store.algorithms("alice", "siphub.net") == ("MD5",)
    assert store.ha1_candidates("alice", "siphub.net", "SHA-256") == ()


def test_a_table_of_opensips_is_used_as_it_is(path):
    run_sql(path, OPENSIPS)
    run_sql(
        path,
        "INSERT INTO subscriber (username, domain, ha1, ha1_sha256, ha1_sha512t256)"
        f" VALUES ('alice', 'siphub.net', '{HA1}', '{SHA_256}', '{SHA_512.upper()}')",
    )
    with Store.open(path) as store:
        assert store.ha1("alice", "siphub.net") == HA1
        assert store.ha1("alice", "siphub.net", "SHA-256") == SHA_256
        assert store.ha1("alice", "siphub.net", "SHA-512-256") == SHA_512
    with Store.open(path, writable=True) as store:
        store.add_user("bob", "siphub.net", "builder")
        assert store.algorithms("bob", "siphub.net") == ("MD5", "SHA-256", "SHA-512-256")


def test_a_new_password_leaves_nothing_of_the_old_one(store):
    """Or the old password would still get in by another algorithm."""
    store.add_user("alice", "siphub.net", "secret")
    with store.changing():
        store.put("alice", "siphub.net", Hashes(compute_ha1("alice", "siphub.net", "new")), exists=True)
    assert store.algorithms("alice", "siphub.net") == ("MD5",)
    assert store.ha1("alice", "siphub.net", "SHA-256") is None


@pytest.mark.parametrize("stored", ["0" * 32, "0" * 63, "g" * 64])
def test_an_ha1_of_another_length_is_none(path, stored, caplog):
    run_sql(path, OPENSIPS)
    run_sql(
        path,
        "INSERT INTO subscriber (username, domain, ha1, ha1_sha256)"
        f" VALUES ('alice', 'siphub.net', '{HA1}', '{stored}')",
    )
    with Store.open(path) as store:
        assert store.ha1("alice", "siphub.net", "SHA-256") is None
    assert "ha1_sha256 of user 'alice' in realm 'siphub.net' is not 64 hex digits" in caplog.text
    assert stored not in caplog.text


def test_an_older_table_is_brought_forward_and_the_log_says_so(path, caplog):
    run_sql(path, KAMAILIO)
    row = f"'alice', 'siphub.net', '{HA1}'"
    run_sql(path, f"INSERT INTO subscriber (username, domain, ha1) VALUES ({row})")
    with Store.open(path) as store:  # reading changes nothing
        assert store.algorithms("alice", "siphub.net") == ("MD5",)
    assert "ha1_sha256" not in str(select(path, "SELECT sql FROM sqlite_master"))
    with Store.open(path, writable=True) as store:
        assert "now has the columns ha1_sha256, ha1_sha512t256" in caplog.text
        store.add_user("alice", "siphub.net", "secret", replace=True)
        assert store.ha1("alice", "siphub.net", "SHA-256") == SHA_256
    caplog.clear()
    with Store.open(path, writable=True):
        assert caplog.text == ""
    assert select(path, "SELECT table_version FROM version WHERE table_name = 'subscriber'") == [(7,)]
