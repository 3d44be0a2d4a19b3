"""A store in an SQLite database with Kamailio's schema.

One statement looks up all users of a fetch, and another one all group memberships. The time of a lookup does
not tell whether a user exists: the statement takes the same steps for each name, and the rows are processed
in the same way. For an unknown user the statement returns a neighbour's row.

The lookups are here. The SQL is in :mod:`auth_diameter.store.statements`; the file and its changes are in
:mod:`auth_diameter.store.sqlite_file`.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from itertools import chain
from types import TracebackType
from typing import Any, Final, Self

from auth_diameter.store.hashes import HA1_COLUMNS, HA1_LENGTHS, HEX_DIGITS, candidates, compute_ha1
from auth_diameter.store.names import user_part
from auth_diameter.store.pace import Pace
from auth_diameter.store.realms import Spellings
from auth_diameter.store.schema import text
from auth_diameter.store.sqlite_file import Database
from auth_diameter.store.statements import ASKED_WIDTH, MAX_ASKED, SECRET_COLUMNS, USERNAMES
from auth_diameter.store.store import (
    Algorithms,
    Candidates,
    Found,
    HashedCandidates,
    HashedUser,
    Key,
    Member,
    Offer,
    Realm,
    Spelling,
    User,
)
from auth_diameter.store.userhash import HashedNames
from auth_diameter.store.usual_algorithms import UsualAlgorithms

_log = logging.getLogger("auth_diameter.disc.lookups")

#: The greatest number of users whose invalid HA1 is logged, once each.
_MAX_WARNINGS: Final = 100
#: The algorithms of a user, by a number with one bit for each HA1 column that the user has.
_ALGORITHMS: Final = tuple(
    tuple(algorithm for place, algorithm in enumerate(HA1_COLUMNS) if has >> place & 1)
    for has in range(1 << len(HA1_COLUMNS))
)


# A row of `Statements.secrets`: the index of the user, whether the row is the user's, then `SECRET_COLUMNS`.
class _Row(tuple[Any, ...]):
    """A row, which does not show its secrets."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "_Row(...)"


_KNOWN: Final = 1
_PLACE: Final = {column: place for place, column in enumerate(SECRET_COLUMNS, _KNOWN + 1)}
_NOBODY: Final = _Row((0, 0, *[b""] * len(SECRET_COLUMNS)))

# What is looked up: as many values as ASKED_WIDTH, of types that SQLite's module takes without a conversion.
_Asked = tuple[str | int | None, ...]
_NO_NAME: Final[_Asked] = (None,) * ASKED_WIDTH


def _secret(row: _Row, column: str) -> bytes:
    """A password or a hash in a row; empty if the column holds anything but text, such as NULL."""
    value = row[_PLACE[column]]
    return value if isinstance(value, bytes) else b""


