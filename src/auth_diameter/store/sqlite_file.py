"""One open database: its file, its transactions, and when it has changed.

What is in it, :mod:`auth_diameter.store.sqlite` knows; what the file must be, and SQLite's errors in words,
:mod:`auth_diameter.store.schema`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Final, Self

from auth_diameter._core import ConfigError
from auth_diameter.store import schema
from auth_diameter.store.schema import describe
from auth_diameter.store.statements import Statements
from auth_diameter.store.store import StoreError

_log = logging.getLogger("auth_diameter.disc.database")

#: A file that took the place of ours and cannot be used is tried again after this many seconds.
_RETRY_AFTER: Final = 1.0


class Database:
    """A connection to a database; use it as a context manager, or :meth:`close` it.

    Reading raises :class:`StoreError`, changing and opening raise :class:`ConfigError`. A database may
    be handed from one thread to another, but is used by one at a time, and never across a fork.

    Attributes:
        statements: those that fit its tables; others when the tables are others.
        seen_version: the number that :meth:`version` gave last.
    """

    statements: Statements

    def __init__(self, path: str, connection: sqlite3.Connection, *, writable: bool) -> None:
        self.path: Final = path
        self.writable: Final = writable
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
        """Go over to the database behind this connection.

        Raises:
            ConfigError: it has no subscribers; the former connection stays in use.
        """
        try:
            statements = Statements(connection)
            schema_version = connection.execute("PRAGMA schema_version").fetchone()
        except sqlite3.Error as error:
            raise ConfigError(f"{self.path}: {describe(error)}") from None
        if statements.lacking:
            raise ConfigError(f"{self.path}: table 'subscriber' has no column {statements.lacking!r}")
        self.statements, self._schema_version = statements, schema_version
        self.connection = connection

    # -- open and close --

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, writable: bool = False) -> Self:
        """Open a database: for reading it must exist, for writing it is created when missing.

        Args:
            path: of a file, also as ``sqlite:///PATH``, or ``":memory:"``.

        Raises:
            ConfigError: it cannot be used; one line with the file, the cause and what helps.
        """
        name = schema.database_path(os.fspath(path))
        if writable or name == schema.MEMORY:
            return cls._finish(name, schema.open_for_writing(name), writable=True)
        stamps = _stamp(name, False), _stamp(name, True)  # before: a change from now on is seen
        opened = schema.open_for_reading(name)
        database = cls._finish(name, opened.connection, writable=False)
        database._immutable, database._stamp = opened.immutable, stamps[opened.immutable]
        return database

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> Self:
        """Create a new database, open for writing; ``":memory:"`` is one that dies with the store.

        Raises:
            ConfigError: the file exists, or cannot be made.
        """
        name = schema.database_path(os.fspath(path))
        return cls._finish(name, schema.open_for_writing(name, exist_ok=False), writable=True)

    @classmethod
    def _finish(cls, path: str, connection: sqlite3.Connection, *, writable: bool) -> Self:
        try:
            return cls(path, connection, writable=writable)
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Close the database; a second call does nothing, any other use raises from then on."""
        self._closed = True
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r}, writable={self.writable})"

    # -- its file, and when it has changed --

    def version(self) -> int:
        """Give a number that grows when anyone has changed the database: drop caches then.

        It costs microseconds. A reader also notices here that the file was replaced by another
        one and goes over to that; so ask once a second even where nothing is cached.

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
        """Look again at what is in the database, when a writer has given an older one more columns."""
        seen = self.first("PRAGMA schema_version", ())
        if seen != self._schema_version:
            # Where nothing of use is left, the next lookup says so.
            with contextlib.suppress(ConfigError):
                self._use(self.connection)
            self._schema_version = seen

    def _follow_the_file(self) -> None:
        """Go over to the file that is now under our path, when it is another one than we opened.

        Under immutable reading any change counts, for SQLite itself looks for none. When the new
        one cannot be used, the former one goes on serving: it may just be being copied. The same file is
        opened once more when it could not be read.
        """
        stamp, served = _stamp(self.path, self._immutable), self._stamp
        if stamp is None or self._closed or (stamp == served and not self._doubtful):
            return
        now = time.monotonic()
        if stamp == self._refused and now < self._retry_at:
            return
        former = self.connection
        stamps = _stamp(self.path, False), _stamp(self.path, True)
        try:
            opened = schema.open_for_reading(self.path)
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

    # -- transactions --

    @contextlib.contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: kept as a whole when the block ends, dropped when it raises.

        Raises:
            ConfigError: the store is open for reading, or the database cannot be written.
        """
        if not self.writable:
            raise ConfigError(f"{self.path}: was opened for reading only")
        try:
            with _transaction(self.connection, "BEGIN IMMEDIATE"):
                yield self.connection
        except sqlite3.Error as error:
            raise ConfigError(f"{self.path}: {describe(error)}") from None
        except UnicodeEncodeError:
            raise ConfigError(f"{self.path}: a name that is not UTF-8 cannot be in it") from None
        finally:
            self.seen_version += 1

    @contextlib.contextmanager
    def scratch(self) -> Iterator[sqlite3.Connection]:
        """One transaction on temporary tables, in which the database itself is not touched.

        Raises:
            ConfigError: there is no room for them.
        """
        try:
            with _transaction(self.connection, "BEGIN"):
                yield self.connection
        except sqlite3.Error as error:
            raise ConfigError(f"temporary tables: {describe(error)}") from None

    # -- reading --

    def first(self, query: str, parameters: Sequence[str | int | None]) -> tuple[Any, ...] | None:
        """Give the first row, or None; a name that UTF-8 cannot carry is in no row.

        Raises:
            StoreError: the database could not be read.
        """
        # An import asks for each of its rows, so the translation of reading() stands here again.
        try:
            row: tuple[Any, ...] | None = self.connection.execute(query, parameters).fetchone()
        except UnicodeEncodeError:  # a lone surrogate, from bytes that were no UTF-8: nobody is called that
            return None
        except sqlite3.Error as error:
            raise self.failure(error) from None
        return row

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Whatever is read within.

        Raises:
            StoreError: the database could not be read.
        """
        try:
            yield self.connection
        except sqlite3.Error as error:
            raise self.failure(error) from None

    def failure(self, error: sqlite3.Error) -> StoreError:
        """Say what went wrong; the file is opened once more where that may help."""
        # What SQLite keeps of a file that was damaged or cut outlasts the damage. A lock just passes.
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            self._doubtful = True
        return StoreError(f"{self.path}: {describe(error)}")


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    """Kept as a whole when the block ends, dropped when it raises."""
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _stamp(path: str, immutable: bool) -> tuple[int, ...] | None:
    """Which file is there, and under immutable reading also its state; None: none is."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    if not immutable:
        return (status.st_dev, status.st_ino)
    state = (status.st_size, status.st_mtime_ns, schema.wal_size(path))
    return (status.st_dev, status.st_ino, *state)
