"""How the tables of PostgreSQL are read."""
# ruff: noqa: S608 -- the names in statements are checked and quoted

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import asyncpg  # type: ignore[import-untyped]

from auth_diameter.store import postgresql
from auth_diameter.store.columns import Columns, columns_of
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.dialect import Membership, Tables, UnusableError
from auth_diameter.store.hashes import HA1_COLUMNS
from auth_diameter.store.lookups import SECRETS, AskedUser
from auth_diameter.store.sendable import sendable
from auth_diameter.store.store import Member
from auth_diameter.store.url import DatabaseName

#: The channel and the triggers by which a database tells changes.
CHANNEL: Final = "auth_diameter"
TRIGGER: Final = "auth_diameter_changed"

_COLUMNS: Final = (
    "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped"
)
# The first two columns of each index that a search for a name can use.
_INDEXES: Final = """
    SELECT (SELECT attname FROM pg_attribute WHERE attrelid = i.indrelid AND attnum = i.indkey[0]),
           (SELECT attname FROM pg_attribute WHERE attrelid = i.indrelid AND attnum = i.indkey[1])
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
    WHERE i.indrelid = to_regclass($1) AND i.indisvalid AND i.indpred IS NULL AND a.amname = 'btree'
"""
_TRIGGERS: Final = (
    "SELECT count(*) FROM pg_trigger"
    " WHERE tgrelid = to_regclass($1) AND tgname = $2 AND tgenabled IN ('O', 'A')"
)
_ROWS: Final = "SELECT reltuples FROM pg_class WHERE oid = to_regclass($1)"
_SAMPLE: Final = 400  # rows, as of SQLite
_MOST: Final = 4000  # rows of a sample, whatever the statistics say
#: Between names. Neither credentials nor a SIP URI have it (RFC 3261, 25.1).
_SEPARATOR: Final = "\n"
_LOST: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.AdminShutdownError,
    ConnectionError,
)


def quoted(name: str) -> str:
    """The name of a table, with its schema before a dot or without, or of a column."""
    return ".".join(f'"{part}"' for part in name.split("."))


class PostgreSql:
    """PostgreSQL from version 13 on; as `Dialect` has it."""

    errors = postgresql.ERRORS

    async def connect(self, name: DatabaseName, timeout: float) -> Any:
        """As `Dialect.connect`."""
        return await postgresql.connect(name, timeout=timeout, read_only=True)

    def is_open(self, connection: Any) -> bool:
        """As `Dialect.is_open`."""
        return not connection.is_closed()

    def discard(self, connection: Any) -> None:
        """As `Dialect.discard`."""
        connection.terminate()

    def is_lost(self, error: BaseException) -> bool:
        """As `Dialect.is_lost`."""
        return isinstance(error, _LOST)

    def describe(self, error: BaseException) -> str:
        """As `Dialect.describe`."""
        return postgresql.describe(error)

    # ------------------------------------------------------------------ what there is

    async def tables(self, connection: Any, config: StoreConfig) -> Tables:
        """As `Dialect.tables`."""
        encoding = await connection.fetchval("SHOW server_encoding")
        if encoding != "UTF8":
            raise UnusableError(f"its encoding is {encoding}; createdb --encoding UTF8 makes a usable one")
        table, there = await self._table(connection, config.table)
        if not there:
            raise UnusableError(
                f"has no table {config.table!r} that this user can see; see --table, or"
                " auth-diameter db upgrade, which creates it"
            )
        columns = columns_of(config, there)
        if isinstance(columns, str):
            raise UnusableError(f"table {config.table!r} has no column {columns!r}")
        groups, of_groups = await self._table(connection, config.group_table)
        has_groups = {"username", "domain", "grp"} <= set(of_groups)
        indexes = {tuple(row) for row in await connection.fetch(_INDEXES, table)}
        users = _users(table, columns, indexes)
        domain = "''" if columns.domain is None else quoted(columns.domain)
        of_realm = "$1::text[] IS NOT NULL" if columns.domain is None else f"{domain} = ANY($1)"
        told = [await connection.fetchval(_TRIGGERS, each, TRIGGER) for each in (table, groups)]
        statements = {
            "users": users,
            "users and members": f"{users} UNION ALL {_members(groups)}",
            "domains": _domains(table, domain, any(first == columns.domain for first, _ in indexes)),
            "sample": f"SELECT {domain}, {_has(columns)} FROM {table}"
            f" TABLESAMPLE SYSTEM ({{share}}) LIMIT {_MOST}",
            "usernames": f"SELECT {quoted(columns.username)}::text FROM {table} WHERE {of_realm}",
        }
        return Tables(columns, has_groups, all(told[: 1 + has_groups]), statements, {"table": table})

    @staticmethod
    async def _table(connection: Any, name: str) -> tuple[str, list[str]]:
        """The quoted name of a table, and its columns; SQL folds names to lower case."""
        for spelled in dict.fromkeys((name, name.lower())):
            found = [row[0] for row in await connection.fetch(_COLUMNS, quoted(spelled))]
            if found:
                return quoted(spelled), found
        return quoted(name), []

    # ------------------------------------------------------------------ lookups

    async def look_up(
        self, connection: Any, tables: Tables, users: Sequence[AskedUser], members: Sequence[Member]
    ) -> tuple[list[tuple[Any, ...]], list[Membership]]:
        """As `Dialect.look_up`."""
        names = _joined([user.username for user in users])
        domains = _joined([user.domain for user in users])
        if members:
            found = await connection.fetch(
                tables.statements["users and members"],
                names,
                domains,
                _joined([member.username for member in members]),
                _joined([member.group for member in members]),
            )
        else:
            found = await connection.fetch(tables.statements["users"], names, domains)
        rows: list[tuple[Any, ...]] = []
        memberships: list[Membership] = []
        anywhere = tables.columns.domain is None
        for row in found:
            number = row[0]
            if number > 0:
                user = users[number - 1]
                known = (row[1] == user.username) & (anywhere | (row[2] == user.domain))
                rows.append((number - 1, known, *row[3:]))
            else:
                memberships.append(Membership(-number - 1, row[1], row[2], row[3]))
        return rows, memberships

    async def domains(self, connection: Any, tables: Tables) -> list[str]:
        """As `Dialect.domains`."""
        return [name for (name,) in await connection.fetch(tables.statements["domains"])]

    async def sample(self, connection: Any, tables: Tables) -> list[tuple[Any, ...]]:
        """As `Dialect.sample`."""
        rows = await connection.fetchval(_ROWS, tables.more["table"])
        # Whole pages are drawn, with some 50 rows each. A table that was never analyzed has -1 rows.
        share = min(100.0, 100.0 * 50 * _SAMPLE / rows) if rows > _SAMPLE else 100.0
        found = await connection.fetch(tables.statements["sample"].format(share=f"{share:.6f}"))
        return [tuple(row) for row in found]

    async def usernames(self, connection: Any, tables: Tables, spellings: Sequence[str]) -> list[str]:
        """As `Dialect.usernames`."""
        found = await connection.fetch(tables.statements["usernames"], sendable(list(spellings)))
        return [name for (name,) in found if name is not None]

    # ------------------------------------------------------------------ changes

    async def state(self, connection: Any, tables: Tables) -> object | None:
        """The transactions that the server has begun and ended: without a new one nothing has changed."""
        return str(await connection.fetchval("SELECT pg_current_snapshot()::text"))

    async def listen(self, connection: Any, changed: Callable[[], None]) -> bool:
        """As `Dialect.listen`. A standby has the triggers of its primary, but does not tell."""
        try:
            await connection.add_listener(CHANNEL, lambda *_: changed())
        except asyncpg.ReadOnlySQLTransactionError:
            return False
        connection.add_termination_listener(lambda _: changed())
        return True


