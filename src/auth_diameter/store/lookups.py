"""What DISC asks its database for each question: HA1, algorithms, realms, membership.

Names, after RFC 7616 and RFC 3261: a *username* is the digest's, compared byte for byte; a *realm*
is what a challenge names, and it is kept in the column ``domain``. Domains are compared without
regard to the case of ASCII letters (RFC 4343), and that alone: ``HA1 = MD5(username ":" realm ":"
password)`` is taken over one spelling, so whoever challenges must send that spelling, which
:meth:`Lookups.canonical_realm` gives. New realms are stored in lower case; a realm that a table
already has keeps the spelling it has there.

An HA1 is as good as a password to whoever reads it: neither is ever in a repr, a log line or an
exception of this module.

How long a lookup takes does not tell whether the user exists: it asks the same of the database and does the
same with what comes, for which an unknown user gets the row of a neighbour.
"""

from __future__ import annotations

import logging
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from auth_diameter._core import ConfigError
from auth_diameter.store import schema
from auth_diameter.store.names import HA1_COLUMNS, HA1_LENGTHS, compute_ha1, fold_realm
from auth_diameter.store.schema import Spellings, describe, text
from auth_diameter.store.sqlite import Database
from auth_diameter.store.usual import UsualAlgorithms

_log = logging.getLogger("auth_diameter.disc.lookups")

HEX: Final = {length: re.compile(rb"[0-9A-Fa-f]{%d}" % length) for length in (32, 64)}

#: New spellings of a domain that others have written are seen after this many seconds at most.
_SPELLINGS_AGE: Final = 0.5
#: Realms whose spellings are kept at hand, and characters of one of them: strangers choose them.
_MAX_REALMS: Final = 1000
_MAX_REALM: Final = 255
#: Rows whose HA1 cannot be used are named in the log once each, and so many of them.
_MAX_WARNINGS: Final = 100


#: By the bits of a number, one for each column of HA1, the algorithms of a user who has those.
_ALGORITHMS: Final = tuple(
    tuple(algorithm for place, algorithm in enumerate(HA1_COLUMNS) if has >> place & 1)
    for has in range(1 << len(HA1_COLUMNS))
)


class _Secrets(NamedTuple):
    """What a row of ``subscriber`` authenticates with; any of them may be empty."""

    known: bool  # else it is somebody else's row
    ha1: bytes
    ha1b: bytes
    ha1_sha256: bytes
    ha1_sha512t256: bytes
    password: bytes

    def __repr__(self) -> str:
        return "_Secrets(...)"


_SECRET_COLUMNS: Final = _Secrets._fields[1:]
_NOBODY: Final = _Secrets(False, *(b"" for _ in _SECRET_COLUMNS))


