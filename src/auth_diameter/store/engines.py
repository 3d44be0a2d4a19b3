"""Databases opened for the operator's commands, through SQLAlchemy.

SQLite, PostgreSQL and MariaDB (or MySQL) have the same interface here, :class:`Session`. Connections are made
by the modules of each database, so that every URL that lookups take is taken here. The drivers of PostgreSQL
and MariaDB are asynchronous: what uses them runs inside :func:`run`. No lookup of DISC uses this module.

Every failure here is a :class:`ConfigError` or a :class:`StoreError` of one line: the database, the cause and
a remedy. None of these lines contains a value of a row.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from types import ModuleType
from typing import Any, Final, NoReturn, TypeVar

import sqlalchemy as sa
from sqlalchemy.pool import NullPool, StaticPool

from auth_diameter._core import ConfigError
from auth_diameter.closing import Closing
from auth_diameter.store import creation, schema
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.sqlite_file import Database
from auth_diameter.store.store import StoreError
from auth_diameter.store.url import MEMORY, DatabaseName

_Result = TypeVar("_Result")

#: Seconds within which a server must let us in.
_CONNECT_WAIT: Final = 10.0
#: Rows of a long list that are read at once.
_PAGE: Final = 1000


def run(work: Callable[[], _Result], *names: DatabaseName) -> _Result:
    """Calls what opens databases with :func:`open_session` and uses them.

    Args:
        work: is called once, without arguments.
        *names: the databases that it opens.

    Returns:
        What it returns.
    """
    if all(name.kind in ("sqlite", "redis") for name in names):
        return work()
    from sqlalchemy.ext.asyncio import AsyncSession

    async def main() -> _Result:
        # It opens no database itself. It lets synchronous code wait for the asynchronous drivers.
        async with AsyncSession() as session:
            return await session.run_sync(lambda _: work())

    with asyncio.Runner() as runner:
        # Not Runner.run, with which Ctrl-C would wait for the next answer of a server.
        return runner.get_loop().run_until_complete(main())


class Session(Closing):
    """An open database. Use it as a context manager, or :meth:`close` it.

    Reading raises :class:`StoreError`, changing and opening raise :class:`ConfigError`.

    Args:
        name: the database.
        engine: an engine with this database.
        writable: whether the database may be changed.

    Attributes:
        connection: the connection to it.
    """

    #: Whether many changes are one transaction: readers of a server do not wait for it.
    all_or_nothing = True

    #: What it means if a change is not permitted.
    denied = (
        "the user may not change the tables; GRANT SELECT, INSERT, UPDATE, DELETE ON them lets it (and, in"
        " PostgreSQL, GRANT USAGE ON their sequences)"
    )

    def __init__(self, name: DatabaseName, engine: sa.Engine, *, writable: bool) -> None:
        self.name: Final = name
        self.writable: Final = writable
        self._engine = engine
        with self._failing(ConfigError):
            self.connection = engine.connect()

    def close(self) -> None:
        """Closes the database. A second call does nothing."""
        with contextlib.suppress(sa.exc.SQLAlchemyError, *self.errors()):
            self.connection.close()
        self._engine.dispose()

    @contextlib.contextmanager
    def reading(self, kind: type[ConfigError] | type[StoreError] = StoreError) -> Iterator[sa.Connection]:
        """A block that reads.

        Args:
            kind: the error if the database could not be read. In a transaction it is a ConfigError.
        """
        inside = self._is_inside()
        try:
            with self._failing(ConfigError if inside else kind):
                yield self.connection
        finally:
            if not inside:
                self._leave()

    @contextlib.contextmanager
    def changing(self) -> Iterator[sa.Connection]:
        """One transaction, committed when the block ends and rolled back when it raises.

        Raises:
            ConfigError: the database is open for reading, or cannot be changed.
        """
        if not self.writable:
            raise ConfigError(f"{self.name}: was opened for reading only")
        with self._failing(ConfigError):
            try:
                self._begin()
                yield self.connection
                self._commit()
            except UnicodeEncodeError:
                self._leave()
                raise ConfigError(f"{self.name}: a name that is not UTF-8 cannot be in it") from None
            except BaseException:
                self._leave()
                raise

    def stream(self, statement: sa.Executable) -> Iterator[Sequence[Any]]:
        """Reads a long list, a part at a time; other statements may come between.

        Raises:
            StoreError: the database could not be read.
        """
        with self._failing(StoreError), self._apart() as connection:
            options = {"stream_results": True, "yield_per": _PAGE}
            yield from connection.execute(statement, execution_options=options)

    def now(self) -> datetime:
        """The server's time, in its time zone, to the second."""
        now = self.connection.scalar(sa.select(sa.literal_column("LOCALTIMESTAMP", sa.DateTime())))
        assert isinstance(now, datetime)
        return now.replace(microsecond=0)

    @contextlib.contextmanager
    def _apart(self) -> Iterator[sa.Connection]:
        # The connection of a list cannot have another statement until its end.
        with self._engine.connect() as connection:
            yield connection

    def _is_inside(self) -> bool:
        """Whether a transaction has begun."""
        return self.connection.in_transaction()

    def _begin(self) -> None:
        self._leave()
        self.connection.begin()

    def _commit(self) -> None:
        self.connection.commit()

    def _leave(self) -> None:
        """Ends a transaction, without a change."""
        with contextlib.suppress(sa.exc.SQLAlchemyError, *self.errors()):
            self.connection.rollback()

    @contextlib.contextmanager
    def _failing(self, kind: type[ConfigError] | type[StoreError]) -> Iterator[None]:
        """A block in which the errors of the database are of this kind, in words."""
        try:
            yield
        except sa.exc.DBAPIError as error:
            cause = error.orig
            self._fail(kind, (cause and cause.__cause__) or cause or error)
        except self.errors() as error:
            self._fail(kind, error)
        except sa.exc.SQLAlchemyError as error:
            raise kind(f"{self.name}: {type(error).__name__}") from None

    def _fail(self, kind: type[ConfigError] | type[StoreError], error: BaseException) -> NoReturn:
        if isinstance(error, ConfigError):
            raise error
        raise kind(f"{self.name}: {self.describe(error)}") from None

    def errors(self) -> tuple[type[BaseException], ...]:
        """The errors of the driver."""
        raise NotImplementedError

    def describe(self, error: BaseException) -> str:
        """What an error of the driver means for the operator, in one line, without any value of a row."""
        raise NotImplementedError


