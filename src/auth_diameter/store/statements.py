"""All SQL with which the SQLite store reads and changes subscribers and groups.

The statements fit the tables of the database: Kamailio's, OpenSIPS', our own, and tables without an index or
a column. :mod:`auth_diameter.store.schema` has the statements that create tables, and
:mod:`auth_diameter.store.csvimport` those for its temporary tables.

No value is ever part of a statement. The names in a statement are constants of these modules.
"""
# ruff: noqa: S608 -- the names are constants and columns of the database, see above

from __future__ import annotations

import sqlite3
from typing import Final

from auth_diameter.store import schema
from auth_diameter.store.hashes import HA1_COLUMNS, Hashes

#: The columns of ``subscriber`` with the hashes and the password.
SECRET_COLUMNS: Final = (*Hashes._fields, "password")
#: Parameters for each name in `Statements.secrets` and `Statements.members`.
ASKED_WIDTH: Final = 3
#: Names that one statement looks up at most.
MAX_ASKED: Final = 256

USERNAMES: Final = "SELECT username FROM subscriber WHERE domain = ? COLLATE NOCASE"
COUNT_USERS: Final = "SELECT count(*) FROM subscriber"
IS_SERVED: Final = "SELECT 1 FROM subscriber WHERE domain = ? LIMIT 1"
#: The domain of an existing user as its row spells it, the folded spelling first. Parameters: the username,
#: and twice the folded domain.
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
    """The statements that fit the tables of a database.

    Args:
        connection: a connection to the database.

    Attributes:
        subscriber: the columns of ``subscriber``, in lower case.
        grp: the columns of ``grp``, in lower case; empty if there is no such table.
        lacking: the first required column that is missing; None if all exist.
        usual_of_realm: the domain of some users of a realm, and for each algorithm whether they have an HA1.
            Parameters: the domain, the number of users. None if there is no index on ``domain``.
        usual_first: the same for the first users of the table. Parameter: the number of users.
        usual_all_over: the same for users at random places in the table, whose rows must have a rowid.
            Parameter: the number of users.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Reads the tables' columns and indexes.

        Raises:
            sqlite3.Error: the database could not be read.
        """
        self.subscriber = schema.column_names(connection, "subscriber")
        self.grp = schema.column_names(connection, "grp")
        lacking = sorted({"username", "domain"} - self.subscriber)
        if not self.subscriber & {"ha1", "password"}:
            lacking.append("ha1")
        self.lacking = lacking[0] if lacking else None
        # OpenSIPS has no ha1b and Kamailio no SHA-2. If Kamailio calculates HA1, more may have been dropped.
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
        """The statement for all domains of a table; None if there is no such table."""
        return self._domains.get(table)

    def secrets(self, asked: int) -> str:
        """The statement for the secrets of several users, with the same steps for known and unknown.

        Parameters: for each user whether the neighbour is the next lower name, the username and the domain;
        then the number of users that count. Columns of a row: the index of the user; whether the row is the
        user's; `SECRET_COLUMNS`. For an unknown user there is a neighbour's row, or none.

        Args:
            asked: the number of users that the statement has parameters for.
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
        """The statement for the indexes of the names that are in a group.

        Parameters: for each name the username, the domain ("" for any) and the group; then the number of
        names that count.

        Args:
            asked: the number of names that the statement has parameters for.
        """
        there = "SELECT 1 FROM grp AS g WHERE g.username = asked.username AND g.grp = asked.grp"
        return (
            f"{_asked(asked, 'username, domain, grp')} SELECT n FROM asked WHERE CASE WHEN domain = ''"
            f" THEN EXISTS ({there}) ELSE EXISTS ({there} AND g.domain = asked.domain) END"
        )

    # -- lists and changes --

    def users(self, *, of_domain: bool) -> str:
        """The statement for all users, or those of one domain, ordered by domain and username."""
        where = " WHERE domain = ? COLLATE NOCASE" if of_domain else ""
        return f"{self._users}{where} ORDER BY domain, username"

    def holds(self, columns: tuple[str, ...]) -> str:
        """The statement that finds a row with these contents.

        Parameters: username, domain, contents.
        """
        same = "".join(f" AND {column} = ?" for column in columns)
        return f"SELECT 1 FROM subscriber WHERE username = ? AND domain = ?{same}"

    def update_user(self, columns: tuple[str, ...]) -> str:
        """The statement that updates a row. Parameters: contents, username, domain."""
        assignments = ", ".join(f"{column} = ?" for column in columns)
        return f"UPDATE subscriber SET {assignments} WHERE username = ? AND domain = ?"

    def insert_user(self, columns: tuple[str, ...]) -> str:
        """The statement that inserts a row. Parameters: contents, username, domain."""
        names = (*columns, "username", "domain")
        return f"INSERT INTO subscriber ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"

    def insert_group(self) -> str:
        """The statement that inserts a row of ``grp`` unless it exists.

        Parameters: username, domain, group, and the same three again.
        """
        stamp = "last_modified" in self.grp
        return (
            f"INSERT INTO grp (username, domain, grp{', last_modified' if stamp else ''})"
            f" SELECT ?, ?, ?{', datetime()' if stamp else ''} WHERE NOT EXISTS"
            " (SELECT 1 FROM grp WHERE username = ? AND domain = ? COLLATE NOCASE AND grp = ?)"
        )


def _asked(rows: int, columns: str) -> str:
    """A WITH clause for a table of parameters with `rows` rows.

    The last parameter says how many of the rows count.
    """
    marks = ", ".join(["?"] * ASKED_WIDTH)
    values = ", ".join(f"({n}, {marks})" for n in range(rows))
    return f"WITH asked(n, {columns}) AS (SELECT * FROM (VALUES {values}) LIMIT ?)"


def _even_row(connection: sqlite3.Connection) -> tuple[str, str] | None:
    """The SQL that selects a user's row, with the same steps for a user who does not exist.

    The SQL selects the row at the name's place in the index, or else the next row. At the end of the index it
    selects the table's first row. The next row is the next higher one, but for ``user`` of ``user@domain``
    the next lower one, so that an unknown user, too, has two different rows to read.

    Returns:
        An expression for whether the row is the user's, and a condition for the row. None if there is no
        suitable index or the rows have no rowid; then the time of a lookup tells whether the user exists.
    """
    # With these expressions SQLite takes the same number of steps for a known user and an unknown one.
    if schema.has_index_on(connection, "subscriber", "domain", "username"):
        is_it = "(s.domain <> asked.domain) + (s.username <> asked.username) = 0"
        place = "p.domain = asked.domain AND p.username {at} asked.username ORDER BY p.username {order}"
    elif schema.has_index_on(connection, "subscriber", "username", "domain"):  # Kamailio's only such index
        # In this index SQLite recognises a neighbour in fewer steps. Three comparisons of the username
        # compensate for that.
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
    # Each step goes from one domain straight to the next: as many steps as there are domains.
    return (
        f"WITH RECURSIVE d(name) AS (SELECT min(domain) FROM {table} UNION ALL"
        f" SELECT (SELECT min(domain) FROM {table} WHERE domain > d.name) FROM d"
        " WHERE d.name IS NOT NULL) SELECT name FROM d WHERE name IS NOT NULL"
    )


def _all_over(has: str) -> str:
    # A Lehmer generator chooses the places: rows at even distances may all be of one realm or kind.
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