class Lookups(Database):
    """A database of subscribers and groups, to be asked.

    A reader sees at once what another process has committed, but a new spelling of a domain only after half
    a second.
    """

    def __init__(self, path: str, connection: sqlite3.Connection, *, writable: bool) -> None:
        self._warned: set[tuple[str, str]] = set()
        self._spelled: dict[str, tuple[str, ...]] = {}
        self._spelled_until = 0.0
        super().__init__(path, connection, writable=writable)

    def _use(self, connection: sqlite3.Connection) -> None:
        """See what is in the database behind this connection, and look things up there.

        :raises ConfigError: it is none with subscribers; the former connection stays in use.
        """
        try:
            columns = schema.column_names(connection, "subscriber")
            grp_columns = schema.column_names(connection, "grp")
            realms = Spellings("subscriber", connection)
            usual = UsualAlgorithms(connection, columns)
            group_domains = Spellings("grp", connection)
            # OpenSIPS has no ha1b, Kamailio no SHA-2; who lets Kamailio calculate HA1 may have dropped more.
            chosen = ", ".join(c if c in columns else "''" for c in _SECRET_COLUMNS)
            above = below = None
            if {"username", "domain"} <= columns:
                above = _even_select(connection, chosen, ">=", "ASC")
                below = _even_select(connection, chosen, "<=", "DESC")
        except sqlite3.Error as error:
            raise ConfigError(f"{self.path}: {describe(error)}") from None
        lacking = sorted({"username", "domain"} - columns)
        if not columns & {"ha1", "password"}:
            lacking.append("ha1")
        if lacking:
            raise ConfigError(f"{self.path}: table 'subscriber' has no column {lacking[0]!r}")
        plain = f"SELECT 1, {chosen} FROM subscriber WHERE username = :username AND domain = :domain"  # noqa: S608 -- names from above
        self._select, self._select_other = above or plain, below or plain
        self._spelled_until = 0.0
        self._subscriber_columns, self._grp_columns = columns, grp_columns
        self._realms, self._group_domains, self._usual = realms, group_domains, usual
        super()._use(connection)

    def data_version(self) -> int:
        """As of any database; with a new version, spellings that were kept are looked up again.

        :raises StoreError: the database could not be read.
        """
        before = self._version
        version = super().data_version()
        if version != before:
            self._spelled_until = 0.0
        return version

    # -- HA1 --

    def ha1(self, username: str, realm: str, algorithm: str = "MD5") -> str | None:
        """HA1 of the subscriber in lower-case hex digits, or None when there is no such user.

        A row without an HA1 but with a plain password counts: HA1 is then taken over ``realm`` as
        it is spelled here. A stored HA1 of the wrong length is no user, and is logged once.

        :param algorithm: ``"MD5"``, ``"SHA-256"`` or ``"SHA-512-256"``.
        :raises StoreError: the database could not be read.
        """
        secrets = self._secrets(self._select, username, realm)
        found = self._part(username, realm, secrets, algorithm)
        return found if secrets.known else None

    def ha1_at(self, username: str, realm: str) -> str | None:
        """HA1 for a digest username that holds an ``@``; the first of :meth:`ha1_candidates`.

        :raises StoreError: the database could not be read.
        """
        candidates = self.ha1_candidates(username, realm)
        return candidates[0] if candidates else None

    def ha1_candidates(self, username: str, realm: str, algorithm: str = "MD5") -> tuple[str, ...]:
        """Every HA1 with which a digest by this username may be right, the likeliest first.

        Without an ``@`` that is :meth:`ha1`. ``user@domain`` is the subscriber ``user`` when
        ``domain`` is the realm: first HA1 over the username as it was sent (RFC 7616 3.4.2; the
        column ``ha1b``, for MD5 alone), then over ``user`` alone, as the original DISC takes it. Else
        it may be a username of its own. With another domain than the realm it is never ``user``, for
        the digest would prove the password of one account while it names another.

        :raises StoreError: the database could not be read.
        """
        return tuple(ha1 for ha1 in self.ha1_places(username, realm, algorithm) if ha1 is not None)

    def ha1_places(self, username: str, realm: str, algorithm: str = "MD5") -> tuple[str | None, ...]:
        """The same with None in the place of each that is missing: the names alone say how many there are.

        :raises StoreError: the database could not be read.
        """
        own = self.ha1(
            username, realm, algorithm
        )  # in any case: the time is not to tell whether `user` exists
        if "@" not in username:
            return (own,)
        user, _, domain = username.rpartition("@")
        if fold_realm(domain) != fold_realm(realm):
            return (own,)
        secrets = self._secrets(self._select_other, user, realm)
        whole = self._whole(username, user, realm, secrets, algorithm)
        part = self._part(user, realm, secrets, algorithm)
        return (whole, part) if secrets.known else (own, None)

    def algorithms(self, username: str, realm: str) -> tuple[str, ...]:
        """Those with which the subscriber can be authenticated, the weakest first.

        Of a user who does not exist, or cannot be authenticated at all, those that most users of the realm
        have: so challenges do not tell who exists. It takes as long in either case.

        :raises StoreError: the database could not be read.
        """
        user, at, domain = username.rpartition("@")
        if at and fold_realm(domain) == fold_realm(realm):
            username = user
        secrets = self._secrets(self._select, username, realm)
        has = 0
        for place, column in enumerate(HA1_COLUMNS.values()):
            has |= bool(secrets.password or getattr(secrets, column)) << place
        usual = self.usual_algorithms(realm)
        # Nothing is made for a known user that is not made for an unknown one: its memory would show in time.
        return (usual, _ALGORITHMS[has])[secrets.known & (has != 0)]

    def usual_algorithms(self, realm: str) -> tuple[str, ...]:
        """Those with which most users of a realm can be authenticated, the weakest first.

        In a large realm they are taken from a sample of its users. They are kept until :meth:`data_version`
        is another one. None when nobody is in the realm.

        :raises StoreError: the database could not be read.
        """
        folded = fold_realm(realm)
        found = self._usual.at_hand(self._version, folded)
        if found is None:
            spellings = self._known(self._realms).get(folded, ())
            with self._reading():
                found = self._usual.look_up(self._connection, self._version, folded, spellings)
        return found

    def _whole(self, username: str, user: str, realm: str, secrets: _Secrets, algorithm: str) -> str | None:
        """HA1 over ``user@domain``, which is `username`."""
        if algorithm == "MD5" and secrets.ha1b:
            return self._usable(secrets.known, secrets.ha1b, "ha1b", user, realm)
        return compute_ha1(username, realm, secrets.password, algorithm) if secrets.password else None

    def _part(self, user: str, realm: str, secrets: _Secrets, algorithm: str) -> str | None:
        """HA1 over ``user`` alone."""
        column = HA1_COLUMNS[algorithm]
        stored: bytes = getattr(secrets, column)
        if stored:
            return self._usable(secrets.known, stored, column, user, realm)
        return compute_ha1(user, realm, secrets.password, algorithm) if secrets.password else None

    def _usable(self, known: bool, stored: bytes, column: str, username: str, realm: str) -> str | None:
        length = HA1_LENGTHS[column]
        if HEX[length].fullmatch(stored):
            return stored.decode().lower()
        if known and (username, realm) not in self._warned and len(self._warned) < _MAX_WARNINGS:
            self._warned.add((username, realm))
            _log.warning(
                "%s: %s of user %r in realm %r is not %d hex digits; the user cannot authenticate",
                self.path,
                column,
                username,
                realm,
                length,
            )
        return None

    def _secrets(self, select: str, username: str, realm: str) -> _Secrets:
        """Those of the user's row, or of another one; all spellings of the realm are asked for either way."""
        spellings = self._spelled.get(realm)
        if spellings is None or time.monotonic() >= self._spelled_until:
            spellings = self._spell(realm)
        found = self._first(select, {"username": username, "domain": spellings[0]})
        for spelling in spellings[1:]:
            row = self._first(select, {"username": username, "domain": spelling})
            if found is None or (row is not None and row[0] and not found[0]):
                found = row
        if found is None:
            return _NOBODY
        known, *stored = found
        return _Secrets(known == 1, *[value if isinstance(value, bytes) else b"" for value in stored])

    # -- realms --

    def canonical_realm(self, realm: str) -> str | None:
        """Give the realm as the table spells it, to be sent in a challenge; None: not served.

        :raises StoreError: the database could not be read.
        """
        known = self._known(self._realms).get(fold_realm(realm))
        return known[0] if known else None

    def serves(self, realm: str) -> bool:
        """Whether any subscriber is in this realm.

        :raises StoreError: the database could not be read.
        """
        return fold_realm(realm) in self._known(self._realms)

    def served_realms(self) -> frozenset[str]:
        """All realms that have a subscriber, each in its canonical spelling.

        :raises StoreError: the database could not be read.
        """
        return frozenset(names[0] for names in self._known(self._realms).values())

    def usernames(self, domain: str) -> tuple[str, ...]:
        """The usernames of all subscribers in a domain, whatever its case.

        :raises StoreError: the database could not be read.
        """
        with self._reading():
            rows = self._connection.execute(
                "SELECT username FROM subscriber WHERE domain = ? COLLATE NOCASE", (domain,)
            )
            return tuple(text(username) for (username,) in rows)

    def _spell(self, realm: str) -> tuple[str, ...]:
        """Spellings under which the users of a realm may be, the given one first; kept for a while."""
        now = time.monotonic()
        if now >= self._spelled_until or len(self._spelled) >= _MAX_REALMS:
            self._known(self._realms)
            self._spelled.clear()
            self._spelled_until = now + _SPELLINGS_AGE
        spellings = (realm, *self._others(realm, self._realms))
        if len(realm) <= _MAX_REALM:
            self._spelled[realm] = spellings
        return spellings

    def _others(self, domain: str, spellings: Spellings) -> Iterator[str]:
        """Spellings to look under after the given one: the folded, then those of the map."""
        folded = fold_realm(domain)
        if folded != domain:
            yield folded
        for spelling in self._known(spellings).get(folded, ()):
            if spelling not in (domain, folded):
                yield spelling

    def _known(self, spellings: Spellings, *, now: bool = False) -> Mapping[str, tuple[str, ...]]:
        version = self.data_version()
        with self._reading():
            return spellings.get(self._connection, version, now=now)

    # -- groups --

    def is_member(self, username: str, domain: str, group: str) -> bool:
        """Whether the user is in the group; the group's name is compared byte for byte.

        An empty domain stands for any: a SIP server with ``use_domain`` off sends the user's name
        alone, and so says that its names are unique over all domains. (The Destination-Realm next
        to it is the Request-URI's host, which tells nothing about the domain of a caller.) Who
        serves several domains turns ``use_domain`` on.

        :raises StoreError: the database could not be read.
        """
        if not self._grp_columns:
            return False
        if not domain:
            query = "SELECT 1 FROM grp WHERE username = ? AND grp = ? LIMIT 1"
            return self._first(query, (username, group)) is not None
        query = "SELECT 1 FROM grp WHERE username = ? AND domain = ? AND grp = ?"
        if self._first(query, (username, domain, group)) is not None:
            return True
        return any(
            self._first(query, (username, spelling, group)) is not None
            for spelling in self._others(domain, self._group_domains)
        )


