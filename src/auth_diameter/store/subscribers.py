"""What the operator's commands do with subscribers and groups, whatever database they are in.

:class:`Subscribers` checks names and passwords. Its subclasses read and write: :class:`Accounts
<auth_diameter.store.accounts.Accounts>` in tables, :class:`RedisAccounts
<auth_diameter.store.redis_accounts.RedisAccounts>` in Redis.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from auth_diameter._core import ConfigError
from auth_diameter.closing import Closing
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.hashes import HA1_COLUMNS, Hashes
from auth_diameter.store.names import domain_flaw, fold_realm, group_flaw, password_flaw, username_flaw
from auth_diameter.store.url import DatabaseName

#: Users who are read or written at once: some 10 ms of work, during which other writers of SQLite wait.
BATCH: Final = 1000

#: A username and a domain as a row spells it.
Name = tuple[str, str]

#: The same, and what is to be in its columns with a secret, as `Subscribers.contents` has it.
User = tuple[str, ...]

#: Each folded domain with all its spellings, the canonical one first.
Spellings = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Account:
    """One subscriber, as :meth:`Subscribers.users` lists them."""

    username: str
    domain: str
    #: 32 lower-case hex digits; "" if the row has no usable HA1.
    ha1: str = field(repr=False)
    #: Whether the row holds the password in plain text, as ``kamctl`` writes it by default.
    plain_password: bool = False

    def __str__(self) -> str:
        return account(self.username, self.domain)


class Row(NamedTuple):
    """A row that exists.

    Attributes:
        username: the username.
        domain: the domain as the row spells it; "" if the table has none.
        contents: what is in the columns with a secret, as `Subscribers.contents` has it.
        key: what is in the columns of the primary key.
    """

    username: str
    domain: str
    contents: tuple[str, ...]
    key: tuple[Any, ...] = ()

    def __repr__(self) -> str:
        return f"Row({self.username!r}, {self.domain!r})"


class Member(NamedTuple):
    """A membership: the names as its row spells them."""

    username: str
    domain: str
    group: str


class Session(Protocol):
    """An open database.

    Attributes:
        name: names it.
        writable: whether it may be changed.
        all_or_nothing: whether many changes are one transaction.
    """

    @property
    def name(self) -> DatabaseName:
        """Names it."""

    @property
    def writable(self) -> bool:
        """Whether it may be changed."""

    @property
    def all_or_nothing(self) -> bool:
        """Whether many changes are one transaction."""

    def changing(self) -> AbstractContextManager[object]:
        """One transaction, committed when the block ends and rolled back when it raises.

        Raises:
            ConfigError: the database is open for reading, or cannot be changed.
        """

    def close(self) -> None:
        """Closes it. A second call does nothing."""


class Subscribers(Closing, ABC):
    """The subscribers and groups of a database. Use it as a context manager, or :meth:`close` it.

    Lists raise :class:`StoreError`. Changes and opening raise :class:`ConfigError`.

    Attributes:
        session: the open database.
        config: the settings.
    """

    session: Session
    config: StoreConfig

    def close(self) -> None:
        """Closes the database. A second call does nothing; any other use raises from then on."""
        self.session.close()

    # -- what there is --

    @property
    def has_domains(self) -> bool:
        """Whether users of one name are told apart by their domains."""
        return self.config.domain

    @property
    def stored_algorithms(self) -> tuple[str, ...]:
        """The algorithms for which an HA1 can be stored, the weakest first."""
        return tuple(HA1_COLUMNS)

    @property
    def lacks_sha_2(self) -> bool:
        """Whether there is no place for HA1 by SHA-2."""
        return len(self.stored_algorithms) < len(HA1_COLUMNS)

    @abstractmethod
    def users(self, domain: str | None = None) -> Iterator[Account]:
        """Lists all subscribers, or those of one domain, ordered by domain and then by username.

        Exhaust or close the iterator before you change the store.

        Args:
            domain: the only domain to list, without regard to the case of ASCII letters; None for all
                domains.

        Raises:
            StoreError: the database could not be read.
        """

    @abstractmethod
    def rows(self) -> Iterator[Row]:
        """All rows, in the same order. Other reads may come between.

        Raises:
            StoreError: the database could not be read.
        """

    @abstractmethod
    def secrets(self, row: Row) -> Mapping[str, str]:
        """What counts of a row, by the names in `lookups.SECRETS`; "" for what it does not have."""

    @abstractmethod
    def count_users(self) -> int:
        """The number of subscribers.

        Raises:
            StoreError: the database could not be read.
        """

    @abstractmethod
    def groups(self, username: str, domain: str) -> tuple[str, ...]:
        """The names of the user's groups, sorted.

        Args:
            username: the user's name.
            domain: the user's domain; "" for any domain.

        Raises:
            StoreError: the database could not be read.
        """

    @abstractmethod
    def spellings(self) -> Spellings:
        """All domains: each folded domain with all its spellings, the canonical one first.

        Raises:
            StoreError: the database could not be read.
        """

    @abstractmethod
    def group_spellings(self) -> Spellings:
        """The same for the domains of memberships."""

    @abstractmethod
    def stored_domain(self, username: str, domain: str) -> str | None:
        """The domain of an existing user as its row spells it; None if there is no such user.

        Raises:
            ConfigError: domains do not count, and several rows have the username.
        """

    @abstractmethod
    def spelling_for(self, domain: str) -> str:
        """The spelling of a domain with which HA1 is computed and new rows are stored.

        It is the canonical spelling, which challenges have. A new realm gets its folded spelling.
        """

    def same(self, domain: str, other: str) -> bool:
        """Whether two domains are the same, or do not count."""
        return not self.has_domains or fold_realm(domain) == fold_realm(other)

    def alike(self, username: str, domain: str) -> str | None:
        """That the database takes this user for another one, as a sentence; None if it does not."""
        return None

    # -- changes --

    def add_user(self, username: str, domain: str, password: str, *, replace: bool = False) -> bool:
        """Adds a subscriber with an HA1 for every algorithm.

        The password itself is stored only if the settings say that HA1 is calculated from it.

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
        who = account(username, domain)
        if domain or self.has_domains:
            _require("domain", domain, domain_flaw(domain))
        elif not self.config.calculate_ha1:
            raise ConfigError(f"user {who}: must be written user@domain, since HA1 is of a realm")
        flaw = password_flaw(password)
        if flaw:
            raise ConfigError(f"password of {who} {flaw}")
        with self.session.changing():
            existing = self.stored_domain(username, domain)
            if existing is not None and not replace:
                raise ConfigError(
                    f"user {account(username, existing)} exists already; use --replace to change the password"
                )
            # The row of an existing user may have another spelling of the realm than challenges have.
            realm = self.spelling_for(domain)
            hashes = Hashes.of(username, realm, password) if realm else Hashes("")
            stored = realm if existing is None else existing
            self.put(username, stored, hashes, password, exists=existing is not None)
        return existing is None

    @abstractmethod
    def delete_user(self, username: str, domain: str) -> bool:
        """Deletes a subscriber and its group memberships; returns False if there is no such subscriber.

        Raises:
            ConfigError: the database cannot be written.
        """

    def add_group(self, username: str, domain: str, group: str) -> bool:
        """Adds an existing user to a group; returns False if it is a member already.

        Raises:
            ConfigError: there is no such user, the group's name is not valid, or the database cannot be
                written.
        """
        _require("group", group, group_flaw(group))
        self._require_utf_8(username + domain)
        with self.session.changing():
            stored = self.stored_domain(username, domain)
            if stored is None:
                raise ConfigError(f"user {account(username, domain)} does not exist; add it first")
            return self.put_group(username, stored, group)

    @abstractmethod
    def delete_group(self, username: str, domain: str, group: str) -> bool:
        """Removes a user from a group; returns False if it was not a member.

        Raises:
            ConfigError: the database cannot be written.
        """

    def _require_utf_8(self, names: str) -> None:
        try:
            names.encode()
        except UnicodeEncodeError:
            raise ConfigError(f"{self.session.name}: a name that is not UTF-8 cannot be in it") from None

    # -- the steps of a change, inside Session.changing(); imports use them, too --

    @abstractmethod
    def put(self, username: str, domain: str, hashes: Hashes, password: str = "", *, exists: bool) -> None:
        """Writes the row with exactly these names; nothing is left of an existing user's former password."""

    @abstractmethod
    def put_group(self, username: str, domain: str, group: str) -> bool:
        """Writes a membership unless it exists; returns whether it was written."""

    def require_groups(self) -> object:
        """Makes sure that memberships can be stored.

        Raises:
            ConfigError: there is no place for them.
        """
        return None

    @abstractmethod
    def contents(self, hashes: Hashes, password: str) -> tuple[str, ...]:
        """The contents of all columns with a secret: nothing is left of a former password.

        Args:
            hashes: the hashes of the password.
            password: the password; it is stored if HA1 is calculated from it, and only then.
        """

    # -- many at once: each takes one batch, some thousand rows at most --

    @abstractmethod
    def find(self, names: Sequence[Name]) -> list[Row]:
        """The rows that have these names, or what the database takes for them.

        Raises:
            StoreError: the database could not be read.
        """

    @abstractmethod
    def insert(self, users: Sequence[User]) -> None:
        """Writes rows of new users.

        Raises:
            ConfigError: the table refuses one.
        """

    @abstractmethod
    def replace(self, users: Sequence[User]) -> None:
        """Writes other contents into rows that exist. A user who was deleted meanwhile is left out."""

    @abstractmethod
    def delete(self, names: Sequence[Name], spellings: Spellings) -> int:
        """Deletes users and their memberships; returns the number of users.

        Args:
            names: the usernames, and the domains as the rows spell them.
            spellings: what `group_spellings` gives.
        """

    @abstractmethod
    def memberships(self, names: Iterable[Name], spellings: Spellings) -> list[Member]:
        """The memberships of users, in any spelling of their domains.

        Args:
            names: the usernames and domains.
            spellings: what `group_spellings` gives.

        Raises:
            StoreError: the database could not be read.
        """

    @abstractmethod
    def insert_members(self, members: Sequence[Member]) -> None:
        """Writes memberships that do not exist."""

    def groups_of(self, names: Sequence[Name], spellings: Spellings) -> list[list[str]]:
        """The groups of each user, sorted.

        Args:
            names: the usernames and domains.
            spellings: what `group_spellings` gives.

        Raises:
            StoreError: the database could not be read.
        """
        found: dict[str, list[Member]] = {}
        for member in self.memberships(names, spellings):
            found.setdefault(member.username, []).append(member)
        return [
            sorted({each.group for each in found.get(username, ()) if self.same(each.domain, domain)})
            for username, domain in names
        ]


def account(username: str, domain: str) -> str:
    """A user for messages."""
    return f"{username}@{domain}" if domain else username


def _require(what: str, value: str, flaw: str | None) -> None:
    if flaw:
        raise ConfigError(f"{what} {value!r}: {flaw}")
