"""`db upgrade`: what a database lacks, and that only the operator's word adds it."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from kit.accounts import SHA_2, using
from kit.lookups import algorithms, ha1, version
from kit.stores import DOMAIN, KINDS, fresh
from kit.tables import HA1, HA1B, KAMAILIO, SHA_256, SHA_512, run_sql, select

from auth_diameter import ConfigError
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.engines import open_session, run
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.store.upgrade import apply, plan
from auth_diameter.store.url import database_name

ADDED = [f"add column {column} to table subscriber" for column in SHA_2]
NOTIFIED = [f"notify DISC of changes of table {table}" for table in ("subscriber", "grp")]


@pytest.fixture(params=KINDS)
def database(request):
    with fresh(request.param) as found:
        owned(found)
        yield found


@pytest.fixture
def postgresql():
    with fresh("PostgreSQL") as found:
        owned(found)
        yield found


def owned(database):
    """Our user owns the tables; those of the tests are the administrator's."""
    if database.kind == "PostgreSQL":
        for table in ("subscriber", "grp", "version"):
            database.run(f"ALTER TABLE {table} OWNER TO ours")


def planned(database, **options):
    """What is to be done, found out by who may only read."""
    name, config = database_name(database.url), StoreConfig(**options.pop("config", {}))

    def work():
        with open_session(name, config, writable=False) as session:
            return plan(session, config, **options)

    return run(work, name)


def upgrade(database, **options):
    steps = planned(database, **options)
    name = database_name(database.url)

    def work():
        with open_session(name, StoreConfig(), writable=True, tables=False) as session:
            apply(session, steps)

    run(work, name)
    return [step.what for step in steps]


def expected(database):
    return ADDED + (NOTIFIED if database.kind == "PostgreSQL" else [])


def columns(database, table="subscriber"):
    if database.kind == "SQLite":
        return [name for (name,) in database.select(f"SELECT name FROM pragma_table_info('{table}')")]
    schema = "public" if database.kind == "PostgreSQL" else database.name
    return [
        name
        for (name,) in database.select(
            f"SELECT column_name FROM information_schema.columns WHERE table_name = '{table}'"
            f" AND table_schema = '{schema}' ORDER BY ordinal_position"
        )
    ]


def test_kamailios_tables_get_what_they_lack_and_keep_what_they_have(database):
    database.add("alice")
    before = database.select("SELECT id, username, domain, password, ha1, ha1b FROM subscriber")
    had = columns(database)
    assert upgrade(database) == expected(database)
    assert columns(database) == [*had, *SHA_2]
    assert database.select("SELECT id, username, domain, password, ha1, ha1b FROM subscriber") == before
    assert planned(database) == []


def test_nothing_is_altered_before(database):
    """Neither by who looks what is to be done, nor by who adds a user."""
    had = columns(database)
    assert [step.what for step in planned(database)] == expected(database)
    using(database, lambda accounts: accounts.add_user("alice", DOMAIN, "secret"))
    assert columns(database) == had


def test_after_it_a_new_password_has_every_algorithm(database):
    using(database, lambda accounts: accounts.add_user("alice", DOMAIN, "old"))
    upgrade(database)
    using(database, lambda accounts: accounts.add_user("alice", DOMAIN, "secret", replace=True))
    assert database.select("SELECT ha1, ha1b, ha1_sha256, ha1_sha512t256 FROM subscriber") == [
        (HA1, HA1B, SHA_256, SHA_512)
    ]


@pytest.mark.parametrize("kind", KINDS[1:])
def test_an_empty_database_gets_kamailios_tables(kind):
    with fresh(kind, tables=False) as database:
        steps = upgrade(database)
        created = [f"create table {table}" for table in ("version", "subscriber", "grp")]
        assert steps[:3] == created
        versions = database.select("SELECT table_name, table_version FROM version ORDER BY 1")
        assert versions == [("grp", "2"), ("subscriber", "7"), ("version", "1")]
        assert planned(database) == []

        def play(accounts):
            assert accounts.add_user("u1", DOMAIN, "secret") is True
            assert accounts.add_user("U1", DOMAIN, "secret") is True  # MariaDB, too: SIP tells them apart
            assert accounts.add_group("u1", DOMAIN, "staff") is True

        using(database, play)


