"""The subscribers and groups of an SQLite database, as the operator's commands list and change them.

The verifier only looks subscribers up; see :mod:`auth_diameter.store.sqlite`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from auth_diameter._core import ConfigError
from auth_diameter.store import statements
from auth_diameter.store.hashes import HA1_COLUMNS, HA1_LENGTHS, HEX_DIGITS, Hashes
from auth_diameter.store.names import (
    domain_flaw,
    fold_realm,
    group_flaw,
    is_text,
    password_flaw,
    username_flaw,
)
from auth_diameter.store.realms import Spellings
from auth_diameter.store.schema import text
from auth_diameter.store.sqlite_file import Database


@dataclass(frozen=True, slots=True)
class Account:
    """One subscriber, as :meth:`Accounts.users` lists them."""

    username: str
    domain: str
    #: 32 lower-case hex digits; "" if the row has no usable HA1.
    ha1: str = field(repr=False)
    #: Whether the row holds the password in plain text, as ``kamctl`` writes it by default.
    plain_password: bool = False

    def __str__(self) -> str:
        return f"{self.username}@{self.domain}"


class Accounts:
    """The subscribers and groups of a database. Use it as a context manager, or :meth:`close` it.

    Lists raise :class:`StoreError`. Changes and opening raise :class:`ConfigError`.

    Args:
        database: the open database; `Accounts` closes it.

    Attributes:
        spellings: the realms that have a subscriber.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.spellings = Spellings(database, "subscriber")

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, writable: bool = False) -> Self:
        """Opens a database: an existing one for reading; for writing, a missing one is created.

        Args:
            path: the path of the file, or ``sqlite:///PATH``, or ``":memory:"``.
            writable: whether to open it for writing.

        Raises:
            ConfigError: the database cannot be used. The message is one line with the file, the cause and a
                remedy.
        """
        return cls(Database.open(path, writable=writable))

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> Self:
        """Creates a new database and opens it for writing.

        Args:
            path: the path of the new file, or ``sqlite:///PATH``, or ``":memory:"`` for a database that ends
                with its connection.

        Raises:
            ConfigError: the file exists, or cannot be created.
        """
        return cls(Database.create(path))

    def close(self) -> None:
        """Closes the database. A second call does nothing; any other use raises from then on."""
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

    # -- lists --

    def users(self, domain: str | None = None) -> Iterator[Account]:
        """Lists all subscribers, or those of one domain, ordered by domain and then by username.

        Rows are read from the database one by one, so a million subscribers need no memory. Exhaust or close
        the iterator before you change the store.

        Args:
            domain: the only domain to list, without regard to the case of ASCII letters; None for all
                domains.

        Raises:
            StoreError: the database could not be read.
        """
        if domain is not None and not is_text(domain):
            return
        statement = self.database.statements.users(of_domain=domain is not None)
        with self.database.reading() as connection:
            rows = connection.execute(statement, () if domain is None else (domain,))
            for username, stored_domain, stored, plain in rows:
                usable = isinstance(stored, bytes) and HEX_DIGITS[HA1_LENGTHS["ha1"]].fullmatch(stored)
                yield Account(
                    username=text(username),
                    domain=text(stored_domain),
                    ha1=stored.decode().lower() if usable else "",
                    plain_password=bool(plain),
                )

    def count_users(self) -> int:
        """The number of subscribers.

        Raises:
            StoreError: the database could not be read.
        """
        row = self.database.first(statements.COUNT_USERS, ())
        return int(row[0]) if row else 0

    def groups(self, username: str, domain: str) -> tuple[str, ...]:
        """The names of the user's groups, sorted.

        Args:
            username: the user's name.
            domain: the user's domain; "" for any domain.

        Raises:
            StoreError: the database could not be read.
        """
        if not self.database.statements.grp or not is_text(username + domain):
            return ()
        with self.database.reading() as connection:
            rows = connection.execute(statements.GROUPS, (username, domain, domain))
            return tuple(text(group) for (group,) in rows)

    # -- changes --

    def add_user(self, username: str, domain: str, password: str, *, replace: bool = False) -> bool:
        """Adds a subscriber with an HA1 for every algorithm. The password itself is not stored.

        Args:
            username: the username, without the domain.
            domain: the realm; HA1 is computed with the spelling that challenges have.
            password: the password in plain text.
            replace: give an existing user this password, and remove a password stored in plain text.

        Returns:
            True for a new user, False for a replaced password.

        Raises:
            ConfigError: a name or the password is not valid; the user exists and ``replace`` is false; or the
                database cannot be written.
        """
        _require("username", username, username_flaw(username))
        _require("domain", domain, domain_flaw(domain))
        flaw = password_flaw(password)
        if flaw:
            raise ConfigError(f"password of {username}@{domain} {flaw}")
        with self.database.changing():
            existing = self.stored_domain(username, domain)
            if existing is not None and not replace:
                raise ConfigError(
                    f"user {username}@{existing} exists already; use --replace to change the password"
                )
            # The row of an existing user may have another spelling of the realm than challenges have.
            realm = self.spelling_for(domain)
            hashes = Hashes.of(username, realm, password)
            self.put(username, existing or realm, hashes, exists=existing is not None)
        return existing is None

    def delete_user(self, username: str, domain: str) -> bool:
        """Deletes a subscriber and its group memberships; returns False if there is no such subscriber.

        Raises:
            ConfigError: the database cannot be written.
        """
        with self.database.changing() as connection:
            found = connection.execute(statements.DELETE_USER, (username, domain)).rowcount
            connection.execute(statements.DELETE_GROUPS, (username, domain))
        return found > 0

    def add_group(self, username: str, domain: str, group: str) -> bool:
        """Adds an existing user to a group; returns False if it is a member already.

        Raises:
            ConfigError: there is no such user, the group's name is not valid, or the database cannot be
                written.
        """
        _require("group", group, group_flaw(group))
        with self.database.changing():
            stored = self.stored_domain(username, domain)
            if stored is None:
                raise ConfigError(f"user {username}@{domain} does not exist; add it first")
            return self.put_group(username, stored, group)

    def delete_group(self, username: str, domain: str, group: str) -> bool:
        """Removes a user from a group; returns False if it was not a member.

        Raises:
            ConfigError: the database cannot be written.
        """
        with self.database.changing() as connection:
            found = connection.execute(statements.DELETE_GROUP, (username, domain, group)).rowcount
        return found > 0

    # -- the steps of a change, inside Database.changing(); csvimport uses them, too --

    def spelling_for(self, domain: str) -> str:
        """The spelling of a domain with which HA1 is computed and new rows are stored.

        It is the canonical spelling, which challenges have. A new realm gets its folded spelling.
        """
        folded = fold_realm(domain)
        if self.database.first(statements.IS_SERVED, (folded,)) is not None:
            return folded
        known = self.spellings.known(now=True).get(folded)
        return known[0] if known else folded

    def stored_domain(self, username: str, domain: str) -> str | None:
        """The domain of an existing user as its row spells it; None if there is no such user.

        If several rows match, the one with the folded spelling is taken.
        """
        folded = fold_realm(domain)
        row = self.database.first(statements.STORED_DOMAIN, (username, folded, folded))
        return text(row[0]) if row else None

    @property
    def stored_algorithms(self) -> tuple[str, ...]:
        """The algorithms for which the table can store an HA1, the weakest first."""
        columns = self.database.statements.subscriber
        return tuple(name for name, column in HA1_COLUMNS.items() if column in columns)

    @property
    def hash_columns(self) -> tuple[str, ...]:
        """The columns of :class:`Hashes` that the table has."""
        columns = self.database.statements.subscriber
        return tuple(column for column in Hashes._fields if column in columns)

    def holds(self, username: str, domain: str, hashes: Hashes) -> bool:
        """Whether the row with exactly these names already has what :meth:`put` would write."""
        columns, values = self._put_columns(hashes)
        statement = self.database.statements.holds(columns)
        return self.database.first(statement, (username, domain, *values)) is not None

    def put(self, username: str, domain: str, hashes: Hashes, *, exists: bool) -> None:
        """Writes the row with exactly these names; nothing is left of an existing user's former password."""
        columns, values = self._put_columns(hashes)
        fitting = self.database.statements
        statement = fitting.update_user(columns) if exists else fitting.insert_user(columns)
        self.database.connection.execute(statement, (*values, username, domain))

    def put_group(self, username: str, domain: str, group: str) -> bool:
        """Writes a row of ``grp`` unless it exists; returns whether it was written."""
        statement = self.database.statements.insert_group()
        return self.database.connection.execute(statement, (username, domain, group) * 2).rowcount > 0

    def _put_columns(self, hashes: Hashes) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The names and contents of the columns that :meth:`put` writes and the table has."""
        contents = {"password": "", **hashes._asdict()}
        columns = self.database.statements.subscriber
        there = {column: value for column, value in contents.items() if column in columns}
        return tuple(there), tuple(there.values())


def _require(what: str, value: str, flaw: str | None) -> None:
    if flaw:
        raise ConfigError(f"{what} {value!r}: {flaw}")
