"""How the tables of MariaDB and MySQL are read."""
# ruff: noqa: S608 -- the names in statements are checked and quoted

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from asyncmy import errors

from auth_diameter.store import mysql
from auth_diameter.store.columns import Columns, columns_of
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.dialect import Membership, Tables, UnusableError
from auth_diameter.store.hashes import HA1_COLUMNS
from auth_diameter.store.lookups import SECRETS, AskedUser
from auth_diameter.store.names import fold_realm
from auth_diameter.store.sendable import sendable
from auth_diameter.store.store import Member
from auth_diameter.store.url import DatabaseName

_COLUMNS: Final = (
    "SELECT column_name, character_set_name, collation_name, column_key, data_type"
    " FROM information_schema.columns WHERE table_schema = coalesce(%s, database()) AND table_name = %s"
)
# InnoDB keeps the time of the last change of each table, in seconds. Of a table that was just changed nobody
# knows whether it has been changed again. MySQL keeps the answer for a day, unless it is told otherwise. The
# last column changes every ten seconds, in case a server has forgotten a change.
_STATE: Final = (
    "SELECT /*+ SET_VAR(information_schema_stats_expiry = 0) */ table_name, table_type, engine, create_time,"
    " update_time, coalesce(update_time > now() - INTERVAL 3 SECOND, 0), unix_timestamp() DIV 10"
    " FROM information_schema.tables WHERE table_schema = coalesce(%s, database()) AND table_name = %s"
)
_SAMPLE: Final = 400  # rows, as of SQLite
_SMALL: Final = 4000  # rows of a table that is read whole
_INTEGERS: Final = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint"})
_LOST: Final = frozenset({1053, 1927, 2006, 2013, 2055})
_PLAIN: Final = re.compile(r"\w+")


def quoted(name: str) -> str:
    """The name of a table, with its database before a dot or without, or of a column."""
    return ".".join(f"`{part}`" for part in name.split("."))


class _Table(NamedTuple):
    """A table: the collation of each column with text, else ""; and the primary key, if it is one integer."""

    collations: Mapping[str, str]
    key: str | None


