"""What an import will write, checked and in order, before any of it is written.

It is in a private temporary database of SQLite, which is on disk. It is deleted when the process ends,
however it ends. So memory does not grow with the import. It contains no password that could be read: a
password is masked with a key that is in memory alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple

from auth_diameter._core import ConfigError
from auth_diameter.closing import Closing
from auth_diameter.store.hashes import Hashes
from auth_diameter.store.schema import describe

#: Memory for the tables in KiB; the index of a million users fits.
_CACHE_KIB: Final = 32 * 1024

State = Literal[0, 1, 2]
NEW: Final = 0
REPLACED: Final = 1  # the user exists and gets another password
THERE: Final = 2  # the user exists with the same password


class Staged(NamedTuple):
    """A user who will be written.

    Attributes:
        number: the line of the file, or the number of the row.
        username: the username.
        folded: the folded domain; "" if domains do not count.
        domain: the domain as it will be stored, or is stored.
        hashes: the hashes of the password.
        password: the password, if it will be stored; else "".
        groups: names of groups, separated by ";".
        state: whether the user exists.
    """

    number: int
    username: str
    folded: str
    domain: str
    hashes: Hashes
    password: str
    groups: str
    state: State

    def __repr__(self) -> str:
        return f"Staged({self.number}, {self.username!r}, {self.domain!r})"


class Staging(Closing):
    """The temporary tables. Use it as a context manager.

    Methods raise :class:`ConfigError` if there is no room for the tables.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        with _failing():
            self._connection = sqlite3.connect("", isolation_level=None)  # "": temporary, on disk
            self._connection.executescript(
                f"""
                PRAGMA cache_size = -{_CACHE_KIB};
                CREATE TABLE incoming (number INTEGER, username TEXT, folded TEXT, domain TEXT,
                    {", ".join(f"{column} TEXT" for column in Hashes._fields)},
                    password BLOB, groups TEXT, state INTEGER);
                CREATE TABLE realms (folded TEXT PRIMARY KEY, spelling TEXT, number INTEGER);
                CREATE TABLE existing (username TEXT, folded TEXT, domain TEXT);
                BEGIN;
                """
            )

    def close(self) -> None:
        """As `Closing.close`; the tables are gone."""
        self._connection.close()

    # -- users --

    def add(self, users: Iterable[Staged]) -> None:
        """Adds users."""
        rows = (
            (*user[:4], *user.hashes, self._masked(user.number, user.password.encode()), *user[6:])
            for user in users
        )
        marks = ", ".join("?" * (7 + len(Hashes._fields)))
        with _failing():
            self._connection.executemany(f"INSERT INTO incoming VALUES ({marks})", rows)  # noqa: S608

    def repeats(self, limit: int) -> list[tuple[str, str, int, int]]:
        """Users who were added twice: the names, the number of the first row, and of the last.

        The domain is "" if domains do not count.

        Call it once, after all users were added: to build the index then is faster than to update it.
        """
        with _failing():
            self._connection.execute("CREATE INDEX incoming_idx ON incoming (username, folded)")
            return self._connection.execute(
                "SELECT username, iif(folded = '', '', domain), min(number), max(number) FROM incoming"
                " GROUP BY username, folded HAVING count(*) > 1 ORDER BY 4 LIMIT ?",
                (limit,),
            ).fetchall()

    def batches(self, size: int) -> Iterator[list[Staged]]:
        """All users, in the order of their names.

        In this order a transaction changes few pages. In the file's order it would change almost one page for
        each user.
        """
        after = ("", "")
        while True:
            with _failing():
                rows = self._connection.execute(
                    "SELECT * FROM incoming WHERE (username, folded) > (?, ?)"
                    " ORDER BY username, folded LIMIT ?",
                    (*after, size),
                ).fetchall()
            if not rows:
                return
            yield [self._staged(*row) for row in rows]
            after = rows[-1][1:3]

    def _staged(self, number: int, username: str, folded: str, domain: str, *rest: str) -> Staged:
        *hashes, password, groups, state = rest
        clear = self._masked(number, password).decode() if password else ""  # type: ignore[arg-type]  # a BLOB
        return Staged(number, username, folded, domain, Hashes(*hashes), clear, groups, state)  # type: ignore[arg-type]

    def _masked(self, number: int, password: bytes) -> bytes:
        """Masks a password, or unmasks it. The mask is different for each number."""
        if not password:
            return password
        mask = hashlib.shake_256(self._key + number.to_bytes(8, "big")).digest(len(password))
        return bytes(a ^ b for a, b in zip(password, mask, strict=True))

    # -- realms --

    def first_spelling(self, folded: str, spelling: str, number: int) -> tuple[str, int]:
        """The first spelling of a realm that this was called with, and its number."""
        with _failing():
            self._connection.execute(
                "INSERT OR IGNORE INTO realms VALUES (?, ?, ?)", (folded, spelling, number)
            )
            found: tuple[str, int] = self._connection.execute(
                "SELECT spelling, number FROM realms WHERE folded = ?", (folded,)
            ).fetchone()
        return found

    # -- who exists --

    def add_existing(self, names: Iterable[tuple[str, str, str]]) -> None:
        """Adds rows of the database: the username, the folded domain, and the domain as it is stored."""
        with _failing():
            self._connection.executemany("INSERT INTO existing VALUES (?, ?, ?)", names)

    def count_gone(self) -> int:
        """The number of users of the database who were not added."""
        with _failing():
            count: int = self._connection.execute(f"SELECT count(*) {_GONE}").fetchone()[0]
        return count

    def gone(self, size: int) -> Iterator[list[tuple[str, str]]]:
        """Their names, as they are stored."""
        with _failing():
            rows = self._connection.execute(f"SELECT username, domain {_GONE} ORDER BY 1, 2")
            while batch := rows.fetchmany(size):
                yield batch


_GONE: Final = (
    "FROM existing AS e WHERE NOT EXISTS"
    " (SELECT 1 FROM incoming AS i WHERE i.username = e.username AND i.folded = e.folded)"
)


@contextlib.contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise ConfigError(f"temporary tables: {describe(error)}") from None
