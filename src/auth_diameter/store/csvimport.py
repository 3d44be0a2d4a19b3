"""Import of subscribers from a CSV file. The whole file is checked before anything is written.

The file is UTF-8, with or without a byte order mark. Its header line names the columns, in any order and
case, separated by comma, semicolon or tab::

    username,domain,password[,groups]
    username,domain,ha1[,ha1b][,ha1_sha256][,ha1_sha512t256][,groups]

Other columns are ignored. ``groups`` holds names separated by ``;``, or by ``,`` in a file whose columns are
separated by ``;``. :mod:`auth_diameter.store.csvform` determines the form of the file.

A password is hashed at once, for every algorithm and with the table's spelling of the realm; it is never
stored. If a row has a password and a hash, the hash must be that of the password. If a row has no password,
its hashes are taken as they are. They were computed with the realm as the row spells it, so a new realm keeps
that spelling, and challenges will have it. The row is refused if the table or an earlier row spells the realm
differently.

The first pass reads the source once, so the source may be a pipe. It puts names and hashes into a temporary
SQLite table. That table is on disk, contains no password, and is deleted when the process ends, however it
ends. The second pass copies the table in short transactions. So a file with a bad row changes nothing, memory
does not grow with the file, other writers get their turn, and readers do not wait.

If the process is killed during the second pass, the database is consistent and has some of the file's users.
The same import again adds the others, since a user who exists with the same password is not a conflict.
"""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO, Final, Literal, NamedTuple

from auth_diameter._core import ConfigError
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.csvform import (
    MAX_LINE,
    Form,
    FormFlaw,
    LineTooLongError,
    form_of,
    is_digest,
    lines,
    separator_line,
)
from auth_diameter.store.hashes import HA1_LENGTHS, Hashes
from auth_diameter.store.names import (
    domain_flaw,
    fold_realm,
    group_flaw,
    password_flaw,
    username_flaw,
)
from auth_diameter.store.sqlite_file import Database

#: A callback after each batch. Arguments: the pass, the users done so far, and all users (None: not known).
Progress = Callable[[Literal["check", "write"], int, int | None], None]

#: Users in one transaction: some 10 ms of work, during which other writers wait.
BATCH: Final = 1000
#: Bad rows after which the rest of the file is not read.
MAX_PROBLEMS: Final = 20

_MAX_DOMAINS: Final = 10_000
#: Memory for the temporary table in KiB; the index of a million users fits.
_CACHE_KIB: Final = 32 * 1024

_NEW: Final = 0
_REPLACED: Final = 1  # the user exists and gets another password
_THERE: Final = 2  # the user exists with the same password

# line, username, domain, the four hashes, groups, one of the three states above
_Staged = tuple[int, str, str, str, str, str, str, str, int]


class CsvError(ConfigError):
    """Rows of a CSV file that cannot be imported. Nothing of the file was written.

    Attributes:
        problems: one line for each problem, at most :data:`MAX_PROBLEMS`. A line has the file, the line
            number, the column and the flaw, but never a password or a hash.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(problems[0] + more)
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import.

    Attributes:
        added: the number of new users.
        replaced: the number of users with a new password.
        unchanged: the number of users who existed with the same password.
        memberships: the number of new group memberships.
        not_used: the titles of the file's ignored columns.
    """

    added: int
    replaced: int
    unchanged: int
    memberships: int
    not_used: tuple[str, ...] = ()


def import_csv(
    accounts: Accounts,
    source: BinaryIO,
    *,
    name: str,
    replace: bool = False,
    batch: int = BATCH,
    progress: Progress | None = None,
) -> Imported:
    """Imports the subscribers of a CSV file into a store.

    Args:
        accounts: the store, open for writing.
        source: a binary stream, read once to its end and not closed.
        name: the name of the source in errors.
        replace: let a row replace the password of an existing user. Group memberships are added, never
            removed.
        batch: the number of users in one transaction.
        progress: is called after each batch.

    Returns:
        The numbers of users and memberships written.

    Raises:
        CsvError: rows are bad, name a user twice, or name a user who exists with another password while
            ``replace`` is false. Nothing was written.
        ConfigError: the database cannot be written. The message says how many users are imported.
    """
    if not accounts.database.writable:
        raise ConfigError(f"{accounts.database.path}: was opened for reading only")
    report = progress or _silent
    _make_table(accounts.database)
    try:
        check = _Check(accounts, name, replace=replace)
        total = check.run(source, batch, report)
        return _write(accounts, total, batch, report, check.not_used)
    finally:
        _drop_table(accounts.database)


