"""An open SQLite database: its file, its transactions, and its changes.

:mod:`auth_diameter.store.schema` has the schema and SQLite's errors in words.
:mod:`auth_diameter.store.sqlite` has the lookups.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final, Self

from auth_diameter._core import ConfigError
from auth_diameter.closing import Closing
from auth_diameter.store import schema
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.schema import describe
from auth_diameter.store.statements import Statements
from auth_diameter.store.store import StoreError
from auth_diameter.store.url import MEMORY, database_name

_log = logging.getLogger("auth_diameter.disc.database")

#: Seconds after which a replacement file that could not be used is tried again.
_RETRY_AFTER: Final = 1.0


class Database(Closing):
    """A connection to a database. Use it as a context manager, or :meth:`close` it.

    Reading raises :class:`StoreError`. Changing and opening raise :class:`ConfigError`. A database may move
    from one thread to another, but only one thread may use it at a time, and never across a fork.

    Args:
        path: the path of the file, or ``":memory:"``.
        connection: an open connection to it.
        writable: whether the connection is for writing.
        config: the names of the tables and of their columns.

    Attributes:
        connection: the connection to the current file.
        statements: the statements for its tables; replaced when the schema changes.
        seen_version: the last result of :meth:`version`.
    """

    statements: Statements

    def __init__(
        self,
        path: str,
        connection: sqlite3.Connection,
        *,
        writable: bool,
        config: StoreConfig | None = None,
    ) -> None:
        self.path: Final = path
        self.writable: Final = writable
        self.config: Final = config or StoreConfig()
        self._closed = False
        self._immutable = False
        self._stamp: tuple[int, ...] | None = None
        self._refused: tuple[int, ...] | None = None
        self._retry_at = 0.0
        self._doubtful = False
        self.seen_version = 0
        self._pragma_version = -1
        self._schema_version: tuple[Any, ...] | None = None
        self._use(connection)

    def _use(self, connection: sqlite3.Connection) -> None:
        """Switches to this connection.

        Raises:
            ConfigError: its database has no usable table of subscribers. The former connection stays in use.
        """
        try:
            statements = Statements(connection, self.config)
            schema_version = connection.execute("PRAGMA schema_version").fetchone()
        except sqlite3.Error as error:
            raise ConfigError(f"{self.path}: {describe(error)}") from None
        if statements.lacking:
            raise ConfigError(
                f"{self.path}: table {self.config.table!r} has no column {statements.lacking!r}"
            )
        self.statements, self._schema_version = statements, schema_version
        self.connection = connection

    # -- open and close --

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], *, writable: bool = False, config: StoreConfig | None = None
    ) -> Self:
        """Opens a database: an existing one for reading; for writing, a missing one is created.

        Args:
            path: the path of the file, or ``sqlite:///PATH``, or ``":memory:"``.
            writable: whether to open it for writing; a database in memory always is.
            config: the names of the tables and of their columns; None for the usual ones.

        Raises:
            ConfigError: the database cannot be used. The message is one line with the file, the cause and a
                remedy.
        """
        name = _path_of(path)
        if writable or name == MEMORY:
            return cls._create(name, config, exist_ok=True)
        # Before opening, so that no change is missed.
        stamps = _stamp(name, immutable=False), _stamp(name, immutable=True)
        config = config or StoreConfig()
        opened = schema.open_for_reading(name, config.table)
        database = cls._finish(name, opened.connection, writable=False, config=config)
        database._immutable, database._stamp = opened.immutable, stamps[opened.immutable]
        return database

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> Self:
        """Creates a new database and opens it for writing.

        Args:
            path: the path of the new file, or ``sqlite:///PATH``, or ``":memory:"`` for a database that ends
                with its connection.

        Raises:
            ConfigError: the file exists, or cannot be created.
        """
        return cls._create(_path_of(path), None, exist_ok=False)

    @classmethod
    def _create(cls, path: str, config: StoreConfig | None, *, exist_ok: bool) -> Self:
        # Here, since who only looks up needs no SQLAlchemy.
        from auth_diameter.store.creation import open_for_writing

        connection = open_for_writing(path, config or StoreConfig(), exist_ok=exist_ok)
        return cls._finish(path, connection, writable=True, config=config)

    @classmethod
    def _finish(
        cls,
        path: str,
        connection: sqlite3.Connection,
        *,
        writable: bool,
        config: StoreConfig | None = None,
    ) -> Self:
        try:
            return cls(path, connection, writable=writable, config=config)
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Closes the database. A second call does nothing; any other use raises from then on."""
        self._closed = True
        self.connection.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r}, writable={self.writable})"

    # -- the file and its changes --

    def version(self) -> int:
        """A number that grows when any process has changed the database.

        The call takes microseconds. A database open for reading also notices here that its file was replaced,
        and switches to the new file. So call this once a second even if you cache nothing.

        Raises:
            StoreError: the database could not be read.
        """
        if not self.writable:
            self._follow_the_file()
        row = self.first("PRAGMA data_version", ())
        seen = int(row[0]) if row else -1
        if seen != self._pragma_version:
            self._pragma_version = seen
            self.seen_version += 1
            self._follow_the_schema()
        return self.seen_version

    def _follow_the_schema(self) -> None:
        """Reads the tables' columns and indexes again if the schema has changed."""
        seen = self.first("PRAGMA schema_version", ())
        if seen != self._schema_version:
            # If the tables cannot be used any more, the next lookup raises.
            with contextlib.suppress(ConfigError):
                self._use(self.connection)
            self._schema_version = seen

    def _follow_the_file(self) -> None:
        """Switches to the file at our path if it is another one than the one we opened.

        An immutable connection is reopened after any change, since SQLite itself looks for none. If the new
        file cannot be used, the former one stays in use: the new one may still be being copied. The same file
        is opened again after a read error.
        """
        stamp, served = _stamp(self.path, immutable=self._immutable), self._stamp
        if stamp is None or self._closed or (stamp == served and not self._doubtful):
            return
        now = time.monotonic()
        if stamp == self._refused and now < self._retry_at:
            return
        former = self.connection
        stamps = _stamp(self.path, immutable=False), _stamp(self.path, immutable=True)
        try:
            opened = schema.open_for_reading(self.path, self.config.table)
            try:
                self._use(opened.connection)
            except BaseException:
                opened.connection.close()
                raise
        except ConfigError as error:
            if stamp not in (self._refused, served):
                _log.warning("%s (a new file; the former one serves on)", error)
            self._refused, self._retry_at = stamp, now + _RETRY_AFTER
            return
        former.close()
        self._doubtful = False
        self._immutable, self._stamp = opened.immutable, stamps[opened.immutable]
        self.seen_version += 1
        self._pragma_version = -1

    # -- reading --

    def first(self, query: str, parameters: Sequence[str | int | None]) -> tuple[Any, ...] | None:
        """The first row of a query; None if there is none. No row has a name that UTF-8 cannot encode.

        Raises:
            StoreError: the database could not be read.
        """
        # An import calls this for each of its rows, so it repeats what reading() does, without its cost.
        try:
            row: tuple[Any, ...] | None = self.connection.execute(query, parameters).fetchone()
        except UnicodeEncodeError:  # a lone surrogate, from bytes that were not UTF-8: no name has one
            return None
        except sqlite3.Error as error:
            raise self.failure(error) from None
        return row

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A block that reads, in which SQLite's errors become :class:`StoreError`.

        Raises:
            StoreError: the database could not be read.
        """
        try:
            yield self.connection
        except sqlite3.Error as error:
            raise self.failure(error) from None

    def failure(self, error: sqlite3.Error) -> StoreError:
        """SQLite's error as a :class:`StoreError`; the file will be reopened if that may help."""
        # After a file was damaged or truncated, SQLite's cached state outlasts the damage. A lock just ends.
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            self._doubtful = True
        return StoreError(f"{self.path}: {describe(error)}")


def _path_of(path: str | os.PathLike[str]) -> str:
    """The path of an SQLite file.

    Raises:
        ConfigError: it names no such file.
    """
    name = database_name(os.fspath(path))
    if name.kind != "sqlite":
        raise ConfigError(f"{name}: expected a file of SQLite")
    return name.text


def _stamp(path: str, *, immutable: bool) -> tuple[int, ...] | None:
    """The identity of a file, for an immutable connection also its state; None if it is missing."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    if not immutable:
        return (status.st_dev, status.st_ino)
    state = (status.st_size, status.st_mtime_ns, schema.wal_size(path))
    return (status.st_dev, status.st_ino, *state)
