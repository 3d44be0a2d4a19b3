"""What a database of SQLite has, how it is opened for reading, and SQLite's errors in words.

:mod:`auth_diameter.store.creation` opens it for writing.

Every failure here is a :class:`ConfigError` of one line: the file, the cause and a remedy. None of these
lines contains a value of a row.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final, NamedTuple

from auth_diameter._core import ConfigError
from auth_diameter.store.url import MEMORY

#: Seconds for which a reader waits for a lock. Only a database with a rollback journal makes readers
#: wait. A SIP client's first retransmission comes after 0.5 s (T1 of RFC 3261).
READER_WAIT: Final = 0.25

#: Seconds for which a writer waits for another writer: some batches of an import.
WRITER_WAIT: Final = 5.0

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

    Args:
        path: the path of the file.
        table: the name of the table.

    Raises:
        ConfigError: the file is missing, unreadable, locked, damaged, not a database, or has no such table.
    """
    _require_file(path)
    try:
        opened = Opened(connect(path, "mode=rw", READER_WAIT), immutable=False)
    except sqlite3.Error as error:
        if not _is_quiet_wal(path):
            raise ConfigError(f"{path}: {describe(error)}") from None
        try:
            opened = Opened(connect(path, "mode=ro&immutable=1", READER_WAIT), immutable=True)
        except sqlite3.Error as second:
            raise ConfigError(f"{path}: {describe(second)}") from None
    connection = opened.connection
    try:
        connection.execute("PRAGMA query_only = ON")
        found = table_names(connection)
    except sqlite3.Error as error:
        connection.close()
        raise ConfigError(f"{path}: {describe(error)}") from None
    if table.rpartition(".")[2].lower() not in found:
        connection.close()
        raise ConfigError(f"{path}: has no table {table!r}; add a first user, or name Kamailio's database")
    return opened


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


def connect(path: str, mode: str, wait: float) -> sqlite3.Connection:
    """Connects and executes a first query, since SQLite opens the file only then.

    Args:
        path: the path of the file, or ``":memory:"``.
        mode: parameters of the file's URI.
        wait: seconds to wait for a lock.

    Raises:
        sqlite3.Error: the database cannot be used.
    """
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
