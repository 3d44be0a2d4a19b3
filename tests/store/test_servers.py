"""What only database servers have: plans, connections, and statements for a turn."""

from __future__ import annotations

import asyncio
import json
import re
import time
from types import SimpleNamespace

import pytest
from kit.stores import DOMAIN
from kit.tables import HA1

from auth_diameter import ConfigError
from auth_diameter._core import user_hash
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.dialect import UnusableError
from auth_diameter.store.hashes import compute_ha1
from auth_diameter.store.lookups import AskedUser
from auth_diameter.store.mysql_lookups import MySql
from auth_diameter.store.opening import open_store
from auth_diameter.store.postgresql_lookups import PostgreSql
from auth_diameter.store.store import HashedUser, Member, StoreBusyError, StoreError, User
from auth_diameter.store.url import database_name

PATIENCE = 30


# --- the same work for known and unknown users ------------------------------------------------------------


def names_of(shape):
    return [shape.format(number) for number in range(0, 2000, 20)]


async def look_up(dialect, url, names):
    """The number of rows for these users, and what the server counts of its work."""
    connection = await dialect.connect(database_name(url), 5.0)
    try:
        tables = await dialect.tables(connection, StoreConfig())
        await dialect.sample(connection, tables)
        users = [AskedUser(0, name, DOMAIN) for name in names]
        rows, _ = await dialect.look_up(connection, tables, users, [])
        if isinstance(dialect, PostgreSql):
            statement = (
                "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON, COSTS OFF, TIMING OFF) " + tables.statements["users"]
            )
            arguments = "\n".join(names), "\n".join([DOMAIN] * len(names))
            plan = json.loads(await connection.fetchval(statement, *arguments))[0]["Plan"]
            return rows, plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        cursor = connection.cursor()

        async def reads():
            await cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
            return {name: int(count) for name, count in await cursor.fetchall()}

        before = await reads()
        await dialect.look_up(connection, tables, users, [])
        after = await reads()
        return rows, sum(after.values()) - sum(before.values())
    finally:
        dialect.discard(connection)


def test_known_and_unknown_users_cost_the_same(database):
    """Rows to the client, and reads in the server: pages of PostgreSQL, rows of MariaDB."""
    rows = ", ".join(f"('u{number:04d}', '{DOMAIN}', '{HA1}')" for number in range(0, 4000, 2))
    database.run(f"INSERT INTO subscriber (username, domain, ha1) VALUES {rows}")
    dialect = PostgreSql() if database.kind == "PostgreSQL" else MySql()
    known, reads_known = asyncio.run(look_up(dialect, database.url, names_of("u{:04d}")))
    unknown, reads_unknown = asyncio.run(
        look_up(dialect, database.url, [f"{name}x" for name in names_of("u{:04d}")])
    )
    assert {row[1] for row in known} == {True}
    assert {row[1] for row in unknown} == {False}
    assert len(known) == len(unknown) == 100
    assert abs(reads_known - reads_unknown) <= reads_known * 0.02


# --- statements ---------------------------------------------------------------------------------------


def test_what_a_turn_lacks_is_one_statement(database):
    """Users, users with a domain, and groups; and no other statement before or after it."""
    database.add("alice")
    database.insert("grp", username="alice", domain=DOMAIN, grp="staff")
    keys = [User("alice", DOMAIN, "MD5"), User(f"bob@{DOMAIN}", DOMAIN, "MD5"), Member("alice", "", "staff")]

    async def work(store):
        await store.fetch(keys)
        statements = []
        dialect = store._dialect
        real = dialect.look_up

        async def counted(*arguments):
            statements.append(arguments)
            return await real(*arguments)

        dialect.look_up = counted
        await store.fetch(keys)
        return len(statements)

    assert database.with_store(work) == 1


def test_while_all_connections_are_busy_further_turns_are_gathered(database):
    database.add_all({f"u{number}": "secret" for number in range(50)})

    async def work(store):
        sizes = []
        dialect = store._dialect
        real = dialect.look_up

        async def counted(connection, tables, users, members):
            sizes.append(len(users))
            return await real(connection, tables, users, members)

        dialect.look_up = counted
        keys = [User(f"u{number}", DOMAIN, "MD5") for number in range(50)]
        found = await asyncio.gather(*(store.fetch([key]) for key in keys))
        assert all(value[key].known for key, value in zip(keys, found, strict=True))
        return sizes

    sizes = database.with_store(work)
    assert sum(sizes) == 50
    assert len(sizes) <= 8


def hold(store):
    """Makes each statement wait for a release; returns the semaphore, and the sizes of the statements."""
    go, sizes = asyncio.Semaphore(0), []
    dialect = store._dialect
    real = dialect.look_up

    async def held(connection, tables, users, members):
        sizes.append(len(users))
        await go.acquire()
        return await real(connection, tables, users, members)

    dialect.look_up = held
    return go, sizes


