"""A cache of what a store has returned, bounded in bytes and valid until the store changes.

Untrusted peers choose the names that are looked up, and their length, so that no number of entries bounds the
memory. `auth_diameter._core.Users` keeps the values, and forgets those used least recently.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

from auth_diameter._core import Users
from auth_diameter.store.store import Found, Key, Store, StoreError

CHECK_SECONDS = 0.5  # between two checks whether the store has changed
MAX_AGE = 1.0  # seconds for which values are kept if the store cannot report changes
# Bytes for each kind of key.
_USERS_ROOM = 32 << 20  # some 100,000 users with their HA1
_HASHED_ROOM = 8 << 20
_ALGORITHMS_ROOM = 8 << 20
_REALMS_ROOM = 4 << 20


class Watcher(Protocol):
    """An observer of the store's availability."""

    def store_failed(self, error: StoreError) -> None:
        """Is told that the store cannot be read, once for each new cause."""

    def store_recovered(self) -> None:
        """Is told that the store can be read again."""


class Cache:
    """A cache of the values of one store.

    ::

        if cache.is_due(now):
            await cache.check(now)
        value = cache.get(key)                      # None: not cached
        found = await cache.fetch([key, …])         # one call for all missing keys

    Group memberships are not cached: the store is asked each time.

    Args:
        store: the store to ask.
        watcher: is told when the store cannot be read, and when it can be read again.

    Attributes:
        users: the cached values.
        check_at: when the store is to be checked again; seconds since 1970.
    """

    def __init__(self, store: Store, watcher: Watcher) -> None:
        self._store = store
        self._watcher = watcher
        self.users = Users(
            {
                "realm": _REALMS_ROOM,
                "user": _USERS_ROOM,
                "hashed": _HASHED_ROOM,
                "algorithms": _ALGORITHMS_ROOM,
            }
        )
        self.check_at = 0.0
        self._version: int | None = -1
        self._cleared_at = 0.0
        self._era = 0  # the number of times that the cache was cleared
        self._failure: StoreError | None = None  # raised by all fetches until the next check
        self._reported: str | None = None  # the failure that was last reported to the watcher

    def get(self, key: Key) -> Any | None:
        """The value of `key` as a plain tuple or a bool; None if it is not cached."""
        return self.users.get(key)

    def is_due(self, now: float) -> bool:
        """Whether the store is due for a check for changes.

        Args:
            now: seconds since 1970.
        """
        return not self.check_at - CHECK_SECONDS <= now < self.check_at

    async def check(self, now: float) -> None:
        """Clears the cache if the store has changed or cannot be read.

        While the store cannot be read, no cached value is used: the user may have been deleted.

        Args:
            now: seconds since 1970.
        """
        self.check_at = now + CHECK_SECONDS
        self._failure = None
        version: int | None = -1
        try:
            version = await self._store.version()
        except StoreError as error:
            self._note(error)
        except BaseException:
            self._forget(now)
            raise
        if version is None:
            if not self._cleared_at <= now < self._cleared_at + MAX_AGE:
                self._forget(now)
        elif version != self._version:
            self._version = version
            self._forget(now)

    def _forget(self, now: float) -> None:
        self._cleared_at = now
        self._era += 1
        self.users.clear()

    async def fetch(self, keys: Collection[Key]) -> Found:
        """Fetches all these keys from the store, and caches their values.

        After a failure, every fetch fails until the next check: each attempt on a locked database would take
        its full time limit. The watcher is told once of each failure, and once of the recovery.

        Args:
            keys: the keys to fetch.

        Returns:
            A value for each key.

        Raises:
            StoreError: the store cannot be read.
        """
        if self._failure is not None:
            raise StoreError(*self._failure.args)  # a new one, since each raise adds to the traceback
        era = self._era
        try:
            found = await self._store.fetch(keys)
        except StoreError as error:
            self._note(error)
            raise
        if self._reported is not None:
            self._reported = None
            self._watcher.store_recovered()
        if era == self._era:  # else the values may be older than a change that was noticed meanwhile
            for key, value in found.items():
                self.users.put(key, value)
        return found

    def _note(self, error: StoreError) -> None:
        self._failure = error
        if str(error) != self._reported:
            self._reported = str(error)
            self._watcher.store_failed(error)