class SqliteStore:
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
        self.spellings = Spellings(database, "subscriber")
        self._group_domains = Spellings(database, "grp")
        self._usual = UsualAlgorithms(database, self.spellings)
        self._scans: dict[tuple[str, str], _Scan] = {}
        self._renewals = 0
        self._warned: set[tuple[str, str]] = set()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Opens a database for reading; ``":memory:"`` is a new one.

        Args:
            path: the path of the file, or ``sqlite:///PATH``.

        Raises:
            ConfigError: the database cannot be used. The message is one line with the file, the cause and a
                remedy.
        """
        return cls(Database.open(path))

    def close(self) -> None:
        """Closes the database; any other use raises from then on."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def name(self) -> str:
        """The path of the database."""
        return self.database.path

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
        found: Found = {}
        users = _Users(self.database)
        later: list[tuple[Key, Callable[[], object]]] = []
        members: list[Member] = []
        for key in keys:
            if isinstance(key, User):
                later.append((key, self._ask_user(users, key)))
            elif isinstance(key, Realm):
                found[key] = Spelling(self.spellings.canonical(key.name))
            elif isinstance(key, HashedUser):
                later.append((key, self._ask_hashed(users, key)))
            elif isinstance(key, Algorithms):
                later.append((key, self._ask_algorithms(users, key)))
            else:
                members.append(key)
        users.look_up()
        for key, value in later:
            found[key] = value()
        if members:
            found.update(self._members(members))
        return found

    # -- for each kind of key: ask for the rows needed, and return a function that makes the value of them --

    def _ask_user(self, users: _Users, key: User) -> Callable[[], Candidates]:
        username, realm, _, _ = key
        spellings = self.spellings.under(realm)
        # Always both lookups, so that the time does not tell whether the part before the "@" exists.
        own = users.ask(username, spellings)
        part = user_part(username, realm)
        if part is None:
            return partial(self._candidates, key, users, own)
        other = users.ask(part, spellings, below=1)
        return partial(self._candidates_of_two, key, users, own, part, other)

    def _candidates(self, key: User, users: _Users, own: range) -> Candidates:
        """The HA1 of a username without the realm."""
        username, realm, algorithm, _ = key
        row = users.row(own)
        ha1 = self._ha1(username, realm, row, algorithm)
        return candidates((ha1 if row[_KNOWN] else None,), algorithm)

    def _candidates_of_two(self, key: User, users: _Users, own: range, part: str, other: range) -> Candidates:
        """The HA1 of a username that is ``part@realm``, or else contains an "@" of its own."""
        username, realm, algorithm, _ = key
        row = users.row(own)
        ha1 = self._ha1(username, realm, row, algorithm)
        alone = ha1 if row[_KNOWN] else None
        row = users.row(other)
        whole = self._ha1b(username, part, realm, row, algorithm)
        ha1 = self._ha1(part, realm, row, algorithm)
        return candidates((whole, ha1) if row[_KNOWN] else (alone, None), algorithm)

    def _ask_hashed(self, users: _Users, key: HashedUser) -> Callable[[], HashedCandidates]:
        """Asks for the user with this hash, or for a neighbour if there is no such user."""
        _, realm, algorithm, _ = key
        username, matches = self._scan(realm, algorithm).find(key.hashed)
        theirs = self._ask_user(users, User(username, realm, algorithm))

        def value() -> HashedCandidates:
            known, ha1s = theirs()
            return HashedCandidates(known & matches, ha1s, username, matches)

        return value

    def _ask_algorithms(self, users: _Users, key: Algorithms) -> Callable[[], Offer]:
        username, realm, _ = key
        part = user_part(username, realm)
        asked = users.ask(username if part is None else part, self.spellings.under(realm))

        def value() -> Offer:
            row = users.row(asked)
            has = 0
            for place, column in enumerate(HA1_COLUMNS.values()):
                has |= bool(_secret(row, "password") or _secret(row, column)) << place
            usual = self._usual.of(realm)
            # Both offers are made for any user: the time to read an object depends on where it is in memory.
            return Offer((usual, _ALGORITHMS[has])[(row[_KNOWN] == 1) & (has != 0)], usual)

        return value

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

    # -- HA1 of a row --

    def _ha1b(self, username: str, user: str, realm: str, row: _Row, algorithm: str) -> str | None:
        """The HA1 of ``user@domain``, which is `username` (RFC 7616, 3.4.2); None if there is none."""
        stored = _secret(row, "ha1b")
        if algorithm == "MD5" and stored:
            return self._usable(stored, "ha1b", user, realm, row)
        password = _secret(row, "password")
        return compute_ha1(username, realm, password, algorithm) if password else None

    def _ha1(self, user: str, realm: str, row: _Row, algorithm: str) -> str | None:
        """The HA1 of ``user`` alone; None if there is none; computed for a neighbour's row, too."""
        column = HA1_COLUMNS[algorithm]
        stored = _secret(row, column)
        if stored:
            return self._usable(stored, column, user, realm, row)
        password = _secret(row, "password")
        return compute_ha1(user, realm, password, algorithm) if password else None

    def _usable(self, stored: bytes, column: str, username: str, realm: str, row: _Row) -> str | None:
        """A stored HA1 as text, if it is one; its digits may be of either case."""
        length = HA1_LENGTHS[column]
        if HEX_DIGITS[length].fullmatch(stored):
            return stored.decode()
        if row[_KNOWN] and (username, realm) not in self._warned and len(self._warned) < _MAX_WARNINGS:
            self._warned.add((username, realm))
            _log.warning(
                "%s: %s of user %r in realm %r is not %d hex digits; the user cannot authenticate",
                self.name,
                column,
                username,
                realm,
                length,
            )
        return None

    # -- hashed usernames --

    def _scan(self, realm: str, algorithm: str) -> _Scan:
        """The hashed usernames of a realm."""
        canonical = self.spellings.canonical(realm) or ""
        scan = self._scans.get((canonical, algorithm))
        if scan is None:
            scan = self._scans[canonical, algorithm] = _Scan(self.database, canonical, algorithm)
        return scan


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
                usernames = [text(name) for (name,) in connection.execute(USERNAMES, (self._realm,))]
            self._names = HashedNames(usernames, self._realm, self._algorithm)
            self.pace.done(time.thread_time() - started)
            self._version = version
        return self._names.find(hashed)


class _Users:
    """Users whose rows are read together.

    ::

        asked = users.ask(username, spellings)
        users.look_up()
        row = users.row(asked)
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._asked: list[_Asked] = []
        self._rows: list[_Row | None] = []

    def ask(self, username: str, spellings: Iterable[str], *, below: int = 0) -> range:
        """Adds a user under every spelling of the realm, so that the time does not tell which one exists.

        Args:
            username: the username to look up.
            spellings: the spellings of the realm.
            below: 1 if an unknown user gets the row of the next lower name; 0: of the next higher.

        Returns:
            The argument for :meth:`row`.
        """
        before = len(self._asked)
        for domain in spellings:
            self._asked.append((below, username, domain))
        return range(before, len(self._asked))

    def look_up(self) -> None:
        """Reads the rows of all users asked for.

        Raises:
            StoreError: the database could not be read.
        """
        rows: list[_Row | None] = [None] * len(self._asked)
        self._rows = rows
        for row in _ask(self._database, self._database.statements.secrets, self._asked):
            if rows[row[0]] is None:
                rows[row[0]] = _Row(row)

    def row(self, asked: range) -> _Row:
        """The user's row, under the first spelling that has one; else a neighbour's."""
        found: _Row | None = None
        for number in asked:
            row = self._rows[number]
            if found is None or (row is not None and row[_KNOWN] and not found[_KNOWN]):
                found = row
        return _NOBODY if found is None else found


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
