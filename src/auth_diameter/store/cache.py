"""A cache of what a store has returned, bounded in bytes and valid until the store changes.

Untrusted peers choose the names that are looked up, and their length. A character takes one to four bytes in
memory, so neither a number of entries nor a number of characters bounds the memory. The cache therefore
counts bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any, Generic, Protocol, TypeVar

from auth_diameter.store.store import (
    Candidates,
    Found,
    HashedCandidates,
    Key,
    Offer,
    Spelling,
    Store,
    StoreError,
)

CHECK_SECONDS = 0.5  # between two checks whether the store has changed
MAX_AGE = 1.0  # seconds for which values are kept if the store cannot report changes
# Bytes for each kind of key.
_USERS_ROOM = 32 << 20  # some 50,000 users with their HA1
_HASHED_ROOM = 8 << 20
_ALGORITHMS_ROOM = 8 << 20
_REALMS_ROOM = 4 << 20

_K = TypeVar("_K")
_V = TypeVar("_V")

LARGEST = 4096  # bytes of one entry; a name of any 253 characters fits
_ENTRY = 96  # bytes that a dict needs for an entry, at most: while it grows and just after
_ROUNDING = 15  # bytes at most: memory is allocated in steps of 16
_ASCII = 50 + _ROUNDING  # bytes of an ASCII string besides its characters
_TEXT = 76 + 2 * _ROUNDING  # the same for any other string and its cached UTF-8


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
        realms: the cached spellings, by realm. Read only.
        users: the cached HA1, by username, realm and algorithm. Read only.
        hashed_users: the cached HA1, by hashed username, realm and algorithm. Read only.
        algorithms: the cached offers, by username and realm. Read only.
    """

    def __init__(self, store: Store, watcher: Watcher) -> None:
        self._store = store
        self._watcher = watcher
        self.realms: BoundedCache[tuple[str], Spelling] = BoundedCache(_REALMS_ROOM)
        self.users: BoundedCache[tuple[str, str, str], Candidates] = BoundedCache(_USERS_ROOM)
        self.hashed_users: BoundedCache[tuple[str, str, str], HashedCandidates] = BoundedCache(_HASHED_ROOM)
        self.algorithms: BoundedCache[tuple[str, str], Offer] = BoundedCache(_ALGORITHMS_ROOM)
        self._kinds: dict[str, BoundedCache[Any, Any]] = {
            "realm": self.realms,
            "user": self.users,
            "hashed": self.hashed_users,
            "algorithms": self.algorithms,
        }
        self._check_at = 0.0
        self._version: int | None = -1
        self._cleared_at = 0.0
        self._era = 0  # the number of times that the cache was cleared
        self._failure: StoreError | None = None  # raised by all fetches until the next check
        self._reported: str | None = None  # the failure that was last reported to the watcher

    def get(self, key: Key) -> Any | None:
        """The value of `key`, of the type that the key's class names; None if it is not cached."""
        kept = self._kinds.get(key.kind)
        return None if kept is None else kept.get(key[:-1])

    def is_due(self, now: float) -> bool:
        """Whether the store is due for a check for changes.

        Args:
            now: seconds since 1970.
        """
        return not self._check_at - CHECK_SECONDS <= now < self._check_at

    async def check(self, now: float) -> None:
        """Clears the cache if the store has changed or cannot be read.

        While the store cannot be read, no cached value is used: the user may have been deleted.

        Args:
            now: seconds since 1970.
        """
        self._check_at = now + CHECK_SECONDS
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
        for kept in self._kinds.values():
            kept.clear()

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
                kept = self._kinds.get(key.kind)
                if kept is not None:
                    kept.put(key[:-1], value)
        return found

    def _note(self, error: StoreError) -> None:
        self._failure = error
        if str(error) != self._reported:
            self._reported = str(error)
            self._watcher.store_failed(error)


class BoundedCache(Generic[_K, _V]):
    """A dict of at most `max_bytes`, for one thread at a time.

    It has a young half and an old half. A new entry goes into the young half. When the young half is full, it
    becomes the old half, and the former old half is dropped. An entry that is found in the old half moves to
    the young half. So entries in use stay, even if untrusted peers fill the cache with others.

    Keys and values are strings, numbers, None, or tuples of these. A value is never None.

    Args:
        max_bytes: the bound for keys, values and the dicts. An object that several entries share counts for
            each of them.

    Attributes:
        young: the young half. Read only. In hot code, ``cache.young.get(key) or cache.get(key)`` saves a call
            for entries in use.
    """

    __slots__ = ("_half", "_old", "_used", "young")

    def __init__(self, max_bytes: int) -> None:
        self._half = max_bytes // 2
        self.young: dict[_K, _V] = {}
        self._old: dict[_K, _V] = {}
        self._used = 0  # bytes of the young half

    def get(self, key: _K) -> _V | None:
        """The value of `key`; None if it is not cached."""
        found = self.young.get(key)
        if found is None and self._old:
            found = self._old.get(key)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: _K, value: _V) -> None:
        """Sets the value of `key`. An entry larger than `LARGEST` is not kept."""
        size = _ENTRY + size_of(key) + size_of(value)
        if size > LARGEST:
            self.pop(key)
            return
        before = self.young.pop(key, None)
        if before is not None:
            self._used -= _ENTRY + size_of(key) + size_of(before)
        if self._used + size > self._half:
            self._old, self.young = self.young, {}
            self._used = 0
        self.young[key] = value
        self._used += size

    def pop(self, key: _K) -> None:
        """Removes `key` if it is cached."""
        found = self.young.pop(key, None)
        if found is not None:
            self._used -= _ENTRY + size_of(key) + size_of(found)
        self._old.pop(key, None)

    def clear(self) -> None:
        """Removes all entries."""
        self.young = {}
        self._old = {}
        self._used = 0

    def __len__(self) -> int:
        """The number of entries; an entry in both halves counts twice."""
        return len(self.young) + len(self._old)


def size_of(thing: object) -> int:
    """The bytes that `thing` takes in memory, tuples with all their items; an upper bound.

    A character of a string that is not ASCII may take four bytes, and four more for the UTF-8 that Python
    caches once the string was a database parameter. So each of its characters counts eight bytes. The result
    for the same object is always the same.
    """
    if isinstance(thing, str):
        return _ASCII + len(thing) if thing.isascii() else _TEXT + 8 * len(thing)
    size = sys.getsizeof(thing) + _ROUNDING
    if isinstance(thing, tuple):
        for part in thing:
            size += size_of(part)
    return size
