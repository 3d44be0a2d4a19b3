"""What DISC asks its database: who is a subscriber, with which HA1, in which groups."""

import itertools
import logging

import pytest
from kit.lookups import (
    accounts_of,
    algorithms,
    at_once,
    canonical_realm,
    fetch,
    ha1,
    ha1_candidates,
    is_member,
    served_realms,
    version,
)
from kit.tables import HA1, HA1B, KAMAILIO, OPENSIPS, SHA_256, SHA_512, run_sql

from auth_diameter.store import pace
from auth_diameter.store.accounts import Account, Accounts
from auth_diameter.store.hashes import candidates, compute_ha1
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.store.store import Algorithms, Member, User


def test_the_username_is_case_sensitive_and_the_realm_is_not(store):
    store.add_user("alice", "SIPHub.net", "secret")
    assert ha1(store, "alice", "siphub.net") == HA1
    assert ha1(store, "alice", "SIPHUB.NET") == HA1
    assert ha1(store, "Alice", "siphub.net") is None
    assert ha1(store, "alice", "other.net") is None


@pytest.mark.parametrize("name", ["\udcff", "a\0b", "' OR 1=1 --", "a" * 100_000, ""])
def test_a_name_that_nobody_can_have_is_just_unknown(store, name):
    store.add_user("alice", "siphub.net", "secret")
    assert ha1(store, name, "siphub.net") is None
    assert ha1(store, "alice", name) is None
    assert ha1_candidates(store, f"{name}@siphub.net", "siphub.net") == ()
    assert canonical_realm(store, name) is None
    assert is_member(store, name, "", "staff") is False
    assert store.groups(name, name) == ()
    assert list(store.users(name)) == []


# --- Kamailio's own table -------------------------------------------------------------------------


def test_kamailios_table_is_read_as_it_is(kamailio):
    store = kamailio(("alice", "siphub.net", "secret", HA1, HA1B))
    assert ha1(store, "alice", "siphub.net") == HA1
    assert list(accounts_of(store).users()) == [Account("alice", "siphub.net", HA1, plain_password=True)]


def test_ha1_comes_from_a_plain_password_where_there_is_no_hash(kamailio):
    store = kamailio(("alice", "siphub.net", "secret", "", ""))
    assert ha1(store, "alice", "siphub.net") == HA1
    assert ha1_candidates(store, "alice@siphub.net", "siphub.net") == (HA1B, HA1)


def test_a_plain_password_is_hashed_with_the_realm_as_the_client_spells_it(kamailio):
    store = kamailio(("alice", "siphub.net", "secret", "", ""))
    assert ha1(store, "alice", "SIPHub.net") == compute_ha1("alice", "SIPHub.net", "secret")


def test_neither_hash_nor_password_is_no_user(kamailio):
    store = kamailio(("alice", "siphub.net", "", "", ""))
    assert ha1(store, "alice", "siphub.net") is None
    assert ha1_candidates(store, "alice@siphub.net", "siphub.net") == ()


def test_a_hash_in_capital_letters_is_the_same_hash(kamailio):
    store = kamailio(("alice", "siphub.net", "", HA1.upper(), HA1B.upper()))
    assert ha1_candidates(store, "alice@siphub.net", "siphub.net") == (HA1B, HA1)


@pytest.mark.parametrize("stored", ["geheim", HA1[:-1], HA1 + "0", "g" * 32, b"\xff" * 32])
def test_an_unusable_hash_is_no_user_and_one_warning_without_it(kamailio, caplog, stored):
    store = kamailio(("alice", "siphub.net", "secret", stored, ""))
    with caplog.at_level(logging.WARNING):
        assert ha1(store, "alice", "siphub.net") is None
        assert ha1(store, "alice", "siphub.net") is None
    (record,) = caplog.records
    assert "ha1 of user 'alice' in realm 'siphub.net' is not 32 hex digits" in record.message
    assert str(stored) not in record.message
    assert [user.ha1 for user in accounts_of(store).users()] == [""]


