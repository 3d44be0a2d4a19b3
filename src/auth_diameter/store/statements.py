"""All SQL with which the SQLite store looks subscribers and groups up.

The statements fit the tables of the database: Kamailio's, OpenSIPS', our own, and tables without an index or
a column. :mod:`auth_diameter.store.accounts` changes them, through SQLAlchemy.

No value is ever part of a statement. The names in a statement are constants of this module, or checked names
of the settings.
"""
# ruff: noqa: S608 -- the names are constants and columns of the database, see above

from __future__ import annotations

import sqlite3
from typing import Final, Literal

from auth_diameter.store import schema
from auth_diameter.store.columns import Columns, columns_of
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.hashes import HA1_COLUMNS

_USUAL: Final = StoreConfig()

#: Parameters for each name in `Statements.secrets` and `Statements.members`.
ASKED_WIDTH: Final = 3
#: Names that one statement looks up at most.
MAX_ASKED: Final = 256


class Statements:
    """The statements that fit the tables of a database.

    Args:
        connection: a connection to the database.
        config: the names of the tables and of their columns.

    Attributes:
        columns: the columns of the table of subscribers; None if one is missing.
        subscriber: the names of all its columns, in lower case.
        grp: the columns of the table of groups, in lower case; empty if there is no such table.
        lacking: the first required column that is missing; None if all exist.
        usernames: all usernames of a realm. Parameter: the domain, in any case of its letters; with
            ``domain=False`` it does not count.
        usual_of_realm: the domain of some users of a realm, and for each algorithm whether they have an HA1.
            Parameters: the domain, the number of users. None if there is no index on the domain.
        usual_first: the same for the first users of the table. Parameter: the number of users.
        usual_all_over: the same for users at random places in the table, whose rows must have a rowid.
            Parameter: the number of users.
    """

    def __init__(self, connection: sqlite3.Connection, config: StoreConfig = _USUAL) -> None:
        """Reads the tables' columns and indexes.

        Raises:
            sqlite3.Error: the database could not be read.
        """
        self.subscriber = schema.column_names(connection, config.table)
        self.grp = schema.column_names(connection, config.group_table)
        found = columns_of(config, self.subscriber)
        self.columns = None if isinstance(found, str) else found
        self.lacking = found if isinstance(found, str) else None
        self._table, self._group_table = _quoted(config.table), _quoted(config.group_table)
        self._secrets: dict[int, str] = {}
        self._domains: dict[str, str] = {}
        if self.grp:
            indexed = schema.has_index_on(connection, config.group_table, "domain")
            self._domains["grp"] = _domains(self._group_table, "domain", indexed)
        columns = self.columns
        if columns is None:
            return
        # OpenSIPS has no ha1b and Kamailio no SHA-2. If Kamailio calculates HA1, more may have been dropped.
        chosen = {name: _quoted(column) if column else "''" for name, column in columns.secrets.items()}
        self._secret_columns = ", ".join(chosen.values())
        self._username = _quoted(columns.username)
        self._row = _even_row(connection, config.table, columns)
        of_realm = "? IS NOT NULL"
        domain, indexed = "''", False
        self._place = f"s.{self._username} = asked.username"
        if columns.domain is not None:
            domain = _quoted(columns.domain)
            indexed = schema.has_index_on(connection, config.table, columns.domain)
            of_realm = f"{domain} = ? COLLATE NOCASE"
            self._domains["subscriber"] = _domains(self._table, domain, indexed)
            self._place += f" AND s.{domain} = asked.domain"
        self.usernames = f"SELECT {self._username} FROM {self._table} WHERE {of_realm}"
        password = chosen["password"]
        has = ", ".join(
            f"coalesce(nullif({password}, ''), nullif({chosen[one]}, '')) IS NOT NULL"
            for one in HA1_COLUMNS.values()
        )
        self.usual_of_realm = (
            f"SELECT {domain}, {has} FROM {self._table} WHERE {domain} = ? LIMIT ?" if indexed else None
        )
        self.usual_first = f"SELECT {domain}, {has} FROM {self._table} LIMIT ?"
        self.usual_all_over = _all_over(self._table, f"{domain}, {has}")

    # -- lookups --

    def domains(self, table: Literal["subscriber", "grp"]) -> str | None:
        """The statement for all domains of the subscribers or of the groups; None if there are none."""
        return self._domains.get(table)

    def secrets(self, asked: int) -> str:
        """The statement for the secrets of several users, with the same steps for known and unknown.

        Parameters: for each user whether the neighbour is the next lower name, the username and the domain;
        then the number of users that count. Columns of a row: those of `Row`. For an unknown user there is a
        neighbour's row, or none.

        Args:
            asked: the number of users that the statement has parameters for.
        """
        statement = self._secrets.get(asked)
        if statement is None:
            is_it, place = self._row or ("1", self._place)
            statement = self._secrets[asked] = (
                f"{_asked(asked, 'below, username, domain')}"
                f" SELECT asked.n, {is_it}, {self._secret_columns}"
                f" FROM asked CROSS JOIN {self._table} AS s WHERE {place}"
            )
        return statement

    def members(self, asked: int) -> str:
        """The statement for the indexes of the names that are in a group.

        Parameters: for each name the username, the domain ("" for any) and the group; then the number of
        names that count.

        Args:
            asked: the number of names that the statement has parameters for.
        """
        there = (
            f"SELECT 1 FROM {self._group_table} AS g WHERE g.username = asked.username AND g.grp = asked.grp"
        )
        return (
            f"{_asked(asked, 'username, domain, grp')} SELECT n FROM asked WHERE CASE WHEN domain = ''"
            f" THEN EXISTS ({there}) ELSE EXISTS ({there} AND g.domain = asked.domain) END"
        )


