"""Imports into every kind of database: all or nothing, --sync, --dry-run, and from another store."""

from __future__ import annotations

import contextlib
import io

import pytest
from kit.accounts import add_sha_2, imported, using
from kit.stores import DOMAIN, KINDS, fresh
from kit.tables import HA1, HA1B, SHA_256, SHA_512

from auth_diameter import ConfigError
from auth_diameter.store import storeimport
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.csvimport import import_csv
from auth_diameter.store.engines import run
from auth_diameter.store.hashes import Hashes, compute_ha1
from auth_diameter.store.importing import BadRowsError, Imported, Options, import_users
from auth_diameter.store.staging import NEW, Staged, Staging
from auth_diameter.store.store import Member, User
from auth_diameter.store.storeimport import StoreSource
from auth_diameter.store.url import database_name

SERVERS = KINDS[1:]
USERS = "SELECT username, domain FROM subscriber ORDER BY domain, username"


@pytest.fixture(params=KINDS)
def database(request):
    with fresh(request.param) as found:
        add_sha_2(found)
        yield found


@pytest.fixture(params=SERVERS)
def server(request):
    with fresh(request.param) as found:
        add_sha_2(found)
        yield found


def many(count, password="p"):
    rows = "".join(f"u{n:04},d{n % 3}.net,{password}{n},staff;g{n % 2}\n" for n in range(count))
    return f"username,domain,password,groups\n{rows}"


def names(database):
    return [f"{username}@{domain}" for username, domain in database.select(USERS)]


def problems(database, content, **options):
    with pytest.raises(BadRowsError) as error:
        imported(database, content, **options)
    assert "secret" not in str(error.value.problems)
    return error.value.problems


def test_users_of_several_batches_with_their_groups(database):
    content = many(250)
    small = Options(batch=100)
    assert imported(database, content, how=small) == Imported(250, 0, 0, 500)
    assert imported(database, content, how=small) == Imported(0, 0, 250, 0)
    wanted = (
        User("u0249", "d0.net", "SHA-256"),
        Member("u0249", "d0.net", "g1"),
        Member("u0249", "d0.net", "g0"),
    )
    ha1 = compute_ha1("u0249", "d0.net", "p249", "SHA-256")
    user, *members = database.fetch(*wanted)
    assert (user.ha1s, members) == (ha1, [True, False])
    assert imported(database, many(250, "q"), how=Options(replace=True, batch=100)) == Imported(0, 250, 0, 0)
    (user,) = database.fetch(wanted[0])
    assert user.ha1s == compute_ha1("u0249", "d0.net", "q249", "SHA-256")
    assert database.select("SELECT count(*) FROM subscriber WHERE password <> ''") == [("0",)]


def test_an_existing_user_is_refused_by_line_and_nothing_is_imported(database):
    database.add("u0001", "theirs", "d1.net")
    assert problems(database, many(3)) == (
        "users.csv, line 3: column username: user u0001@d1.net exists already with another password",
    )
    assert names(database) == ["u0001@d1.net"]


def test_existing_users_keep_their_row(database):
    """Its domain as it is spelled, and what other programs keep in it."""
    database.run("ALTER TABLE subscriber ADD COLUMN email_address VARCHAR(64) DEFAULT 'x' NOT NULL")
    database.insert("subscriber", username="alice", domain="SIPHub.net", password="old", email_address="a@b")
    database.insert("grp", username="alice", domain="siphub.NET", grp="staff")
    content = "username,domain,password,groups\nalice,siphub.net,secret,staff;vip\n"
    assert imported(database, content, how=Options(replace=True)) == Imported(0, 1, 0, 1)
    assert database.select("SELECT username, domain, password, email_address, ha1 FROM subscriber") == [
        ("alice", "SIPHub.net", "", "a@b", compute_ha1("alice", "SIPHub.net", "secret"))
    ]
    assert sorted(database.select("SELECT domain, grp FROM grp")) == [
        ("SIPHub.net", "vip"),
        ("siphub.NET", "staff"),
    ]


@pytest.mark.parametrize("kind", ["SQLite", "PostgreSQL"])
def test_of_two_rows_of_one_user_the_one_that_counts_is_replaced(kind):
    """That in the canonical spelling of the realm. MariaDB's unique index has both for one."""
    with fresh(kind) as database:
        for domain in ("siphub.net", "SIPHub.net", "zIPHub.net"):
            database.add("alice", "old", domain)
        database.add("alice", "old", "ZIPHub.net")
        content = "username,domain,password\nalice,SIPHUB.net,secret\n"
        assert imported(database, content, how=Options(replace=True)).replaced == 1
        changed = "SELECT domain FROM subscriber WHERE ha1 = '{}'"
        assert database.select(changed.format(HA1)) == [("siphub.net",)]
        (found,) = database.fetch(User("alice", DOMAIN, "MD5"))
        assert found.ha1s == HA1


