"""What the Verifier knows of the store, kept at hand.

Nothing gives away by its time who exists: an unknown user costs the same work as a known one.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

from auth_diameter.store.cache import BoundedCache
from auth_diameter.store.lookups import Lookups
from auth_diameter.store.sqlite import StoreError
from auth_diameter.verifier.userhash import HashedNames

_T = TypeVar("_T")
_Key = tuple[str, str, str]  # a user

HA1_LENGTH = {"MD5": 32, "SHA-256": 64, "SHA-512-256": 64}  # characters
_SCAN_SHARE = 20  # after hashing all users of a realm that long is waited, in times of what it took
_SHORT_SCAN = 0.005  # seconds; shorter than that it is always done again after a change
_DECOY = secrets.token_hex(32)  # what an unknown user's response is compared with, cut to length
# Bytes of what is kept at hand.
_USERS_ROOM = 32 << 20  # some 50,000 users with their HA1
_HASHED_ROOM = 8 << 20
_OFFERS_ROOM = 8 << 20
_REALMS_ROOM = 4 << 20
_CACHE_SECONDS = 0.5  # after which a change in the database is noticed


class StoreWatcher(Protocol):
    """Who is told how the store does."""

    def store_failed(self, error: StoreError) -> None:
        """It cannot be read, as was not known."""

    def store_recovered(self) -> None:
        """It can be read again."""


class _Scan(NamedTuple):
    """The usernames of a realm, hashed."""

    version: int  # of the database
    due: float  # when they may be hashed anew
    names: HashedNames


class Subscribers:
    """What is asked of a store.

    :param store: open for reading; used from one thread at a time.
    """

    def __init__(self, store: Lookups, watcher: StoreWatcher) -> None:
        self._store = store
        self._watcher = watcher
        self.users: BoundedCache[_Key, tuple[bool, str]] = BoundedCache(_USERS_ROOM)
        self._offers: BoundedCache[tuple[str, str], tuple[str, ...]] = BoundedCache(_OFFERS_ROOM)
        self._hashed_users: BoundedCache[_Key, tuple[bool, str]] = BoundedCache(_HASHED_ROOM)
        self._scans: dict[tuple[str, str], _Scan] = {}
        self.realms: BoundedCache[str, tuple[str | None]] = BoundedCache(_REALMS_ROOM)
        self._version = -1
        self._check_at = 0.0
        self._broken: StoreError | None = None  # until the next look at the store
        self._reported: str | None = None  # what is wrong with it, as the watcher was told
        self.together = store.together

    def forget_changed(self, now: float) -> None:
        """Looks every half a second whether the store has changed, and whether it can be read again."""
        if self._check_at - _CACHE_SECONDS <= now < self._check_at:
            return
        self._check_at = now + _CACHE_SECONDS
        self._broken = None
        try:
            version = self._ask(self._store.data_version)
        except StoreError:
            version = -1
        if version != self._version:
            self._version = version
            self.users.clear()
            self._hashed_users.clear()
            self.realms.clear()
            self._offers.clear()

    def _ask(self, lookup: Callable[..., _T], *arguments: str) -> _T:
        """What `lookup` finds.

        After a failure all fail until the next look, for a locked database costs its time limit each
        time. The watcher is told of each failure once, and of its end.

        :raises StoreError: the store cannot be read.
        """
        if self._broken is not None:
            raise self._broken
        try:
            found = lookup(*arguments)
        except StoreError as error:
            self._broken = error
            if str(error) != self._reported:
                self._reported = str(error)
                self._watcher.store_failed(error)
            raise
        if self._reported is not None and arguments:
            self._reported = None
            self._watcher.store_recovered()
        return found

    def canonical_realm(self, realm: str) -> str | None:
        """The realm as the store spells it; None: nobody is known there."""
        found = self.realms.young.get(realm) or self.realms.get(realm)
        if found is None:
            found = (self._ask(self._store.canonical_realm, realm),)
            self.realms.put(realm, found)
        return found[0]

    def candidates(self, username: str, realm: str, algorithm: str) -> tuple[bool, str]:
        """Whether there is such a user, and what to compare its response with: as much in either case.

        That is one HA1, or two in one string, for where an object lies in memory shows in its time. So each
        user has an object of its own, which lower() makes, of a decoy as of an HA1.
        """
        key = (username, realm, algorithm)
        found = self.users.young.get(key) or self.users.get(key)
        if found is None:
            found = self._look_up(username, realm, algorithm)
            self.users.put(key, found)
        return found

    def _look_up(self, username: str, realm: str, algorithm: str) -> tuple[bool, str]:
        places = self._ask(self._store.ha1_places, username, realm, algorithm)
        decoy = _DECOY[: HA1_LENGTH[algorithm]]
        return any(places), "".join([ha1 or decoy for ha1 in places]).lower()

    def hashed_candidates(self, hashed: str, realm: str, algorithm: str) -> tuple[bool, str]:
        """The same for a hashed username. In place of who is not there a neighbour is looked up."""
        key = (hashed, realm, algorithm)
        found = self._hashed_users.get(key)
        if found is None:
            scan = self._scan(realm, algorithm)
            username, is_it = scan.names.find(hashed)
            known, candidates = self._look_up(username, realm, algorithm)
            found = known & is_it, candidates
            if scan.version == self._version:
                self._hashed_users.put(key, found)
        return found

    def name_of_hash(self, hashed: str, realm: str, algorithm: str) -> str:
        """Whose hashed username it is (RFC 7616, 3.4.4); "" where it is nobody's."""
        name, is_it = self._scan(realm, algorithm).names.find(hashed)
        return ("", name)[is_it]

    def _scan(self, realm: str, algorithm: str) -> _Scan:
        """All users are hashed when the database has changed, but those of a large realm not all the time."""
        realm = self.canonical_realm(realm) or ""
        scan = self._scans.get((realm, algorithm))
        if scan is None or (scan.version != self._version and time.monotonic() >= scan.due):
            started = time.thread_time()  # of the work alone: a busy machine makes no realm a large one
            names = HashedNames(self._ask(self._store.usernames, realm), realm, algorithm)
            took = time.thread_time() - started
            due = time.monotonic() + _SCAN_SHARE * took if took > _SHORT_SCAN else 0.0
            scan = self._scans[realm, algorithm] = _Scan(self._version, due, names)
        return scan

    def algorithms(self, username: str, realm: str, among: frozenset[str]) -> tuple[str, ...]:
        """Those of `among` that this user can use; if there are none, those that most of the realm can."""
        key = (username, realm)
        found = self._offers.get(key)
        if found is None:
            found = tuple(one for one in self._ask(self._store.algorithms, username, realm) if one in among)
            if not found:
                found = tuple(one for one in self._ask(self._store.usual_algorithms, realm) if one in among)
            self._offers.put(key, found)
        return found

    def is_member(self, username: str, domain: str, group: str) -> bool:
        """Whether a user is in a group."""
        return self._ask(self._store.is_member, username, domain, group)