def test_a_missing_table_of_groups_alone(database):
    database.run("DROP TABLE grp; DELETE FROM version WHERE table_name = 'grp'")
    steps = upgrade(database)
    assert steps[:2] == ["create table grp", "note the version of table grp"]
    assert database.select("SELECT table_version FROM version WHERE table_name = 'grp'") == [("2",)]
    using(database, lambda accounts: accounts.add_user("alice", DOMAIN, "x"))
    assert using(database, lambda accounts: accounts.add_group("alice", DOMAIN, "staff")) is True


def test_tables_of_other_names(database):
    q = "`" if database.kind == "MariaDB" else '"'
    database.run(f"CREATE TABLE {q}user{q} (username VARCHAR(64), domain VARCHAR(64), ha1 VARCHAR(64))")
    if database.kind == "PostgreSQL":
        database.run('ALTER TABLE "user" OWNER TO ours')
    wanted = [f"add column {column} to table user" for column in SHA_2]
    config = {"table": "user"}
    assert [step.what for step in planned(database, config=config, notify=False)] == wanted
    upgrade(database, config=config)
    assert columns(database, "user")[3:] == list(SHA_2)
    assert columns(database) == ["id", "username", "domain", "password", "ha1", "ha1b"]


def test_who_calculates_ha1_needs_no_columns(database):
    steps = planned(database, config={"calculate_ha1": True}, notify=False)
    assert steps == []


# --- PostgreSQL tells DISC of changes ---------------------------------------------------------------------

CHANGES = [
    "INSERT INTO subscriber (username) VALUES ('bob')",
    "UPDATE subscriber SET ha1 = ''",
    "DELETE FROM subscriber",
    "TRUNCATE subscriber",
    "INSERT INTO grp (username, grp) VALUES ('bob', 'staff')",
    "UPDATE grp SET grp = 'x'",
    "DELETE FROM grp",
    "TRUNCATE grp",
]


def test_every_change_of_either_table_is_told(postgresql):
    upgrade(postgresql)

    async def listen():
        connection = await asyncpg.connect(postgresql.url)
        try:
            told = asyncio.Queue()
            await connection.add_listener("auth_diameter", lambda *notice: told.put_nowait(notice[3]))
            for change in CHANGES:
                await connection.execute(change)
                assert await asyncio.wait_for(told.get(), 30) == ""
                assert told.empty(), change
        finally:
            await connection.close()

    asyncio.run(listen())


def test_triggers_only_where_they_are_wanted_and_possible(postgresql):
    assert [step.what for step in planned(postgresql, notify=False)] == ADDED
    postgresql.run("CREATE VIEW users AS SELECT * FROM subscriber")
    assert NOTIFIED[1] in [step.what for step in planned(postgresql, config={"table": "users"})]
    assert "notify DISC of changes of table users" not in [
        step.what for step in planned(postgresql, config={"table": "users"})
    ]


def test_who_does_not_own_the_tables_changes_nothing(postgresql):
    postgresql.run("ALTER TABLE grp OWNER TO postgres")
    had = columns(postgresql)
    with pytest.raises(ConfigError, match="only the owner of the tables may alter them"):
        upgrade(postgresql)
    assert columns(postgresql) == had  # not even of the table that is ours


# --- SQLite -----------------------------------------------------------------------------------------------


def test_who_reads_an_older_table_sees_when_it_is_brought_forward(path):
    """A DISC that runs needs no restart to challenge those who have a new password with SHA-2."""
    run_sql(path, KAMAILIO)
    run_sql(path, f"INSERT INTO subscriber (username, domain, ha1) VALUES ('alice', 'siphub.net', '{HA1}')")
    config = StoreConfig()
    with SqliteStore.open(path) as reader:
        assert ha1(reader, "alice", DOMAIN, "SHA-256") is None
        before = version(reader)
        with open_session(database_name(str(path)), config, writable=True) as session:
            apply(session, plan(session, config))
        with Accounts.open(path, writable=True) as store:
            store.add_user("alice", DOMAIN, "secret", replace=True)
        assert version(reader) > before
        assert ha1(reader, "alice", DOMAIN, "SHA-256") == SHA_256
        assert algorithms(reader, "alice", DOMAIN) == ("MD5", "SHA-256", "SHA-512-256")
    assert select(path, "SELECT table_version FROM version WHERE table_name = 'subscriber'") == [(7,)]
