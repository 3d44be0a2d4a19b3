"""A store that each process opens for itself: SQLite's connections must not cross a fork."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection

from auth_diameter._core import ConfigError
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.store.store import Found, Key, StoreError
from auth_diameter.store.url import MEMORY, database_name

# The stores that forked processes inherited, where they must be neither used nor closed.
_inherited: list[SqliteStore] = []


class PerProcessStore:
    """A :class:`~auth_diameter.store.store.Store` in an SQLite database, opened when it is first asked.

    Args:
        path: the path of the database, or ``sqlite:///PATH``.

    Raises:
        ConfigError: the database cannot be used.
    """

    waits = False

    def __init__(self, path: str) -> None:
        name = database_name(path).text
        # Another process may have another folder.
        self._path = name if name == MEMORY else os.path.abspath(name)
        self._store: SqliteStore | None = None
        with SqliteStore.open(path) as store:  # an error is told now, and a fork inherits no connection
            self.name = store.name

    def after_fork(self) -> None:
        """Starts afresh in the child."""
        if self._store is not None:
            _inherited.append(self._store)
            self._store = None

    def close(self) -> None:
        """Closes the database, if it is open."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _opened(self) -> SqliteStore:
        if self._store is None:
            try:
                self._store = SqliteStore.open(self._path)
            except ConfigError as error:
                raise StoreError(str(error)) from None
        return self._store

    def watch(self, changed: Callable[[], None]) -> None:
        """SQLite tells nothing; see `version`."""

    async def version(self) -> int:
        """As `SqliteStore.version`.

        Raises:
            StoreError: the database could not be read.
        """
        return await self._opened().version()

    async def fetch(self, keys: Collection[Key]) -> Found:
        """As `SqliteStore.fetch`.

        Args:
            keys: the keys to look up.

        Returns:
            A value for each key.

        Raises:
            StoreError: the database could not be read.
        """
        return await self._opened().fetch(keys)