def test_a_password_that_is_not_utf_8_is_never_quoted(kamailio):
    store = kamailio()
    run_sql(
        kamailio.path,
        "INSERT INTO subscriber (username, domain, password)"
        " VALUES ('alice', 'siphub.net', CAST(x'67FC6E' AS TEXT))",
    )
    assert ha1(store, "alice", "siphub.net") == compute_ha1("alice", "siphub.net", b"g\xfcn")
    assert len(list(accounts_of(store).users())) == 1


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
        Accounts.create(path).close()
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
    with SqliteStore.open(table) as store:
        found = {
            (user, domain)
            for domain in ("a.net", "b.net", "c.net", "d.net", "e.net")
            for user in ("", "alice", "bob", "bob ", "carol", "dave", "eve")
            for asked in (user, f"{user}@{domain}")
            if ha1_candidates(store, asked, domain)
        }
    assert found == rows


@pytest.mark.parametrize("table", ["ours", "Kamailio's"], indirect=True)
def test_every_lookup_goes_by_an_index(table):
    with SqliteStore.open(table) as store:
        plan = store.database.connection.execute(
            f"EXPLAIN QUERY PLAN {store.database.statements.secrets(2)}", (False, "a", "b", True, "c", "d", 2)
        ).fetchall()
    steps = [step[3].decode() for step in plan]
    assert "SEARCH s USING INTEGER PRIMARY KEY (rowid=?)" in steps
    upwards, downwards = (step for step in steps if step.startswith("SEARCH p"))
    assert upwards.startswith("SEARCH p USING COVERING INDEX")
    assert downwards.startswith("SEARCH p USING COVERING INDEX")
    assert not any("TEMP B-TREE" in step for step in steps)


@pytest.mark.parametrize("table", ["ours", "Kamailio's"], indirect=True)
@pytest.mark.parametrize("shape", ["user{:03d}", "user{:03d}@siphub.net"])
def test_a_lookup_takes_as_many_steps_whether_the_user_exists(table, shape):
    """Counted in steps of SQLite's machine, which may be one or two off in another release of it."""
    run_sql(
        table,
        "WITH RECURSIVE n(n) AS (VALUES (0) UNION ALL SELECT n + 2 FROM n WHERE n < 200)"
        " INSERT INTO subscriber (username, domain, ha1, ha1b)"
        f" SELECT printf('user%03d', n), 'siphub.net', '{HA1}', '{HA1B}' FROM n",
    )
    with SqliteStore.open(table) as store:
        ha1(store, "user000", "siphub.net")  # which looks the realms up

        def steps(number):
            count = itertools.count()
            store.database.connection.set_progress_handler(lambda: next(count) and 0, 1)
            known = fetch(store, User(shape.format(number), "siphub.net", "MD5")).known
            store.database.connection.set_progress_handler(None, 0)
            return known, next(count)

        taken = dict(map(steps, range(50, 150)))
    assert taken.keys() == {True, False}
    assert taken[True] > 50
    assert abs(taken[True] - taken[False]) <= 2


def test_all_users_of_a_fetch_are_asked_for_by_one_statement(table_of_many):
    store, users = table_of_many
    asked = []
    store.database.connection.set_trace_callback(asked.append)
    keys = [
        key
        for user in users[:64]
        for key in (User(user, "siphub.net", "MD5"), Algorithms(user, "siphub.net"))
    ]
    found = at_once(store.fetch(keys))
    assert found.keys() == set(keys)
    assert all(value.known for key, value in found.items() if isinstance(key, User))
    assert len([statement for statement in asked if "asked" in statement]) == 1


@pytest.mark.parametrize("count", [1, 2, 3, 255, 256, 257, 700])
def test_a_fetch_of_any_size_gives_each_key_its_own_value(table_of_many, count):
    store, users = table_of_many
    names = [*users, *(f"no{user}" for user in users)][:count]
    asked = [*names, f"{users[0]}@siphub.net", "\udcff"]
    found = at_once(store.fetch([User(user, "siphub.net", "MD5") for user in asked]))
    for user in asked:
        expected = candidates((f"{users.index(user):032x}" if user in users else None,), "MD5")
        if "@" not in user:
            assert found[User(user, "siphub.net", "MD5")] == expected
    assert found[User(asked[-2], "siphub.net", "MD5")].known


