"""The tables of subscribers and groups, for SQLAlchemy: those that exist, and those that are created.

An operator's tables are used as they are: Kamailio's, OpenSIPS', or others with columns of other names. The
settings are in :class:`StoreConfig`. A column that is missing is not used.

Text is compared byte for byte, whatever the collation of a column: MariaDB finds ``U1``, ``u1`` and ``ú1``
for ``u1``. :func:`is_exactly` compares twice, once so that an index is used, and once exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine.interfaces import Dialect, ReflectedColumn
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from auth_diameter.store.columns import Columns, columns_of
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.hashes import HA1_COLUMNS, HA1_LENGTHS, Hashes
from auth_diameter.store.schema import text

#: The columns of OpenSIPS for HA1 by SHA-2, which Kamailio's table does not have.
SHA_2_COLUMNS: Final = tuple(HA1_COLUMNS[algorithm] for algorithm in ("SHA-256", "SHA-512-256"))
#: The tables of Kamailio 5.x, and the ``table_version`` that it requires of each.
TABLE_VERSIONS: Final = {"version": 1, "subscriber": 7, "grp": 2}

_NAME_LENGTH: Final = 64
_HASH_LENGTH: Final = 128  # Kamailio's, for an HA1 of any algorithm


class Text(sa.types.TypeDecorator[str]):
    """Text as a string; "" for NULL.

    SQLite's connections return text as bytes, see `schema.text`.

    Args:
        length: the length of the column, to create it.
        padded: whether the database fills the column up with spaces.
    """

    impl = sa.String
    cache_ok = True

    def __init__(self, length: int | None = None, *, padded: bool = False) -> None:
        super().__init__(length)
        self.padded = padded

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], str]:
        """What makes a string of the value of a row."""
        return _without_padding if self.padded else text


def _without_padding(value: object) -> str:
    return text(value).rstrip(" ")


class exact(FunctionElement[str]):  # noqa: N801 - it is a function of SQL
    """A column for an exact comparison and order: that of its bytes in UTF-8."""

    name = "exact"
    inherit_cache = True
    type = Text()


@compiles(exact)
def _exact_in_sqlite(element: exact, compiler: SQLCompiler, **options: Any) -> str:
    return f"{compiler.process(element.clauses, **options)} COLLATE BINARY"


@compiles(exact, "postgresql")
def _exact_in_postgresql(element: exact, compiler: SQLCompiler, **options: Any) -> str:
    return f'CAST({compiler.process(element.clauses, **options)} AS TEXT) COLLATE "C"'


@compiles(exact, "mysql")
@compiles(exact, "mariadb")
def _exact_in_mysql(element: exact, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST(CONVERT({compiler.process(element.clauses, **options)} USING utf8mb4) AS BINARY)"


def is_exactly(column: sa.ColumnElement[str], value: Any) -> sa.ColumnElement[bool]:
    """The condition that a column has exactly this text."""
    return sa.and_(column == value, exact(column) == value)


def column_or_nothing(column: sa.ColumnElement[str] | None) -> sa.ColumnElement[str]:
    """A column, or "" in its place."""
    return sa.literal("", Text()) if column is None else column


class Column(NamedTuple):
    """A column that a table has.

    Attributes:
        name: as the table spells it.
        padded: whether the database fills it up with spaces.
        needed: whether a row must name a value for it.
        is_time: whether it takes a point in time.
    """

    name: str
    padded: bool = False
    needed: bool = False
    is_time: bool = True


class Found(NamedTuple):
    """A table that exists.

    Attributes:
        name: its name, or SCHEMA.TABLE.
        columns: its columns, by their names in lower case.
        key: the columns of its primary key.
    """

    name: str
    columns: dict[str, Column]
    key: tuple[str, ...]


def find_table(connection: sa.Connection, name: str) -> Found | None:
    """Reads which columns a table has; None if there is no such table.

    A server may spell the name in lower case, as SQL does without quotation marks.

    Args:
        connection: a connection to the database.
        name: the name of the table, or SCHEMA.TABLE.

    Raises:
        sqlalchemy.exc.DBAPIError: the database could not be read.
    """
    if connection.dialect.name == "sqlite":
        return _find_in_sqlite(connection, name)
    inspector = sa.inspect(connection)
    for spelled in dict.fromkeys((name, name.lower())):
        schema, _, table = spelled.rpartition(".")
        try:
            columns = inspector.get_columns(table, schema=schema or None)
            key = inspector.get_pk_constraint(table, schema=schema or None)["constrained_columns"]
        except sa.exc.NoSuchTableError:
            continue
        return Found(spelled, {each["name"].lower(): _reflected(each) for each in columns}, tuple(key))
    return None


def _reflected(column: ReflectedColumn) -> Column:
    kind = column["type"]
    has_value = (
        column["nullable"]
        or column.get("default") is not None
        or column.get("autoincrement") is True
        or column.get("identity")
        or column.get("computed")
    )
    return Column(
        name=column["name"],
        padded=isinstance(kind, sa.CHAR),
        needed=not has_value,
        is_time=isinstance(kind, sa.DateTime),
    )


def _find_in_sqlite(connection: sa.Connection, name: str) -> Found | None:
    schema, _, table = name.rpartition(".")
    # SQLAlchemy's own way takes names to be strings; our connections return bytes.
    rows = connection.exec_driver_sql(
        'SELECT name, "notnull", dflt_value IS NULL, pk FROM pragma_table_info(?, ?)',
        (table, schema or "main"),
    ).all()
    found = {
        text(its).lower(): Column(text(its), needed=bool(not_null and no_default and not key))
        for its, not_null, no_default, key in rows
    }
    key = tuple(text(its) for its, _, _, place in sorted(rows, key=lambda row: row[3]) if place)
    return Found(name, found, key) if found else None


def make_table(name: str, *columns: sa.Column[Any], **options: Any) -> sa.Table:
    """A table whose names are taken as they are, reserved words too.

    Args:
        name: the name, or SCHEMA.TABLE.
        *columns: its columns.
        **options: of SQLAlchemy's `Table`.
    """
    schema, _, table = name.rpartition(".")
    if schema:
        options |= {"schema": schema, "quote_schema": True}
    return sa.Table(table, sa.MetaData(), *columns, quote=True, **options)


# What `Tables.contents` writes: a hash, by its place in `Hashes`, or one of these.
_PLACES: Final = {name: place for place, name in enumerate(Hashes._fields)}
_NOTHING: Final = len(Hashes._fields)
_PASSWORD: Final = _NOTHING + 1


class Tables:
    """The operator's tables, with the columns that are used.

    Args:
        connection: a connection to the database.
        config: the names of the tables and columns, and which secret counts.

    Attributes:
        config: the same.
        subscriber: the table of subscribers.
        username: its column with the username.
        stored_domain: its column with the domain, whether it counts or not; None if there is none.
        columns: the columns that count.
        counting: the name of the column with the HA1 (MD5), or the password that HA1 is calculated from.
        written: the names of all its columns with a secret, whether it counts or not.
        grp: the table of memberships, with the keys ``username``, ``domain``, ``grp`` and ``last_modified``;
            None: there is none.
        lacking: what is missing, as the end of a sentence; None if nothing is.
    """

    columns: Columns
    subscriber: sa.Table
    username: sa.Column[str]

    def __init__(self, connection: sa.Connection, config: StoreConfig) -> None:
        """Reads the tables' columns.

        Raises:
            sqlalchemy.exc.DBAPIError: the database could not be read.
        """
        self.config = config
        found = find_table(connection, config.table)
        self._found = found or Found("", {}, ())
        columns = columns_of(config, [column.name for column in self._found.columns.values()])
        self.lacking = self._first_lacking(found, columns)
        if isinstance(columns, str) or found is None:
            return
        self.columns = columns
        names = [columns.username, *self._named(config.domain_column)]
        ours = {name: its for name in (*Hashes._fields, "password") for its in self._named(name)}
        counting = columns.secrets["password" if config.calculate_ha1 else "ha1"]
        self.counting = counting
        # What is written: by the place in `Hashes`, and after these nothing, and the password.
        places = {its: _PLACES.get(name, _NOTHING) for name, its in ours.items()}
        if counting is not None:
            places[counting] = _PASSWORD if config.calculate_ha1 else 0
        self.written, self._places = tuple(places), tuple(places.values())
        typed = {column.name: column for column in found.columns.values()}
        known = dict.fromkeys([*names, *places])
        self.subscriber = make_table(
            found.name,
            *(_typed(typed[name]) for name in known),
            *(sa.Column(name, sa.types.NullType(), quote=True) for name in found.key if name not in known),
        )
        self.username = self.subscriber.c[columns.username]
        self.stored_domain = self.subscriber.c[names[1]] if len(names) > 1 else None
        self.grp = self._group_table(find_table(connection, config.group_table))

    def _named(self, name: str) -> list[str]:
        """A column as the table spells it, if the table has it."""
        found = self._found.columns.get(name.lower())
        return [] if found is None else [found.name]

    def _first_lacking(self, found: Found | None, columns: Columns | str) -> str | None:
        config = self.config
        if found is None:
            return (
                f"has no table {config.table!r}; see --table, or auth-diameter db upgrade, which creates it"
            )
        if not isinstance(columns, str):
            return None
        option = {
            config.user_column: "--user-column",
            config.domain_column: "--domain-column, or --no-domain for a table without domains",
        }.get(columns, "--password-column")
        return f"table {config.table!r} has no column {columns!r}; see {option}"

    def _group_table(self, found: Found | None) -> sa.Table | None:
        names = ("username", "domain", "grp", "last_modified")
        if found is None or not {"username", "grp"} <= found.columns.keys():
            return None
        columns = []
        for name in names:
            column = found.columns.get(name)
            if name == "last_modified":
                if column is not None and column.is_time:
                    columns.append(sa.Column(column.name, _SECONDS, key=name))
            elif column is not None:
                columns.append(sa.Column(column.name, Text(padded=column.padded), key=name, quote=True))
        return make_table(found.name, *columns)

    @property
    def domain(self) -> sa.Column[str] | None:
        """The column by which users of one name are told apart; None: there is only one of a name."""
        return None if self.columns.domain is None else self.stored_domain

    @property
    def key(self) -> tuple[sa.Column[Any], ...]:
        """The columns of the primary key."""
        return tuple(self.subscriber.c[name] for name in self._found.key)

    def needed(self, named: Collection[str]) -> tuple[str, ...]:
        """The columns that must have a value in a new row, except those that are named."""
        return tuple(
            each.name for each in self._found.columns.values() if each.needed and each.name not in named
        )

    def is_user(self, username: Any, domain: Any) -> sa.ColumnElement[bool]:
        """The condition for the row with exactly these names."""
        same = is_exactly(self.username, username)
        return same if self.domain is None else sa.and_(same, is_exactly(self.domain, domain))

    def contents(self, hashes: Hashes, password: str) -> tuple[str, ...]:
        """The contents of the columns `written`: nothing is left of a former password.

        Args:
            hashes: the hashes of the password.
            password: the password; it is stored if HA1 is calculated from it, and only then.
        """
        # An import calls this for each of its rows.
        every = (*hashes, "", password)
        return tuple([every[place] for place in self._places])


def _typed(column: Column) -> sa.Column[Any]:
    return sa.Column(column.name, Text(padded=column.padded), quote=True)


#: A point in time to the second, in SQLite as Kamailio writes it.
_SECONDS: Final = sa.DateTime().with_variant(
    sqlite.DATETIME(truncate_microseconds=True),  # type: ignore[no-untyped-call]
    "sqlite",
)


# --- tables that are created ----------------------------------------------------------------------


#: MariaDB is to tell U1 and u1 apart, as SIP does.
_EXACT: Final = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def new_tables(config: StoreConfig) -> dict[str, sa.Table]:
    """Kamailio's tables, with OpenSIPS' columns for SHA-2 and the names of the settings.

    Kamailio has a second index on the username, with which its unique index begins anyway. Here an index that
    begins with the domain takes its place: to list a domain, and to find all domains without a scan. Kamailio
    does not check the indexes.

    Args:
        config: the names of the tables and columns.

    Returns:
        The tables by Kamailio's names for them.
    """
    names = (config.user_column, config.domain_column)
    secrets = {"password": _NAME_LENGTH, "ha1": _HASH_LENGTH, "ha1b": _HASH_LENGTH}
    if config.password_column:
        secrets.setdefault(config.password_column, _HASH_LENGTH)
    subscriber = make_table(
        config.table,
        sa.Column("id", sa.Integer, primary_key=True),
        *(_filled(name, sa.VARCHAR(_NAME_LENGTH)) for name in names),
        *(_filled(name, sa.VARCHAR(length)) for name, length in secrets.items()),
        *map(sha_2_column, SHA_2_COLUMNS),
        **_EXACT,
    )
    grp = make_table(
        config.group_table,
        sa.Column("id", sa.Integer, primary_key=True),
        *(_filled(name, sa.VARCHAR(_NAME_LENGTH)) for name in ("username", "domain", "grp")),
        sa.Column("last_modified", sa.DateTime, nullable=False, server_default="2000-01-01 00:00:01"),
        **_EXACT,
    )
    version = make_table(
        "version",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("table_name", sa.VARCHAR(32), nullable=False, unique=True),
        sa.Column("table_version", sa.Integer, nullable=False, server_default="0"),
    )
    _unique(subscriber, "account_idx", *names)
    _unique(grp, "account_group_idx", "username", "domain", "grp")
    _index(subscriber, "domain_idx", config.domain_column, config.user_column)
    _index(grp, "domain_idx", "domain")
    return {"version": version, "subscriber": subscriber, "grp": grp}


def sha_2_column(name: str) -> sa.Column[Any]:
    """A column for an HA1 by SHA-2."""
    return _filled(name, sa.VARCHAR(HA1_LENGTHS[name]))  # a CHAR of PostgreSQL would fill "" up with spaces


def _filled(name: str, kind: sa.types.TypeEngine[Any]) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, server_default="", quote=True)


def _unique(table: sa.Table, name: str, *columns: str) -> None:
    table.append_constraint(sa.UniqueConstraint(*columns, name=f"{table.name}_{name}"))


def _index(table: sa.Table, name: str, *columns: str) -> None:
    sa.Index(f"{table.name}_{name}", *(table.c[column] for column in columns))


def rows_of(versions: Sequence[str], config: StoreConfig) -> list[dict[str, Any]]:
    """The rows of the table ``version`` for tables by Kamailio's names."""
    names = {"version": "version", "subscriber": config.table, "grp": config.group_table}
    return [{"table_name": names[each], "table_version": TABLE_VERSIONS[each]} for each in versions]