def _asked(rows: int, columns: str) -> str:
    """A WITH clause for a table of parameters with `rows` rows.

    The last parameter says how many of the rows count.
    """
    marks = ", ".join(["?"] * ASKED_WIDTH)
    values = ", ".join(f"({n}, {marks})" for n in range(rows))
    return f"WITH asked(n, {columns}) AS (SELECT * FROM (VALUES {values}) LIMIT ?)"


def _quoted(name: str) -> str:
    """The name of a table, with that of its database before a dot or without, or of a column."""
    return ".".join(f'"{part}"' for part in name.split("."))


def _even_row(connection: sqlite3.Connection, table: str, columns: Columns) -> tuple[str, str] | None:
    """The SQL that selects a user's row, with the same steps for a user who does not exist.

    The SQL selects the row at the name's place in the index, or else the next row. At the end of the index it
    selects the table's first row. The next row is the next higher one, but for ``user`` of ``user@domain``
    the next lower one, so that an unknown user, too, has two different rows to read.

    Returns:
        An expression for whether the row is the user's, and a condition for the row. None if there is no
        suitable index or the rows have no rowid; then the time of a lookup tells whether the user exists.
    """
    username, name = _quoted(columns.username), _quoted(table)
    same = f"(s.{username} = asked.username)"
    # With these expressions SQLite takes the same number of steps for a known user and an unknown one.
    if columns.domain is None:
        if not schema.has_index_on(connection, table, columns.username):
            return None
        is_it = same
        place = f"p.{username} {{at}} asked.username ORDER BY p.{username} {{order}}"
    else:
        domain = _quoted(columns.domain)
        if schema.has_index_on(connection, table, columns.domain, columns.username):
            is_it = f"(s.{domain} <> asked.domain) + (s.{username} <> asked.username) = 0"
            place = (
                f"p.{domain} = asked.domain AND p.{username} {{at}} asked.username"
                f" ORDER BY p.{username} {{order}}"
            )
        elif schema.has_index_on(connection, table, columns.username, columns.domain):
            # Kamailio's only such index. In it SQLite recognises a neighbour in fewer steps. Three
            # comparisons of the username compensate for that.
            is_it = f"(s.{domain} = asked.domain) + {same} + {same} + {same} = 4"
            place = (
                f"(p.{username}, p.{domain}) {{at}} (asked.username, asked.domain)"
                f" ORDER BY p.{username} {{order}}, p.{domain} {{order}}"
            )
        else:
            return None
    above, below = (
        f"(SELECT p.rowid FROM {name} AS p WHERE {place.format(at=at, order=order)} LIMIT 1)"
        for at, order in ((">=", "ASC"), ("<=", "DESC"))
    )
    at = f"CASE asked.below WHEN 0 THEN {above} ELSE {below} END"
    row = f"s.rowid = coalesce({at}, (SELECT rowid FROM {name} LIMIT 1))"
    try:
        connection.execute(f"EXPLAIN SELECT rowid FROM {name}")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
            raise
        return None  # no such column: rowid
    return is_it, row


def _domains(table: str, domain: str, indexed: bool) -> str:
    if not indexed:
        return f"SELECT DISTINCT {domain} FROM {table} WHERE {domain} IS NOT NULL"
    # Each step goes from one domain straight to the next: as many steps as there are domains.
    return (
        f"WITH RECURSIVE d(name) AS (SELECT min({domain}) FROM {table} UNION ALL"
        f" SELECT (SELECT min({domain}) FROM {table} WHERE {domain} > d.name) FROM d"
        " WHERE d.name IS NOT NULL) SELECT name FROM d WHERE name IS NOT NULL"
    )


def _all_over(table: str, selected: str) -> str:
    # A Lehmer generator chooses the places: rows at even distances may all be of one realm or kind.
    return (
        "WITH RECURSIVE ends(low, high) AS"
        f" (SELECT (SELECT min(rowid) FROM {table}), (SELECT max(rowid) FROM {table})),"
        " draw(number, seed) AS (VALUES (1, 1) UNION ALL"
        " SELECT number + 1, seed * 48271 % 2147483647 FROM draw WHERE number < ?),"
        " place(at) AS"
        " (SELECT low + CAST((high - low) * (seed / 2147483647.0) AS INTEGER) FROM draw, ends)"
        f" SELECT {selected} FROM {table} WHERE rowid IN"
        f" (SELECT (SELECT rowid FROM {table} WHERE rowid >= at ORDER BY rowid LIMIT 1) FROM place)"
    )
