"""Accounts of a database of any kind, opened for one piece of work."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, TypeVar

from kit.stores import Database

from auth_diameter.store.accounts import Accounts
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.csvimport import import_csv
from auth_diameter.store.engines import run
from auth_diameter.store.importing import Imported, Options
from auth_diameter.store.url import DatabaseName, database_name

T = TypeVar("T")

#: The types of our columns for HA1 by SHA-2.
SHA_2 = ("ha1_sha256", "ha1_sha512t256")


def using(database: Database, work: Callable[[Accounts], T], *, writable: bool = True, **config: Any) -> T:
    """What `work` returns for the open accounts."""
    return using_name(database_name(database.url), work, writable=writable, **config)


def using_name(
    name: DatabaseName, work: Callable[[Accounts], T], *, writable: bool = True, **config: Any
) -> T:
    """The same for a name."""

    def opened() -> T:
        with Accounts.open(name, StoreConfig(**config), writable=writable) as accounts:
            return work(accounts)

    return run(opened, name)


def add_sha_2(database: Database) -> None:
    """Adds the columns for HA1 by SHA-2, as `db upgrade` does."""
    for column in SHA_2:
        database.run(f"ALTER TABLE subscriber ADD COLUMN {column} VARCHAR(64) NOT NULL DEFAULT ''")


def imported(
    database: Database,
    content: str | bytes,
    *,
    writable: bool = True,
    how: Options | None = None,
    **config: Any,
) -> Imported:
    """The result of an import of a CSV file."""
    data = content.encode() if isinstance(content, str) else content
    return using(
        database,
        lambda accounts: import_csv(accounts, io.BytesIO(data), name="users.csv", options=how or Options()),
        writable=writable,
        **config,
    )
