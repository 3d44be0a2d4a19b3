"""Many users at once: which of them a table has, and how they are written with few statements.

A server must not be asked for each row. PostgreSQL gets a batch as arrays, which it takes apart, and SQLite
as JSON. MariaDB gets lists of names, and its driver writes many rows with one statement.

Each function takes one batch: some thousand rows at most.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from auth_diameter.store.names import fold_realm
from auth_diameter.store.subscribers import BATCH, Member, Name, Row, User
from auth_diameter.store.tables import Text, column_or_nothing, exact, is_exactly

if TYPE_CHECKING:
    from auth_diameter.store.accounts import Accounts

_Select = sa.Select[*tuple[Any, ...]]


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
    statement = _of(accounts, _select(accounts), _key(accounts), _keys(accounts, names))
    with accounts.session.reading() as connection:
        return list(_rows(accounts, connection.execute(statement)))


def all_rows(accounts: Accounts) -> Iterator[Row]:
    """All rows, in the order of domains and usernames. Other statements may come between.

    Raises:
        StoreError: the database could not be read.
    """
    tables = accounts.tables
    order = [exact(column) for column in (tables.stored_domain, tables.username) if column is not None]
    return _rows(accounts, accounts.session.stream(_select(accounts).order_by(*order)))


def _select(accounts: Accounts) -> _Select:
    tables = accounts.tables
    names: list[Any] = [tables.username, column_or_nothing(tables.stored_domain)]
    return sa.select(*names, *(tables.subscriber.c[name] for name in tables.written), *tables.key)


def _rows(accounts: Accounts, found: Iterable[Sequence[Any]]) -> Iterator[Row]:
    """What `_select` reads."""
    first_key = 2 + len(accounts.tables.written)
    for row in found:
        yield Row(row[0], row[1], tuple(row[2:first_key]), tuple(row[first_key:]))


def insert(accounts: Accounts, users: Sequence[User]) -> None:
    """Writes rows of new users.

    Args:
        accounts: the open database, in a transaction.
        users: the users.

    Raises:
        sqlalchemy.exc.DBAPIError: the table refuses one.
    """
    if not users:
        return
    tables = accounts.tables
    columns = [tables.username.name, *tables.written]
    rows: Sequence[tuple[str, ...]] = users
    if tables.stored_domain is None:
        rows = [(user[0], *user[2:]) for user in users]
    else:
        columns.insert(1, tables.stored_domain.name)
    _insert(accounts, tables.subscriber, columns, rows)


def _insert(
    accounts: Accounts, table: sa.Table, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    connection = accounts.session.connection
    if connection.dialect.name == "postgresql":
        into = [table.c[name] for name in columns]
        given = _given(accounts, columns, rows, [column.type for column in into])
        values = [given[name] for name in columns]
        connection.execute(sa.insert(table).from_select(into, sa.select(*values)))
        return
    if all(isinstance(table.c[name].type, Text) for name in columns):
        # As SQL: SQLAlchemy would need a dict for each row, and look at each value.
        compiled = sa.insert(table).compile(connection, column_keys=list(columns))
        order = itemgetter(*(columns.index(name) for name in compiled.positiontup or ()))
        connection.exec_driver_sql(str(compiled), list(map(order, rows)))
        return
    connection.execute(sa.insert(table), [dict(zip(columns, row, strict=True)) for row in rows])


def replace(accounts: Accounts, users: Sequence[User]) -> None:
    """Writes other contents into rows that exist. A user who was deleted meanwhile is left out.

    Args:
        accounts: the open database, in a transaction.
        users: the users; the domain of each is as its row spells it.

    Raises:
        sqlalchemy.exc.DBAPIError: the table refuses one.
        StoreError: the database could not be read.
    """
    if not users:
        return
    tables, connection = accounts.tables, accounts.session.connection
    names = ["its_username", "its_domain", *(f"new_{n}" for n in range(len(tables.written)))]
    new: Mapping[str, Any] = {name: sa.bindparam(name) for name in names}
    if connection.dialect.name == "postgresql":
        new = _given(accounts, names, users)
    statement = sa.update(tables.subscriber).where(tables.is_user(new[names[0]], new[names[1]]))
    statement = statement.values(
        {name: new[its] for name, its in zip(tables.written, names[2:], strict=True)}
    )
    if connection.dialect.name == "postgresql":
        connection.execute(statement)
    elif connection.dialect.name == "sqlite" or not _replace_by_key(accounts, users):
        connection.execute(statement, [dict(zip(names, user, strict=True)) for user in users])


def _replace_by_key(accounts: Accounts, users: Sequence[User]) -> bool:
    """Replaces contents in MariaDB with one statement; returns whether the table is fit for it.

    MariaDB has no other way to change many rows, each in its own way. The primary keys are there, so that no
    row is inserted.
    """
    from sqlalchemy.dialects.mysql import insert as insert_in_mysql

    tables = accounts.tables
    names = [column.name for column in (tables.username, tables.stored_domain) if column is not None]
    columns = list(dict.fromkeys([*names, *tables.written, *(column.name for column in tables.key)]))
    if not tables.key or tables.needed(columns):
        return False
    contents = {user[:2]: user[2:] for user in users}
    rows = []
    for row in find(accounts, [(user[0], user[1]) for user in users]):
        new = contents.get((row.username, row.domain))
        if new is not None:
            values = dict(zip((column.name for column in tables.key), row.key, strict=True))
            values |= zip(names, (row.username, row.domain), strict=False)
            values |= zip(tables.written, new, strict=True)
            rows.append(values)
    if rows:
        insertion = insert_in_mysql(tables.subscriber)
        again = {name: insertion.inserted[name] for name in tables.written}
        accounts.session.connection.execute(insertion.on_duplicate_key_update(again), rows)
    return True


def delete(accounts: Accounts, names: Sequence[Name], spellings: Mapping[str, tuple[str, ...]]) -> int:
    """Deletes users and their memberships.

    Args:
        accounts: the open database, in a transaction.
        names: the usernames, and the domains as the rows spell them.
        spellings: what `Accounts.group_spellings` gives.

    Returns:
        The number of users.
    """
    if not names:
        return 0
    tables = accounts.tables
    members = memberships(accounts, names, spellings)
    found = _delete(accounts, tables.subscriber, _key(accounts), _keys(accounts, names))
    grp = tables.grp
    if grp is not None and members:
        key = [grp.c.username, grp.c.domain] if "domain" in grp.c else [grp.c.username]
        rows = sorted({(member.username, member.domain)[: len(key)] for member in members})
        _delete(accounts, grp, key, rows)
    return found


def _delete(
    accounts: Accounts,
    table: sa.Table,
    columns: Sequence[sa.Column[str]],
    rows: Sequence[tuple[str, ...]],
) -> int:
    """Deletes the rows whose columns have exactly these values; returns their number."""
    connection = accounts.session.connection
    statement = sa.delete(table)
    match connection.dialect.name:
        case "postgresql":
            given = _given(accounts, [column.key for column in columns], rows)
            same = [is_exactly(column, given[column.key]) for column in columns]
            return connection.execute(statement.where(*same)).rowcount
        case "sqlite":
            same = [is_exactly(column, sa.bindparam(f"old_{n}")) for n, column in enumerate(columns)]
            old = [{f"old_{n}": value for n, value in enumerate(row)} for row in rows]
            return connection.execute(statement.where(*same), old).rowcount
    there = sa.tuple_(*columns).in_(rows)
    exactly = sa.tuple_(*map(exact, columns)).in_(rows)
    return connection.execute(statement.where(there, exactly)).rowcount


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
        statement = _of(accounts, sa.select(grp.c.username, its_domain, grp.c.grp), columns, batch)
        with accounts.session.reading() as connection:
            for username, domain, group in connection.execute(statement):
                if (username, domain)[: len(columns)] in wanted:
                    found.append(Member(username, domain, group))
    return found


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
    accounts: Accounts,
    names: Sequence[str],
    rows: Sequence[Sequence[Any]],
    types: Sequence[sa.types.TypeEngine[Any]] = (),
) -> Mapping[str, sa.ColumnElement[Any]]:
    """A batch as a table of PostgreSQL or SQLite: its columns, by their names.

    Args:
        accounts: the open database.
        names: the names of the columns.
        rows: their values.
        types: their types; text, if there is none.
    """
    if accounts.session.connection.dialect.name == "sqlite":
        batch = sa.func.json_each(json.dumps(rows)).table_valued("value", name="given")
        return {name: sa.func.json_extract(batch.c.value, f"$[{n}]") for n, name in enumerate(names)}
    kinds = [sa.DateTime() if isinstance(kind, sa.DateTime) else sa.Text() for kind in types]
    kinds = kinds or [sa.Text()] * len(names)
    arrays = [
        sa.bindparam(None, list(values), type_=sa.ARRAY(kind))
        for kind, values in zip(kinds, zip(*rows, strict=True), strict=True)
    ]
    columns = [sa.column(name, kind) for name, kind in zip(names, kinds, strict=True)]
    batch = sa.func.unnest(*arrays).table_valued(*columns, name="given").render_derived()
    return {name: batch.c[name] for name in names}


def _of(
    accounts: Accounts,
    statement: _Select,
    columns: Sequence[sa.Column[str]],
    rows: Sequence[tuple[str, ...]],
) -> _Select:
    """A statement for the rows whose columns have the values of one of these.

    To the collation of the table: what is found must be compared again.
    """
    if accounts.session.connection.dialect.name == "mysql":
        return statement.where(sa.tuple_(*columns).in_(rows))
    given = _given(accounts, [column.key for column in columns], rows)
    return statement.where(*(column == given[column.key] for column in columns))
