"""All SQL with which the SQLite store reads and changes subscribers and groups.

The statements fit the tables that a database has: Kamailio's, OpenSIPS', ours, and those that lack an index
or a column. :mod:`auth_diameter.store.schema` says how tables are made, and
:mod:`auth_diameter.store.csvimport` has temporary ones of its own.

No value is ever part of a statement. The names in it are constants of these modules.
"""
# ruff: noqa: S608 -- names from here and from the database's own list of columns, see above

from __future__ import annotations

import sqlite3
from typing import Final

from auth_diameter.store import schema
from auth_diameter.store.hashes import HA1_COLUMNS, Hashes

#: What a row of ``subscriber`` authenticates with.
SECRET_COLUMNS: Final = (*Hashes._fields, "password")
#: Parameters of one name in `Statements.secrets`, and of one in `Statements.members`.
ASKED_WIDTH: Final = 3
#: Names that one statement asks for at most.
MAX_ASKED: Final = 256

USERNAMES: Final = "SELECT username FROM subscriber WHERE domain = ? COLLATE NOCASE"
COUNT_USERS: Final = "SELECT count(*) FROM subscriber"
IS_SERVED: Final = "SELECT 1 FROM subscriber WHERE domain = ? LIMIT 1"
#: The domain of an existing user as its row has it; with the folded domain given twice, that one comes first.
STORED_DOMAIN: Final = (
    "SELECT domain FROM subscriber WHERE username = ? AND domain = ? COLLATE NOCASE"
    " ORDER BY domain <> ?, domain LIMIT 1"
)
DELETE_USER: Final = "DELETE FROM subscriber WHERE username = ? AND domain = ? COLLATE NOCASE"
GROUPS: Final = (
    "SELECT DISTINCT grp FROM grp WHERE username = ? AND (? = '' OR domain = ? COLLATE NOCASE) ORDER BY grp"
)
DELETE_GROUPS: Final = "DELETE FROM grp WHERE username = ? AND domain = ? COLLATE NOCASE"
DELETE_GROUP: Final = f"{DELETE_GROUPS} AND grp = ?"


class Statements:
    """What the tables of a database have, and the statements for them.

    Attributes:
        subscriber: the columns of these tables, in lower case.
        grp: the columns of these tables, in lower case.
        lacking: the first column that must be there and is not; None: all are.
        usual_of_realm: the domain of some users and whether they have each HA1. Parameters: the domain, how
            many users. None: there is no index for it.
        usual_first: the same of the first users of the table. Parameter: how many.
        usual_all_over: the same of users at places all over the table, whose rows must have numbers.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Raises:
        sqlite3.Error: the database could not be read.
        """
        self.subscriber = schema.column_names(connection, "subscriber")
        self.grp = schema.column_names(connection, "grp")
        lacking = sorted({"username", "domain"} - self.subscriber)
        if not self.subscriber & {"ha1", "password"}:
            lacking.append("ha1")
        self.lacking = lacking[0] if lacking else None
        # OpenSIPS has no ha1b, Kamailio no SHA-2; who lets Kamailio calculate HA1 may have dropped more.
        chosen = {name: name if name in self.subscriber else "''" for name in SECRET_COLUMNS}
        self._secret_columns = ", ".join(chosen.values())
        self._row = None if lacking else _even_row(connection)
        self._secrets: dict[int, str] = {}
        self._domains = {
            table: _domains(table, schema.has_index_on(connection, table, "domain"))
            for table, columns in (("subscriber", self.subscriber), ("grp", self.grp))
            if columns
        }
        ha1, password = chosen["ha1"], chosen["password"]
        self._users = f"SELECT username, domain, {ha1}, {password} <> '' FROM subscriber"
        has = ", ".join(
            f"coalesce(nullif({password}, ''), nullif({chosen[one]}, '')) IS NOT NULL"
            for one in HA1_COLUMNS.values()
        )
        self.usual_of_realm = None
        if schema.has_index_on(connection, "subscriber", "domain"):
            self.usual_of_realm = f"SELECT domain, {has} FROM subscriber WHERE domain = ? LIMIT ?"
        self.usual_first = f"SELECT domain, {has} FROM subscriber LIMIT ?"
        self.usual_all_over = _all_over(has)

    # -- lookups --

    def domains(self, table: str) -> str | None:
        """All domains of a table; None: there is no such table."""
        return self._domains.get(table)

    def secrets(self, asked: int) -> str:
        """What several users authenticate with, by the same steps for each of them, known or unknown.

        Parameters: for each user whether a neighbour is looked for downwards, the username, the domain; then
        how many of these users count. Columns of a row: the number of the user, from 0 on; whether the row is
        theirs; `SECRET_COLUMNS`. An unknown user has the row of a neighbour, or none.

        Args:
            asked: how many users there is room for.
        """
        statement = self._secrets.get(asked)
        if statement is None:
            is_it, place = self._row or ("1", "(s.username = asked.username) AND (s.domain = asked.domain)")
            statement = self._secrets[asked] = (
                f"{_asked(asked, 'below, username, domain')}"
                f" SELECT asked.n, {is_it}, {self._secret_columns}"
                f" FROM asked CROSS JOIN subscriber AS s WHERE {place}"
            )
        return statement

    def members(self, asked: int) -> str:
        """The numbers of those who are in a group.

        Parameters: for each the username, the domain or "" for any, the group; then how many of these count.
        """
        there = "SELECT 1 FROM grp AS g WHERE g.username = asked.username AND g.grp = asked.grp"
        return (
            f"{_asked(asked, 'username, domain, grp')} SELECT n FROM asked WHERE CASE WHEN domain = ''"
            f" THEN EXISTS ({there}) ELSE EXISTS ({there} AND g.domain = asked.domain) END"
        )

    # -- lists and changes --

    def users(self, *, of_domain: bool) -> str:
        """All users, or those of one domain, by domain and username."""
        where = " WHERE domain = ? COLLATE NOCASE" if of_domain else ""
        return f"{self._users}{where} ORDER BY domain, username"

    def holds(self, columns: tuple[str, ...]) -> str:
        """Whether a row has these contents; parameters: username, domain, contents."""
        same = "".join(f" AND {column} = ?" for column in columns)
        return f"SELECT 1 FROM subscriber WHERE username = ? AND domain = ?{same}"

    def update_user(self, columns: tuple[str, ...]) -> str:
        """Give a row other contents; parameters: contents, username, domain."""
        assignments = ", ".join(f"{column} = ?" for column in columns)
        return f"UPDATE subscriber SET {assignments} WHERE username = ? AND domain = ?"

    def insert_user(self, columns: tuple[str, ...]) -> str:
        """Add a row; parameters as of `update_user`."""
        names = (*columns, "username", "domain")
        return f"INSERT INTO subscriber ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"

    def insert_group(self) -> str:
        """Add a row to ``grp`` unless it is there; parameters, twice: username, domain, group."""
        stamp = "last_modified" in self.grp
        return (
            f"INSERT INTO grp (username, domain, grp{', last_modified' if stamp else ''})"
            f" SELECT ?, ?, ?{', datetime()' if stamp else ''} WHERE NOT EXISTS"
            " (SELECT 1 FROM grp WHERE username = ? AND domain = ? COLLATE NOCASE AND grp = ?)"
        )


