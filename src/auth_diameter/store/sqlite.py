"""A store in an SQLite database with Kamailio's schema.

One statement looks up all users of a fetch, and another one all group memberships. The time of a lookup does
not tell whether a user exists: the statement takes the same steps for each name. For an unknown user it
returns a neighbour's row.

The rules of lookups are in :mod:`auth_diameter.store.lookups`, the SQL in
:mod:`auth_diameter.store.statements`; the file and its changes are in :mod:`auth_diameter.store.sqlite_file`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Sequence
from itertools import chain
from typing import Any, Final, Self

from auth_diameter.closing import Closing
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.lookups import Lookup, Warnings
from auth_diameter.store.pace import Pace
from auth_diameter.store.realms import EveryRealm, Spellings
from auth_diameter.store.schema import text
from auth_diameter.store.sqlite_file import Database
from auth_diameter.store.statements import ASKED_WIDTH, MAX_ASKED
from auth_diameter.store.store import Changed, Found, HashedUser, Key, Member
from auth_diameter.store.userhash import MOST_REALMS, HashedNames
from auth_diameter.store.usual_algorithms import UsualAlgorithms

# What is looked up: as many values as ASKED_WIDTH, of types that SQLite's module takes without a conversion.
_Asked = tuple[str | int | None, ...]
_NO_NAME: Final[_Asked] = (None,) * ASKED_WIDTH


class SqliteStore(Closing):
    """A :class:`~auth_diameter.store.store.Store` in an SQLite database.

    A fetch queries the database in the event loop's thread, within microseconds, and does not yield. It sees
    at once what another process has committed, except for a new spelling of a domain, which it sees within
    half a second.

    Args:
        database: the open database; the store closes it.

    Attributes:
        spellings: the realms that have a subscriber.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.spellings: Spellings | EveryRealm = (
            Spellings(database, "subscriber") if database.config.domain else EveryRealm()
        )
        self._group_domains = Spellings(database, "grp")
        self._usual = UsualAlgorithms(database, self.spellings)
        self._scans: dict[tuple[str, str], _Scan] = {}
        self._renewals = 0
        self._warnings = Warnings()

    @classmethod
    def open(cls, path: str | os.PathLike[str], config: StoreConfig | None = None) -> Self:
        """Opens a database for reading; ``":memory:"`` is a new one.

        Args:
            path: the path of the file, or ``sqlite:///PATH``.
            config: the names of the tables and of their columns; None for the usual ones.

        Raises:
            ConfigError: the database cannot be used. The message is one line with the file, the cause and a
                remedy.
        """
        return cls(Database.open(path, config=config))

    def close(self) -> None:
        """Closes the database; any other use raises from then on."""
        self.database.close()

    waits = False

    @property
    def name(self) -> str:
        """The path of the database."""
        return self.database.path

    def watch(self, changed: Changed) -> None:
        """SQLite tells nothing; see `version`."""

    async def version(self) -> int:
        """A number that changes with the database, and when a former result can be renewed.

        Raises:
            StoreError: the database could not be read.
        """
        version = self.database.version()
        paces = (self.spellings.pace, self._usual.pace, *(scan.pace for scan in self._scans.values()))
        self._renewals += sum(pace.claim_renewal() for pace in paces)
        return version + self._renewals

    async def fetch(self, keys: Collection[Key]) -> Found:
        """Looks up all keys: one statement for all users among them, one for all group memberships.

        Args:
            keys: the keys to look up.

        Returns:
            A value for each key.

        Raises:
            StoreError: the database could not be read.
        """
        lookup = Lookup(keys, self, self._warnings)
        if lookup.users:
            lookup.take(_ask(self.database, self.database.statements.secrets, lookup.users))
        found = lookup.found()
        if lookup.members:
            found.update(self._members(lookup.members))
        return found

    def _members(self, keys: list[Member]) -> dict[Key, bool]:
        if not self.database.statements.grp:
            return dict.fromkeys(keys, False)
        asked: list[tuple[Member, tuple[str, ...]]] = []
        for key in keys:
            domains = self._group_domains.under(key.domain) if key.domain else ("",)
            asked += ((key, (key.username, domain, key.group)) for domain in domains)
        statement = self.database.statements.members
        there = {
            asked[number][0] for (number,) in _ask(self.database, statement, [names for _, names in asked])
        }
        return {key: key in there for key in keys}

    # -- the survey of the table --

    def canonical(self, realm: str) -> str | None:
        """As `Survey.canonical`."""
        return self.spellings.canonical(realm)

    def under(self, realm: str) -> Sequence[str]:
        """As `Survey.under`."""
        return self.spellings.under(realm)

    def usual(self, realm: str) -> tuple[str, ...]:
        """As `Survey.usual`."""
        return self._usual.of(realm if self.database.config.domain else "")

    def unhashed(self, key: HashedUser) -> tuple[str, bool]:
        """As `Survey.unhashed`."""
        canonical = self.spellings.canonical(key.realm) or ""
        scan = self._scans.pop((canonical, key.algorithm), None)
        if scan is None:
            scan = _Scan(self.database, canonical, key.algorithm)
        self._scans[canonical, key.algorithm] = scan  # the one used last is at the end
        if not self.database.config.domain:
            for oldest in list(self._scans)[:-MOST_REALMS]:
                del self._scans[oldest]
        return scan.find(key.hashed)