def test_group_checks_of_a_fetch_are_one_statement(store):
    store.add_user("alice", "a.net", "secret")
    store.add_group("alice", "a.net", "staff")
    reader = SqliteStore(store.database)
    keys = [Member("alice", domain, group) for domain in ("", "A.net", "b.net") for group in ("staff", "vip")]
    found = at_once(reader.fetch(keys))
    asked = []
    store.database.connection.set_trace_callback(asked.append)
    assert at_once(reader.fetch(keys)) == found
    assert [key for key in keys if found[key]] == [
        Member("alice", "", "staff"),
        Member("alice", "A.net", "staff"),
    ]
    assert len([statement for statement in asked if "asked" in statement]) == 1


@pytest.fixture
def table_of_many(path):
    """An open store with 300 users, and their names; HA1 of each is its number."""
    Accounts.create(path).close()
    run_sql(
        path,
        "WITH RECURSIVE n(n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM n WHERE n < 299)"
        " INSERT INTO subscriber (username, domain, ha1) SELECT printf('u%03d', n), 'siphub.net',"
        " printf('%032x', n) FROM n",
    )
    with SqliteStore.open(path) as store:
        yield store, [f"u{number:03d}" for number in range(300)]


def test_what_was_told_of_an_old_state_is_told_anew_in_time(kamailio):
    """Where a scan takes long it is put off after a change; the version changes when it is due."""
    store = kamailio(("alice", "a.net", "", HA1, ""))
    assert canonical_realm(store, "a.net")
    store.spellings.pace.done(1e9)
    kamailio(("alice", "b.net", "", HA1, ""))
    seen = version(store)
    assert canonical_realm(store, "b.net") is None
    assert version(store) == seen
    store.spellings.pace.done(0.0)
    assert version(store) != seen
    assert canonical_realm(store, "b.net") == "b.net"
    seen = version(store)
    assert version(store) == seen


def test_a_new_spelling_of_a_domain_is_seen_when_the_data_version_is(kamailio):
    store = kamailio(("alice", "siphub.net", "", HA1, ""))
    assert ha1(store, "bob", "siphub.net") is None
    kamailio(("bob", "SIPHub.NET", "", HA1B, ""))
    version(store)
    assert ha1(store, "bob", "siphub.net") == HA1B


def test_a_domain_in_capital_letters_is_found_in_any_spelling(kamailio):
    store = kamailio(
        ("alice", "SIPHub.NET", "", HA1, ""),
        ("bob", "siphub.net", "", HA1B, ""),
    )
    for realm in ("siphub.net", "SIPHUB.NET", "SIPHub.NET"):
        assert ha1(store, "alice", realm) == HA1
        assert ha1(store, "bob", realm) == HA1B


def test_the_spelling_asked_for_wins_over_others(kamailio):
    store = kamailio(("alice", "SIPHub.NET", "", HA1, ""), ("alice", "siphub.net", "", HA1B, ""))
    assert ha1(store, "alice", "SIPHub.NET") == HA1
    assert ha1(store, "alice", "siphub.net") == HA1B
    assert ha1(store, "alice", "SIPHUB.NET") == HA1B


def test_a_database_without_groups_has_no_members(tmp_path):
    path = tmp_path / "plain.sqlite"
    run_sql(path, "CREATE TABLE subscriber (username TEXT, domain TEXT, password TEXT)")
    with SqliteStore.open(path) as store:
        assert is_member(store, "alice", "siphub.net", "staff") is False
        assert accounts_of(store).groups("alice", "siphub.net") == ()


