"""The schema of the SQLite database, how it is opened, and SQLite's errors in words.

The tables are those that Kamailio 5.x creates for its modules ``auth_db`` (``subscriber``, table version 7)
and ``group`` (``grp``, table version 2), with the ``version`` table that Kamailio checks before it uses
either. Next to Kamailio's columns are those of OpenSIPS for HA1 by SHA-256 and SHA-512/256, which Kamailio
ignores. A database that Kamailio's own scripts created is used as it is: its indexes and its journal mode are
not changed. The two columns are added when it is first opened for writing, and the log says so.

Every failure here is a :class:`ConfigError` of one line: the file, the cause and a remedy. None of these
lines contains a value of a row.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from pathlib import Path
from typing import Final, NamedTuple

from auth_diameter._core import ConfigError
from auth_diameter.store.url import MEMORY

_log = logging.getLogger("auth_diameter.disc.schema")

#: Seconds for which a reader waits for a lock. Only a database with a rollback journal makes readers
#: wait. A SIP client's first retransmission comes after 0.5 s (T1 of RFC 3261).
READER_WAIT: Final = 0.25

#: Seconds for which a writer waits for another writer: some batches of an import.
WRITER_WAIT: Final = 5.0

#: The tables and the ``table_version`` that Kamailio 5.x requires of them.
TABLE_VERSIONS: Final = {"version": 1, "subscriber": 7, "grp": 2}

# Kamailio has a second index on subscriber.username, with which its unique index begins anyway. Here an
# index that begins with the domain takes its place: to list a domain, and to find all domains without a
# scan. Kamailio does not check the indexes.
_TABLES: Final = {
    "version": (
        """
        CREATE TABLE version (
            id INTEGER PRIMARY KEY NOT NULL,
            table_name VARCHAR(32) NOT NULL,
            table_version INTEGER NOT NULL DEFAULT 0,
            CONSTRAINT version_table_name_idx UNIQUE (table_name)
        )
        """,
    ),
    "subscriber": (
        """
        CREATE TABLE subscriber (
            id INTEGER PRIMARY KEY NOT NULL,
            username VARCHAR(64) NOT NULL DEFAULT '',
            domain VARCHAR(64) NOT NULL DEFAULT '',
            password VARCHAR(64) NOT NULL DEFAULT '',
            ha1 VARCHAR(128) NOT NULL DEFAULT '',
            ha1b VARCHAR(128) NOT NULL DEFAULT '',
            ha1_sha256 CHAR(64) NOT NULL DEFAULT '',
            ha1_sha512t256 CHAR(64) NOT NULL DEFAULT '',
            CONSTRAINT subscriber_account_idx UNIQUE (username, domain)
        )
        """,
        "CREATE INDEX subscriber_domain_idx ON subscriber (domain, username)",
    ),
    "grp": (
        """
        CREATE TABLE grp (
            id INTEGER PRIMARY KEY NOT NULL,
            username VARCHAR(64) NOT NULL DEFAULT '',
            domain VARCHAR(64) NOT NULL DEFAULT '',
            grp VARCHAR(64) NOT NULL DEFAULT '',
            last_modified TIMESTAMP WITHOUT TIME ZONE NOT NULL DEFAULT '2000-01-01 00:00:01',
            CONSTRAINT grp_account_group_idx UNIQUE (username, domain, grp)
        )
        """,
        "CREATE INDEX grp_domain_idx ON grp (domain)",
    ),
}

#: Columns that an older table may not have.
_MORE_COLUMNS: Final = frozenset({"ha1_sha256", "ha1_sha512t256"})

# Primary result codes, https://www.sqlite.org/rescode.html
_WHAT_HAPPENED: Final = {
    sqlite3.SQLITE_PERM: "access is denied",
    sqlite3.SQLITE_BUSY: "is locked by another process; try again when that is done",
    sqlite3.SQLITE_LOCKED: "is locked by another statement; try again when that is done",
    sqlite3.SQLITE_READONLY: "cannot be written: check the permissions of the file, its directory "
    "and the medium",
    sqlite3.SQLITE_IOERR: "the disk failed to read or write it",
    sqlite3.SQLITE_CORRUPT: "is damaged; restore it from a copy",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: check the permissions of the file, its directory "
    "and the medium",
    sqlite3.SQLITE_NOTADB: "is not an SQLite database",
}


def describe(error: sqlite3.Error) -> str:
    """What SQLite's error means for the operator, in one line, without any value of a row."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    message = " ".join(str(error).split())
    if code == sqlite3.SQLITE_CONSTRAINT:  # SQLite's message names columns, not values
        return f"the table refuses a row: {message}"
    return _WHAT_HAPPENED.get(code, message)


class Opened(NamedTuple):
    """An open connection and its mode."""

    connection: sqlite3.Connection
    immutable: bool  # whether SQLite ignores changes of the file, so that the caller must watch for them


def open_for_reading(path: str, table: str = "subscriber") -> Opened:
    """Opens an existing database with a table of subscribers for reading; nothing is created.

    The connection may repair what a killed writer left behind, if permissions allow it, but it executes no
    statement that writes. A WAL database is opened immutable if its ``-shm`` file cannot be created, as on a
    read-only medium.

    Raises:
        ConfigError: the file is missing, unreadable, locked, damaged, not a database, or has no such table.
    """
    _require_file(path)
    try:
        opened = Opened(_connect(path, "mode=rw", READER_WAIT), immutable=False)
    except sqlite3.Error as error:
        if not _is_quiet_wal(path):
            raise ConfigError(f"{path}: {describe(error)}") from None
        try:
            opened = Opened(_connect(path, "mode=ro&immutable=1", READER_WAIT), immutable=True)
        except sqlite3.Error as second:
            raise ConfigError(f"{path}: {describe(second)}") from None
    connection = opened.connection
    try:
        connection.execute("PRAGMA query_only = ON")
        found = table_names(connection)
    except sqlite3.Error as error:
        connection.close()
        raise ConfigError(f"{path}: {describe(error)}") from None
    if table.lower() not in found:
        connection.close()
        raise ConfigError(f"{path}: has no table {table!r}; add a first user, or name Kamailio's database")
    return opened


