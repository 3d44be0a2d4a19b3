"""The subscribers and groups that DISC knows, in SQLite and Kamailio's own schema.

DISC itself looks things up only, see :mod:`auth_diameter.store.lookups`, which also says what the names
mean; here is what an operator's commands list and change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from auth_diameter._core import ConfigError
from auth_diameter.store.lookups import HEX, Lookups
from auth_diameter.store.names import (
    HA1_COLUMNS,
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
from auth_diameter.store.schema import text
from auth_diameter.store.sqlite import StoreError

__all__ = ["Store", "StoreError", "User", "compute_ha1", "fold_realm", "split_account"]


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


class Store(Lookups):
    """A database of subscribers and groups, to be asked, listed and changed.

    Lookups and lists raise :class:`StoreError`, changes and opening raise :class:`ConfigError`.
    """

    # -- lists --

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
                usable = isinstance(stored, bytes) and HEX[32].fullmatch(stored)
                yield User(
                    username=text(username),
                    domain=text(stored_domain),
                    ha1=stored.decode().lower() if usable else "",
                    plain_password=bool(plain),
                )

    def count_users(self) -> int:
        """How many subscribers there are.

        :raises StoreError: the database could not be read.
        """
        row = self._first("SELECT count(*) FROM subscriber", ())
        return int(row[0]) if row else 0

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
            # A row may be under another spelling of the realm than challenges have.
            realm = self.spelling_for(domain)
            hashes = Hashes.of(username, realm, password)
            self.put(username, existing or realm, hashes, exists=existing is not None)
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

    # -- the steps of a change, inside changing(); for csvimport, too --

    def spelling_for(self, domain: str) -> str:
        """Give the spelling under which users of this domain are hashed, and new ones stored.

        It is that of :meth:`canonical_realm`, which challenges have; of a realm that is not there yet, the
        folded one.
        """
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
    def stored_algorithms(self) -> tuple[str, ...]:
        """Those that a user has whose password is given, the weakest first."""
        return tuple(name for name, column in HA1_COLUMNS.items() if column in self._subscriber_columns)

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

    def _put_columns(self, hashes: Hashes) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names and contents of the columns that :meth:`put` writes, as far as the table has them."""
        contents = {"password": "", **hashes._asdict()}
        there = {column: value for column, value in contents.items() if column in self._subscriber_columns}
        return tuple(there), tuple(there.values())


def _require(what: str, value: str, flaw: str | None) -> None:
    if flaw:
        raise ConfigError(f"{what} {value!r}: {flaw}")