def test_a_row_is_replaced_whatever_the_columns_of_its_key(server):
    """MariaDB replaces many rows by their primary key, or one by one without one."""
    server.run("ALTER TABLE subscriber DROP COLUMN id")
    imported(server, many(5))
    server.run(
        "CREATE TABLE keyed (username VARCHAR(64), domain VARCHAR(64), ha1 VARCHAR(64),"
        " PRIMARY KEY (username, domain))"
    )
    for table in ("subscriber", "keyed"):
        imported(server, many(5), how=Options(replace=True), table=table)
        assert imported(server, many(5, "q"), how=Options(replace=True), table=table).replaced == 5
        found = server.select(f"SELECT ha1 FROM {table} WHERE username = 'u0003'")
        assert found == [(compute_ha1("u0003", "d0.net", "q3"),)]


def test_hostile_names(database):
    hostile = ["' OR 1=1 --", "%s", "$1", "a\\", "a\\'b", "$[0]", "_", "é", "😀", "NULL", "{", "a`b"]
    rows = "".join(f'"{name}",{DOMAIN},secret,"{name}"\n' for name in hostile)
    content = f"username,domain,password,groups\n{rows}"
    assert imported(database, content) == Imported(len(hostile), 0, 0, len(hostile))
    assert imported(database, content) == Imported(0, 0, len(hostile), 0)

    def look(accounts):
        return {user.username: accounts.groups(user.username, DOMAIN) for user in accounts.users()}

    assert using(database, look, writable=False) == {name: (name,) for name in hostile}
    assert imported(database, content.replace("secret", "other"), how=Options(replace=True)).replaced == len(
        hostile
    )


def test_a_name_that_the_collation_takes_for_another_is_told_by_line(database):
    database.add("u0001", domain="d1.net")
    content = "username,domain,password\nbob,d1.net,x\nU0001,d1.net,x\n"
    if database.kind != "MariaDB":
        assert imported(database, content).added == 2
        return
    assert problems(database, content, how=Options(replace=True)) == (
        "users.csv, line 3: column username: to the collation of table 'subscriber', U0001@d1.net is the same"
        " user as u0001@d1.net",
    )
    with pytest.raises(ConfigError, match=r"a row that is there already \(nothing is imported\)"):
        imported(database, "username,domain,password\nzoe,d1.net,x\nZoe,d1.net,x\n")
    assert names(database) == ["u0001@d1.net"]


def test_passwords_are_stored_where_ha1_is_calculated(database):
    content = "username,domain,password\nalice,siphub.net,secret\n"
    assert imported(database, content, calculate_ha1=True).added == 1
    assert database.select("SELECT password, ha1, ha1b, ha1_sha256, ha1_sha512t256 FROM subscriber") == [
        ("secret", HA1, HA1B, SHA_256, SHA_512)
    ]
    found = problems(database, f"username,domain,ha1\nbob,siphub.net,{HA1}\n", calculate_ha1=True)
    assert found == (
        "users.csv, line 2: column password: is missing, and with --calculate-ha1 a hash does not count",
    )


def test_no_password_is_in_the_temporary_tables():
    """They are on disk; what is there is masked with a key that is not."""
    user = Staged(1, "alice", DOMAIN, DOMAIN, Hashes(HA1), "secret", "", NEW)
    with Staging() as staging:
        staging.add([user, user._replace(number=2, username="bob")])
        staging.repeats(1)
        stored = [row[0] for row in staging._connection.execute("SELECT password FROM incoming")]
        assert b"secret" not in stored
        assert len(set(stored)) == 2
        assert [each.password for batch in staging.batches(1) for each in batch] == ["secret", "secret"]


def test_users_without_domains(database):
    database.run("CREATE TABLE phones (username VARCHAR(64), ha1 VARCHAR(64))")
    config = {"table": "phones", "domain": False}
    content = "username,domain,password,groups\n100,siphub.net,x,staff\n101,SIPHub.net,x,\n"
    assert imported(database, content, **config) == Imported(2, 0, 0, 1)
    assert imported(database, content, **config) == Imported(0, 0, 2, 0)
    assert database.select("SELECT * FROM phones ORDER BY 1") == [
        (name, compute_ha1(name, DOMAIN, "x")) for name in ("100", "101")
    ]
    assert imported(database, f"username,ha1\n100,{HA1}\n", how=Options(replace=True), **config).replaced == 1
    assert problems(database, "username,password\n102,secret\n", **config) == (
        "users.csv, line 2: column domain: is empty, and HA1 is of a realm",
    )
    found = problems(
        database, "username,domain,password\n100,a.net,x\n100,b.net,x\n", how=Options(replace=True), **config
    )
    assert found == ("users.csv, line 3: column username: user 100 is in line 2 already",)


