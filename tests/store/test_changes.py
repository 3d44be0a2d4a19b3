"""Changes in the tables of a database server: what tells them, and what is noticed all the same."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time

import pytest
from kit.databases import PostgreSql as DatabaseServer
from kit.process import run_ours
from kit.stores import DOMAIN, ServerDatabase

from auth_diameter.store.store import StoreError, User

PATIENCE = 30


def upgrade(database):
    for table in ("subscriber", "grp", "version"):
        database.run(f"ALTER TABLE {table} OWNER TO ours")
    done = run_ours("db", "upgrade", "--yes", "--db", database.url)
    assert done.status == 0, done.err


def test_a_change_is_told_at_once_where_db_upgrade_has_made_triggers(postgresql):
    """NOTIFY, whatever changes the tables; nobody has to ask."""
    postgresql.add("alice")
    upgrade(postgresql)
    changes = [
        "UPDATE subscriber SET ha1 = ''",
        f"INSERT INTO grp (username, domain, grp) VALUES ('alice', '{DOMAIN}', 'staff')",
        "DELETE FROM subscriber",
        "TRUNCATE grp",
    ]

    async def work(store):
        told = asyncio.Event()
        store.watch(told.set)
        await store.version()
        for change in changes:
            told.clear()
            before = await store.version()
            await asyncio.to_thread(postgresql.run, change)
            async with asyncio.timeout(PATIENCE):
                await told.wait()
            assert await store.version() != before

    postgresql.with_store(work)


def test_a_change_while_nobody_listened_is_not_missed(postgresql):
    """The connection that listens is lost with all others; what happened meanwhile is not told."""
    postgresql.add("alice")
    upgrade(postgresql)

    async def work(store):
        await store.version()
        before = await store.version()
        told = asyncio.Event()
        store.watch(told.set)
        await asyncio.to_thread(postgresql.server.end_sessions)
        async with asyncio.timeout(PATIENCE):
            await told.wait()
            while True:
                with contextlib.suppress(StoreError):
                    if await store.version() != before:
                        return True
                await asyncio.sleep(0.05)

    assert postgresql.with_store(work)


def test_a_change_before_it_listens_again_is_not_missed(postgresql):
    """Nobody was told of it, and who listens does not look at the state of the tables."""
    postgresql.add("alice")
    upgrade(postgresql)

    async def work(store):
        await store.version()
        lost = asyncio.Event()
        store.watch(lost.set)
        await asyncio.to_thread(postgresql.server.end_sessions)
        async with asyncio.timeout(PATIENCE):
            await lost.wait()
            before = store._version
            await asyncio.to_thread(postgresql.set_ha1, "alice", "0" * 32)
            while True:
                with contextlib.suppress(StoreError):
                    return await store.version() != before
                await asyncio.sleep(0.05)

    assert postgresql.with_store(work)


@pytest.mark.parametrize("how", ["DISABLE TRIGGER", "ENABLE REPLICA TRIGGER"])
def test_triggers_that_are_switched_off_tell_nothing_and_are_not_trusted(postgresql, how):
    postgresql.add("alice")
    upgrade(postgresql)

    async def work(store):
        return store._survey.tables.tells_changes

    assert postgresql.with_store(work) is True
    postgresql.run(f"ALTER TABLE subscriber {how} auth_diameter_changed")
    assert postgresql.with_store(work) is False


def test_a_change_that_no_trigger_sees_is_noticed_some_time_later(postgresql, monkeypatch):
    """As by replication, or when another table takes the name."""
    monkeypatch.setattr("auth_diameter.store.server._LOOK_PAUSE", 0.2)
    postgresql.add("alice")
    upgrade(postgresql)

    async def work(store):
        for _ in range(20):  # what has changed before
            await store.version()
            await asyncio.sleep(0.1)
        before = await store.version()
        silent = "SET session_replication_role = replica; UPDATE subscriber SET ha1 = ''"
        await asyncio.to_thread(postgresql.run, silent)
        async with asyncio.timeout(PATIENCE):
            while await store.version() == before:
                await asyncio.sleep(0.05)
        return True

    assert postgresql.with_store(work)


def test_a_standby_has_the_triggers_of_its_primary_but_does_not_tell():
    """It refuses LISTEN; what it says of its transactions counts instead."""
    why = DatabaseServer.missing()
    if why is not None:
        pytest.skip(why)
    with DatabaseServer() as server:
        found = ServerDatabase(server)
        found.add("alice")
        upgrade(found)
        server.end()
        signal = server.folder / "data" / "standby.signal"
        signal.touch()
        shutil.chown(signal, server.account)
        server.start()
        assert found.select("SELECT pg_is_in_recovery()") == [("t",)]

        async def work(store):
            versions = [await store.version() for _ in range(3)]
            return versions, await store.fetch([User("alice", DOMAIN, "MD5")])

        versions, values = found.with_store(work)
        assert len(set(versions[1:])) == 1
        assert values[User("alice", DOMAIN, "MD5")].known


async def state(store):
    """What the database says of changes; None: nothing that can be trusted."""
    tables = store._survey.tables
    return await store._connections.run(lambda connection: store._dialect.state(connection, tables))


def test_a_table_that_was_just_changed_may_be_changed_again_in_the_same_second(mariadb):
    """The server keeps the time of a change in seconds, so the second one would not show."""
    mariadb.add("alice")
    assert mariadb.with_store(state) is None


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE VIEW users AS SELECT * FROM subscriber",
        "CREATE TABLE users ENGINE=Aria SELECT * FROM subscriber",
    ],
    ids=["view", "engine"],
)
def test_the_time_of_a_change_is_trusted_of_a_table_of_innodb_alone(mariadb, sql):
    """Of a view the server knows none."""
    mariadb.run(sql)
    time.sleep(3.5)  # no table was changed just now
    assert mariadb.with_store(state) is not None
    assert mariadb.with_store(state, table="users") is None


def test_a_database_in_which_nothing_changes_is_not_asked_again(database):
    """What was looked up stays valid; MariaDB is asked again after ten seconds."""
    database.add("alice")

    async def work(store):
        async with asyncio.timeout(PATIENCE):
            while True:
                before = await store.version()
                await asyncio.sleep(1.2)
                if await store.version() == before:
                    return True

    assert database.with_store(work)