def _joined(names: list[str]) -> str:
    """The names as one argument, which costs the driver less than an array; no name has a line feed."""
    return _SEPARATOR.join(sendable(names, but=_SEPARATOR))


def _split(number: int) -> str:
    """The names again, in SQL."""
    return f"string_to_array(${number}::text, E'\\n')"


def _has(columns: Columns) -> str:
    """For each algorithm whether a row has an HA1."""
    secrets = columns.secrets

    def filled(name: str) -> str:
        column = secrets[name]
        return f"coalesce({quoted(column)}::text, '') <> ''" if column else "false"

    return ", ".join(f"({filled('password')} OR {filled(column)})" for column in HA1_COLUMNS.values())


def _users(table: str, columns: Columns, indexes: set[tuple[str, ...]]) -> str:
    """The statement for users: $1 usernames, $2 domains, each as `_joined` has them.

    For an unknown user it reads the next row in the index with the same steps, and behind the last row the
    first.
    """
    username = quoted(columns.username)
    # ::text, since a CHAR is padded with spaces
    secrets = ", ".join(f"{quoted(place)}::text" if place else "''" for place in columns.places)
    if columns.domain is None:
        selected, key, asked = f"s.{username}::text, '', {secrets}", f"s.{username}", "a.u"
        has_index = any(first == columns.username for first, _ in indexes)
    else:
        domain = quoted(columns.domain)
        selected = f"s.{username}::text, s.{domain}::text, {secrets}"
        key, asked = f"s.{username}, s.{domain}", "a.u, a.d"
        has_index = (columns.username, columns.domain) in indexes
        if not has_index and (columns.domain, columns.username) in indexes:
            key, asked, has_index = f"s.{domain}, s.{username}", "a.d, a.u", True
    rows = f"SELECT {selected} FROM {table} s"
    found = f"{rows} WHERE ({key}) = ({asked}) LIMIT 1"
    if has_index:
        found = (
            f"({rows} WHERE ({key}) >= ({asked}) ORDER BY {key} LIMIT 1)"
            f" UNION ALL ({rows} ORDER BY {key} LIMIT 1) LIMIT 1"
        )
    names = ", ".join(f"c{number}" for number in range(2 + len(SECRETS)))
    return (
        f"SELECT a.n, {names} FROM unnest({_split(1)}, {_split(2)}) WITH ORDINALITY AS a(u, d, n)"
        f" CROSS JOIN LATERAL ({found}) AS f({names})"
    )


def _members(table: str) -> str:
    """The statement for memberships, $3 usernames and $4 groups, with as many columns as that for users."""
    rest = ", ''" * (len(SECRETS) - 1)
    return (
        f"SELECT -m.n, g.username::text, g.domain::text, g.grp::text{rest}"
        f" FROM unnest({_split(3)}, {_split(4)}) WITH ORDINALITY AS m(u, g, n)"
        f" JOIN {table} g ON g.username = m.u AND g.grp = m.g"
    )


def _domains(table: str, domain: str, indexed: bool) -> str:
    if not indexed:
        return f"SELECT DISTINCT {domain}::text FROM {table} WHERE {domain} IS NOT NULL"
    # Each step goes from one domain straight to the next: as many steps as there are domains.
    return (
        f"WITH RECURSIVE d(name) AS (SELECT min({domain}) FROM {table} UNION ALL"
        f" SELECT (SELECT min({domain}) FROM {table} WHERE {domain} > d.name) FROM d"
        " WHERE d.name IS NOT NULL) SELECT name::text FROM d WHERE name IS NOT NULL"
    )
