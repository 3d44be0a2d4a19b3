"""Subscribers from a CSV file: all of it is checked before any of it is written.

The file is UTF-8, with or without a byte order mark, and begins with a header line that names its
columns, in any order and case::

    username,domain,password[,groups]
    username,domain,ha1[,ha1b][,ha1_sha256][,ha1_sha512t256][,groups]

``groups`` holds names separated by ``;``. A password is hashed at once, for every algorithm, and kept
nowhere.

The first pass reads the source once, so a pipe will do, and gathers names and hashes in a temporary
table of SQLite's: on disk, deleted when the process ends however it ends, and with no password in
it. The second pass copies that table in short transactions. So a file with a bad row changes
nothing, memory does not grow with the file, other writers get their turn, and readers do not wait.
A process that is killed in the second pass leaves a whole database with some of the file's
users. The same import again completes it, for a user who is there just as the file has it is no
conflict.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, Literal

from auth_diameter._core.errors import ConfigError
from auth_diameter.disc.names import (
    HA1_LENGTHS,
    Hashes,
    domain_flaw,
    fold_realm,
    group_flaw,
    password_flaw,
    username_flaw,
)
from auth_diameter.disc.store import Store

#: Called after each batch: which pass, users done so far, and how many there are (None: not known).
Progress = Callable[[Literal["check", "write"], int, int | None], None]

#: Users in one transaction; some 10 ms of work, for which another writer waits.
BATCH: Final = 1000
#: A line longer than this many bytes is no line of a CSV file but something else.
MAX_LINE: Final = 64 * 1024
#: After so many bad rows the rest of the file is not read.
MAX_PROBLEMS: Final = 20

_COLUMNS: Final = frozenset({"username", "domain", "password", *Hashes._fields, "groups"})
_HEX: Final = re.compile("[0-9A-Fa-f]+")
_MAX_DOMAINS: Final = 10_000
#: Memory for the temporary table, in KiB; the index of a million users fits into it.
_CACHE_KIB: Final = 32 * 1024

_NEW: Final = 0
_REPLACED: Final = 1  # the user exists, and gets another password
_THERE: Final = 2  # the user exists with just this password

# line, username, domain, the hashes, groups, one of the three above
_Staged = tuple[int, str, str, str, str, str, str, str, int]


class CsvError(ConfigError):
    """Rows that cannot be imported; nothing of the file was written.

    :ivar problems: a line for each, with file, line number, column and what is wrong; never a
        password or a hash. At most :data:`MAX_PROBLEMS`.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(problems[0] + more)
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import has written."""

    added: int
    replaced: int
    unchanged: int
    memberships: int


def import_csv(
    store: Store,
    source: BinaryIO,
    *,
    name: str,
    replace: bool = False,
    batch: int = BATCH,
    progress: Progress | None = None,
) -> Imported:
    """Import the subscribers of a CSV file into a store that is open for writing.

    :param source: a binary stream, read once to its end and not closed.
    :param name: what to call the source in errors.
    :param replace: let a row replace the password of an existing user; groups are only added.
    :param batch: users in one transaction.
    :raises CsvError: rows are bad, name a user twice, or one that exists with another password and
        ``replace`` is false; nothing was written.
    :raises ConfigError: the database cannot be written; the message says how many users are in.
    """
    if not store.writable:
        raise ConfigError(f"{store.path}: was opened for reading only")
    report = progress or _silent
    _make_table(store)
    try:
        total = _Check(store, name, replace=replace).run(source, batch, report)
        return _write(store, total, batch, report)
    finally:
        _drop_table(store)


def _silent(stage: str, done: int, total: int | None) -> None:
    pass


# --- first pass ----------------------------------------------------------------------------------


class _Flaw(Exception):  # noqa: N818 -- it never leaves this module
    """What is wrong with one row."""

    def __init__(self, column: str, what: str) -> None:
        super().__init__(f"column {column}: {what}")


class _Check:
    """Reads, checks and hashes rows, and puts them into the temporary table."""

    def __init__(self, store: Store, name: str, *, replace: bool) -> None:
        self._store = store
        self._name = name
        self._replace = replace
        self._problems: list[str] = []
        self._served = frozenset(map(fold_realm, store.served_realms()))
        self._spellings: dict[str, str] = {}

    def run(self, source: BinaryIO, batch: int, report: Progress) -> int:
        """Fill the temporary table; give the number of rows in it."""
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
        reader = csv.reader(_lines(source), strict=True)
        line = 1
        try:
            header = next(reader, None)
            if header is None:
                raise _Flaw("username", "missing, for the file is empty; a header line comes first")
            column = _columns(header)
            while len(self._problems) < MAX_PROBLEMS:
                line = reader.line_num + 1
                row = next(reader, None)
                if row is None:
                    return
                if not row:  # an empty line
                    continue
                if len(row) != len(header):
                    self._problem(line, f"has {len(row)} columns, the header has {len(header)}")
                    continue
                try:
                    staged = self._checked(line, row, column)
                except _Flaw as flaw:
                    self._problem(line, flaw)
                    continue
                yield staged
        except _Flaw as flaw:
            self._problem(line, flaw)
        except csv.Error as error:
            self._problem(line, f"is not CSV: {error}")
        except UnicodeDecodeError as error:
            self._problem(reader.line_num + 1, f"is not UTF-8 from byte {error.start} of the line")
        except _LineTooLongError:
            self._problem(reader.line_num + 1, f"is longer than {MAX_LINE} bytes")

    def _checked(self, line: int, row: list[str], column: dict[str, int]) -> _Staged:
        """Check one row and hash what is in it.

        :raises _Flaw: it cannot be imported.
        """
        username = row[column["username"]]
        flaw = username_flaw(username)
        if flaw:
            raise _Flaw("username", flaw)
        domain = self._spelling(row[column["domain"]])
        stored = self._store.stored_domain(username, domain) if fold_realm(domain) in self._served else None
        domain = stored or domain
        if "password" in column:
            password = row[column["password"]]
            flaw = password_flaw(password)
            if flaw:
                raise _Flaw("password", flaw)
            hashes = Hashes.of(username, domain, password)
        else:
            hashes = Hashes(
                *(_digest(name, row[column[name]]) if name in column else "" for name in Hashes._fields)
            )
        groups = _groups(row[column["groups"]]) if "groups" in column else ""
        state = _NEW
        if stored is not None:
            state = _THERE if self._store.holds(username, domain, hashes) else _REPLACED
            if state == _REPLACED and not self._replace:
                raise _Flaw("username", f"user {username}@{stored} exists already with another password")
        return line, username, domain, *hashes, groups, state

    def _spelling(self, domain: str) -> str:
        """Check a domain, and give the spelling in which it is stored; remembered, as they repeat.

        :raises _Flaw: it cannot be a domain.
        """
        spelling = self._spellings.get(domain)
        if spelling is None:
            flaw = domain_flaw(domain)
            if flaw:
                raise _Flaw("domain", flaw)
            spelling = fold_realm(domain)
            if spelling in self._served:
                spelling = self._store.spelling_for(domain)
            if len(self._spellings) >= _MAX_DOMAINS:
                self._spellings.clear()
            self._spellings[domain] = spelling
        return spelling

    def _stage(self, rows: list[_Staged]) -> None:
        if self._problems:  # nothing of the file will be written; only the checks go on
            return
        with self._store.scratch() as connection:
            connection.executemany("INSERT INTO temp.incoming VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def _find_repeats(self) -> None:
        """Index the table, which sorts it at once and not row by row, and look for equal users."""
        with self._store.scratch() as connection:
            connection.execute("CREATE INDEX temp.incoming_idx ON incoming (username, domain)")
            repeats = connection.execute(
                "SELECT username, domain, min(line), max(line) FROM temp.incoming"
                " GROUP BY username, domain HAVING count(*) > 1 ORDER BY 4 LIMIT ?",
                (MAX_PROBLEMS,),
            )
            for username, domain, first, line in repeats:
                user = f"{username.decode()}@{domain.decode()}"
                self._problem(line, f"column username: user {user} is in line {first} already")


class _LineTooLongError(Exception):
    pass


def _lines(source: BinaryIO) -> Iterator[str]:
    """Lines as text, one at a time, so that an error has a line number and a bound."""
    encoding = "utf-8-sig"
    while line := source.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            raise _LineTooLongError
        yield line.decode(encoding)
        encoding = "utf-8"


def _columns(header: list[str]) -> dict[str, int]:
    """Index of each column.

    :raises _Flaw: the header lacks a column, repeats one, or has one that means nothing here.
    """
    column: dict[str, int] = {}
    for index, title in enumerate(header):
        key = title.strip().lower()
        if key not in _COLUMNS:
            # The title is not repeated: without a header line it may be somebody's password.
            raise _Flaw(str(index + 1), "the header names none of " + ", ".join(sorted(_COLUMNS)) + " here")
        if key in column:
            raise _Flaw(key, "is there twice")
        column[key] = index
    for key in ("username", "domain"):
        if key not in column:
            raise _Flaw(key, "is missing in the header")
    if "password" in column and column.keys() & set(Hashes._fields):
        raise _Flaw("password", "cannot stand next to ha1; leave one of them out")
    if "password" not in column and "ha1" not in column:
        raise _Flaw("password", "is missing in the header, and so is ha1")
    return column


def _digest(column: str, value: str) -> str:
    """A hash in lower case, which may be missing where it is not the first of them."""
    length = HA1_LENGTHS[column]
    if column != "ha1" and not value:
        return ""
    if len(value) != length or not _HEX.fullmatch(value):
        raise _Flaw(column, f"must be {length} hex digits")
    return value.lower()


def _groups(value: str) -> str:
    """Check the group names, and give them separated by ``;`` and nothing else."""
    names = [name for name in map(str.strip, value.split(";")) if name]
    for name in names:
        flaw = group_flaw(name)
        if flaw:
            raise _Flaw("groups", flaw)
    return ";".join(names)


# --- second pass ---------------------------------------------------------------------------------


def _write(store: Store, total: int, batch: int, report: Progress) -> Imported:
    """Copy the temporary table in the order of the names.

    In that order each transaction changes few pages; in the file's order, almost one page a user.
    """
    done = replaced = unchanged = memberships = 0
    hashes = ", ".join(store.hash_columns)
    first = (b"", b"")
    while done < total:
        size = min(batch, total - done)
        try:
            with store.changing() as connection:
                last = connection.execute(
                    "SELECT username, domain FROM temp.incoming WHERE (username, domain) >"
                    " (CAST(? AS TEXT), CAST(? AS TEXT)) ORDER BY username, domain"
                    " LIMIT 1 OFFSET ?",
                    (*first, size - 1),
                ).fetchone()
                # Most rows are new and without groups: those never come up into Python.
                connection.execute(
                    f"INSERT INTO main.subscriber (username, domain, {hashes})"  # noqa: S608 -- constants
                    f" SELECT username, domain, {hashes} FROM temp.incoming WHERE {_BETWEEN}"
                    f" AND state = {_NEW} ORDER BY username, domain",
                    (*first, *last),
                )
                rest = connection.execute(
                    f"SELECT username, domain, {_HASHES}, groups, state FROM temp.incoming"  # noqa: S608 -- constants
                    f" WHERE {_BETWEEN} AND (state <> {_NEW} OR groups <> '')",
                    (*first, *last),
                ).fetchall()
                for *values, state in rest:
                    username, domain, *found, groups = (value.decode() for value in values)
                    if state != _NEW:
                        # Looked for again: somebody may have deleted it since the first pass.
                        exists = store.stored_domain(username, domain) is not None
                        if state == _REPLACED or not exists:
                            store.put(username, domain, Hashes(*found), exists=exists)
                        replaced += state == _REPLACED
                        unchanged += state == _THERE
                    for group in filter(None, groups.split(";")):
                        memberships += store.put_group(username, domain, group)
        except ConfigError as error:
            raise ConfigError(f"{error} ({done} of {total} users are imported)") from None
        first = last
        done += size
        report("write", done, total)
    added = total - replaced - unchanged
    return Imported(added=added, replaced=replaced, unchanged=unchanged, memberships=memberships)


_HASHES: Final = ", ".join(Hashes._fields)
_BETWEEN: Final = (
    "(username, domain) > (CAST(? AS TEXT), CAST(? AS TEXT))"
    " AND (username, domain) <= (CAST(? AS TEXT), CAST(? AS TEXT))"
)


def _make_table(store: Store) -> None:
    with store.scratch() as connection:
        connection.execute(
            "CREATE TEMP TABLE incoming (line INTEGER, username TEXT, domain TEXT,"
            f" {', '.join(f'{column} TEXT' for column in Hashes._fields)}, groups TEXT, state INTEGER)"
        )
        connection.execute(f"PRAGMA temp.cache_size = -{_CACHE_KIB}")


def _drop_table(store: Store) -> None:
    with store.scratch() as connection:
        connection.execute("DROP TABLE IF EXISTS temp.incoming")