def _asked(rows: int, columns: str) -> str:
    """A table of that many rows of parameters, of which the last parameter says how many count."""
    marks = ", ".join(["?"] * ASKED_WIDTH)
    values = ", ".join(f"({n}, {marks})" for n in range(rows))
    return f"WITH asked(n, {columns}) AS (SELECT * FROM (VALUES {values}) LIMIT ?)"


def _even_row(connection: sqlite3.Connection) -> tuple[str, str] | None:
    """Say whether a row is the user's, and which row it is, by the same steps for a user who does not exist.

    It is the row at the place of the name in the index, or the next one. At the end of the index, the table's
    first row stands in. The next row is looked for upwards, and for ``user`` of ``user@domain`` downwards, so
    that an unknown user has two rows to read, too.

    Returns:
        None where there is no such index, or the rows have no number: then an unknown user is found missing
        sooner than a known one is read.
    """
    # Of the ways to say it, these are the ones with which SQLite runs through as many steps in either case.
    if schema.has_index_on(connection, "subscriber", "domain", "username"):
        is_it = "(s.domain <> asked.domain) + (s.username <> asked.username) = 0"
        place = "p.domain = asked.domain AND p.username {at} asked.username ORDER BY p.username {order}"
    elif schema.has_index_on(connection, "subscriber", "username", "domain"):  # Kamailio's only one
        # A neighbour is told apart sooner in this index; comparing the username three times makes up for it.
        same = "(s.username = asked.username)"
        is_it = f"(s.domain = asked.domain) + {same} + {same} + {same} = 4"
        place = (
            "(p.username, p.domain) {at} (asked.username, asked.domain)"
            " ORDER BY p.username {order}, p.domain {order}"
        )
    else:
        return None
    above, below = (
        f"(SELECT p.rowid FROM subscriber AS p WHERE {place.format(at=at, order=order)} LIMIT 1)"
        for at, order in ((">=", "ASC"), ("<=", "DESC"))
    )
    at = f"CASE asked.below WHEN 0 THEN {above} ELSE {below} END"
    row = f"s.rowid = coalesce({at}, (SELECT rowid FROM subscriber LIMIT 1))"
    try:
        connection.execute("EXPLAIN SELECT rowid FROM subscriber")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
            raise
        return None  # no such column: rowid
    return is_it, row


def _domains(table: str, indexed: bool) -> str:
    if not indexed:
        return f"SELECT DISTINCT domain FROM {table} WHERE domain IS NOT NULL"
    # From each domain straight to the next one: as many steps as there are domains.
    return (
        f"WITH RECURSIVE d(name) AS (SELECT min(domain) FROM {table} UNION ALL"
        f" SELECT (SELECT min(domain) FROM {table} WHERE domain > d.name) FROM d"
        " WHERE d.name IS NOT NULL) SELECT name FROM d WHERE name IS NOT NULL"
    )


def _all_over(has: str) -> str:
    # Places by a generator of Lehmer's, for what is evenly apart may all be of one realm or kind.
    return (
        "WITH RECURSIVE ends(low, high) AS"
        " (SELECT (SELECT min(rowid) FROM subscriber), (SELECT max(rowid) FROM subscriber)),"
        " draw(number, seed) AS (VALUES (1, 1) UNION ALL"
        " SELECT number + 1, seed * 48271 % 2147483647 FROM draw WHERE number < ?),"
        " place(at) AS"
        " (SELECT low + CAST((high - low) * (seed / 2147483647.0) AS INTEGER) FROM draw, ends)"
        f" SELECT domain, {has} FROM subscriber WHERE rowid IN"
        " (SELECT (SELECT rowid FROM subscriber WHERE rowid >= at ORDER BY rowid LIMIT 1) FROM place)"
    )
