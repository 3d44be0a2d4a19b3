"""The subscribers and groups in Redis or Valkey, as the operator's commands list and change them.

:mod:`auth_diameter.store.redis_layout` has the keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, Self

from auth_diameter._core import ConfigError
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.hashes import HA1_LENGTHS, HEX_DIGITS, Hashes
from auth_diameter.store.lookups import SECRETS
from auth_diameter.store.names import fold_realm, is_text
from auth_diameter.store.realms import spelled
from auth_diameter.store.redis import literal, require_no_tables
from auth_diameter.store.redis_layout import (
    USER_PREFIX,
    Record,
    groups_by_domain,
    groups_key,
    groups_text,
    is_possible,
    name_of,
    user_key,
)
from auth_diameter.store.redis_session import RedisSession
from auth_diameter.store.subscribers import (
    BATCH,
    Account,
    Member,
    Name,
    Row,
    Spellings,
    Subscribers,
    User,
    account,
)
from auth_diameter.store.url import DatabaseName

_PASSWORD: Final = SECRETS.index("password")


class RedisAccounts(Subscribers):
    """The subscribers and groups in Redis, as :class:`Subscribers`. The columns are `lookups.SECRETS`.

    Args:
        session: the open database; `RedisAccounts` closes it.
        config: whether HA1 is calculated from passwords.
    """

    session: RedisSession

    def __init__(self, session: RedisSession, config: StoreConfig) -> None:
        self.session = session
        self.config = config

    @classmethod
    def open(cls, name: DatabaseName, config: StoreConfig, *, writable: bool = False) -> Self:
        """Opens a database for reading or writing.

        Args:
            name: the database.
            config: whether HA1 is calculated from passwords; the names of tables must be the default ones.
            writable: whether to open it for writing.

        Raises:
            ConfigError: the database cannot be used.
        """
        require_no_tables(name, config)
        return cls(RedisSession(name, writable=writable), config)

    # -- lists --

    def users(self, domain: str | None = None) -> Iterator[Account]:
        """As `Subscribers.users`. All their names are in memory, some 200 bytes each."""
        for row in self._rows(None if domain is None else fold_realm(domain)):
            secrets = self.secrets(row)
            yield Account(
                username=row.username,
                domain=row.domain,
                ha1=secrets["ha1"].lower()
                if HEX_DIGITS[HA1_LENGTHS["ha1"]].fullmatch(secrets["ha1"])
                else "",
                plain_password=bool(secrets["password"]),
            )

    def rows(self) -> Iterator[Row]:
        """As `Subscribers.rows`."""
        return self._rows(None)

    def _rows(self, domain: str | None) -> Iterator[Row]:
        spellings = self.spellings()
        names = iter(sorted(self._names(domain), key=lambda name: (name[1], name[0])))
        while batch := list(islice(names, BATCH)):
            for row in self._read(batch):
                yield row._replace(domain=self._spelling(row.domain, spellings))

    def _names(self, domain: str | None) -> set[Name]:
        """The names of all users, or of those of one folded domain; domains are folded."""
        pattern = f"{USER_PREFIX}*" if domain is None else f"{literal(user_key('', domain))}*"
        found = {name_of(key) for keys in self.session.scan(pattern) for key in keys}
        return {(username, its) for username, its in found if domain in (None, its)}

    def _read(self, names: Sequence[Name]) -> list[Row]:
        """The rows of users who exist, with these names."""
        names = [name for name in names if is_possible(name[0]) and is_text(name[0] + name[1])]
        values = self.session.read([user_key(*name) for name in names])
        return [
            Row(*name, (*record.hashes, record.password))
            for name, value in zip(names, values, strict=True)
            if value is not None
            for record in [Record.parsed(value)]
        ]

    def secrets(self, row: Row) -> Mapping[str, str]:
        """As `Subscribers.secrets`."""
        found = dict(zip(SECRETS, row.contents, strict=True))
        return (
            {**dict.fromkeys(SECRETS, ""), "password": found["password"]}
            if self.config.calculate_ha1
            else found
        )

    def count_users(self) -> int:
        """As `Subscribers.count_users`."""
        return len({key for keys in self.session.scan(f"{USER_PREFIX}*") for key in keys})

    def groups(self, username: str, domain: str) -> tuple[str, ...]:
        """As `Subscribers.groups`."""
        if not is_possible(username) or not is_text(username + domain):
            return ()
        if domain:
            return self._record(username, domain).groups
        return tuple(sorted({group for its in self._by_domain(username).values() for group in its}))

    def spellings(self) -> Spellings:
        """As `Subscribers.spellings`."""
        return spelled(self.session.realms())

    def group_spellings(self) -> Spellings:
        """None: the groups of a user are found by the key alone."""
        return {}

    def stored_domain(self, username: str, domain: str) -> str | None:
        """As `Subscribers.stored_domain`."""
        found = self._read([(username, domain)])
        return self._spelling(domain, self.spellings()) if found else None

    def spelling_for(self, domain: str) -> str:
        """As `Subscribers.spelling_for`."""
        return self._spelling(domain, self.spellings())

    def _spelling(self, domain: str, spellings: Spellings) -> str:
        folded = fold_realm(domain)
        return next(iter(spellings.get(folded, ())), folded)

    # -- changes --

    def delete_user(self, username: str, domain: str) -> bool:
        """As `Subscribers.delete_user`."""
        self._require_utf_8(username + domain)
        with self.session.changing():
            return self.delete([(username, domain)], {}) > 0

    def delete_group(self, username: str, domain: str, group: str) -> bool:
        """As `Subscribers.delete_group`."""
        self._require_utf_8(username + domain + group)
        with self.session.changing():
            groups = self.groups(username, domain)
            if group not in groups:
                return False
            self._put_groups(username, domain, [each for each in groups if each != group])
            return True

    def put(self, username: str, domain: str, hashes: Hashes, password: str = "", *, exists: bool) -> None:
        """As `Subscribers.put`."""
        self._write([(username, domain, *self.contents(hashes, password))])

    def put_group(self, username: str, domain: str, group: str) -> bool:
        """As `Subscribers.put_group`."""
        groups = self.groups(username, domain)
        if group in groups:
            return False
        self._put_groups(username, domain, [*groups, group])
        return True

    def contents(self, hashes: Hashes, password: str) -> tuple[str, ...]:
        """As `Subscribers.contents`."""
        return (*hashes, password if self.config.calculate_ha1 else "")

    # -- many at once --

    def find(self, names: Sequence[Name]) -> list[Row]:
        """As `Subscribers.find`."""
        return self._read(names)

    def insert(self, users: Sequence[User]) -> None:
        """As `Subscribers.insert`."""
        for row in self._read([(user[0], user[1]) for user in users]):
            raise ConfigError(
                f"{self.session.name}: user {account(row.username, row.domain)} exists already: was added"
                " meanwhile, or its realm is not in ad:realms"
            )
        self._write(users)

    def _write(self, users: Sequence[User]) -> None:
        """Writes users. One who is there already keeps the groups."""
        keys = [user_key(username, domain) for username, domain, *_ in users]
        for key, value, user in zip(keys, self.session.read(keys), users, strict=True):
            groups = () if value is None else Record.parsed(value).groups
            *hashes, password = user[2:]
            self.session.write(key, Record(Hashes(*hashes), password, groups).text())
        for domain in {user[1] for user in users}:
            self.session.serve(domain)

    def replace(self, users: Sequence[User]) -> None:
        """As `Subscribers.replace`."""
        there = {(row.username, row.domain) for row in self._read([(user[0], user[1]) for user in users])}
        self._write([user for user in users if user[:2] in there])

    def delete(self, names: Sequence[Name], spellings: Spellings) -> int:
        """As `Subscribers.delete`. A realm without users is no longer served."""
        found = self._read(names)
        self.session.read([groups_key(row.username) for row in found])  # at once
        for username, domain, *_ in found:
            if self.groups(username, domain):
                self._put_groups(username, domain, ())
            self.session.write(user_key(username, domain), None)
        known = self.spellings()
        for folded in {fold_realm(row.domain) for row in found}:
            if not self._has_users(folded):
                for spelling in known.get(folded, ()):
                    self.session.serve(spelling, served=False)
        return len(found)

    def _has_users(self, domain: str) -> bool:
        """Whether a folded domain has users, apart from those that are deleted now."""
        for keys in self.session.scan(f"{literal(user_key('', domain))}*"):
            for key in keys:
                username, its = name_of(key)
                if its == domain and not self.session.is_deleted(user_key(username, its)):
                    return True
        return False

    def memberships(self, names: Iterable[Name], spellings: Spellings) -> list[Member]:
        """As `Subscribers.memberships`."""
        wanted = [name for name in dict.fromkeys(names) if is_possible(name[0])]
        values = self.session.read([user_key(*name) for name in wanted])
        return [
            Member(*name, group)
            for name, value in zip(wanted, values, strict=True)
            if value is not None
            for group in Record.parsed(value).groups
        ]

    def insert_members(self, members: Sequence[Member]) -> None:
        """As `Subscribers.insert_members`."""
        added: dict[Name, list[str]] = {}
        for username, domain, group in members:
            added.setdefault((username, domain), []).append(group)
        there = {(row.username, row.domain) for row in self._read(list(added))}
        self.session.read([groups_key(username) for username, _ in there])  # at once
        for name, groups in added.items():
            if name in there:  # else the user was deleted meanwhile
                self._put_groups(*name, [*self.groups(*name), *groups])

    # -- the groups of a user are in two places --

    def _record(self, username: str, domain: str) -> Record:
        (value,) = self.session.read([user_key(username, domain)])
        return Record.parsed(value or b"")

    def _by_domain(self, username: str) -> dict[str, tuple[str, ...]]:
        (value,) = self.session.read([groups_key(username)])
        return groups_by_domain(value or b"")

    def _put_groups(self, username: str, domain: str, groups: Iterable[str]) -> None:
        """Writes the groups of a user who exists."""
        names = tuple(sorted(set(groups)))
        record = self._record(username, domain)._replace(groups=names)
        self.session.write(user_key(username, domain), record.text())
        by_domain = self._by_domain(username) | {fold_realm(domain): names}
        self.session.write(groups_key(username), groups_text(by_domain.items()) or None)
