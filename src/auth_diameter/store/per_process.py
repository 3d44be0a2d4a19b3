"""A store that each process opens for itself: connections must not cross a fork."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Collection
from dataclasses import replace

from auth_diameter._core import ConfigError
from auth_diameter.standard import StandardConfig
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.opening import OpenStore, new_store, open_store
from auth_diameter.store.store import Changed, Found, Key, StoreError
from auth_diameter.store.url import DatabaseName

# The stores that forked processes inherited, where they must be neither used nor closed.
_inherited: list[OpenStore] = []


class PerProcessStore:
    """A :class:`~auth_diameter.store.store.Store`, opened when it is first asked.

    Args:
        name: the database.
        config: the names of the tables and of their columns, and the time limits.
        standard: for ``cx://``, who we are in Diameter.
        in_background: whether the event loop goes on between fetches.

    Raises:
        ConfigError: the database cannot be used.
    """

    def __init__(
        self,
        name: DatabaseName,
        config: StoreConfig,
        standard: StandardConfig | None = None,
        *,
        in_background: bool,
    ) -> None:
        if name.is_file:
            name = replace(name, text=os.path.abspath(name.text))  # another process may have another folder
        self.name = name.shown
        self.waits = name.kind != "sqlite"
        self._url = name
        self._config = config
        self._standard = standard
        self._in_background = in_background
        self._store: OpenStore | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._changed: Changed = _nobody
        _try(name, config, standard)  # an error is told now, and a fork inherits no connection

    def after_fork(self) -> None:
        """Starts afresh in the child."""
        if self._store is not None:
            _inherited.append(self._store)
            self._store = None

    def close(self) -> None:
        """Closes the database, if it is open."""
        if self._store is not None:
            self._store.close()
            self._leaving = getattr(self._store, "leaving", None)
            self._store = None

    async def wait_closed(self) -> None:
        """Waits, after `close`, until an HSS has been left: the event loop may end then."""
        if self._leaving is not None:
            await asyncio.wait([self._leaving])

    def watch(self, changed: Changed) -> None:
        """As `Store.watch`."""
        self._changed = changed

    def _opened(self) -> OpenStore:
        if self._store is None:
            try:
                self._store = new_store(
                    self._url, self._config, self._standard, in_background=self._in_background
                )
            except ConfigError as error:
                raise StoreError(str(error)) from None
            self._store.watch(self._changed)
        return self._store

    async def version(self) -> int:
        """As `Store.version`.

        Raises:
            StoreError: the database could not be read.
        """
        return await self._opened().version()

    async def fetch(self, keys: Collection[Key]) -> Found:
        """As `Store.fetch`.

        Args:
            keys: the keys to look up.

        Returns:
            A value for each key.

        Raises:
            StoreError: the database could not be read.
        """
        return await self._opened().fetch(keys)


def _try(name: DatabaseName, config: StoreConfig, standard: StandardConfig | None) -> None:
    """Opens a database and closes it again.

    Raises:
        ConfigError: the database cannot be used.
    """
    failures: list[ConfigError] = []

    async def work() -> None:
        try:
            (await open_store(name, config, standard, in_background=False)).close()
        except ConfigError as error:
            failures.append(error)

    # A thread of its own, for this one may run an event loop.
    thread = threading.Thread(target=lambda: asyncio.run(work()), name="auth-diameter-opens")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def _nobody(keys: Collection[Key] | None = None, *, expired: bool = False) -> None:
    pass