def test_lookups_that_wait_for_a_slow_database_for_too_long_are_given_up(database, caplog, monkeypatch):
    """It is not asked for what nobody waits for any more, and others get their values."""
    later = 0.0
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + later, thread_time=time.thread_time)
    monkeypatch.setattr("auth_diameter.store.server.time", clock)
    keys = [User(f"u{number}", DOMAIN, "MD5") for number in range(100)]
    database.add("u0")
    database.add("u99")

    async def work(store):
        nonlocal later
        go, sizes = hold(store)

        def ask(some):
            return [asyncio.ensure_future(store.fetch([key])) for key in some]

        asked, late = ask(keys[:4]), ask(keys[4:99])
        while len(sizes) < 4:
            await asyncio.sleep(0.01)
        later = 16.0  # what these take; for those that wait, less than that is left
        in_time = ask(keys[99:])
        await asyncio.sleep(0)
        for _ in keys:
            go.release()
        return (
            await asyncio.gather(*asked, *in_time),
            await asyncio.gather(*late, return_exceptions=True),
            sizes,
        )

    found, given_up, sizes = database.with_store(work, db_timeout=30.0)
    assert [value.known for values in found for value in values.values()] == [True, False, False, False, True]
    assert {type(error) for error in given_up} == {StoreBusyError}
    assert sum(sizes) == 5
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        "is too slow for all lookups; some are given up"
    ]
    assert "correct" not in caplog.text


def test_a_lookup_has_one_time_limit_for_its_waiting_and_its_statement(database):
    async def work(store):
        go, sizes = hold(store)
        first = [store.fetch([User(f"u{number}", DOMAIN, "MD5")]) for number in range(4)]
        waits = store.fetch([User("u4", DOMAIN, "MD5")])
        tasks = [asyncio.ensure_future(fetch) for fetch in (*first, waits)]
        while len(sizes) < 4:
            await asyncio.sleep(0.01)
        for _ in range(4):  # and no more: its own statement would have a second of its own
            go.release()
        return await asyncio.gather(tasks[4], return_exceptions=True)

    (error,) = database.with_store(work, db_timeout=1.0)
    assert type(error) is StoreBusyError


def test_a_statement_has_some_hundred_users_at_most(database):
    """One that has all who wait for a slow database would be slow itself."""

    async def work(store):
        go, sizes = hold(store)
        tasks = [
            asyncio.ensure_future(
                store.fetch([User(f"u{part}-{number}", DOMAIN, "MD5") for number in range(100)])
            )
            for part in range(9)
        ]
        while len(sizes) < 4:
            await asyncio.sleep(0.01)
        for _ in tasks:
            go.release()
        await asyncio.gather(*tasks)
        return sizes

    sizes = database.with_store(work, db_timeout=30.0)
    assert (sizes[:4], sorted(sizes[4:])) == ([100] * 4, [100, 200, 200])


def test_a_statement_that_fails_is_told_to_all_who_wait_for_it(database):
    async def work(store):
        go, sizes = hold(store)
        tasks = [asyncio.ensure_future(store.fetch([User(f"u{n}", DOMAIN, "MD5")])) for n in range(7)]
        while len(sizes) < 4:
            await asyncio.sleep(0.01)

        async def fails(*arguments):
            raise UnusableError("is gone")

        store._dialect.look_up = fails
        for _ in range(4):
            go.release()
        return await asyncio.gather(*tasks, return_exceptions=True)

    errors = database.with_store(work, db_timeout=30.0)[4:]
    assert [(type(error), str(error).partition(": ")[2]) for error in errors] == [(StoreError, "is gone")] * 3
    assert len(set(map(id, errors))) == 3, "one that is raised in several tasks keeps all their frames"


def test_hashed_usernames_outlast_a_survey(database):
    """They are read again at a pace of their own."""
    database.add("alice")
    alice = HashedUser(user_hash("alice", DOMAIN, "MD5"), DOMAIN, "MD5")

    async def work(store):
        await store.fetch([alice])
        await store._make_survey()
        return (await store.fetch([alice]))[alice].username

    assert database.with_store(work) == "alice"


# --- what cannot be used ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda url: url.replace("correct%20horse", "wrong"),
            "the password is wrong or missing, or there is no such user",
        ),
        (lambda url: re.sub(r"/kamailio\d+", "/nothing", url), "database"),
        (lambda url: re.sub(r":\d+/", ":1/", url), "nothing listens there"),
        (lambda url: url.replace("127.0.0.1", "no.such.host.invalid"), ""),
        (lambda url: url + "?no_such_option=1", ""),
    ],
    ids=["password", "database", "port", "host", "option"],
)
def test_a_server_that_cannot_be_used_is_said_in_one_line(database, change, words):
    async def work():
        await open_store(database_name(change(database.url)), StoreConfig())

    with pytest.raises(ConfigError) as error:
        asyncio.run(work())
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert "horse" not in str(error.value)
    assert "wrong@" not in str(error.value)


