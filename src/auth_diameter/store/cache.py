"""A cache of what a store has returned, bounded in bytes and valid until the store changes.

Untrusted peers choose the names that are looked up, and their length, so that no number of entries bounds the
memory. `auth_diameter._core.Users` keeps the values, and forgets those used least recently.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Any, Protocol

from auth_diameter._core import Users
from auth_diameter.store.store import Found, Key, Store, StoreBusyError, StoreError

CHECK_SECONDS = 0.5  # between two checks whether the store has changed
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


class _Fetch:
    """A fetch under way.

    Attributes:
        dropped: the keys that the store has dropped meanwhile; what is fetched may be older.
    """

    __slots__ = ("dropped",)

    def __init__(self) -> None:
        self.dropped: set[Key] = set()


class Cache:
    """A cache of the values of one store.

    ::

        if cache.is_due(now):
            await cache.check(now)
        value = cache.get(key)                          # None: not cached
        found = await cache.fetch([key, …], now)        # one call for all missing keys

    Group memberships are not cached: the store is asked each time.

    While the store cannot be read, values go on for `stale_for` seconds: those that were valid within as many
    seconds before. A change of the store makes all values invalid, but it is not known whose they were.

    Args:
        store: the store to ask.
        watcher: is told when the store cannot be read, and when it can be read again.
        stale_for: seconds; 0: no value goes on, as the user may have been deleted.

    Attributes:
        users: the cached values.
        check_at: when the store is to be checked again; seconds since 1970.
        is_failing: whether the store could not be read the last time.
    """

    def __init__(self, store: Store, watcher: Watcher, stale_for: float = 0.0) -> None:
        self._store = store
        self._watcher = watcher
        self._stale_for = stale_for
        self.users = Users(
            {
                "realm": _REALMS_ROOM,
                "user": _USERS_ROOM,
                "hashed": _HASHED_ROOM,
                "algorithms": _ALGORITHMS_ROOM,
            }
        )
        self.check_at = 0.0
        self._version = -1
        self._all_changes = 0  # the number of times that all values became invalid
        self._some_changes = 0  # the number of times that the store told of a change of some
        self._fetches: list[_Fetch] = []  # those under way
        self._eras: deque[tuple[int, float]] = deque()  # eras of values, and when each ended
        self._failing_since: float | None = None
        self._failure: StoreError | None = None  # raised by all fetches until the next check
        self._reported: str | None = None  # the failure that was last reported to the watcher
        store.watch(self._changed)

    @property
    def changes(self) -> int:
        """A number that grows whenever the store may have changed; the end of a lifetime is no change."""
        return self._all_changes + self._some_changes

    @property
    def is_failing(self) -> bool:
        """Whether the store could not be read the last time."""
        return self._failing_since is not None

    def get(self, key: Key) -> Any | None:
        """The value of `key` as a plain tuple or a bool; None if it is not cached."""
        return self.users.get(key)

    def go_on(self, key: Key, now: float) -> Any | None:
        """The value of `key` that goes on although it could not be fetched; None if there is none.

        While the store cannot be read, `get` has it. It is looked for here if the store was only too busy for
        this key, and goes on for others.
        """
        if self.is_failing or not self._eras:
            return self.users.get(key)
        current = self._eras[-1][0] + 1
        self._drop_old_eras(now)
        if not self._eras:
            return self.users.get(key)
        self.users.accept_from(self._eras[0][0])
        try:
            return self.users.get(key)
        finally:
            self.users.accept_from(current)

    def is_due(self, now: float) -> bool:
        """Whether the store is due for a check for changes.

        Args:
            now: seconds since 1970.
        """
        return not self.check_at - CHECK_SECONDS <= now < self.check_at

    async def check(self, now: float) -> None:
        """Makes all values invalid if the store has changed, or could not be read.

        Args:
            now: seconds since 1970.
        """
        self.check_at = now + CHECK_SECONDS
        self._failure = None
        try:
            version = await self._store.version()
        except StoreError as error:
            self._fail(error, now)
            return
        except BaseException:
            self._forget(now)
            raise
        if self._failure is not None:
            return  # a fetch has failed meanwhile, so that this says nothing
        if version != self._version or self.is_failing:
            self._version = version
            self._forget(now)

    async def fetch(self, keys: Collection[Key], now: float) -> Found:
        """Fetches all these keys from the store, and caches their values.

        After a failure, every fetch fails until the next check: each attempt on a locked database would take
        its full time limit. The watcher is told once of each failure, and once of the recovery.

        Args:
            keys: the keys to fetch.
            now: seconds since 1970.

        Returns:
            A value for each key, or the StoreError of a key that alone has none. `go_on` may have its value.

        Raises:
            StoreError: the store cannot be read, or is too busy. `go_on` may have values.
        """
        if self._failure is not None:
            raise StoreError(*self._failure.args)  # a new one, since each raise adds to the traceback
        fetch = _Fetch()
        self._fetches.append(fetch)
        try:
            return await self._fetch(keys, now, fetch.dropped)
        finally:
            self._fetches.remove(fetch)

    async def _fetch(self, keys: Collection[Key], now: float, dropped: set[Key]) -> Found:
        """Fetches these keys, and caches their values, but for those that are in `dropped` by then."""
        before = self._all_changes
        try:
            found = await self._store.fetch(keys)
        except StoreBusyError:
            raise  # the store goes on for others
        except StoreError as error:
            self._fail(error, now)
            raise
        changes = self._all_changes
        is_current = before == changes  # else a change was noticed that they may be older than
        if self.is_failing:
            self._failing_since = None
            self._forget(now)
            changes += 1
        if self._reported is not None:
            self._reported = None
            self._watcher.store_recovered()
        if is_current:
            for key, value in found.items():
                if key not in dropped and not isinstance(value, StoreError):
                    self.users.put(key, value)
            # Another thread may have told of a change just now.
            for key in found if changes != self._all_changes else dropped.intersection(found):
                self.users.drop(key)
        return found

    def _changed(self, keys: Collection[Key] | None = None, *, expired: bool = False) -> None:
        """Takes a change that the store has told: of these keys, or of any; as `Changed`."""
        if keys is None:
            self._forget(self.check_at - CHECK_SECONDS)
            return
        if not expired:
            self._some_changes += 1
        for fetch in tuple(self._fetches):  # first, so that none in another thread puts a value in after this
            fetch.dropped.update(keys)
        for key in keys:
            self.users.drop(key)

    def _forget(self, now: float) -> None:
        self._all_changes += 1
        if not self._stale_for:
            self.users.clear()
            return
        era = self.users.begin_era()
        self._eras.append((era - 1, now))
        self._drop_old_eras(now)

    def _drop_old_eras(self, now: float) -> None:
        # Until a failure ends, those count that were valid when it began.
        oldest = (now if self._failing_since is None else self._failing_since) - self._stale_for
        # The fetch of a turn that began earlier may fail later. Beyond that, the clock has stepped back.
        newest = now + self._stale_for
        while self._eras and not oldest <= self._eras[0][1] <= newest:
            self._eras.popleft()

    def _fail(self, error: StoreError, now: float) -> None:
        self._failure = error
        if self._failing_since is None or now < self._failing_since:
            self._failing_since = now
        if now < self._failing_since + self._stale_for:
            self._drop_old_eras(now)
            if self._eras:
                self.users.accept_from(self._eras[0][0])
        else:
            self._all_changes += 1
            self.users.clear()
            self._eras.clear()
        if str(error) != self._reported:
            self._reported = str(error)
            self._watcher.store_failed(error)