# --- all or nothing ---------------------------------------------------------------------------------------


def test_a_user_who_appears_between_the_passes_stops_the_import(server):
    def add(stage, done, total):
        if stage == "write" and done == 100:
            server.add("u0299", "theirs", "d2.net")

    with pytest.raises(ConfigError, match=r"a row that is there already \(nothing is imported\)"):
        imported(server, many(300), how=Options(batch=100, progress=add))
    assert names(server) == ["u0299@d2.net"]
    assert server.select("SELECT count(*) FROM grp") == [("0",)]


def test_a_user_who_is_deleted_between_the_passes_stays_so(database):
    database.add("u0001", domain="d1.net")

    def delete(stage, done, total):
        if stage == "check" and database.kind != "SQLite":
            database.run("DELETE FROM subscriber")

    done = imported(database, many(3), how=Options(replace=True, progress=delete))
    assert done.replaced == 1
    assert len(names(database)) == (3 if database.kind == "SQLite" else 2)


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_that_is_stopped_meanwhile_has_nothing_of_it(kind):
    with fresh(kind) as database:
        program = database.server

        def stop(stage, done, total):
            if stage == "write" and done == 200:
                program.end()

        try:
            with pytest.raises(ConfigError, match=r"\(nothing is imported\)") as error:
                imported(database, many(300), how=Options(batch=100, progress=stop))
            assert str(error.value).startswith(f"{database_name(database.url)}: ")
            assert "\n" not in str(error.value)
        finally:
            program.start()
        assert names(database) == []
        assert imported(database, many(300)).added == 300


def test_an_import_that_is_interrupted_has_nothing_of_it(server):
    def interrupt(stage, done, total):
        if stage == "write":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        imported(server, many(300), how=Options(batch=100, progress=interrupt))
    assert names(server) == []


# --- --sync -----------------------------------------------------------------------------------------------


def test_sync_deletes_who_is_no_longer_in_the_file(database):
    imported(database, many(250))
    database.add("U0001", domain="other.net")
    asked = []

    def confirm(deleted, total):
        asked.append((deleted, total))
        return True

    half = many(250, "q").splitlines(keepends=True)
    content = half[0] + "".join(half[1::2])
    done = imported(database, content, how=Options(sync=True, batch=100, confirm=confirm))
    assert done == Imported(0, 125, 0, 0, deleted=126)
    assert asked == [(126, 125)]
    assert sorted(names(database)) == sorted(f"u{n:04}@d{n % 3}.net" for n in range(0, 250, 2))
    assert database.select("SELECT count(*) FROM grp") == [("250",)]


def test_sync_asks_before_it_changes_anything(database):
    imported(database, many(3))
    with pytest.raises(ConfigError, match=r"users\.csv: nothing was imported"):
        imported(database, many(2, "q"), how=Options(sync=True, confirm=lambda deleted, total: False))
    assert imported(database, many(3)).unchanged == 3


def test_sync_with_a_file_without_users_deletes_nobody(database):
    """As an export writes it that has failed."""
    imported(database, many(3))
    with pytest.raises(ConfigError, match="has no users, and --sync would delete all"):
        imported(database, "username,domain,password\n", how=Options(sync=True))
    assert len(names(database)) == 3


def test_sync_takes_another_spelling_of_the_domain_for_the_same_user(database):
    for domain in ("siphub.net", "SIPHub.NET"):
        if database.kind != "MariaDB" or domain == DOMAIN:  # its unique index has both for one
            database.add("alice", domain=domain)
    content = "username,domain,password\nalice,SIPHUB.net,secret\n"
    assert imported(database, content, how=Options(sync=True)).deleted == 0


def test_sync_deletes_nobody_else_with_a_user(database):
    """MariaDB's collation takes ``U1`` for ``u1``."""
    if database.kind == "MariaDB":
        database.run(
            "ALTER TABLE subscriber DROP INDEX account_idx; ALTER TABLE grp DROP INDEX account_group_idx"
        )
    for name in ("u1", "U1"):
        database.add(name)
        database.insert("grp", username=name, domain=DOMAIN, grp="staff")
    content = f"username,domain,ha1\nU1,{DOMAIN},{compute_ha1('U1', DOMAIN, 'secret')}\n"
    assert imported(database, content, how=Options(sync=True)).deleted == 1
    assert names(database) == [f"U1@{DOMAIN}"]
    assert database.select("SELECT username FROM grp") == [("U1",)]


