"""The lookups of a fetch: the rows that its keys need, and the values that are made of them. No I/O.

Every database has the same rules for which row is a user's and which HA1 a row has. They are here. A store
reads the rows, and is a :class:`Survey` for what is known of the whole table.

The time of a lookup does not tell whether a user exists: the same rows are asked for, and the rows are
processed in the same way. For an unknown user a store returns a neighbour's row.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

from auth_diameter.store.hashes import (
    HA1_COLUMNS,
    HA1_LENGTHS,
    HEX_DIGITS,
    Hashes,
    candidates,
    compute_ha1,
)
from auth_diameter.store.names import user_part
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

_log = logging.getLogger("auth_diameter.disc.lookups")

#: The secrets of a row, in this order.
SECRETS: Final = (*Hashes._fields, "password")

#: The greatest number of users whose invalid HA1 is logged, once each.
_MAX_WARNINGS: Final = 100
#: The algorithms of a user, by a number with one bit for each HA1 that the user has.
_ALGORITHMS: Final = tuple(
    tuple(algorithm for place, algorithm in enumerate(HA1_COLUMNS) if has >> place & 1)
    for has in range(1 << len(HA1_COLUMNS))
)


class Row(tuple[Any, ...]):
    """A row for a user who was asked for.

    It has the number of the user, whether the row is the user's, and `SECRETS`. A secret is bytes or str;
    anything else is none. A row does not show its secrets.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "Row(...)"


_NUMBER: Final = 0
_KNOWN: Final = 1
_PLACE: Final = {column: place for place, column in enumerate(SECRETS, _KNOWN + 1)}
_NOBODY: Final = Row((0, 0, *[b""] * len(SECRETS)))


class AskedUser(NamedTuple):
    """A user to look up. A tuple, so that SQLite's module takes it as parameters.

    Attributes:
        below: where a store can choose, an unknown user gets the row of the next lower name if it is 1, and
            of the next higher if it is 0.
        username: compared byte for byte.
        domain: as the table may spell it.
    """

    below: int
    username: str
    domain: str


class Survey(Protocol):
    """What is known of a whole table of subscribers."""

    @property
    def name(self) -> str:
        """The name of the store in the log."""

    def canonical(self, realm: str) -> str | None:
        """The realm as the table spells it, for a challenge; None for a realm without subscribers.

        Raises:
            StoreError: the database could not be read.
        """

    def under(self, realm: str) -> Sequence[str]:
        """The spellings of a realm under which its users are looked up: one at least.

        Raises:
            StoreError: the database could not be read.
        """

    def usual(self, realm: str) -> tuple[str, ...]:
        """The algorithms for which most users of a realm have an HA1, the weakest first.

        Raises:
            StoreError: the database could not be read.
        """

    def unhashed(self, key: HashedUser) -> tuple[str, bool]:
        """The username with a hash, or a neighbour's, and whether it has that hash.

        Raises:
            StoreError: the database could not be read.
        """


class Warnings:
    """The log of users whose HA1 cannot be used: each is named once, and not too many of them."""

    def __init__(self) -> None:
        self._warned: set[tuple[str, str]] = set()

    def invalid(self, store: str, column: str, username: str, realm: str) -> None:
        """Logs that a hash is not one."""
        if (username, realm) not in self._warned and len(self._warned) < _MAX_WARNINGS:
            self._warned.add((username, realm))
            _log.warning(
                "%s: %s of user %r in realm %r is not %d hex digits; the user cannot authenticate",
                store,
                column,
                username,
                realm,
                HA1_LENGTHS[column],
            )


