"""What a store has said, at hand: in a bounded number of bytes, and until the store says otherwise.

Strangers choose the names that are looked up, and how long these are. A character takes one byte or four, so
a number of entries or of characters bounds nothing: a cache counts bytes.
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

CHECK_SECONDS = 0.5  # after which a change in the store is noticed
MAX_AGE = 1.0  # seconds for which something is kept where the store cannot tell of changes
# Bytes of each kind.
_USERS_ROOM = 32 << 20  # some 50,000 users with their HA1
_HASHED_ROOM = 8 << 20
_ALGORITHMS_ROOM = 8 << 20
_REALMS_ROOM = 4 << 20

_K = TypeVar("_K")
_V = TypeVar("_V")

LARGEST = 4096  # bytes of one entry: a name of 253 characters, whatever they are, fits in
_ENTRY = 96  # bytes of a dict for an entry, just after it has grown and while it grows
_ROUNDING = 15  # bytes at most: memory is given in steps of 16
_ASCII = 50 + _ROUNDING  # bytes beside the characters
_TEXT = 76 + 2 * _ROUNDING  # the same of a text that is not ASCII and of its UTF-8


class Watcher(Protocol):
    """Who is told how the store does."""

    def store_failed(self, error: StoreError) -> None:
        """It cannot be read, as was not known."""

    def store_recovered(self) -> None:
        """It can be read again."""


class Cache:
    """What one store has said, at hand.

    ::

        if cache.is_due(now):
            await cache.check(now)
        value = cache.get(key)                      # None: it is not at hand
        found = await cache.fetch([key, …])         # one call for all that is lacking

    Group checks are not kept: each is asked for.

    Args:
        store: whoever knows HA1.
        watcher: who is told when it cannot be read, and when it can again.

    Attributes:
        realms: what is at hand, to read; by the key without its kind.
        users: what is at hand, to read; by the key without its kind.
        hashed_users: what is at hand, to read; by the key without its kind.
        algorithms: what is at hand, to read; by the key without its kind.
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
        self._era = 0  # counts how often all was forgotten
        self._failure: StoreError | None = None  # until the next check
        self._reported: str | None = None  # what is wrong, as the watcher was told

    def get(self, key: Key) -> Any | None:
        """The value of `key`, of the type that its class names; None: it is not at hand."""
        kept = self._kinds.get(key.kind)
        return None if kept is None else kept.get(key[:-1])

    def is_due(self, now: float) -> bool:
        """Whether the store is to be asked for changes.

        Args:
            now: seconds since 1970.
        """
        return not self._check_at - CHECK_SECONDS <= now < self._check_at

    async def check(self, now: float) -> None:
        """Forgets all where the store has changed, or cannot be read.

        Somebody may just be deleting a user.

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
        """Asks the store for all these keys, and keeps what it says.

        After a failure all fetches fail until the next check, for a locked database costs its time limit each
        time. The watcher is told of each failure once, and of its end.

        Raises:
            StoreError: the store cannot be read.
        """
        if self._failure is not None:
            raise self._failure
        era = self._era
        try:
            found = await self._store.fetch(keys)
        except StoreError as error:
            self._note(error)
            raise
        if self._reported is not None:
            self._reported = None
            self._watcher.store_recovered()
        if era == self._era:  # else it may be older than the change that was noticed meanwhile
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
    """A dict of at most `max_bytes`; of one thread at a time.

    It has two halves, young and old. A new entry goes into the young half. When that is full it becomes the
    old one, and what was the old one is dropped. An entry that is asked for in the old half goes into the
    young one again. So what is in use stays, while strangers fill the rest.

    Keys and values are strings, numbers, None, or tuples of such. A value is never None.

    Args:
        max_bytes: of keys, values and the dicts. What several entries share counts for each of them.

    Attributes:
        young: the young half, to read. Where each instruction counts, ``cache.young.get(key) or
            cache.get(key)`` spares a call for what is in use.
    """

    __slots__ = ("_half", "_old", "_used", "young")

    def __init__(self, max_bytes: int) -> None:
        self._half = max_bytes // 2
        self.young: dict[_K, _V] = {}
        self._old: dict[_K, _V] = {}
        self._used = 0  # bytes of the young half

    def get(self, key: _K) -> _V | None:
        """The value of `key`; None: it is not kept."""
        found = self.young.get(key)
        if found is None and self._old:
            found = self._old.get(key)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: _K, value: _V) -> None:
        """Keeps `value`, in place of any other of this key. What is larger than `LARGEST` is not kept."""
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
        """Forgets `key`, where it is kept."""
        found = self.young.pop(key, None)
        if found is not None:
            self._used -= _ENTRY + size_of(key) + size_of(found)
        self._old.pop(key, None)

    def clear(self) -> None:
        """Forgets all."""
        self.young = {}
        self._old = {}
        self._used = 0

    def __len__(self) -> int:
        """How many entries are kept; one that is in both halves counts twice."""
        return len(self.young) + len(self._old)


def size_of(thing: object) -> int:
    """Bytes that `thing` takes in memory, with all that is in it where it is a tuple; always the same.

    Each character that is not ASCII may take four bytes, and four more for UTF-8, which Python keeps beside
    a text once a database was asked for it. So all count eight where one is not ASCII.
    """
    if isinstance(thing, str):
        return _ASCII + len(thing) if thing.isascii() else _TEXT + 8 * len(thing)
    size = sys.getsizeof(thing) + _ROUNDING
    if isinstance(thing, tuple):
        for part in thing:
            size += size_of(part)
    return size