# --- --dry-run --------------------------------------------------------------------------------------------


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(database):
    imported(database, many(4))
    before = database.select("SELECT * FROM subscriber ORDER BY username")
    content = many(3, "q") + "bob,d1.net,x,staff\n"
    how = Options(sync=True, dry_run=True, confirm=lambda deleted, total: pytest.fail("it asked"))
    done = imported(database, content, how=how, writable=False)
    assert done == Imported(added=1, replaced=3, unchanged=0, memberships=1, deleted=1)
    assert database.select("SELECT * FROM subscriber ORDER BY username") == before
    assert database.select("SELECT count(*) FROM grp") == [("8",)]
    assert "exists already" in problems(database, content, how=Options(dry_run=True), writable=False)[0]


# --- from another store -----------------------------------------------------------------------------------


def copied(source, target, how=None, **config):
    """The result of an import from one database into the other."""
    one, other = database_name(source.url), database_name(target.url)

    def work():
        with Accounts.open(one) as rows, Accounts.open(other, writable=True) as accounts:
            return import_users(accounts, StoreSource(rows), how or Options())

    return run(work, one, other)


@pytest.fixture(params=KINDS)
def source(request):
    with fresh(request.param) as found:
        yield found


@pytest.mark.parametrize("into", KINDS)
def test_users_and_groups_of_another_store(source, into, monkeypatch):
    monkeypatch.setattr(storeimport, "BATCH", 2)
    hashed = compute_ha1("bob", "Realm.net", "x")
    source.insert("subscriber", username="alice", domain=DOMAIN, password="secret", ha1=HA1)
    source.insert("subscriber", username="bob", domain="Realm.net", ha1=hashed)
    source.insert("subscriber", username="carol", domain=DOMAIN, password="plain")
    source.insert(
        "subscriber", username="dave", domain=DOMAIN, password="new", ha1=compute_ha1("dave", DOMAIN, "old")
    )
    for username in ("alice", "bob"):
        source.insert("grp", username=username, domain="siphub.NET", grp=f"of {username}")
    with fresh(into) as target:
        add_sha_2(target)
        assert copied(source, target) == Imported(4, 0, 0, 1)
        assert copied(source, target) == Imported(0, 0, 4, 0)
        found = target.select("SELECT username, domain, password, ha1, ha1_sha256 FROM subscriber ORDER BY 1")
        assert found == [
            (
                "alice",
                DOMAIN,
                "",
                HA1,
                SHA_256,
            ),  # the password is known, so there is more than the source has
            ("bob", "Realm.net", "", hashed, ""),
            ("carol", DOMAIN, "", *(compute_ha1("carol", DOMAIN, "plain", a) for a in ("MD5", "SHA-256"))),
            ("dave", DOMAIN, "", compute_ha1("dave", DOMAIN, "old"), ""),  # what counts in the source
        ]
        assert target.select("SELECT username, grp FROM grp") == [("alice", "of alice")]


def test_users_of_one_name_in_another_store_keep_each_their_own_groups(source):
    """A group of the one must not become a right of the other."""
    for domain, group in (("a.net", "staff"), ("b.net", "guests")):
        source.add("100", domain=domain)
        source.insert("grp", username="100", domain=domain, grp=group)
    with fresh("SQLite") as target:
        assert copied(source, target) == Imported(2, 0, 0, 2)
        assert target.select("SELECT username, domain, grp FROM grp ORDER BY domain") == [
            ("100", "a.net", "staff"),
            ("100", "b.net", "guests"),
        ]


def test_the_password_counts_if_it_agrees_with_a_hash_in_capitals(source):
    source.insert("subscriber", username="alice", domain=DOMAIN, password="secret", ha1=HA1.upper())
    with fresh("SQLite") as target:
        add_sha_2(target)
        copied(source, target)
        assert target.select("SELECT ha1, ha1_sha256 FROM subscriber") == [(HA1, SHA_256)]


def test_a_row_of_another_store_that_cannot_be_imported_is_named(source):
    source.insert("subscriber", username="nobody", domain=DOMAIN)
    with fresh("SQLite") as target, pytest.raises(BadRowsError) as error:
        copied(source, target)
    assert error.value.problems == (
        f"{database_name(source.url)}, row 1: user nobody@siphub.net: column password: is empty, and so is"
        " ha1",
    )


def test_a_source_is_only_read(server):
    server.add("alice")
    with fresh("SQLite") as target:
        assert copied(server, target).added == 1
    with contextlib.suppress(ConfigError):
        using(server, lambda accounts: import_csv(accounts, io.BytesIO(b""), name="x"), writable=False)
    assert names(server) == ["alice@siphub.net"]
