"""The lookups of a fetch: the rows that its keys need, and the values that are made of them. No I/O.

Every database has the same rules for which row is a user's and which HA1 a row has. They are here. A store
reads the rows, and is a :class:`Survey` for what is known of the whole table.

The time of a lookup does not tell whether a user exists: the same rows are asked for, and the rows are
processed in the same way. For an unknown user a store returns a neighbour's row.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
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
_PASSWORD: Final = _KNOWN + 1 + SECRETS.index("password")
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


class _Asked(NamedTuple):
    """Where the rows are that a user's key needs.

    Attributes:
        key: the key.
        first: the number of the first row.
        number: how many there are, one for each spelling of the realm.
        part: the username without the realm that it ends with, whose rows follow; None: it has none.
    """

    key: Any
    first: int
    number: int
    part: str | None


class _Stored(NamedTuple):
    """A column with an HA1.

    Attributes:
        column: its name.
        place: its place in a `Row`.
        fullmatch: tells whether a text is an HA1.
    """

    column: str
    place: int
    fullmatch: Callable[[str], object]

    @classmethod
    def of(cls, column: str) -> _Stored:
        place = _KNOWN + 1 + SECRETS.index(column)
        return cls(column, place, HEX_DIGITS[HA1_LENGTHS[column]].fullmatch)


_HA1B: Final = _Stored.of("ha1b")
_STORED: Final = {algorithm: _Stored.of(column) for algorithm, column in HA1_COLUMNS.items()}


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
        self._rows: list[Row] = []
        self._known: Found = {}
        self._asked: list[_Asked] = []
        self._hashed: list[tuple[HashedUser, bool, _Asked]] = []
        self._offers: list[tuple[Algorithms, _Asked]] = []
        spellings: dict[str, Sequence[str]] = {}  # of the realms, of which the keys of a turn have few
        for key in keys:
            if isinstance(key, User):
                self._asked.append(self._ask_user(key, spellings))
            elif isinstance(key, Realm):
                self._known[key] = Spelling(survey.canonical(key.name))
            elif isinstance(key, HashedUser):
                username, matches = survey.unhashed(key)
                user = User(username, key.realm, key.algorithm)
                self._hashed.append((key, matches, self._ask_user(user, spellings)))
            elif isinstance(key, Algorithms):
                username, realm, _ = key
                part = user_part(username, realm)
                name = username if part is None else part
                asked = _Asked(key, *self._ask(name, realm, spellings), None)
                self._offers.append((key, asked))
            else:
                self.members.append(key)

    def take(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Takes the rows of `users`, as `Row` has them.

        Of several for one user, such as those of all names that a collation takes for the same, the first
        that is the user's counts.
        """
        found = [_NOBODY] * len(self.users)
        for row in rows:
            number = row[_NUMBER]
            if found[number] is _NOBODY or (row[_KNOWN] and not found[number][_KNOWN]):
                found[number] = Row(row)
        self._rows = found

    def found(self) -> Found:
        """A value for each key, apart from `members`."""
        found = self._known
        for asked in self._asked:
            found[asked[0]] = self._candidates(asked)
        for hashed, matches, asked in self._hashed:
            known, ha1s = self._candidates(asked)
            found[hashed] = HashedCandidates(known & matches, ha1s, asked.key.username, matches)
        for key, asked in self._offers:
            found[key] = self._offer(key, asked)
        return found

    # -- the rows that a key needs --

    def _ask(
        self, username: str, realm: str, spellings: dict[str, Sequence[str]], below: int = 0
    ) -> tuple[int, int]:
        """Adds a user under every spelling of the realm, so that the time does not tell which one exists.

        Returns:
            The number of the first, and how many there are.
        """
        domains = spellings.get(realm)
        if domains is None:
            domains = spellings[realm] = self._survey.under(realm)
        first = len(self.users)
        for domain in domains:
            self.users.append(AskedUser._make((below, username, domain)))
        return first, len(domains)

    def _ask_user(self, key: User, spellings: dict[str, Sequence[str]]) -> _Asked:
        username, realm, _, _ = key
        # Always both lookups, so that the time does not tell whether the part before the "@" exists.
        first, count = self._ask(username, realm, spellings)
        part = user_part(username, realm)
        if part is not None:
            self._ask(part, realm, spellings, below=1)
        return _Asked._make((key, first, count, part))

    def _row(self, first: int, count: int) -> Row:
        """The user's row, under the first spelling that has one; else a neighbour's."""
        found = self._rows[first]
        for number in range(first + 1, first + count):
            row = self._rows[number]
            if found is _NOBODY or (row[_KNOWN] and not found[_KNOWN]):
                found = row
        return found

    # -- the values --

    def _candidates(self, asked: _Asked) -> Candidates:
        (username, realm, algorithm, _), first, count, part = asked
        row = self._row(first, count)
        ha1 = self._ha1(username, realm, row, algorithm)
        alone = ha1 if row[_KNOWN] else None
        if part is None:
            return candidates((alone,), algorithm)
        # A username that is ``part@realm``, or else contains an "@" of its own.
        row = self._row(first + count, count)
        whole = self._ha1b(username, part, realm, row, algorithm)
        ha1 = self._ha1(part, realm, row, algorithm)
        return candidates((whole, ha1) if row[_KNOWN] else (alone, None), algorithm)

    def _offer(self, key: Algorithms, asked: _Asked) -> Offer:
        row = self._row(asked.first, asked.number)
        password, has = _text(row[_PASSWORD]), 0
        for place, stored in enumerate(_STORED.values()):
            has |= bool(password or _text(row[stored.place])) << place
        usual = self._survey.usual(key.realm)
        # Both offers are made for any user: the time to read an object depends on where it is in memory.
        return Offer((usual, _ALGORITHMS[has])[(row[_KNOWN] == 1) & (has != 0)], usual)

    # -- HA1 of a row --

    def _ha1b(self, username: str, user: str, realm: str, row: Row, algorithm: str) -> str | None:
        """The HA1 of ``user@domain``, which is `username` (RFC 7616, 3.4.2); None if there is none."""
        ha1b = _text(row[_HA1B.place])
        if algorithm == "MD5" and ha1b:
            return self._usable(ha1b, _HA1B, user, realm, row)
        return _computed(row, username, realm, algorithm)

    def _ha1(self, user: str, realm: str, row: Row, algorithm: str) -> str | None:
        """The HA1 of ``user`` alone; None if there is none; computed for a neighbour's row, too."""
        stored = _STORED[algorithm]
        ha1 = _text(row[stored.place])
        if ha1:
            return self._usable(ha1, stored, user, realm, row)
        return _computed(row, user, realm, algorithm)

    def _usable(self, ha1: str, stored: _Stored, username: str, realm: str, row: Row) -> str | None:
        """A stored HA1, if it is one; its digits may be of either case."""
        if stored.fullmatch(ha1):
            return ha1
        if row[_KNOWN]:
            self._warnings.invalid(self._survey.name, stored.column, username, realm)
        return None


def _text(value: object) -> str:
    """A hash in a row, or whether there is a password; empty if the column holds anything but text."""
    if isinstance(value, str):
        return value
    return value.decode("latin-1") if isinstance(value, bytes) else ""


def _computed(row: Row, username: str, realm: str, algorithm: str) -> str | None:
    """The HA1 of the password in a row; None if there is none."""
    password = row[_PASSWORD]
    if isinstance(password, str):
        password = password.encode("utf-8", "surrogateescape")
    if not isinstance(password, bytes) or not password:
        return None
    return compute_ha1(username, realm, password, algorithm)