def _even_select(connection: sqlite3.Connection, columns: str, at: str, order: str) -> str | None:
    """Give a statement that takes the same steps for a user who exists and for one who does not.

    It reads the row at the place of the name in the index, or the next one, and says whether it is the
    user's. At the end of the index, the table's first row stands in. Who asks for ``user@domain`` and then
    for ``user`` looks for the next row upwards and then downwards, so that an unknown user has two rows to
    read, too.

    :param at: ``>=`` or ``<=``. :param order: ``ASC`` or ``DESC`` with it.
    :returns: None where there is no such index, or the rows have no number: then an unknown user is found
        missing sooner than a known one is read.
    """
    # Of the ways to say it, these are the ones with which SQLite runs through as many steps in either case.
    if schema.has_index_on(connection, "subscriber", "domain", "username"):
        is_it = "(username, domain) = (:username, :domain)"
        place = f"domain = :domain AND username {at} :username ORDER BY username {order}"
    elif schema.has_index_on(connection, "subscriber", "username", "domain"):  # Kamailio's only one
        is_it = "(username = :username) & (domain = :domain)"
        place = f"(username, domain) {at} (:username, :domain) ORDER BY username {order}, domain {order}"
    else:
        return None
    statement = (
        f"SELECT {is_it}, {columns} FROM subscriber WHERE rowid = coalesce("  # noqa: S608 -- no name but those of _use
        f"(SELECT rowid FROM subscriber WHERE {place} LIMIT 1), (SELECT rowid FROM subscriber LIMIT 1))"
    )
    try:
        connection.execute(f"EXPLAIN {statement}", {"username": "", "domain": ""})
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
            raise
        return None  # no such column: rowid
    return statement