class _Scan:
    """The hashed usernames of a realm, renewed at a limited pace after the database has changed."""

    def __init__(self, database: Database, realm: str, algorithm: str) -> None:
        self.pace = Pace()
        self._database = database
        self._realm = realm
        self._algorithm = algorithm
        self._version = -1
        self._names = HashedNames((), realm, algorithm)

    def find(self, hashed: str) -> tuple[str, bool]:
        """Looks up a hash as :meth:`HashedNames.find` does.

        If hashing takes long, a former result of the hashing is used for a while.

        Raises:
            StoreError: the database could not be read.
        """
        version = self._database.seen_version
        if version != self._version and self.pace.allows():
            started = time.thread_time()
            with self._database.reading() as connection:
                usernames = [
                    text(name)
                    for (name,) in connection.execute(self._database.statements.usernames, (self._realm,))
                ]
            self._names = HashedNames(usernames, self._realm, self._algorithm)
            self.pace.done(time.thread_time() - started)
            self._version = version
        return self._names.find(hashed)


def _ask(
    database: Database, statement: Callable[[int], str], names: Sequence[_Asked]
) -> list[tuple[Any, ...]]:
    """The rows of a statement for several names, each row with the index of its name.

    There is a statement for each power of two, so SQLite compiles only a few. More names than the largest
    statement takes are looked up in parts. A name that UTF-8 cannot encode is nobody's, and so is no name.

    Raises:
        StoreError: the database could not be read.
    """
    try:
        return _rows(database, statement, names)
    except UnicodeEncodeError:
        return _rows(database, statement, [name if _is_utf8(name) else _NO_NAME for name in names])


def _rows(
    database: Database, statement: Callable[[int], str], names: Sequence[_Asked]
) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for start in range(0, len(names), MAX_ASKED):
        part = names[start : start + MAX_ASKED]
        room = 1 << (len(part) - 1).bit_length()
        parameters = list(chain.from_iterable(part))
        parameters += [0] * (ASKED_WIDTH * (room - len(part)))
        parameters.append(len(part))
        with database.reading() as connection:
            found = connection.execute(statement(room), parameters).fetchall()
        rows += [(start + number, *row) for number, *row in found] if start else found
    return rows


def _is_utf8(name: _Asked) -> bool:
    try:
        "".join(map(str, name)).encode()
    except UnicodeEncodeError:
        return False
    return True