class SqliteSession(Session):
    """An SQLite database. Readers and other writers of it wait for a transaction, so it should be short."""

    all_or_nothing = False

    def __init__(self, name: DatabaseName, connection: sqlite3.Connection, *, writable: bool) -> None:
        self.raw = connection
        # StaticPool: there is one connection, and SQLAlchemy neither commits nor rolls back anything of it.
        engine = sa.create_engine(
            "sqlite://",
            creator=lambda: connection,
            poolclass=StaticPool,
            pool_reset_on_return=None,
            hide_parameters=True,
        )
        super().__init__(name, engine, writable=writable)

    @contextlib.contextmanager
    def _apart(self) -> Iterator[sa.Connection]:
        yield self.connection

    @cached_property
    def database(self) -> Database:
        """The same connection, for lookups."""
        return Database(self.name.text, self.raw, writable=self.writable)

    @contextlib.contextmanager
    def changing(self) -> Iterator[sa.Connection]:
        """One transaction, as `Session.changing`."""
        try:
            with super().changing() as connection:
                yield connection
        finally:
            if "database" in self.__dict__:  # SQLite does not tell a connection of its own changes
                self.database.seen_version += 1

    def _is_inside(self) -> bool:
        return self.raw.in_transaction

    def _begin(self) -> None:
        # Not SQLAlchemy's own transaction: the first statement would be too late to wait for other writers.
        self.raw.execute("BEGIN IMMEDIATE")

    def _commit(self) -> None:
        self.raw.execute("COMMIT")

    def _leave(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self.raw.in_transaction:
                self.raw.execute("ROLLBACK")

    def now(self) -> datetime:
        """The time in UTC, to the second, as SQLite's own functions have it."""
        return datetime.now(UTC).replace(microsecond=0, tzinfo=None)

    def errors(self) -> tuple[type[BaseException], ...]:
        """The errors of sqlite3."""
        return (sqlite3.Error,)

    def describe(self, error: BaseException) -> str:
        """What an error of SQLite means for the operator."""
        return schema.describe(error) if isinstance(error, sqlite3.Error) else type(error).__name__


class _Server(Session):
    """A database of a server.

    Args:
        module: how the server is connected to, and its errors in words.
        url: the driver, for SQLAlchemy.
    """

    def __init__(self, name: DatabaseName, module: ModuleType, url: str, *, writable: bool) -> None:
        from sqlalchemy.ext.asyncio import create_async_engine

        self._module = module

        async def connect() -> Any:
            connection = await module.connect(name, timeout=_CONNECT_WAIT, read_only=not writable)
            if name.kind == "mysql":
                await _strict(connection)
            return connection

        engine = create_async_engine(
            url, async_creator=connect, poolclass=NullPool, hide_parameters=True
        ).sync_engine
        super().__init__(name, engine, writable=writable)

    def errors(self) -> tuple[type[BaseException], ...]:
        """The errors of the server's driver."""
        errors: tuple[type[BaseException], ...] = self._module.ERRORS
        return errors

    def describe(self, error: BaseException) -> str:
        """What an error of the server means for the operator."""
        if self.writable and _is_denied(error):
            return self.denied
        words: str = self._module.describe(error)
        return words


#: "Permission denied": the SQLSTATE of PostgreSQL, and the numbers of MariaDB.
_DENIED: Final = ("42501", 1142, 1143)


def _is_denied(error: BaseException) -> bool:
    return getattr(error, "sqlstate", None) in _DENIED or bool(error.args and error.args[0] in _DENIED)


def open_session(
    name: DatabaseName, config: StoreConfig, *, writable: bool, new: bool = False, tables: bool = True
) -> Session:
    """Opens a database. That of a server must be opened inside :func:`run`.

    Args:
        name: the database.
        config: the names of its tables.
        writable: whether it will be changed. A missing file of SQLite is created then, with its tables.
        new: whether the file of SQLite must be missing.
        tables: whether tables are created with a file of SQLite that is opened for writing.

    Raises:
        ConfigError: the database cannot be used.
    """
    match name.kind:
        case "sqlite":
            if writable or new or name.text == MEMORY:
                raw = creation.open_for_writing(name.text, config if tables else None, exist_ok=not new)
                return SqliteSession(name, raw, writable=True)
            return SqliteSession(
                name, schema.open_for_reading(name.text, config.table).connection, writable=False
            )
        case "postgresql":
            from auth_diameter.store import postgresql

            return _Server(name, postgresql, "postgresql+asyncpg://", writable=writable)
        case "mysql":
            from auth_diameter.store import mysql

            return _Server(name, mysql, "mysql+asyncmy://", writable=writable)
    raise ConfigError(f"{name}: has no tables")


async def _strict(connection: Any) -> None:
    """Has MariaDB refuse what does not fit, whatever its settings, and commit what SQLAlchemy commits."""
    async with connection.cursor() as cursor:
        await cursor.execute("SET SESSION sql_mode = 'STRICT_ALL_TABLES'")
    await connection.autocommit(False)