def open_for_writing(path: str, *, exist_ok: bool = True) -> sqlite3.Connection:
    """Opens a database for writing; a missing file and missing tables are created.

    Only its owner can read a new file, since an HA1 is equivalent to the password. A new file has a
    write-ahead log, so that its readers never wait. Tables are added only to an empty database or to one of
    Kamailio's.

    Args:
        path: the path of the file, or ``":memory:"``.
        exist_ok: whether the file may exist.

    Raises:
        ConfigError: the file cannot be created or written, is locked, damaged, not a database, or of another
            application; or it exists and ``exist_ok`` is false.
    """
    if path != MEMORY:
        _create_file(path, exist_ok=exist_ok)
    connection: sqlite3.Connection | None = None
    try:
        connection = _connect(path, "mode=rw", WRITER_WAIT)
        _complete_schema(path, connection)
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        raise ConfigError(f"{path}: {describe(error)}") from None
    except BaseException:
        if connection is not None:
            connection.close()
        raise
    return connection


def table_names(connection: sqlite3.Connection) -> frozenset[str]:
    """The names of all tables and views, in lower case."""
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
    return frozenset(text(name).lower() for (name,) in rows)


def column_names(connection: sqlite3.Connection, table: str) -> frozenset[str]:
    """The names of all columns of ``table``, in lower case; empty if there is no such table."""
    rows = connection.execute("SELECT name FROM pragma_table_info(?)", (table,))
    return frozenset(text(name).lower() for (name,) in rows)


def has_index_on(connection: sqlite3.Connection, table: str, *columns: str) -> bool:
    """Whether an index of ``table`` begins with ``columns``; partial indexes do not count."""
    rows = connection.execute(
        "SELECT l.name, i.name FROM pragma_index_list(?) AS l, pragma_index_info(l.name) AS i"
        " WHERE l.partial = 0 AND i.seqno < ? ORDER BY l.name, i.seqno",
        (table, len(columns)),
    )
    indexes: dict[str, list[str]] = {}
    for index, column in rows:
        indexes.setdefault(text(index), []).append(text(column).lower())
    return list(columns) in indexes.values()


def text(value: object) -> str:
    """A column's value as a string, of whatever type it is. Our connections return text as bytes."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)


def _require_file(path: str) -> None:
    try:
        with open(path, "rb") as file:
            file.read(1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such database; adding a first user creates it") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _create_file(path: str, *, exist_ok: bool) -> None:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if not exist_ok:
            raise ConfigError(f"{path}: exists already; name a new file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be created: {error.strerror}") from None


def _connect(path: str, mode: str, wait: float) -> sqlite3.Connection:
    """Connects and executes a first query, since SQLite opens the file only then."""
    target = path if path == MEMORY else f"{Path(path).absolute().as_uri()}?{mode}"
    # isolation_level=None: transactions begin and end with explicit statements, on every Python version.
    # check_same_thread=False: a store may move to another thread; see Database.
    connection = sqlite3.connect(
        target, timeout=wait, isolation_level=None, check_same_thread=False, uri=path != MEMORY
    )
    # With str, a password that is not UTF-8 would raise an exception that quotes the password.
    connection.text_factory = bytes
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _is_quiet_wal(path: str) -> bool:
    """Whether the file is in WAL mode and its write-ahead log is empty or missing.

    Byte 18 of the header is 2 in WAL mode: https://www.sqlite.org/fileformat.html#file_format_version_numbers
    """
    try:
        with open(path, "rb") as file:
            header = file.read(20)
        return header[:16] == b"SQLite format 3\0" and header[18] == 2 and wal_size(path) == 0
    except (OSError, IndexError):
        return False


def wal_size(path: str) -> int:
    """The size of the database's write-ahead log in bytes; 0 if there is none."""
    try:
        return os.stat(path + "-wal").st_size
    except OSError:
        return 0


def _complete_schema(path: str, connection: sqlite3.Connection) -> None:
    if not table_names(connection):
        # If two processes create the file at once, the second gets "busy" and the first sets the mode.
        # On a file system without shared memory the rollback journal stays.
        with contextlib.suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
    connection.execute("BEGIN IMMEDIATE")  # fails if the file cannot be written
    try:
        found = table_names(connection)
        missing = [table for table in _TABLES if table not in found]
        if missing and found and not found & {"version", "subscriber"}:
            raise ConfigError(f"{path}: is a database for something else; name another file")
        if "subscriber" in found and "ha1" not in column_names(connection, "subscriber"):
            raise ConfigError(f"{path}: table 'subscriber' has no column 'ha1' to write to")
        for table in missing:
            for statement in _TABLES[table]:
                connection.execute(statement)
            connection.execute(
                "INSERT INTO version (table_name, table_version) SELECT ?, ?"
                " WHERE NOT EXISTS (SELECT 1 FROM version WHERE table_name = ?)",
                (table, TABLE_VERSIONS[table], table),
            )
        added = _MORE_COLUMNS - column_names(connection, "subscriber")
        for column in sorted(added):
            connection.execute(f"ALTER TABLE subscriber ADD COLUMN {column} CHAR(64) NOT NULL DEFAULT ''")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    if added:
        _log.warning(
            "%s: table 'subscriber' now has the columns %s; its users have MD5 alone as yet",
            path,
            ", ".join(sorted(added)),
        )