def test_a_database_of_another_encoding_is_refused(postgresql):
    """A name that its encoding has not would fail the statement for all users in it."""
    postgresql.server.run(
        "CREATE DATABASE latin1 ENCODING LATIN1 TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    )

    async def work():
        await open_store(database_name(postgresql.server.url("latin1")), StoreConfig())

    try:
        with pytest.raises(ConfigError, match="its encoding is LATIN1; createdb --encoding UTF8"):
            asyncio.run(work())
    finally:
        postgresql.server.run("DROP DATABASE latin1")


def test_tables_of_another_character_set_are_read_by_their_index(mariadb):
    """kamdbctl makes them with latin1. Compared in another one, each lookup would read the whole table."""
    mariadb.run("ALTER TABLE subscriber CONVERT TO CHARACTER SET latin1")
    rows = ", ".join(f"('u{number:04d}', '{DOMAIN}', '{HA1}')" for number in range(2000))
    mariadb.run(f"INSERT INTO subscriber (username, domain, ha1) VALUES {rows}")
    mariadb.add("müller")
    found, reads = asyncio.run(
        look_up(MySql(), mariadb.url, ["u0001", "müller", "muller", "\U0001f600", "u0002"])
    )
    assert [row[1] for row in sorted(found)] == [True, True, False, False, True]
    assert reads < 100


NULLABLE = {
    "PostgreSQL": "ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL",
    "MariaDB": "ALTER TABLE {} MODIFY {} VARCHAR(64) NULL DEFAULT ''",
}


def test_null_in_place_of_a_name_is_nobodys_name(database):
    """Kamailio's own tables allow none, but tables of one's own may."""
    for table, column in (("subscriber", "domain"), ("subscriber", "username"), ("grp", "domain")):
        database.run(NULLABLE[database.kind].format(table, column))
    strangers = ", ".join(f"('x{number}', NULL, '{HA1}')" for number in range(20))
    database.run(f"INSERT INTO subscriber (username, domain, ha1) VALUES {strangers}")
    database.insert("subscriber", username=None, domain=DOMAIN, ha1=HA1)
    database.add("alice")
    database.insert("grp", username="alice", domain=None, grp="staff")
    hashed = HashedUser(user_hash("alice", DOMAIN, "SHA-256"), DOMAIN, "SHA-256")
    keys = [
        User("nobody", DOMAIN, "MD5"),
        User("alice", DOMAIN, "MD5"),
        Member("alice", DOMAIN, "staff"),
        Member("alice", "", "staff"),
        hashed,
    ]
    nobody, alice, inside, anywhere, found = database.fetch(*keys)
    assert (nobody.known, alice.known, inside, anywhere) == (False, True, False, True)
    assert (found.username, found.matches) == ("alice", True)


def test_names_that_a_collation_takes_for_one_are_several_users(mariadb):
    """Where no unique index forbids it, each has a row; the first that is found may be another's."""
    mariadb.run("ALTER TABLE subscriber DROP INDEX account_idx, ADD INDEX account_idx (username, domain)")
    names = ("carol", "Carol", "CAROL")
    for name in names:
        mariadb.add(name, f"of {name}")
    found = mariadb.fetch(*(User(name, DOMAIN, "MD5") for name in names))
    assert [value.ha1s for value in found] == [compute_ha1(name, DOMAIN, f"of {name}") for name in names]


def test_a_column_of_bytes_is_refused(mariadb):
    """As in a database whose character set is binary: its names would be equal to none."""
    mariadb.run("ALTER TABLE subscriber MODIFY username VARBINARY(64) NOT NULL")
    with pytest.raises(ConfigError, match="column 'username' of table 'subscriber' has no character set"):
        mariadb.fetch(User("alice", DOMAIN, "MD5"))


def test_a_name_that_the_character_set_does_not_have_is_no_line_in_the_log(mariadb, caplog):
    """The sender of a request chooses it."""
    mariadb.run("ALTER TABLE subscriber CONVERT TO CHARACTER SET latin1")
    mariadb.add("alice")
    emoji, alice = mariadb.fetch(User("\U0001f600", DOMAIN, "MD5"), User("alice", DOMAIN, "MD5"))
    assert (emoji.known, alice.known) == (False, True)
    assert caplog.text == ""


def test_a_server_that_hangs_is_noticed_at_once_before_all_usernames_are_read(database):
    """To read them may take a minute, RFC 7616, 3.4.4."""
    database.add("alice")

    async def work(store):
        async def hangs(connection, tables):
            await asyncio.sleep(PATIENCE)

        store._dialect.state = hangs
        hashed = HashedUser(user_hash("alice", DOMAIN, "SHA-256"), DOMAIN, "SHA-256")
        async with asyncio.timeout(PATIENCE / 2):
            return await asyncio.gather(store.fetch([hashed]), return_exceptions=True)

    (error,) = database.with_store(work, db_timeout=0.5)
    assert isinstance(error, StoreError)


def test_our_connections_can_change_nothing(postgresql):
    async def work(store):
        async def write(connection):
            await connection.execute("DELETE FROM subscriber")

        with pytest.raises(StoreError, match="cannot be written to"):
            await store._connections.run(write)

    postgresql.with_store(work)
