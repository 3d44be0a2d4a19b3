"""Many users at once: which of them a table has, and how they are written with few statements.

A server must not be asked for each row. PostgreSQL gets a batch as arrays, which it takes apart. MariaDB and
SQLite get lists of names, and MariaDB's driver writes many rows with one statement.

Each function takes one batch: some thousand rows at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from auth_diameter.store.accounts import Accounts
from auth_diameter.store.names import fold_realm
from auth_diameter.store.tables import column_or_nothing, exact

#: A username and a domain as a row spells it.
Name = tuple[str, str]

#: Rows in one statement.
BATCH: Final = 1000


class Row(NamedTuple):
    """A row that exists.

    Attributes:
        username: the username.
        domain: the domain as the row spells it; "" if the table has none.
        contents: what is in the columns with a secret, by their names.
        key: what is in the columns of the primary key, by their names.
    """

    username: str
    domain: str
    contents: dict[str, str]
    key: dict[str, Any]

    def __repr__(self) -> str:
        return f"Row({self.username!r}, {self.domain!r})"


def find(accounts: Accounts, names: Sequence[Name]) -> list[Row]:
    """The rows that have these names, or what the table's collation takes for them.

    Args:
        accounts: the open database.
        names: usernames and domains; the domains do not count if users have none.

    Raises:
        StoreError: the database could not be read.
    """
    if not names:
        return []
    where = _among(accounts, _key(accounts), _keys(accounts, names))
    with accounts.session.reading() as connection:
        return list(_rows(accounts, connection.execute(_select(accounts).where(where))))


def all_rows(accounts: Accounts) -> Iterator[Row]:
    """All rows, in the order of domains and usernames. Other statements may come between.

    Raises:
        StoreError: the database could not be read.
    """
    tables = accounts.tables
    order = [exact(column) for column in (tables.stored_domain, tables.username) if column is not None]
    return _rows(accounts, accounts.session.stream(_select(accounts).order_by(*order)))


def _secrets(accounts: Accounts) -> list[sa.Column[str]]:
    """The columns with a secret."""
    tables = accounts.tables
    columns = [*tables.secrets.values(), *([tables.counting] if tables.counting is not None else [])]
    return list({column.name: column for column in columns}.values())


def _select(accounts: Accounts) -> sa.Select[*tuple[Any, ...]]:
    tables = accounts.tables
    names: list[Any] = [tables.username, column_or_nothing(tables.stored_domain)]
    return sa.select(*names, *_secrets(accounts), *tables.key)


def _rows(accounts: Accounts, found: Iterable[Sequence[Any]]) -> Iterator[Row]:
    """What `_select` reads."""
    secrets = [column.name for column in _secrets(accounts)]
    keys = [column.name for column in accounts.tables.key]
    first_key = 2 + len(secrets)
    for row in found:
        contents = dict(zip(secrets, row[2:first_key], strict=True))
        yield Row(row[0], row[1], contents, dict(zip(keys, row[first_key:], strict=True)))


def insert(accounts: Accounts, users: Sequence[tuple[Name, Mapping[str, str]]]) -> None:
    """Writes rows of new users.

    Args:
        accounts: the open database, in a transaction.
        users: the names of each, and the contents of the columns with a secret.

    Raises:
        sqlalchemy.exc.DBAPIError: the table refuses one.
    """
    if not users:
        return
    tables = accounts.tables
    names = [tables.username.name]
    if tables.stored_domain is not None:
        names.append(tables.stored_domain.name)
    columns = [*names, *users[0][1]]
    rows = [(*name[: len(names)], *contents.values()) for name, contents in users]
    _insert(accounts, tables.subscriber, columns, rows)


def _insert(
    accounts: Accounts, table: sa.Table, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    connection = accounts.session.connection
    if connection.dialect.name == "postgresql":
        given = _given(columns, [table.c[name].type for name in columns], rows)
        into = [table.c[name] for name in columns]
        connection.execute(sa.insert(table).from_select(into, sa.select(*given.c)))
        return
    keys = [table.c[name].key for name in columns]
    connection.execute(sa.insert(table), [dict(zip(keys, row, strict=True)) for row in rows])


def replace(accounts: Accounts, users: Sequence[tuple[Row, Mapping[str, str]]]) -> None:
    """Writes other contents into rows that exist.

    Args:
        accounts: the open database, in a transaction.
        users: the row of each, and the new contents of the columns with a secret.

    Raises:
        sqlalchemy.exc.DBAPIError: the table refuses one.
    """
    if not users:
        return
    tables, connection = accounts.tables, accounts.session.connection
    table, columns = tables.subscriber, list(users[0][1])
    if connection.dialect.name == "postgresql":
        names = ["username", "domain", *(f"new_{number}" for number in range(len(columns)))]
        rows = [(row.username, row.domain, *contents.values()) for row, contents in users]
        given = _given(names, [sa.String()] * len(names), rows)
        new = {column: given.c[name] for column, name in zip(columns, names[2:], strict=True)}
        where = tables.is_user(given.c.username, given.c.domain)
        connection.execute(sa.update(table).where(where).values(new))
        return
    whole = [{**row.key, **_names(accounts, row), **contents} for row, contents in users]
    if connection.dialect.name != "sqlite" and tables.key and not tables.needed(whole[0]):
        # MariaDB has no other way to change many rows, each in its own way, with one statement. The primary
        # key is there, so that no row is inserted.
        from sqlalchemy.dialects.mysql import insert as mysql_insert

        insertion = mysql_insert(table)
        again = {name: insertion.inserted[name] for name in columns}
        connection.execute(insertion.on_duplicate_key_update(again), whole)
        return
    its_name = tables.is_user(sa.bindparam("its_username"), sa.bindparam("its_domain"))
    parameters: dict[str, Any] = {name: sa.bindparam(f"new_{n}") for n, name in enumerate(columns)}
    connection.execute(
        sa.update(table).where(its_name).values(parameters),
        [
            {
                "its_username": row.username,
                "its_domain": row.domain,
                **{f"new_{n}": contents[name] for n, name in enumerate(columns)},
            }
            for row, contents in users
        ],
    )


def _names(accounts: Accounts, row: Row) -> dict[str, str]:
    """The names of a row, by the names of their columns."""
    columns = (accounts.tables.username, accounts.tables.stored_domain)
    values = (row.username, row.domain)
    return {column.name: value for column, value in zip(columns, values, strict=True) if column is not None}


def delete(accounts: Accounts, names: Sequence[Name]) -> int:
    """Deletes users and their memberships.

    Args:
        accounts: the open database, in a transaction.
        names: the usernames, and the domains as the rows spell them.

    Returns:
        The number of users.
    """
    if not names:
        return 0
    tables, connection = accounts.tables, accounts.session.connection
    members = memberships(accounts, names)
    where = _among(accounts, _key(accounts), _keys(accounts, names), exactly=True)
    found = connection.execute(sa.delete(tables.subscriber).where(where)).rowcount
    grp = tables.grp
    if grp is not None and members:
        key = [grp.c.username, grp.c.domain] if "domain" in grp.c else [grp.c.username]
        rows = sorted({(member.username, member.domain)[: len(key)] for member in members})
        connection.execute(sa.delete(grp).where(_among(accounts, key, rows, exactly=True)))
    return found


class Member(NamedTuple):
    """A membership: the names as its row spells them."""

    username: str
    domain: str
    group: str


def memberships(
    accounts: Accounts, names: Iterable[Name], spellings: Mapping[str, tuple[str, ...]] | None = None
) -> list[Member]:
    """The memberships of users, in any spelling of their domains.

    Args:
        accounts: the open database.
        names: the usernames and domains.
        spellings: what `Accounts.group_spellings` gives, for who asks often.

    Raises:
        StoreError: the database could not be read.
    """
    grp = accounts.tables.grp
    if grp is None:
        return []
    has_domains = "domain" in grp.c and accounts.tables.domain is not None
    wanted: set[tuple[str, ...]]
    if has_domains:
        known = accounts.group_spellings() if spellings is None else spellings
        wanted = {
            (username, each) for username, domain in names for each in known.get(fold_realm(domain), ())
        }
    else:
        wanted = {(username,) for username, _ in names}
    columns = [grp.c.username, *([grp.c.domain] if has_domains else [])]
    found: list[Member] = []
    rows = sorted(wanted)
    its_domain = column_or_nothing(grp.c.get("domain"))
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        statement = sa.select(grp.c.username, its_domain, grp.c.grp).where(_among(accounts, columns, batch))
        with accounts.session.reading() as connection:
            for username, domain, group in connection.execute(statement):
                if (username, domain)[: len(columns)] in wanted:
                    found.append(Member(username, domain, group))
    return found


def groups_of(
    accounts: Accounts, names: Sequence[Name], spellings: Mapping[str, tuple[str, ...]]
) -> list[list[str]]:
    """The groups of each user, sorted.

    Args:
        accounts: the open database.
        names: the usernames and domains.
        spellings: what `Accounts.group_spellings` gives.

    Raises:
        StoreError: the database could not be read.
    """
    found: dict[str, list[Member]] = {}
    for member in memberships(accounts, names, spellings):
        found.setdefault(member.username, []).append(member)
    return [
        sorted({each.group for each in found.get(username, ()) if accounts.same(each.domain, domain)})
        for username, domain in names
    ]


def insert_members(accounts: Accounts, members: Sequence[Member]) -> None:
    """Writes memberships that do not exist.

    Args:
        accounts: the open database, in a transaction.
        members: the memberships.

    Raises:
        ConfigError: there is no table of memberships.
        sqlalchemy.exc.DBAPIError: the table refuses one.
    """
    if not members:
        return
    grp = accounts.require_groups()
    columns, rows = ["username", "grp"], [[member.username, member.group] for member in members]
    more: dict[str, Sequence[Any]] = {}
    if "domain" in grp.c:
        more["domain"] = [member.domain for member in members]
    if "last_modified" in grp.c:
        more["last_modified"] = [accounts.session.now()] * len(members)
    whole = [[*row, *rest] for row, *rest in zip(rows, *more.values(), strict=True)]
    _insert(accounts, grp, [*columns, *more], whole)


def _key(accounts: Accounts) -> list[sa.Column[str]]:
    """The columns that tell users apart."""
    tables = accounts.tables
    return [tables.username] if tables.domain is None else [tables.username, tables.domain]


def _keys(accounts: Accounts, names: Iterable[Name]) -> list[tuple[str, ...]]:
    width = len(_key(accounts))
    return [name[:width] for name in names]


def _given(
    names: Sequence[str], types: Sequence[sa.types.TypeEngine[Any]], rows: Sequence[Sequence[Any]]
) -> sa.TableValuedAlias:
    """A batch as a table of PostgreSQL."""
    columns = list(zip(*rows, strict=True))
    arrays = [
        sa.bindparam(None, list(values), type_=sa.ARRAY(_array_type(kind)))
        for kind, values in zip(types, columns, strict=True)
    ]
    table = sa.func.unnest(*arrays).table_valued(
        *(sa.column(name, kind) for name, kind in zip(names, types, strict=True)), name="given"
    )
    return table.render_derived()


def _array_type(kind: sa.types.TypeEngine[Any]) -> sa.types.TypeEngine[Any]:
    return sa.DateTime() if isinstance(kind, sa.DateTime) else sa.Text()


def _among(
    accounts: Accounts,
    columns: Sequence[sa.Column[str]],
    rows: Sequence[tuple[str, ...]],
    *,
    exactly: bool = False,
) -> sa.ColumnElement[bool]:
    """The condition that the columns have the values of one of these rows.

    Args:
        accounts: the open database.
        columns: the columns.
        rows: their values.
        exactly: whether the condition compares byte for byte; otherwise what is found must be compared again.
    """
    if accounts.session.connection.dialect.name == "postgresql":
        given = _given([column.key for column in columns], [sa.String()] * len(columns), rows)
        same = [column == its for column, its in zip(columns, given.c, strict=True)]
        if exactly:
            same += [exact(column) == its for column, its in zip(columns, given.c, strict=True)]
        return sa.exists().select_from(given).where(*same)
    condition: sa.ColumnElement[bool] = sa.tuple_(*columns).in_(rows)
    if exactly:
        condition = sa.and_(condition, sa.tuple_(*map(exact, columns)).in_(rows))
    return condition
