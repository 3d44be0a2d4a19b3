"""Databases of every kind for the tests of stores: each is a fresh one, those with tables with Kamailio's."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from kit.databases import DatabaseServer, MariaDb, PostgreSql
from kit.redis_server import RedisServer
from kit.tables import KAMAILIO

from auth_diameter.store.config import StoreConfig
from auth_diameter.store.hashes import Hashes, compute_ha1
from auth_diameter.store.opening import open_store, open_subscribers
from auth_diameter.store.redis_accounts import RedisAccounts
from auth_diameter.store.redis_layout import Record, user_key
from auth_diameter.store.url import database_name

#: Those with tables.
KINDS = ("SQLite", "PostgreSQL", "MariaDB")
EVERY_KIND = (*KINDS, "Redis")
DOMAIN = "siphub.net"

T = TypeVar("T")


def _row(username: str, password: str, domain: str) -> dict[str, str | None]:
    return {
        "username": username,
        "domain": domain,
        "ha1": compute_ha1(username, domain, password),
        "ha1b": compute_ha1(f"{username}@{domain}", domain, password),
    }


class Database:
    """A database with Kamailio's tables; `insert` and `run` are those of its administrator.

    Attributes:
        url: names it, for our programs.
    """

    kind: ClassVar[str]
    url: str

    def run(self, sql: str) -> None:
        """Executes SQL."""
        raise NotImplementedError

    def insert(self, table: str, **columns: str | None) -> None:
        """Inserts a row."""
        self.run(self._insertion(table, columns))

    def _insertion(self, table: str, columns: dict[str, str | None]) -> str:
        names = ", ".join(columns)
        values = ", ".join("NULL" if value is None else self.quoted(value) for value in columns.values())
        return f"INSERT INTO {table} ({names}) VALUES ({values});"

    def select(self, sql: str) -> list[tuple[str, ...]]:
        """The rows of a query, all values as text."""
        raise NotImplementedError

    def set_ha1(self, username: str, ha1: str) -> None:
        """Gives a user of `DOMAIN` another HA1."""
        self.run(f"UPDATE subscriber SET ha1 = '{ha1}' WHERE username = '{username}'")

    @staticmethod
    def quoted(value: str) -> str:
        """A value as SQL has it."""
        return "'" + value.replace("'", "''") + "'"

    def add(self, username: str, password: str = "secret", domain: str = DOMAIN) -> None:
        """Inserts a subscriber as `kamctl` does, without the password."""
        self.insert("subscriber", **_row(username, password, domain))

    def add_all(self, passwords: dict[str, str]) -> None:
        """The same for several usernames, each with its password, with one statement after the other."""
        rows = (_row(username, password, DOMAIN) for username, password in passwords.items())
        self.run("".join(self._insertion("subscriber", row) for row in rows))

    def with_store(self, work: Callable[[Any], Awaitable[T]], **config: Any) -> T:
        """What `work` returns for the open store."""

        async def run() -> T:
            store = await open_store(database_name(self.url), StoreConfig(**config))
            with contextlib.closing(store):
                return await work(store)

        return asyncio.run(run())

    def fetch(self, *keys: Any, **config: Any) -> list[Any]:
        """The values of these keys, looked up together."""

        async def work(store: Any) -> list[Any]:
            found = await store.fetch(keys)
            return [found[key] for key in keys]

        return self.with_store(work, **config)


class SqliteDatabase(Database):
    kind = "SQLite"

    def __init__(self, path: Path, *, tables: bool = True) -> None:
        self.path = path
        self.url = str(path)
        path.touch()
        if tables:
            self.run(KAMAILIO)

    def run(self, sql: str) -> None:
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            connection.executescript(sql)

    def select(self, sql: str) -> list[tuple[str, ...]]:
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            return [tuple(map(str, row)) for row in connection.execute(sql)]


class ServerDatabase(Database):
    def __init__(self, server: DatabaseServer, *, tables: bool = True) -> None:
        self.kind = "PostgreSQL" if isinstance(server, PostgreSql) else "MariaDB"  # type: ignore[misc]
        self.server = server
        self.name = server.database(tables=tables)
        self.url = server.url(self.name)

    def run(self, sql: str) -> None:
        self.server.run(sql, self.name)
        if self.kind == "PostgreSQL" and "CREATE" in sql:  # as `DatabaseServer.database` grants it
            self.server.run(
                "GRANT ALL ON ALL TABLES IN SCHEMA public TO ours;"
                "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO ours;",
                self.name,
            )

    def select(self, sql: str) -> list[tuple[str, ...]]:
        return [tuple(line.split("\t")) for line in self.server.run(sql, self.name).splitlines()]


class RedisDatabase(Database):
    """One of the databases of a Redis. What needs tables or columns of one's own is skipped."""

    kind = "Redis"
    _numbers = itertools.count(1)

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.number = next(self._numbers)
        self.url = server.url.removesuffix("0") + str(self.number)

    def run(self, sql: str) -> None:
        pytest.skip("Redis has no tables")

    def add_all(self, passwords: dict[str, str]) -> None:
        for username, password in passwords.items():
            self.add(username, password)

    def insert(self, table: str, **columns: str | None) -> None:
        username, domain = columns.pop("username"), columns.pop("domain")
        assert username
        if not domain:
            pytest.skip("in Redis a user has a domain")
        with open_subscribers(database_name(self.url), StoreConfig(), writable=True) as found:
            assert isinstance(found, RedisAccounts)
            if table == "grp":
                found.add_group(username, domain, columns["grp"] or "")
                return
            values = {name: value or "" for name, value in columns.items()}
            password = values.pop("password", "")
            groups = found.groups(username, domain)
            record = Record(Hashes(**{"ha1": "", **values}), password, groups)
            with found.session.changing():
                found.session.write(user_key(username, domain), record.text())
                found.session.serve(domain)

    def set_ha1(self, username: str, ha1: str) -> None:
        self.insert("subscriber", username=username, domain=DOMAIN, ha1=ha1)

    def with_store(self, work: Callable[[Any], Awaitable[T]], **config: Any) -> T:
        if config.keys() - {"calculate_ha1"}:
            pytest.skip("Redis has no tables, and its users have domains")
        return super().with_store(work, **config)


_servers: dict[str, DatabaseServer] = {}
_redis: list[RedisServer] = []
_stack = contextlib.ExitStack()


def server_of(kind: str) -> DatabaseServer:
    """The server of that kind, which all tests of this process share; the test is skipped without one."""
    program = PostgreSql if kind == "PostgreSQL" else MariaDb
    why = program.missing()
    if why is not None:
        pytest.skip(why)
    if kind not in _servers or not _servers[kind].running:
        _servers[kind] = _stack.enter_context(program())
    return _servers[kind]


def redis_server() -> RedisServer:
    """The Redis that all tests of this process share; the test is skipped without one."""
    if not _redis or not _redis[0].running:
        _redis[:] = [_stack.enter_context(RedisServer(databases="10000"))]
    return _redis[0]


def end_servers() -> None:
    """Ends what `server_of` has started; for the end of the session."""
    _stack.close()


@contextlib.contextmanager
def fresh(kind: str, *, tables: bool = True) -> Iterator[Database]:
    """A database of this kind, without subscribers."""
    if kind == "SQLite":
        with tempfile.TemporaryDirectory(prefix="auth-diameter-") as folder:
            yield SqliteDatabase(Path(folder) / "users.sqlite", tables=tables)
    elif kind == "Redis":
        yield RedisDatabase(redis_server())
    else:
        yield ServerDatabase(server_of(kind), tables=tables)
