"""The subscribers and groups that DISC knows, in SQLite and Kamailio's own schema.

Names, after RFC 7616 and RFC 3261: a *username* is the digest's, compared byte for byte; a *realm*
is what a challenge names, and it is kept in the column ``domain``. Domains are compared without
regard to the case of ASCII letters (RFC 4343), and that alone: ``HA1 = MD5(username ":" realm ":"
password)`` is taken over one spelling, so whoever challenges must send that spelling, which
:meth:`Store.canonical_realm` gives. New realms are stored in lower case; a realm that a table
already has keeps the spelling it has there.

An HA1 is as good as a password to whoever reads it: neither is ever in a repr, a log line or an
exception of this module.

How long a lookup takes does not tell whether the user exists: it asks the same of the database and does the
same with what comes, for which an unknown user gets the row of a neighbour.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from auth_diameter._core.errors import ConfigError, DiscError
from auth_diameter.disc import schema
from auth_diameter.disc.names import (
    HA1_COLUMNS,
    HA1_LENGTHS,
    Hashes,
    compute_ha1,
    domain_flaw,
    fold_realm,
    group_flaw,
    is_text,
    password_flaw,
    split_account,
    username_flaw,
)
from auth_diameter.disc.schema import Spellings, describe, text

__all__ = ["Store", "StoreError", "User", "compute_ha1", "fold_realm", "split_account"]

_log = logging.getLogger(__name__)

_HEX: Final = {length: re.compile(rb"[0-9A-Fa-f]{%d}" % length) for length in (32, 64)}

#: New spellings of a domain that others have written are seen after this many seconds at most.
_SPELLINGS_AGE: Final = 0.5
#: Realms whose spellings are kept at hand, and characters of one of them: strangers choose them.
_MAX_REALMS: Final = 1000
_MAX_REALM: Final = 255
#: A file that took the place of ours and cannot be used is tried again after this many seconds.
_RETRY_AFTER: Final = 1.0
#: Rows whose HA1 cannot be used are named in the log once each, and so many of them.
_MAX_WARNINGS: Final = 100


class StoreError(DiscError):
    """The store could not be read just now; DISC answers 5012 (UNABLE_TO_COMPLY, RFC 6733 7.1.5).

    The message is one line with the file and the cause. Locks pass, a damaged file does not.
    """


@dataclass(frozen=True, slots=True)
class User:
    """One subscriber, as :meth:`Store.users` lists them."""

    username: str
    domain: str
    #: 32 lower-case hex digits; "" where the row has none and HA1 comes from a plain password.
    ha1: str = field(repr=False)
    #: Whether the row holds the password in plain text, as ``kamctl`` writes it by default.
    plain_password: bool = False

    def __str__(self) -> str:
        return f"{self.username}@{self.domain}"


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


# --- the store -----------------------------------------------------------------------------------


class Store:
    """A database of subscribers and groups; use it as a context manager, or :meth:`close` it.

    Lookups raise :class:`StoreError`, changes and opening raise :class:`ConfigError`. A store may
    be handed from one thread to another, but is used by one at a time, and never across a fork.
    A reader sees at once what another process has committed, but a new spelling of a domain only after half
    a second.
    """

    def __init__(self, path: str, connection: sqlite3.Connection, *, writable: bool) -> None:
        self.path: Final = path
        self.writable: Final = writable
        self._closed = False
        self._warned: set[tuple[str, str]] = set()
        self._immutable = False
        self._stamp: tuple[int, ...] | None = None
        self._refused: tuple[int, ...] | None = None
        self._retry_at = 0.0
        self._doubtful = False
        self._version = 0
        self._pragma_version = -1
        self._spelled: dict[str, tuple[str, ...]] = {}
        self._spelled_until = 0.0
        self._use(connection)

    def _use(self, connection: sqlite3.Connection) -> None:
        """See what is in the database behind this connection, and look things up there.

        :raises ConfigError: it is none with subscribers; the former connection stays in use.
        """
        try:
            columns = schema.column_names(connection, "subscriber")
            grp_columns = schema.column_names(connection, "grp")
            realms = Spellings("subscriber", connection)
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
        self._realms, self._group_domains = realms, group_domains
        self._connection = connection

    # -- open and close --

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, writable: bool = False) -> Self:
        """Open a database: for reading it must exist, for writing it is created when missing.

        :raises ConfigError: it cannot be used; one line with the file, the cause and what helps.
        """
        name = os.fspath(path)
        if writable or name == schema.MEMORY:
            return cls._finish(name, schema.open_for_writing(name), writable=True)
        stamps = _stamp(name, False), _stamp(name, True)  # before: a change from now on is seen
        opened = schema.open_for_reading(name)
        store = cls._finish(name, opened.connection, writable=False)
        store._immutable, store._stamp = opened.immutable, stamps[opened.immutable]
        return store

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> Self:
        """Create a new database, open for writing; ``":memory:"`` is one that dies with the store.

        :raises ConfigError: the file exists, or cannot be made.
        """
        name = os.fspath(path)
        return cls._finish(name, schema.open_for_writing(name, exist_ok=False), writable=True)

    @classmethod
    def _finish(cls, path: str, connection: sqlite3.Connection, *, writable: bool) -> Self:
        try:
            return cls(path, connection, writable=writable)
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Close the database; a second call does nothing, any other use raises from then on."""
        self._closed = True
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Store({self.path!r}, writable={self.writable})"

    # -- lookups --

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

        Of a user who does not exist, those of another one, so that to be asked tells nobody who does.

        :raises StoreError: the database could not be read.
        """
        user, at, domain = username.rpartition("@")
        if at and fold_realm(domain) == fold_realm(realm):
            username = user
        secrets = self._secrets(self._select, username, realm)
        return tuple(
            algorithm
            for algorithm, column in HA1_COLUMNS.items()
            if secrets.password or getattr(secrets, column)
        )

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

    def groups(self, username: str, domain: str) -> tuple[str, ...]:
        """Name the user's groups, sorted; an empty domain stands for any, as in :meth:`is_member`.

        :raises StoreError: the database could not be read.
        """
        if not self._grp_columns or not is_text(username + domain):
            return ()
        with self._reading():
            rows = self._connection.execute(
                "SELECT DISTINCT grp FROM grp WHERE username = ?"
                " AND (? = '' OR domain = ? COLLATE NOCASE) ORDER BY grp",
                (username, domain, domain),
            )
            return tuple(text(group) for (group,) in rows)

    def users(self, domain: str | None = None) -> Iterator[User]:
        """All subscribers, or those of one domain, by domain and then username.

        They are read as they are asked for: a million of them need no memory. Take them all, or
        close the iterator, before the store is changed.

        :raises StoreError: the database could not be read.
        """
        if domain is not None and not is_text(domain):
            return
        ha1 = "ha1" if "ha1" in self._subscriber_columns else "''"
        password = "password" if "password" in self._subscriber_columns else "''"
        condition = "" if domain is None else " WHERE domain = ? COLLATE NOCASE"
        with self._reading():
            rows = self._connection.execute(
                f"SELECT username, domain, {ha1}, {password} <> '' FROM subscriber{condition}"  # noqa: S608 -- names from the lines above
                " ORDER BY domain, username",
                () if domain is None else (domain,),
            )
            for username, stored_domain, stored, plain in rows:
                usable = isinstance(stored, bytes) and _HEX[32].fullmatch(stored)
                yield User(
                    username=text(username),
                    domain=text(stored_domain),
                    ha1=stored.decode().lower() if usable else "",
                    plain_password=bool(plain),
                )

    def usernames(self, domain: str) -> tuple[str, ...]:
        """The usernames of all subscribers in a domain, whatever its case.

        :raises StoreError: the database could not be read.
        """
        with self._reading():
            rows = self._connection.execute(
                "SELECT username FROM subscriber WHERE domain = ? COLLATE NOCASE", (domain,)
            )
            return tuple(text(username) for (username,) in rows)

    def count_users(self) -> int:
        """How many subscribers there are.

        :raises StoreError: the database could not be read.
        """
        row = self._first("SELECT count(*) FROM subscriber", ())
        return int(row[0]) if row else 0

    def data_version(self) -> int:
        """Give a number that grows when anyone has changed the database: drop caches then.

        It costs microseconds. A reader also notices here that the file was replaced by another
        one and goes over to that; so ask once a second even where nothing is cached.

        :raises StoreError: the database could not be read.
        """
        if not self.writable:
            self._follow_the_file()
        row = self._first("PRAGMA data_version", ())
        seen = int(row[0]) if row else -1
        if seen != self._pragma_version:
            self._pragma_version = seen
            self._version += 1
            self._spelled_until = 0.0
        return self._version

    # -- changes --

    def add_user(self, username: str, domain: str, password: str, *, replace: bool = False) -> bool:
        """Add a subscriber by HA1 for every algorithm; the password itself is not kept.

        :param replace: give an existing user this password, and drop one that is in plain text.
        :returns: True for a new user, False for a replaced password.
        :raises ConfigError: a name or password that cannot be used; the user exists and
            ``replace`` is false; the database cannot be written.
        """
        _require("username", username, username_flaw(username))
        _require("domain", domain, domain_flaw(domain))
        flaw = password_flaw(password)
        if flaw:
            raise ConfigError(f"password of {username}@{domain} {flaw}")
        with self.changing():
            existing = self.stored_domain(username, domain)
            if existing is not None and not replace:
                raise ConfigError(
                    f"user {username}@{existing} exists already; to give it a new password, ask for "
                    "replacement (--replace)"
                )
            realm = existing or self.spelling_for(domain)
            self.put(
                username,
                realm,
                Hashes.of(username, realm, password),
                exists=existing is not None,
            )
        return existing is None

    def delete_user(self, username: str, domain: str) -> bool:
        """Delete a subscriber and the groups it is in; False when there was none.

        :raises ConfigError: the database cannot be written.
        """
        with self.changing() as connection:
            found = connection.execute(
                "DELETE FROM subscriber WHERE username = ? AND domain = ? COLLATE NOCASE",
                (username, domain),
            ).rowcount
            connection.execute(
                "DELETE FROM grp WHERE username = ? AND domain = ? COLLATE NOCASE",
                (username, domain),
            )
        return found > 0

    def add_group(self, username: str, domain: str, group: str) -> bool:
        """Put an existing user into a group; False when it is there already.

        :raises ConfigError: no such user; a name that cannot be used; the database cannot be
            written.
        """
        _require("group", group, group_flaw(group))
        with self.changing():
            stored = self.stored_domain(username, domain)
            if stored is None:
                raise ConfigError(f"user {username}@{domain} does not exist; add it first")
            return self.put_group(username, stored, group)

    def delete_group(self, username: str, domain: str, group: str) -> bool:
        """Take a user out of a group; False when it was not in it.

        :raises ConfigError: the database cannot be written.
        """
        with self.changing() as connection:
            found = connection.execute(
                "DELETE FROM grp WHERE username = ? AND domain = ? COLLATE NOCASE AND grp = ?",
                (username, domain, group),
            ).rowcount
        return found > 0

    # -- for csvimport: the steps of a change, inside changing() --

    @contextlib.contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: kept as a whole when the block ends, dropped when it raises.

        :raises ConfigError: the store is open for reading, or the database cannot be written.
        """
        if not self.writable:
            raise ConfigError(f"{self.path}: was opened for reading only")
        try:
            with _transaction(self._connection, "BEGIN IMMEDIATE"):
                yield self._connection
        except sqlite3.Error as error:
            raise ConfigError(f"{self.path}: {describe(error)}") from None
        except UnicodeEncodeError:
            raise ConfigError(f"{self.path}: a name that is not UTF-8 cannot be in it") from None
        finally:
            self._version += 1

    @contextlib.contextmanager
    def scratch(self) -> Iterator[sqlite3.Connection]:
        """One transaction on temporary tables, in which the database itself is not touched.

        :raises ConfigError: there is no room for them.
        """
        try:
            with _transaction(self._connection, "BEGIN"):
                yield self._connection
        except sqlite3.Error as error:
            raise ConfigError(f"temporary tables: {describe(error)}") from None

    def spelling_for(self, domain: str) -> str:
        """Give the spelling under which a new user of this domain is stored and hashed."""
        folded = fold_realm(domain)
        row = self._first("SELECT 1 FROM subscriber WHERE domain = ? LIMIT 1", (folded,))
        if row is not None:
            return folded
        known = self._known(self._realms, now=True).get(folded)
        return known[0] if known else folded

    def stored_domain(self, username: str, domain: str) -> str | None:
        """Give the domain of an existing user in the spelling of its row, the folded one first."""
        folded = fold_realm(domain)
        row = self._first(
            "SELECT domain FROM subscriber WHERE username = ? AND domain = ? COLLATE NOCASE"
            " ORDER BY domain <> ?, domain LIMIT 1",
            (username, folded, folded),
        )
        return text(row[0]) if row else None

    @property
    def hash_columns(self) -> tuple[str, ...]:
        """Those of :class:`Hashes` that the table has."""
        return tuple(column for column in Hashes._fields if column in self._subscriber_columns)

    def holds(self, username: str, domain: str, hashes: Hashes) -> bool:
        """Whether the row under just these names is as :meth:`put` would leave it."""
        columns, values = self._put_columns(hashes)
        same = "".join(f" AND {column} = ?" for column in columns)
        query = f"SELECT 1 FROM subscriber WHERE username = ? AND domain = ?{same}"  # noqa: S608 -- constants
        return self._first(query, (username, domain, *values)) is not None

    def _put_columns(self, hashes: Hashes) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names and contents of the columns that :meth:`put` writes, as far as the table has them."""
        contents = {"password": "", **hashes._asdict()}
        there = {column: value for column, value in contents.items() if column in self._subscriber_columns}
        return tuple(there), tuple(there.values())

    def put(self, username: str, domain: str, hashes: Hashes, *, exists: bool) -> None:
        """Write one row under just these names; what an existing one had of another password goes."""
        columns, values = self._put_columns(hashes)
        parameters = (*values, username, domain)
        if exists:
            assignments = ", ".join(f"{column} = ?" for column in columns)
            statement = f"UPDATE subscriber SET {assignments} WHERE username = ? AND domain = ?"  # noqa: S608 -- constants
        else:
            names = ", ".join((*columns, "username", "domain"))
            marks = ", ".join("?" * len(parameters))
            statement = f"INSERT INTO subscriber ({names}) VALUES ({marks})"  # noqa: S608 -- constants
        self._connection.execute(statement, parameters)

    def put_group(self, username: str, domain: str, group: str) -> bool:
        """Write one row of ``grp`` unless it is there; whether it was written."""
        stamp = "last_modified" in self._grp_columns
        return (
            self._connection.execute(
                f"INSERT INTO grp (username, domain, grp{', last_modified' if stamp else ''})"  # noqa: S608 -- constants
                f" SELECT ?, ?, ?{', datetime()' if stamp else ''} WHERE NOT EXISTS"
                " (SELECT 1 FROM grp WHERE username = ? AND domain = ? COLLATE NOCASE"
                " AND grp = ?)",
                (username, domain, group) * 2,
            ).rowcount
            > 0
        )

    # -- inside --

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

    def _usable(self, known: bool, stored: bytes, column: str, username: str, realm: str) -> str | None:
        length = HA1_LENGTHS[column]
        if _HEX[length].fullmatch(stored):
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

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Lookups within are one read transaction: the file is locked once and not for each.

        It holds up no writer in WAL mode, and should be short in any other. What goes wrong is said by
        the lookups themselves.
        """
        try:
            self._connection.execute("BEGIN")
        except sqlite3.Error:
            yield
            return
        try:
            yield
        finally:
            with contextlib.suppress(sqlite3.Error):  # an error may have ended it already
                self._connection.execute("COMMIT")

    def _first(self, query: str, parameters: tuple[str, ...] | dict[str, str]) -> tuple[Any, ...] | None:
        # The hot path, so the translation of _reading() stands here again.
        try:
            row: tuple[Any, ...] | None = self._connection.execute(query, parameters).fetchone()
        except UnicodeEncodeError:
            return None  # a lone surrogate, from bytes that were no UTF-8: nobody is called that
        except sqlite3.Error as error:
            raise self._failure(error) from None
        return row

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._failure(error) from None

    def _failure(self, error: sqlite3.Error) -> StoreError:
        # What SQLite keeps of a file that was damaged or cut outlasts the damage. A lock just passes.
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            self._doubtful = True
        return StoreError(f"{self.path}: {describe(error)}")

    def _follow_the_file(self) -> None:
        """Go over to the file that is now under our path, when it is another one than we opened.

        Under immutable reading any change counts, for SQLite itself looks for none. When the new
        one cannot be used, the former one goes on serving: it may just be being copied. The same file is
        opened once more when it could not be read.
        """
        stamp, served = _stamp(self.path, self._immutable), self._stamp
        if stamp is None or self._closed or (stamp == served and not self._doubtful):
            return
        now = time.monotonic()
        if stamp == self._refused and now < self._retry_at:
            return
        former = self._connection
        stamps = _stamp(self.path, False), _stamp(self.path, True)
        try:
            opened = schema.open_for_reading(self.path)
            try:
                self._use(opened.connection)
            except BaseException:
                opened.connection.close()
                raise
        except ConfigError as error:
            if stamp not in (self._refused, served):
                _log.warning("%s (a new file; the former one serves on)", error)
            self._refused, self._retry_at = stamp, now + _RETRY_AFTER
            return
        former.close()
        self._doubtful = False
        self._immutable, self._stamp = opened.immutable, stamps[opened.immutable]
        self._version += 1
        self._pragma_version = -1


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


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    """Kept as a whole when the block ends, dropped when it raises."""
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _stamp(path: str, immutable: bool) -> tuple[int, ...] | None:
    """Which file is there, and under immutable reading also its state; None: none is."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    if not immutable:
        return (status.st_dev, status.st_ino)
    state = (status.st_size, status.st_mtime_ns, schema.wal_size(path))
    return (status.st_dev, status.st_ino, *state)


def _require(what: str, value: str, flaw: str | None) -> None:
    if flaw:
        raise ConfigError(f"{what} {value!r}: {flaw}")
