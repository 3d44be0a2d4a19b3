"""A file of SQLite that is opened for writing: it and its tables are created if they are missing.

A new database has the tables that Kamailio 5.x creates for its modules ``auth_db`` and ``group``, with the
``version`` table that Kamailio checks before it uses either. Beside Kamailio's columns are those of OpenSIPS
for HA1 by SHA-256 and SHA-512/256, which Kamailio ignores. A table that exists is never changed here; see
:mod:`auth_diameter.store.upgrade`.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement

from auth_diameter._core import ConfigError
from auth_diameter.store import schema
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.schema import describe
from auth_diameter.store.tables import new_tables, rows_of
from auth_diameter.store.url import MEMORY


def open_for_writing(path: str, config: StoreConfig | None, *, exist_ok: bool = True) -> sqlite3.Connection:
    """Opens a database for writing; a missing file and missing tables are created.

    Only its owner can read a new file, since an HA1 is equivalent to the password. A new file has a
    write-ahead log, so that its readers never wait. Tables are added only to an empty database or to one of
    Kamailio's.

    Args:
        path: the path of the file, or ``":memory:"``.
        config: the names of the tables and columns; None: no table is created.
        exist_ok: whether the file may exist.

    Raises:
        ConfigError: the file cannot be created or written, is locked, damaged, not a database, or of another
            application; or it exists and ``exist_ok`` is false.
    """
    if path != MEMORY:
        _create_file(path, exist_ok=exist_ok)
    connection: sqlite3.Connection | None = None
    try:
        connection = schema.connect(path, "mode=rw", schema.WRITER_WAIT)
        if config is not None:
            _complete_schema(path, connection, config)
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        raise ConfigError(f"{path}: {describe(error)}") from None
    except BaseException:
        if connection is not None:
            connection.close()
        raise
    return connection


def _create_file(path: str, *, exist_ok: bool) -> None:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if not exist_ok:
            raise ConfigError(f"{path}: exists already; name a new file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be created: {error.strerror}") from None


def _complete_schema(path: str, connection: sqlite3.Connection, config: StoreConfig) -> None:
    if not schema.table_names(connection):
        # If two processes create the file at once, the second gets "busy" and the first sets the mode.
        # On a file system without shared memory the rollback journal stays.
        with contextlib.suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
    connection.execute("BEGIN IMMEDIATE")  # fails if the file cannot be written
    try:
        found = schema.table_names(connection)
        tables = new_tables(config)
        missing = [name for name, table in tables.items() if table.name.lower() not in found]
        if missing and found and not found & {"version", "subscriber", _name(config.table)}:
            raise ConfigError(f"{path}: is a database for something else; name another file")
        if found and _name(config.table) not in found and config.table != StoreConfig.table:
            raise ConfigError(f"{path}: has no table {config.table!r}; see --table")
        for name in missing:
            for statement in creating(tables[name], sqlite.dialect()):
                connection.execute(statement)
        for row in rows_of(missing, config):
            connection.execute(
                "INSERT INTO version (table_name, table_version) SELECT :table_name, :table_version"
                " WHERE NOT EXISTS (SELECT 1 FROM version WHERE table_name = :table_name)",
                row,
            )
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _name(table: str) -> str:
    return table.rpartition(".")[2].lower()


def creating(table: sa.Table, dialect: sa.Dialect) -> Sequence[str]:
    """The statements that create a table and its indexes."""
    indexes = sorted(table.indexes, key=lambda index: str(index.name))
    ddl: list[ExecutableDDLElement] = [CreateTable(table), *map(CreateIndex, indexes)]
    return [str(each.compile(dialect=dialect)).strip() for each in ddl]
