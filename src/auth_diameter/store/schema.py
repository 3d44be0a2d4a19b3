"""The database file below the SQLite store: Kamailio's tables, opening, and SQLite's errors in words.

The tables are those that Kamailio 5.x makes for its modules ``auth_db`` (``subscriber``, table
version 7) and ``group`` (``grp``, table version 2), with the ``version`` table that Kamailio asks
before it uses either. Beside Kamailio's columns stand those of OpenSIPS for HA1 by SHA-256 and
SHA-512/256, which Kamailio does not look at. A file that Kamailio's own scripts made is used as it is:
no index or journal mode of it is changed, and the two columns are added to it when it is first written
to, which the log says.

Everything that goes wrong here is a :class:`ConfigError` of one line: which file, what, and what
helps. None of these lines holds a value from a row.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sqlite3
from pathlib import Path
from typing import Final, NamedTuple

from auth_diameter._core import ConfigError

_log = logging.getLogger("auth_diameter.disc.schema")

#: A database that lives only as long as its connection; SQLite's own name for it.
MEMORY: Final = ":memory:"

# RFC 3986 3.1. A scheme alone is none: the name of a file may hold colons.
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
# What a URL may be shown with: host, port and path. In anything else a password could be.
_SHOWN: Final = re.compile(r"[A-Za-z0-9._~:/\[\]-]*")

#: How long a reader waits for a lock, in seconds. Only a database with a rollback journal makes a
#: reader wait at all, and a SIP client's first retransmission comes after 0.5 s (RFC 3261 T1).
READER_WAIT: Final = 0.25

#: How long a writer waits for another writer, in seconds: some batches of an import.
WRITER_WAIT: Final = 5.0

#: The tables and the ``table_version`` that Kamailio 5.x requires of them.
TABLE_VERSIONS: Final = {"version": 1, "subscriber": 7, "grp": 2}

# Kamailio indexes subscriber.username once more, which its unique index already begins with. In its
# place stands an index that begins with the domain, for listing a domain and for finding all
# domains without a scan; Kamailio looks at no index.
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

#: Columns that an older table lacks.
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


def database_path(name: str) -> str:
    """Give the path of an SQLite database that is named by its path or as ``sqlite:///PATH``.

    What follows the three slashes is the path as it is: relative as long as it begins with no slash of its
    own, so that the URL of ``/var/lib/users.sqlite`` has four.

    Raises:
        ConfigError: another URL. The line shows no password: what stands before the host is cut, and what may
            be one further on, too.
    """
    url = _URL.fullmatch(name)
    if url is None:
        return name
    scheme, rest = url[1].lower(), url[2]
    if scheme == "sqlite":
        if rest[:1] == "/" and rest[1:] and not {"?", "#"} & set(rest):
            return rest[1:]
        why = "expected sqlite:///PATH, with four slashes for a path from the root, and no options"
    else:
        why = "such a database cannot be used yet; name a file of SQLite, by its path or as sqlite:///PATH"
    shown = rest.rpartition("@")[2]
    if not _SHOWN.fullmatch(shown):
        shown = "…"
    raise ConfigError(f"{scheme}://{shown}: {why}")


def describe(error: sqlite3.Error) -> str:
    """Say in one line what SQLite's error means for the operator; no value of a row is in it."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    message = " ".join(str(error).split())
    if code == sqlite3.SQLITE_CONSTRAINT:  # the message names columns, not values
        return f"the table refuses a row: {message}"
    return _WHAT_HAPPENED.get(code, message)


class Opened(NamedTuple):
    """A connection that is ready, and how it was had."""

    connection: sqlite3.Connection
    immutable: bool  # SQLite looks for no change of the file; whoever uses it must


def open_for_reading(path: str) -> Opened:
    """Open an existing database with a ``subscriber`` table for reading; nothing is created.

    The connection may repair what a killed writer left behind, where permissions let it, but
    takes no statement that writes. A WAL database on a medium or in a directory where its
    ``-shm`` file cannot be made is opened immutable.

    Raises:
        ConfigError: missing, unreadable, locked, damaged, no database, or without subscribers.
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
    if "subscriber" not in found:
        connection.close()
        raise ConfigError(f"{path}: has no table 'subscriber'; add a first user, or name Kamailio's database")
    return opened


def open_for_writing(path: str, *, exist_ok: bool = True) -> sqlite3.Connection:
    """Open a database for writing; a missing file, or missing tables, are created.

    A new file is readable by its owner only, for an HA1 is as good as a password, and keeps a
    write-ahead log, so that its readers never wait. Tables are only added to an empty database or
    to one of Kamailio's.

    Raises:
        ConfigError: the file cannot be made or written, is locked, damaged, no database, or somebody else's;
            or it exists and ``exist_ok`` is false.
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
    """All tables and views of the database, in lower case."""
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
    return frozenset(text(name).lower() for (name,) in rows)


def column_names(connection: sqlite3.Connection, table: str) -> frozenset[str]:
    """All columns of ``table``, in lower case; none when it does not exist."""
    rows = connection.execute("SELECT name FROM pragma_table_info(?)", (table,))
    return frozenset(text(name).lower() for (name,) in rows)


def has_index_on(connection: sqlite3.Connection, table: str, *columns: str) -> bool:
    """Whether an index of the whole ``table`` begins with ``columns``."""
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
    """Give a column as a string, whatever is in it; our connections give text as bytes."""
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
    """Connect and read once, for SQLite opens a file only when it is first asked for something."""
    target = path if path == MEMORY else f"{Path(path).absolute().as_uri()}?{mode}"
    # isolation_level=None: transactions are begun and ended in words, alike on every Python.
    # check_same_thread=False: a store may be handed on to another thread, see Store.
    connection = sqlite3.connect(
        target, timeout=wait, isolation_level=None, check_same_thread=False, uri=path != MEMORY
    )
    # As str, a password that is not UTF-8 would raise an exception that quotes it.
    connection.text_factory = bytes
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _is_quiet_wal(path: str) -> bool:
    """Whether the file keeps a write-ahead log, and that log is empty or gone.

    Byte 18 of the header is 2 in WAL mode, https://www.sqlite.org/fileformat.html#file_format_version_numbers
    """
    try:
        with open(path, "rb") as file:
            header = file.read(20)
        return header[:16] == b"SQLite format 3\0" and header[18] == 2 and wal_size(path) == 0
    except (OSError, IndexError):
        return False


def wal_size(path: str) -> int:
    """Bytes in the write-ahead log of the database; 0 when there is none."""
    try:
        return os.stat(path + "-wal").st_size
    except OSError:
        return 0


def _complete_schema(path: str, connection: sqlite3.Connection) -> None:
    if not table_names(connection):
        # Two processes may create the file at once: the one that comes second is told "busy",
        # and the mode is set by the other. A file system without shared memory keeps its journal.
        with contextlib.suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
    connection.execute("BEGIN IMMEDIATE")  # also the proof that the file can be written
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