def test_a_column_that_holds_no_text_is_as_if_it_were_empty(tmp_path):
    path = tmp_path / "plain.sqlite"
    run_sql(
        path,
        "CREATE TABLE subscriber (username, domain, ha1, password);"
        " INSERT INTO subscriber VALUES ('alice', 'siphub.net', 5, 'secret'), ('bob', 'siphub.net', NULL, 7)",
    )
    with SqliteStore.open(path) as store:
        assert ha1(store, "alice", "siphub.net") == HA1
        assert ha1(store, "bob", "siphub.net") is None
        assert algorithms(store, "alice", "siphub.net") == ("MD5", "SHA-256", "SHA-512-256")


def test_a_name_that_utf_8_cannot_encode_is_in_no_group_and_takes_no_other_along(store):
    store.add_user("alice", "a.net", "secret")
    store.add_group("alice", "a.net", "staff")
    keys = [Member("\udcff", "a.net", "staff"), Member("alice", "a.net", "staff"), Member("a", "", "\udcff")]
    found = at_once(SqliteStore(store.database).fetch(keys))
    assert [found[key] for key in keys] == [False, True, False]


# --- usernames with a domain ----------------------------------------------------------------------


def test_a_username_with_the_realm_gives_ha1b_first_and_then_ha1(store):
    store.add_user("alice", "siphub.net", "secret")
    assert ha1_candidates(store, "alice@siphub.net", "siphub.net") == (HA1B, HA1)
    assert ha1_candidates(store, "alice@SIPHub.net", "siphub.net") == (HA1B, HA1)
    assert ha1(store, "alice@siphub.net", "siphub.net") == HA1B
    assert ha1_candidates(store, "alice", "siphub.net") == (HA1,)


def test_a_username_with_another_domain_than_the_realm_is_nobody(store):
    store.add_user("alice", "siphub.net", "secret")
    assert ha1_candidates(store, "alice@other.net", "siphub.net") == ()
    assert ha1(store, "alice@other.net", "siphub.net") is None


def test_a_username_may_itself_hold_an_at_sign(store):
    store.add_user("alice@work", "siphub.net", "secret")
    own = compute_ha1("alice@work", "siphub.net", "secret")
    assert ha1_candidates(store, "alice@work", "siphub.net") == (own,)
    assert len(ha1_candidates(store, "alice@work@siphub.net", "siphub.net")) == 2


def test_without_ha1b_only_the_part_before_the_at_sign_is_left(kamailio):
    store = kamailio(("alice", "siphub.net", "", HA1, ""))
    assert ha1_candidates(store, "alice@siphub.net", "siphub.net") == (HA1,)


# --- realms ---------------------------------------------------------------------------------------


def test_a_realm_is_served_as_long_as_it_has_a_subscriber(store):
    assert served_realms(store) == frozenset()
    store.add_user("alice", "siphub.net", "secret")
    store.add_user("bob", "example.org", "secret")
    assert served_realms(store) == {"siphub.net", "example.org"}
    assert canonical_realm(store, "SIPHub.net")
    assert canonical_realm(store, "SIPHub.net") == "siphub.net"
    store.delete_user("alice", "siphub.net")
    assert not canonical_realm(store, "siphub.net")
    assert canonical_realm(store, "siphub.net") is None


def test_realms_are_found_with_and_without_an_index_on_the_domain(kamailio, path):
    reader = kamailio(*(("u", f"d{n}.net", "", HA1, "") for n in range(50)))
    with Accounts.create(path) as indexed:
        for number in range(50):
            indexed.add_user("u", f"d{number}.net", "secret")
        assert served_realms(indexed) == served_realms(reader)
        assert len(served_realms(indexed)) == 50


def test_a_long_scan_is_not_repeated_at_every_change(kamailio, monkeypatch):
    store = kamailio(("alice", "a.net", "", HA1, ""))
    monkeypatch.setattr(pace, "_SHORT", -1.0)
    monkeypatch.setattr(pace, "_SHARE", 1e9)
    assert canonical_realm(store, "a.net")
    kamailio(("alice", "b.net", "", HA1, ""))
    assert not canonical_realm(store, "b.net")
    assert ha1(store, "alice", "b.net") == HA1  # the lookup itself needs no scan


# --- groups ---------------------------------------------------------------------------------------