def _silent(stage: str, done: int, total: int | None) -> None:
    pass


# --- first pass ----------------------------------------------------------------------------------


class _Flaw(Exception):  # noqa: N818 -- it never leaves this module
    """A flaw of one row."""

    def __init__(self, column: str, what: str) -> None:
        super().__init__(f"column {column}: {what}")


class _Check:
    """The first pass: reads, checks and hashes the rows, and puts them into the temporary table."""

    def __init__(self, accounts: Accounts, name: str, *, replace: bool) -> None:
        self._accounts = accounts
        self._name = name
        self._replace = replace
        self._problems: list[str] = []
        self._served = frozenset(accounts.spellings.known())
        self._realms: dict[str, _Realm] = {}
        self.not_used: tuple[str, ...] = ()

    def run(self, source: BinaryIO, batch: int, report: Progress) -> int:
        """Fills the temporary table; returns the number of its rows."""
        total = 0
        rows: list[_Staged] = []
        for staged in self._rows(source):
            rows.append(staged)
            if len(rows) >= batch:
                self._stage(rows)
                total += len(rows)
                rows.clear()
                report("check", total, None)
            if len(self._problems) >= MAX_PROBLEMS:
                break
        self._stage(rows)
        total += len(rows)
        report("check", total, None)
        if not self._problems:
            self._find_repeats()
        if self._problems:
            raise CsvError(tuple(self._problems[:MAX_PROBLEMS]))
        return total

    def _problem(self, line: int, what: object) -> None:
        self._problems.append(f"{self._name}, line {line}: {what}")

    def _rows(self, source: BinaryIO) -> Iterator[_Staged]:
        line = 1  # the line where the current row begins
        before = 0  # lines before the first that the reader counts
        reader = None
        try:
            text = lines(source)
            first = next(text, None)
            separator = separator_line(first) if first else None
            if separator:
                before, line = 1, 2
                first = next(text, None)
            if first is None:
                raise FormFlaw("column username: missing, for the file is empty; a header line comes first")
            form = form_of(first, separator)
            self.not_used = form.not_used
            reader = csv.reader(
                chain([first], text), delimiter=form.separator, quoting=form.quoting, strict=True
            )
            if form.header:
                next(reader)
            while len(self._problems) < MAX_PROBLEMS:
                line = before + reader.line_num + 1
                row = next(reader, None)
                if row is None:
                    return
                if not row:  # an empty line
                    continue
                if len(row) != form.width:
                    head = "the header" if form.header else "line 1"
                    self._problem(line, f"has {len(row)} columns, {head} has {form.width}")
                    continue
                try:
                    staged = self._checked(line, row, form)
                except (_Flaw, FormFlaw) as flaw:
                    self._problem(line, flaw)
                    continue
                yield staged
        except FormFlaw as flaw:
            self._problem(line, flaw)
        except csv.Error as error:
            self._problem(line, f"is not CSV: {error}")
        except UnicodeDecodeError as error:
            line = before + reader.line_num + 1 if reader else line
            self._problem(line, f"is not UTF-8 from byte {error.start} of the line; save it as 'CSV UTF-8'")
        except LineTooLongError:
            line = before + reader.line_num + 1 if reader else line
            self._problem(line, f"is longer than {MAX_LINE} bytes")

    def _checked(self, line: int, row: list[str], form: Form) -> _Staged:
        """Checks one row and hashes its password.

        Raises:
            _Flaw: the row cannot be imported.
            FormFlaw: a value is ambiguous.
        """
        given = {name: form.value(row, name) for name in form.column}
        username, domain = given["username"], given["domain"]
        flaw = username_flaw(username)
        if flaw:
            raise _Flaw("username", flaw)
        realm = self._realm(domain, line, hashed="ha1" in given)
        stored = self._accounts.stored_domain(username, domain) if realm.line is None else None
        hashes = _hashes(given, realm)
        groups = ";".join(_checked_groups(form.groups(given.get("groups", ""))))
        account = username, stored or realm.spelling
        state = _NEW
        if stored is not None:
            state = _THERE if self._accounts.holds(*account, hashes) else _REPLACED
            if state == _REPLACED and not self._replace:
                raise _Flaw("username", f"user {username}@{stored} exists already with another password")
        return line, *account, *hashes, groups, state

    def _realm(self, domain: str, line: int, *, hashed: bool) -> _Realm:
        """Checks a domain and returns its realm. The result is cached, as domains repeat.

        Args:
            domain: the domain as the row spells it.
            line: the line of the row.
            hashed: whether the file has HA1, so that a new realm keeps the row's spelling.

        Raises:
            _Flaw: the domain is not valid.
        """
        folded = fold_realm(domain)
        realm = self._realms.get(folded)
        if realm is None:
            flaw = domain_flaw(domain)
            if flaw:
                raise _Flaw("domain", flaw)
            if folded in self._served:
                realm = _Realm(self._accounts.spelling_for(domain), None)
            else:
                realm = self._first_seen(folded, domain if hashed else folded, line)
            if len(self._realms) >= _MAX_DOMAINS:
                self._realms.clear()
            self._realms[folded] = realm
        return realm

    def _first_seen(self, folded: str, spelling: str, line: int) -> _Realm:
        """A new realm as the first row spells it; kept on disk, as there may be many such realms."""
        with self._accounts.database.scratch() as connection:
            connection.execute("INSERT OR IGNORE INTO temp.realms VALUES (?, ?, ?)", (folded, spelling, line))
            found, first = connection.execute(
                "SELECT spelling, line FROM temp.realms WHERE folded = ?", (folded,)
            ).fetchone()
        return _Realm(found.decode(), first)

    def _stage(self, rows: list[_Staged]) -> None:
        if self._problems:  # nothing of the file will be written, but the checks continue
            return
        with self._accounts.database.scratch() as connection:
            connection.executemany("INSERT INTO temp.incoming VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def _find_repeats(self) -> None:
        """Indexes the temporary table and finds users who are in it twice.

        To build the index after all rows is faster than to update it for each row.
        """
        with self._accounts.database.scratch() as connection:
            connection.execute("CREATE INDEX temp.incoming_idx ON incoming (username, domain)")
            repeats = connection.execute(
                "SELECT username, domain, min(line), max(line) FROM temp.incoming"
                " GROUP BY username, domain HAVING count(*) > 1 ORDER BY 4 LIMIT ?",
                (MAX_PROBLEMS,),
            )
            for username, domain, first, line in repeats:
                user = f"{username.decode()}@{domain.decode()}"
                self._problem(line, f"column username: user {user} is in line {first} already")


class _Realm(NamedTuple):
    """A realm in the spelling with which HA1 is computed, and which challenges will have."""

    spelling: str
    line: int | None  # the first line of the file with this spelling; None: the table has the realm


def _hashes(given: Mapping[str, str], realm: _Realm) -> Hashes:
    """The hashes to store for a row: those of its password, or those that the row has.

    Raises:
        _Flaw: the password or a hash is not valid, or no digest could match the hash.
    """
    username, domain, password = given["username"], given["domain"], given.get("password", "")
    if "ha1" not in given or password:
        flaw = password_flaw(password)
        if flaw:
            raise _Flaw("password", flaw)
        beside = [name for name in Hashes._fields if given.get(name)]
        if beside:
            own = Hashes.of(username, domain, password)._asdict()
            for name in beside:
                if given[name].lower() != own[name]:
                    raise _Flaw(name, "is not of the password beside it; leave one of the two columns out")
        return Hashes.of(username, realm.spelling, password)
    if not given["ha1"] and "password" in given:
        raise _Flaw("password", "is empty, and so is ha1")
    found = Hashes(*(_digest(name, given.get(name, "")) for name in Hashes._fields))
    if domain != realm.spelling:
        where = "the database has" if realm.line is None else f"line {realm.line} has"
        raise _Flaw(
            "domain",
            f"{where} this realm as {realm.spelling!r}, and an HA1 is good only for the spelling that it was"
            " made with"
            + ("; import passwords, or delete that realm's users first" if realm.line is None else ""),
        )
    return found


def _digest(column: str, value: str) -> str:
    """A hash in lower case. Only the column ``ha1`` requires one."""
    if (column == "ha1" or value) and not is_digest(column, value):
        raise _Flaw(column, f"must be {HA1_LENGTHS[column]} hex digits")
    return value.lower()


def _checked_groups(names: list[str]) -> list[str]:
    for name in names:
        flaw = group_flaw(name)
        if flaw:
            raise _Flaw("groups", flaw)
    return names


# --- second pass ---------------------------------------------------------------------------------


def _write(
    accounts: Accounts, total: int, batch: int, report: Progress, not_used: tuple[str, ...]
) -> Imported:
    """Copies the temporary table to the database, in the order of the names.

    In this order a transaction changes few pages. In the file's order it would change almost one page for
    each user.
    """
    done = replaced = unchanged = memberships = 0
    name = (b"", b"")
    while done < total:
        size = min(batch, total - done)
        try:
            with accounts.database.changing() as connection:
                name, rest = _copy(accounts, connection, name, size)
                for *values, state in rest:
                    memberships += _put(accounts, *(value.decode() for value in values), state=state)
                    replaced += state == _REPLACED
                    unchanged += state == _THERE
        except ConfigError as error:
            raise ConfigError(f"{error} ({done} of {total} users are imported)") from None
        done += size
        report("write", done, total)
    added = total - replaced - unchanged
    return Imported(
        added=added, replaced=replaced, unchanged=unchanged, memberships=memberships, not_used=not_used
    )


def _copy(
    accounts: Accounts, connection: sqlite3.Connection, after: tuple[bytes, bytes], size: int
) -> tuple[tuple[bytes, bytes], list[tuple[Any, ...]]]:
    """Copies the new users among the next rows of the temporary table, within SQLite.

    Args:
        accounts: the store.
        connection: its connection, in a transaction.
        after: the last name of the rows before.
        size: the number of rows.

    Returns:
        The last name of these rows, and those of the rows that need more than a copy: the names, the hashes,
        the groups and the state.
    """
    last: tuple[bytes, bytes] = connection.execute(
        "SELECT username, domain FROM temp.incoming WHERE (username, domain) >"
        " (CAST(? AS TEXT), CAST(? AS TEXT)) ORDER BY username, domain"
        " LIMIT 1 OFFSET ?",
        (*after, size - 1),
    ).fetchone()
    hashes = ", ".join(accounts.hash_columns)
    # Most rows are new and without groups: SQLite copies them without Python.
    connection.execute(
        f"INSERT INTO main.subscriber (username, domain, {hashes})"  # noqa: S608 -- constants
        f" SELECT username, domain, {hashes} FROM temp.incoming WHERE {_BETWEEN}"
        f" AND state = {_NEW} ORDER BY username, domain",
        (*after, *last),
    )
    rest = connection.execute(
        f"SELECT username, domain, {_HASHES}, groups, state FROM temp.incoming"  # noqa: S608 -- constants
        f" WHERE {_BETWEEN} AND (state <> {_NEW} OR groups <> '')",
        (*after, *last),
    ).fetchall()
    return last, rest


def _put(accounts: Accounts, username: str, domain: str, *hashes_and_groups: str, state: int) -> int:
    """Writes a user who exists, and the groups of any user; returns the number of new memberships."""
    *hashes, groups = hashes_and_groups
    if state != _NEW:
        # Another process may have deleted the user since the first pass.
        exists = accounts.stored_domain(username, domain) is not None
        if state == _REPLACED or not exists:
            accounts.put(username, domain, Hashes(*hashes), exists=exists)
    return sum(accounts.put_group(username, domain, group) for group in filter(None, groups.split(";")))


_HASHES: Final = ", ".join(Hashes._fields)
_BETWEEN: Final = (
    "(username, domain) > (CAST(? AS TEXT), CAST(? AS TEXT))"
    " AND (username, domain) <= (CAST(? AS TEXT), CAST(? AS TEXT))"
)


def _make_table(database: Database) -> None:
    with database.scratch() as connection:
        connection.execute(
            "CREATE TEMP TABLE incoming (line INTEGER, username TEXT, domain TEXT,"
            f" {', '.join(f'{column} TEXT' for column in Hashes._fields)}, groups TEXT, state INTEGER)"
        )
        connection.execute("CREATE TEMP TABLE realms (folded TEXT PRIMARY KEY, spelling TEXT, line INTEGER)")
        connection.execute(f"PRAGMA temp.cache_size = -{_CACHE_KIB}")


def _drop_table(database: Database) -> None:
    with database.scratch() as connection:
        connection.execute("DROP TABLE IF EXISTS temp.incoming")
        connection.execute("DROP TABLE IF EXISTS temp.realms")