class MySql:
    """MariaDB from version 10.6 on, and MySQL from 8.0 on; as `Dialect` has it."""

    errors = mysql.ERRORS

    async def connect(self, name: DatabaseName, timeout: float) -> Any:
        """As `Dialect.connect`."""
        return await mysql.connect(name, timeout=timeout, read_only=True)

    def is_open(self, connection: Any) -> bool:
        """As `Dialect.is_open`."""
        return bool(connection.connected)

    def discard(self, connection: Any) -> None:
        """As `Dialect.discard`."""
        connection.close()

    def is_lost(self, error: BaseException) -> bool:
        """As `Dialect.is_lost`."""
        if isinstance(error, errors.Error):
            return bool(error.args) and error.args[0] in _LOST
        return isinstance(error, ConnectionError | EOFError)

    def describe(self, error: BaseException) -> str:
        """As `Dialect.describe`."""
        return mysql.describe(error)

    # ------------------------------------------------------------------ what there is

    async def tables(self, connection: Any, config: StoreConfig) -> Tables:
        """As `Dialect.tables`."""
        found = await _table(connection, config.table)
        if not found.collations:
            raise UnusableError(
                f"has no table {config.table!r} that this user can see; see --table, or"
                " auth-diameter db upgrade, which creates it"
            )
        columns = columns_of(config, found.collations)
        if isinstance(columns, str):
            raise UnusableError(f"table {config.table!r} has no column {columns!r}")
        for name in (columns.username, columns.domain):
            if name is not None and not found.collations[name]:
                raise UnusableError(f"column {name!r} of table {config.table!r} has no character set")
        groups = await _table(connection, config.group_table)
        has_groups = {"username", "domain", "grp"} <= {name.lower() for name in groups.collations}
        table = quoted(config.table)
        domain = "''" if columns.domain is None else quoted(columns.domain)
        selected = f"{domain}, {_has(columns)}"
        users = _users(table, columns, found)
        statements = {
            "users": users,
            "domains": f"SELECT DISTINCT {domain} FROM {table} WHERE {domain} IS NOT NULL",
            "some": f"SELECT {selected} FROM {table} LIMIT {_SMALL}",
            "usernames": f"SELECT {quoted(columns.username)} FROM {table}",
        }
        if has_groups:
            statements["users and members"] = (
                f"{users} UNION ALL {_members(quoted(config.group_table), groups)}"
            )
        if found.key is not None:
            key = quoted(found.key)
            statements["ends"] = f"SELECT min({key}), max({key}) FROM {table}"
            statements["sample"] = (
                f"SELECT {selected}, s.{key} FROM JSON_TABLE(%s, '$[*]' COLUMNS(k BIGINT PATH '$')) AS a"
                f" STRAIGHT_JOIN {table} s ON s.{key} = a.k"
            )
        names = [config.table, config.group_table] if has_groups else [config.table]
        return Tables(columns, has_groups, False, statements, {"names": names, "strangers": [0]})

    # ------------------------------------------------------------------ lookups

    async def look_up(
        self, connection: Any, tables: Tables, users: Sequence[AskedUser], members: Sequence[Member]
    ) -> tuple[list[tuple[Any, ...]], list[Membership]]:
        """As `Dialect.look_up`."""
        strangers = tables.more["strangers"]
        names = sendable([user.username for user in users])
        domains = sendable([user.domain for user in users])
        # An unknown user gets the row of a stranger, always the same one.
        asked = [
            (name, domain, strangers[hash(name) % len(strangers)])
            for name, domain in zip(names, domains, strict=True)
        ]
        parameters = [json.dumps(asked)]
        if members:
            member_names = sendable([member.username for member in members])
            groups = sendable([member.group for member in members])
            parameters.append(json.dumps(list(zip(member_names, groups, strict=True))))
        statement = tables.statements["users and members" if members else "users"]
        rows: list[tuple[Any, ...]] = []
        memberships: list[Membership] = []
        anywhere = tables.columns.domain is None
        for number, username, domain, *secrets in await _fetch(connection, statement, parameters):
            if number > 0:
                user = users[number - 1]
                # In most collations case does not count, so one spelling finds the others as well.
                same_domain = fold_realm(domain or "") == fold_realm(user.domain)
                known = (username == user.username) & (anywhere | same_domain)
                rows.append((number - 1, known, *secrets))
            else:
                memberships.append(Membership(-number - 1, username, domain, secrets[0]))
        return rows, memberships

    async def domains(self, connection: Any, tables: Tables) -> list[str]:
        """As `Dialect.domains`."""
        return [name for (name,) in await _fetch(connection, tables.statements["domains"])]

    async def sample(self, connection: Any, tables: Tables) -> list[tuple[Any, ...]]:
        """As `Dialect.sample`. The rows are the strangers of the next lookups, too."""
        first = await _fetch(connection, tables.statements["some"])
        if "sample" not in tables.statements:
            return first
        ((low, high),) = await _fetch(connection, tables.statements["ends"])
        keys: Sequence[int] = ()
        if low is not None:
            keys = random.sample(range(low, high + 1), min(_SMALL, high + 1 - low))
        # Of keys that were deleted there is no row.
        rows = await _fetch(connection, tables.statements["sample"], [json.dumps(keys)])
        tables.more["strangers"][:] = sorted({row[-1] for row in rows}) or [0]
        return first if len(first) < _SMALL or len(rows) < _SAMPLE else [row[:-1] for row in rows]

    async def usernames(self, connection: Any, tables: Tables, spellings: Sequence[str]) -> list[str]:
        """As `Dialect.usernames`."""
        statement, names = tables.statements["usernames"], []
        if tables.columns.domain is not None:
            names = sendable(list(spellings))
            statement += f" WHERE {quoted(tables.columns.domain)} IN ({', '.join(['%s'] * len(names))})"
        found = await _fetch(connection, statement, names)
        return [name for (name,) in found if name is not None]

    # ------------------------------------------------------------------ changes

    async def state(self, connection: Any, tables: Tables) -> object | None:
        """The times at which the tables were changed."""
        found: list[tuple[Any, ...]] = []
        for name in tables.more["names"]:
            rows = await _fetch(connection, _STATE, _parts(name))
            if len(rows) != 1:
                return None
            (row,) = rows
            if row[1] != "BASE TABLE" or str(row[2]).lower() != "innodb" or row[5]:
                return None
            found.append(row)
        return found

    async def listen(self, connection: Any, changed: Callable[[], None]) -> bool:
        """As `Dialect.listen`: these servers tell nothing."""
        return False