def test_an_empty_domain_is_any_domain(store):
    store.add_user("alice", "a.net", "secret")
    store.add_group("alice", "a.net", "staff")
    assert is_member(store, "alice", "", "staff")
    assert store.groups("alice", "") == ("staff",)
    assert not is_member(store, "alice", "b.net", "staff")
    assert not is_member(store, "bob", "", "staff")


def test_groups_in_kamailios_table_are_found_in_any_spelling(kamailio):
    store = kamailio(
        ("alice", "SIPHub.NET", "staff"),
        ("alice", "siphub.net", "guests"),
        table="grp (username, domain, grp)",
    )
    assert is_member(store, "alice", "siphub.net", "staff")
    assert is_member(store, "alice", "SIPHUB.net", "guests")
    assert accounts_of(store).groups("alice", "siphub.net") == ("guests", "staff")


# --- HA1 by SHA-2 ---------------------------------------------------------------------------------


def test_a_new_user_has_an_ha1_of_every_algorithm(store):
    store.add_user("alice", "siphub.net", "secret")
    assert ha1(store, "alice", "siphub.net", "SHA-256") == SHA_256
    assert ha1(store, "alice", "siphub.net", "SHA-512-256") == SHA_512
    assert ha1_candidates(store, "alice@siphub.net", "siphub.net", "SHA-256") == (SHA_256,)
    assert algorithms(store, "alice", "siphub.net") == ("MD5", "SHA-256", "SHA-512-256")
    assert algorithms(store, "alice@siphub.net", "siphub.net") == ("MD5", "SHA-256", "SHA-512-256")


def test_a_plain_password_serves_every_algorithm(kamailio):
    store = kamailio(("alice", "siphub.net", "secret", "", ""))
    assert ha1(store, "alice", "siphub.net", "SHA-256") == SHA_256
    assert algorithms(store, "alice", "siphub.net") == ("MD5", "SHA-256", "SHA-512-256")
    whole = compute_ha1("alice@siphub.net", "siphub.net", "secret", "SHA-512-256")
    assert ha1_candidates(store, "alice@siphub.net", "siphub.net", "SHA-512-256") == (whole, SHA_512)


def test_a_table_of_kamailio_has_md5_alone(kamailio):
    store = kamailio(("alice", "siphub.net", "", HA1, HA1B))
    assert algorithms(store, "alice", "siphub.net") == ("MD5",)
    assert ha1_candidates(store, "alice", "siphub.net", "SHA-256") == ()


def test_a_table_of_opensips_is_used_as_it_is(path):
    run_sql(path, OPENSIPS)
    run_sql(
        path,
        "INSERT INTO subscriber (username, domain, ha1, ha1_sha256, ha1_sha512t256)"
        f" VALUES ('alice', 'siphub.net', '{HA1}', '{SHA_256}', '{SHA_512.upper()}')",
    )
    with SqliteStore.open(path) as store:
        assert ha1(store, "alice", "siphub.net") == HA1
        assert ha1(store, "alice", "siphub.net", "SHA-256") == SHA_256
        assert ha1(store, "alice", "siphub.net", "SHA-512-256") == SHA_512
    with Accounts.open(path, writable=True) as store:
        store.add_user("bob", "siphub.net", "builder")
        assert algorithms(store, "bob", "siphub.net") == ("MD5", "SHA-256", "SHA-512-256")


@pytest.mark.parametrize("stored", ["0" * 32, "0" * 63, "g" * 64])
def test_an_ha1_of_another_length_is_none(path, stored, caplog):
    run_sql(path, OPENSIPS)
    run_sql(
        path,
        "INSERT INTO subscriber (username, domain, ha1, ha1_sha256)"
        f" VALUES ('alice', 'siphub.net', '{HA1}', '{stored}')",
    )
    with SqliteStore.open(path) as store:
        assert ha1(store, "alice", "siphub.net", "SHA-256") is None
    assert "ha1_sha256 of user 'alice' in realm 'siphub.net' is not 64 hex digits" in caplog.text
    assert stored not in caplog.text