class Lookup:
    """The lookups of one fetch.

    ::

        lookup = Lookup(keys, survey, warnings)
        lookup.take(rows of lookup.users)
        found = lookup.found()          # without those of lookup.members

    Args:
        keys: the keys to look up.
        survey: what is known of the whole table.
        warnings: the log of hashes that cannot be used.

    Attributes:
        users: the users whose rows are needed.
        members: the keys for memberships, which a store looks up itself.

    Raises:
        StoreError: the survey could not be made.
    """

    def __init__(self, keys: Collection[Key], survey: Survey, warnings: Warnings) -> None:
        self.users: list[AskedUser] = []
        self.members: list[Member] = []
        self._survey = survey
        self._warnings = warnings
        self._rows: list[Row | None] = []
        self._known: Found = {}
        self._later: list[tuple[Key, Callable[[], object]]] = []
        for key in keys:
            if isinstance(key, User):
                self._later.append((key, self._ask_user(key)))
            elif isinstance(key, Realm):
                self._known[key] = Spelling(survey.canonical(key.name))
            elif isinstance(key, HashedUser):
                self._later.append((key, self._ask_hashed(key)))
            elif isinstance(key, Algorithms):
                self._later.append((key, self._ask_algorithms(key)))
            else:
                self.members.append(key)

    def take(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Takes the rows of `users`, as `Row` has them; of several for one user the first counts."""
        found: list[Row | None] = [None] * len(self.users)
        for row in rows:
            number = row[_NUMBER]
            if found[number] is None:
                found[number] = Row(row)
        self._rows = found

    def found(self) -> Found:
        """A value for each key, apart from `members`."""
        found = self._known
        for key, value in self._later:
            found[key] = value()
        return found

    def _ask(self, username: str, spellings: Iterable[str], *, below: int = 0) -> range:
        """Adds a user under every spelling of the realm, so that the time does not tell which one exists.

        Returns:
            The argument for :meth:`_row`.
        """
        before = len(self.users)
        for domain in spellings:
            self.users.append(AskedUser(below, username, domain))
        return range(before, len(self.users))

    def _row(self, asked: range) -> Row:
        """The user's row, under the first spelling that has one; else a neighbour's."""
        found: Row | None = None
        for number in asked:
            row = self._rows[number]
            if found is None or (row is not None and row[_KNOWN] and not found[_KNOWN]):
                found = row
        return _NOBODY if found is None else found

    # -- for each kind of key: ask for the rows needed, and return a function that makes the value of them --

    def _ask_user(self, key: User) -> Callable[[], Candidates]:
        username, realm, _, _ = key
        spellings = self._survey.under(realm)
        # Always both lookups, so that the time does not tell whether the part before the "@" exists.
        own = self._ask(username, spellings)
        part = user_part(username, realm)
        if part is None:
            return partial(self._candidates, key, own)
        other = self._ask(part, spellings, below=1)
        return partial(self._candidates_of_two, key, own, part, other)

    def _candidates(self, key: User, own: range) -> Candidates:
        """The HA1 of a username without the realm."""
        username, realm, algorithm, _ = key
        row = self._row(own)
        ha1 = self._ha1(username, realm, row, algorithm)
        return candidates((ha1 if row[_KNOWN] else None,), algorithm)

    def _candidates_of_two(self, key: User, own: range, part: str, other: range) -> Candidates:
        """The HA1 of a username that is ``part@realm``, or else contains an "@" of its own."""
        username, realm, algorithm, _ = key
        row = self._row(own)
        ha1 = self._ha1(username, realm, row, algorithm)
        alone = ha1 if row[_KNOWN] else None
        row = self._row(other)
        whole = self._ha1b(username, part, realm, row, algorithm)
        ha1 = self._ha1(part, realm, row, algorithm)
        return candidates((whole, ha1) if row[_KNOWN] else (alone, None), algorithm)

    def _ask_hashed(self, key: HashedUser) -> Callable[[], HashedCandidates]:
        """Asks for the user with this hash, or for a neighbour if there is no such user."""
        username, matches = self._survey.unhashed(key)
        theirs = self._ask_user(User(username, key.realm, key.algorithm))

        def value() -> HashedCandidates:
            known, ha1s = theirs()
            return HashedCandidates(known & matches, ha1s, username, matches)

        return value

    def _ask_algorithms(self, key: Algorithms) -> Callable[[], Offer]:
        username, realm, _ = key
        part = user_part(username, realm)
        asked = self._ask(username if part is None else part, self._survey.under(realm))

        def value() -> Offer:
            row = self._row(asked)
            has = 0
            for place, column in enumerate(HA1_COLUMNS.values()):
                has |= bool(_secret(row, "password") or _secret(row, column)) << place
            usual = self._survey.usual(realm)
            # Both offers are made for any user: the time to read an object depends on where it is in memory.
            return Offer((usual, _ALGORITHMS[has])[(row[_KNOWN] == 1) & (has != 0)], usual)

        return value

    # -- HA1 of a row --

    def _ha1b(self, username: str, user: str, realm: str, row: Row, algorithm: str) -> str | None:
        """The HA1 of ``user@domain``, which is `username` (RFC 7616, 3.4.2); None if there is none."""
        stored = _secret(row, "ha1b")
        if algorithm == "MD5" and stored:
            return self._usable(stored, "ha1b", user, realm, row)
        password = _secret(row, "password")
        return compute_ha1(username, realm, password, algorithm) if password else None

    def _ha1(self, user: str, realm: str, row: Row, algorithm: str) -> str | None:
        """The HA1 of ``user`` alone; None if there is none; computed for a neighbour's row, too."""
        column = HA1_COLUMNS[algorithm]
        stored = _secret(row, column)
        if stored:
            return self._usable(stored, column, user, realm, row)
        password = _secret(row, "password")
        return compute_ha1(user, realm, password, algorithm) if password else None

    def _usable(self, stored: bytes, column: str, username: str, realm: str, row: Row) -> str | None:
        """A stored HA1 as text, if it is one; its digits may be of either case."""
        if HEX_DIGITS[HA1_LENGTHS[column]].fullmatch(stored):
            return stored.decode()
        if row[_KNOWN]:
            self._warnings.invalid(self._survey.name, column, username, realm)
        return None


def _secret(row: Row, column: str) -> bytes:
    """A password or a hash in a row; empty if the column holds anything but text, such as NULL."""
    value = row[_PLACE[column]]
    if isinstance(value, bytes):
        return value
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else b""