def _parts(name: str) -> list[str | None]:
    """The database of a table, None for that of the connection, and its name."""
    database, _, table = name.rpartition(".")
    return [database or None, table]


async def _fetch(
    connection: Any, statement: str, parameters: Sequence[Any] | None = None
) -> list[tuple[Any, ...]]:
    cursor = connection.cursor()
    await cursor.execute(statement, parameters)
    return list(await cursor.fetchall())


async def _table(connection: Any, name: str) -> _Table:
    rows = await _fetch(connection, _COLUMNS, _parts(name))
    keys = [row for row in rows if row[3] == "PRI"]
    key = keys[0][0] if len(keys) == 1 and str(keys[0][4]).lower() in _INTEGERS else None
    return _Table({row[0]: row[2] or "" for row in rows}, key)


def _has(columns: Columns) -> str:
    """For each algorithm whether a row has an HA1."""
    secrets = columns.secrets

    def filled(name: str) -> str:
        column = secrets[name]
        return f"coalesce({quoted(column)}, '') <> ''" if column else "0"

    return ", ".join(f"({filled('password')} OR {filled(column)})" for column in HA1_COLUMNS.values())


def _same(column: str, asked: str, collation: str) -> str:
    """Compares a column with a parameter in the collation of the column, whose index is used then."""
    if not _PLAIN.fullmatch(collation):
        return f"{column} = {asked}"
    charset = collation.partition("_")[0]
    return f"{column} = CONVERT({asked} USING {charset}) COLLATE {collation}"


def _users(table: str, columns: Columns, found: _Table) -> str:
    """The statement for users; its parameter is JSON, an array with [username, domain, stranger] for each."""
    collations = found.collations
    same = _same(f"e.{quoted(columns.username)}", "a.u", collations[columns.username])
    domain = "''"
    if columns.domain is not None:
        domain = quoted(columns.domain)
        same += f" AND {_same(f'e.{domain}', 'a.d', collations[columns.domain])}"
        domain = f"s.{domain}"
    secrets = ", ".join(f"s.{quoted(place)}" if place else "''" for place in columns.places)
    selected = f"a.n, s.{quoted(columns.username)}, {domain}, {secrets}"
    asked = (
        "JSON_TABLE(%s, '$[*]' COLUMNS(n FOR ORDINALITY, u VARCHAR(255) PATH '$[0]',"
        " d VARCHAR(255) PATH '$[1]', o BIGINT PATH '$[2]')) AS a"
    )
    if found.key is None:
        return f"SELECT {selected} FROM {asked} STRAIGHT_JOIN {table} s ON {same.replace('e.', 's.')}"
    key = quoted(found.key)
    # Known or not, one row is read: the user's or that of a stranger.
    return (
        f"SELECT {selected} FROM {asked} LEFT JOIN {table} e ON {same}"
        f" STRAIGHT_JOIN {table} s ON s.{key} = coalesce(e.{key}, a.o)"
    )


def _members(table: str, found: _Table) -> str:
    """The statement for memberships, with as many columns as that for users; its parameter is JSON, too."""
    names = {name.lower(): name for name in found.collations}
    same = " AND ".join(
        _same(f"g.{quoted(names[column])}", asked, found.collations[names[column]])
        for column, asked in (("username", "m.u"), ("grp", "m.g"))
    )
    rest = ", ''" * (len(SECRETS) - 1)
    return (
        f"SELECT -CAST(m.n AS SIGNED), g.{quoted(names['username'])}, g.{quoted(names['domain'])},"
        f" g.{quoted(names['grp'])}{rest} FROM JSON_TABLE(%s, '$[*]' COLUMNS(n FOR ORDINALITY,"
        " u VARCHAR(255) PATH '$[0]', g VARCHAR(255) PATH '$[1]')) AS m"
        f" STRAIGHT_JOIN {table} g ON {same}"
    )
