"""Import of subscribers: all rows are checked before anything is written.

The first pass reads the source once, so the source may be a pipe. It puts names and hashes into temporary
tables, see :mod:`auth_diameter.store.staging`. The second pass writes them in the order of the names. In a
database of a server that is one transaction: all or nothing. In SQLite it is a short transaction for each
batch, so that other writers get their turn, and readers do not wait. If the process is killed meanwhile, the
database is consistent and has some of the users. The same import again adds the others, since a user who
exists with the same password is not a conflict.

HA1 is computed with the table's spelling of the realm. Hashes that a row has were computed with the realm as
the row spells it, so a new realm keeps that spelling, and challenges will have it. The row is refused if the
table or an earlier row spells the realm differently.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol

from auth_diameter._core import ConfigError
from auth_diameter.store.csvform import is_digest
from auth_diameter.store.hashes import HA1_LENGTHS, Hashes
from auth_diameter.store.names import (
    domain_flaw,
    fold_realm,
    group_flaw,
    password_flaw,
    username_flaw,
)
from auth_diameter.store.staging import NEW, REPLACED, THERE, Staged, Staging, State
from auth_diameter.store.subscribers import BATCH, Member, Row, Subscribers, User

#: A callback after each batch. Arguments: the pass, the users done so far, and all users (None: not known).
Progress = Callable[[Literal["check", "write", "delete"], int, int | None], None]

#: A question before users are deleted. Arguments: how many, and how many users the source has.
Confirm = Callable[[int, int], bool]

#: Bad rows after which the rest of the source is not read.
MAX_PROBLEMS: Final = 20

_MAX_DOMAINS: Final = 10_000


class BadRowsError(ConfigError):
    """Rows that cannot be imported. Nothing was written.

    Attributes:
        problems: one line for each problem, at most :data:`MAX_PROBLEMS`. A line has the source, the row, the
            column and the flaw, but never a password or a hash.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(problems[0] + more)
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import, or what an import would do.

    Attributes:
        added: the number of new users.
        replaced: the number of users with a new password.
        unchanged: the number of users who existed with the same password.
        memberships: the number of new group memberships.
        not_used: the titles of the file's ignored columns.
        deleted: the number of users who were not in the source, and are deleted.
    """

    added: int
    replaced: int
    unchanged: int
    memberships: int
    not_used: tuple[str, ...] = ()
    deleted: int = 0


class Given(NamedTuple):
    """A row of a source.

    Attributes:
        number: the line of the file, or the number of the row.
        values: its values: ``username``, ``domain``, ``password`` and the hashes; a missing column has none.
        groups: names of groups.
    """

    number: int
    values: Mapping[str, str]
    groups: list[str]

    def __repr__(self) -> str:
        return f"Given({self.number})"


class Flawed(NamedTuple):
    """A row of a source that cannot be read, or the end of what can be read.

    Attributes:
        number: the line of the file, or the number of the row.
        what: what is wrong with it, without its values.
    """

    number: int
    what: str


class Source(Protocol):
    """Where rows come from.

    Attributes:
        name: its name in messages.
        unit: what a number of a row is: "line" or "row".
        not_used: the titles of columns that are ignored, after the first row.
    """

    name: str
    unit: str
    not_used: tuple[str, ...]

    def rows(self) -> Iterator[Given | Flawed]:
        """The rows."""

    def named(self, row: Given) -> str:
        """How a flaw of a row begins: with the user, if the number alone would not help to find the row."""


@dataclass(frozen=True)
class Options:
    """How an import is done.

    Attributes:
        replace: let a row replace the password of an existing user. Group memberships are added, never
            removed.
        sync: replace, and delete the users who are not in the source.
        dry_run: write nothing.
        batch: the number of users in one batch.
        progress: is called after each batch.
        confirm: is asked before users are deleted.
    """

    replace: bool = False
    sync: bool = False
    dry_run: bool = False
    batch: int = BATCH
    progress: Progress = lambda stage, done, total: None
    confirm: Confirm = lambda deleted, total: True


def import_users(accounts: Subscribers, source: Source, options: Options) -> Imported:
    """Imports subscribers into a store.

    Args:
        accounts: the store, open for writing unless nothing is written.
        source: the rows.
        options: how.

    Returns:
        The numbers of users and memberships written.

    Raises:
        BadRowsError: rows are bad, name a user twice, or name a user who exists with another password while
            ``replace`` is false. Nothing was written.
        ConfigError: the database cannot be written, which says how many users are imported; or nobody would
            be left; or ``confirm`` said no.
    """
    if not accounts.session.writable and not options.dry_run:
        raise ConfigError(f"{accounts.session.name}: was opened for reading only")
    with Staging() as staging:
        total = _Check(accounts, staging, source, options).run()
        gone = _find_gone(accounts, staging, source, total) if options.sync else 0
        if gone and not options.dry_run and not options.confirm(gone, total):
            raise ConfigError(f"{source.name}: nothing was imported")
        return _write(accounts, staging, _Counts(total, gone), options, source.not_used)


# --- first pass ----------------------------------------------------------------------------------


class _Flaw(Exception):  # noqa: N818 -- it never leaves this module
    """A flaw of one row."""

    def __init__(self, column: str, what: str) -> None:
        super().__init__(f"column {column}: {what}")


class _Realm(NamedTuple):
    """A realm in the spelling with which HA1 is computed, and which challenges will have."""

    folded: str
    spelling: str
    number: int | None  # the first row with this spelling; None: the table has the realm


class _Check:
    """The first pass: reads, checks and hashes the rows, and puts them into the temporary tables."""

    def __init__(self, accounts: Subscribers, staging: Staging, source: Source, options: Options) -> None:
        self._accounts = accounts
        self._staging = staging
        self._source = source
        self._options = options
        self._replace = options.replace or options.sync
        self._problems: list[tuple[int, str]] = []
        self._is_empty = accounts.count_users() == 0
        self._spellings = accounts.spellings()
        self._has_domains = accounts.has_domains
        self._realms: dict[str, _Realm] = {}

    def run(self) -> int:
        """Fills the temporary tables; returns the number of users."""
        total = 0
        report, size = self._options.progress, self._options.batch
        batch: list[Staged] = []
        for row in self._source.rows():
            if isinstance(row, Flawed):
                self._problem(row.number, row.what)
            else:
                try:
                    batch.append(self._checked(row))
                except _Flaw as flaw:
                    self._problem(row.number, self._source.named(row) + str(flaw))
            if len(batch) >= size:
                total += self._stage(batch)
                batch = []
                report("check", total, None)
            if len(self._problems) >= MAX_PROBLEMS:
                break
        total += self._stage(batch)
        report("check", total, None)
        if not self._problems:
            for username, domain, first, number in self._staging.repeats(MAX_PROBLEMS):
                user = f"{username}@{domain}" if domain else username
                self._problem(
                    number, f"column username: user {user} is in {self._source.unit} {first} already"
                )
        if self._problems:
            self._problems.sort(key=lambda problem: problem[0])
            raise BadRowsError(tuple(text for _, text in self._problems[:MAX_PROBLEMS]))
        return total

    def _problem(self, number: int, what: object) -> None:
        text = f"{self._source.name}, {self._source.unit} {number}: {what}"
        self._problems.append((number, text))

    def _checked(self, given: Given) -> Staged:
        """Checks one row and hashes its password. Whether the user exists is not known yet.

        Raises:
            _Flaw: the row cannot be imported.
        """
        values = given.values
        username, domain = values["username"], values.get("domain", "")
        flaw = username_flaw(username)
        if flaw:
            raise _Flaw("username", flaw)
        realm = self._realm(domain, given.number, hashed="ha1" in values)
        hashes, password = self._secrets(values, domain, realm)
        for group in given.groups:
            flaw = group_flaw(group)
            if flaw:
                raise _Flaw("groups", flaw)
        if given.groups:
            self._accounts.require_groups()
        groups = ";".join(given.groups)
        folded = realm.folded if self._has_domains else ""
        return Staged(given.number, username, folded, realm.spelling, hashes, password, groups, NEW)

    def _realm(self, domain: str, number: int, *, hashed: bool) -> _Realm:
        """Checks a domain and returns its realm. The result is cached, as domains repeat.

        Args:
            domain: the domain as the row spells it.
            number: the row.
            hashed: whether the source has HA1, so that a new realm keeps the row's spelling.

        Raises:
            _Flaw: the domain is not valid.
        """
        if not domain and not self._has_domains:
            return _Realm("", "", None)
        folded = fold_realm(domain)
        realm = self._realms.get(folded)
        if realm is None:
            flaw = domain_flaw(domain)
            if flaw:
                raise _Flaw("domain", flaw)
            known = self._spellings.get(folded)
            if known:
                realm = _Realm(folded, known[0], None)
            else:
                # Kept on disk, as there may be many such realms.
                spelling = domain if hashed else folded
                realm = _Realm(folded, *self._staging.first_spelling(folded, spelling, number))
            if len(self._realms) >= _MAX_DOMAINS:
                self._realms.clear()
            self._realms[folded] = realm
        return realm

    def _secrets(self, values: Mapping[str, str], domain: str, realm: _Realm) -> tuple[Hashes, str]:
        """The hashes to store for a row, those of its password or those that it has; and its password.

        Raises:
            _Flaw: the password or a hash is not valid, or no digest could match the hash.
        """
        username, password = values["username"], values.get("password", "")
        calculate = self._accounts.config.calculate_ha1
        if "ha1" not in values or password:
            flaw = password_flaw(password)
            if flaw:
                raise _Flaw("password", flaw)
            beside = [name for name in Hashes._fields if values.get(name)]
            if beside:
                own = Hashes.of(username, domain, password)._asdict()
                for name in beside:
                    if values[name].lower() != own[name]:
                        raise _Flaw(
                            name, "is not of the password beside it; leave one of the two columns out"
                        )
            if realm.spelling:
                return Hashes.of(username, realm.spelling, password), password if calculate else ""
            if calculate:
                return Hashes(""), password
            raise _Flaw("domain", "is empty, and HA1 is of a realm")
        if calculate:
            raise _Flaw("password", "is missing, and with --calculate-ha1 a hash does not count")
        if not values["ha1"] and "password" in values:
            raise _Flaw("password", "is empty, and so is ha1")
        found = Hashes(*(_digest(name, values.get(name, "")) for name in Hashes._fields))
        if domain != realm.spelling and self._has_domains:
            where = "the database has" if realm.number is None else f"{self._source.unit} {realm.number} has"
            raise _Flaw(
                "domain",
                f"{where} this realm as {realm.spelling!r}, and an HA1 is good only for the spelling that it"
                " was made with"
                + ("; import passwords, or delete that realm's users first" if realm.number is None else ""),
            )
        return found, ""

    def _stage(self, batch: list[Staged]) -> int:
        """Finds out who exists, and adds users to the temporary tables; returns their number."""
        staged = batch if self._is_empty else self._with_states(batch)
        if not self._problems:  # otherwise nothing will be written, but the checks continue
            self._staging.add(staged)
        return len(batch)

    def _with_states(self, batch: list[Staged]) -> list[Staged]:
        accounts = self._accounts
        names = [(user.username, each) for user in batch for each in self._spellings.get(user.folded, ())]
        if not self._has_domains:
            names = [(user.username, "") for user in batch]
        found: dict[tuple[str, str], list[Row]] = {}
        for row in accounts.find(names):
            folded = fold_realm(row.domain) if self._has_domains else ""
            found.setdefault((row.username, folded), []).append(row)
        asked = {(user.username, user.folded) for user in batch}
        others = bool(found.keys() - asked)
        staged = []
        for user in batch:
            rows = found.get((user.username, user.folded))
            if rows:
                # If several rows match, the one with the folded spelling is taken.
                row = min(rows, key=lambda row: (row.domain != user.folded, row.domain))
                staged.append(self._existing(user, row))
                continue
            alike = accounts.alike(user.username, user.domain) if others else None
            if alike is not None:
                self._problem(user.number, f"column username: {alike}")
            staged.append(user)
        return staged

    def _existing(self, user: Staged, row: Row) -> Staged:
        same = row.contents == self._accounts.contents(user.hashes, user.password)
        if not same and not self._replace:
            name = f"{row.username}@{row.domain}" if row.domain else row.username
            self._problem(user.number, f"column username: user {name} exists already with another password")
        state: State = THERE if same else REPLACED
        return user._replace(domain=row.domain, state=state)


def _digest(column: str, value: str) -> str:
    """A hash in lower case. Only the column ``ha1`` requires one."""
    if (column == "ha1" or value) and not is_digest(column, value):
        raise _Flaw(column, f"must be {HA1_LENGTHS[column]} hex digits")
    return value.lower()


def _find_gone(accounts: Subscribers, staging: Staging, source: Source, total: int) -> int:
    """Finds the users of the database who are not in the source; returns their number.

    Raises:
        ConfigError: the source has no users at all, as after an export that failed.
    """
    if not total:
        raise ConfigError(f"{source.name}: has no users, and --sync would delete all; nothing was imported")
    has_domains = accounts.has_domains
    staging.add_existing(
        (user.username, fold_realm(user.domain) if has_domains else "", user.domain)
        for user in accounts.users()
    )
    return staging.count_gone()


# --- second pass ---------------------------------------------------------------------------------


class _Counts:
    """What the second pass has done."""

    def __init__(self, total: int, gone: int) -> None:
        self.total = total
        self.gone = gone
        self.done = self.replaced = self.unchanged = self.memberships = self.deleted = 0

    def __str__(self) -> str:
        return f"{self.done} of {self.total} users are imported"


def _write(
    accounts: Subscribers, staging: Staging, counts: _Counts, options: Options, not_used: tuple[str, ...]
) -> Imported:
    session = accounts.session
    whole = contextlib.nullcontext if options.dry_run or not session.all_or_nothing else session.changing
    part = contextlib.nullcontext if options.dry_run or session.all_or_nothing else session.changing
    try:
        with whole():
            spellings = accounts.group_spellings()
            for batch in staging.batches(options.batch):
                with part():
                    if not options.dry_run:
                        _write_users(accounts, batch)
                    memberships = _write_members(accounts, batch, spellings, dry_run=options.dry_run)
                counts.memberships += memberships
                counts.replaced += sum(user.state == REPLACED for user in batch)
                counts.unchanged += sum(user.state == THERE for user in batch)
                counts.done += len(batch)
                options.progress("write", counts.done, counts.total)
            if counts.gone:
                _delete(accounts, staging, counts, options, spellings, part)
    except ConfigError as error:
        how_far = "nothing is imported" if session.all_or_nothing else counts
        raise ConfigError(f"{error} ({how_far})") from None
    return Imported(
        added=counts.total - counts.replaced - counts.unchanged,
        replaced=counts.replaced,
        unchanged=counts.unchanged,
        memberships=counts.memberships,
        not_used=not_used,
        deleted=counts.gone if options.dry_run else counts.deleted,
    )


def _write_users(accounts: Subscribers, batch: Iterable[Staged]) -> None:
    # A user who was deleted since the first pass stays deleted: it was after the import.
    new: list[User] = []
    replaced: list[User] = []
    for user in batch:
        if user.state != THERE:
            contents = accounts.contents(user.hashes, user.password)
            (new if user.state == NEW else replaced).append((user.username, user.domain, *contents))
    accounts.insert(new)
    accounts.replace(replaced)


def _write_members(
    accounts: Subscribers, batch: Iterable[Staged], spellings: Mapping[str, tuple[str, ...]], *, dry_run: bool
) -> int:
    """Writes the memberships that do not exist yet; returns their number."""
    members = [
        Member(user.username, user.domain, group)
        for user in batch
        for group in dict.fromkeys(filter(None, user.groups.split(";")))
    ]
    if not members:
        return 0
    names = [(member.username, member.domain) for member in members]
    there = {
        (*_key(accounts, member.username, fold_realm(member.domain)), member.group)
        for member in accounts.memberships(names, spellings)
    }
    missing = [
        member
        for member in members
        if (*_key(accounts, member.username, fold_realm(member.domain)), member.group) not in there
    ]
    if not dry_run:
        accounts.insert_members(missing)
    return len(missing)


def _key(accounts: Subscribers, username: str, domain: str) -> tuple[str, str]:
    return username, domain if accounts.has_domains else ""


def _delete(
    accounts: Subscribers,
    staging: Staging,
    counts: _Counts,
    options: Options,
    spellings: Mapping[str, tuple[str, ...]],
    part: Callable[[], contextlib.AbstractContextManager[object]],
) -> None:
    if options.dry_run:
        return
    for names in staging.gone(options.batch):
        with part():
            counts.deleted += accounts.delete(names, spellings)
        options.progress("delete", counts.deleted, counts.gone)
