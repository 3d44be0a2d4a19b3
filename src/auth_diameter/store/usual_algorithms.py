"""What most users of a realm have: the algorithms that somebody is offered of whom nothing is known.

A table of a million users is not read for that, but some hundred rows of it: all users of a small realm, and
of a large one those at places all over the table.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter, defaultdict
from typing import Final

from auth_diameter.store import schema
from auth_diameter.store.names import HA1_COLUMNS, fold_realm
from auth_diameter.store.schema import text

#: Rows that are looked at, some 3 ms: 55 in 100 users of a large realm are told from 45 in 49 of 50 cases.
_SAMPLE: Final = 400
#: So many of a sample of the whole table stand for a realm better than its first users by name.
_ENOUGH: Final = 30
#: After a change all is looked up anew, but not before this many times as long has passed as that took.
_SHARE: Final = 20
#: What took less than this, in seconds, is looked up anew after every change.
_SHORT: Final = 0.005

_Algorithms = tuple[str, ...]


class UsualAlgorithms:
    """Of each realm, what most of its users can be authenticated with.

    :param columns: those that the table ``subscriber`` has.
    """

    def __init__(self, connection: sqlite3.Connection, columns: frozenset[str]) -> None:
        password, *hashes = (c if c in columns else "''" for c in ("password", *HA1_COLUMNS.values()))
        has = ", ".join(f"coalesce(nullif({password}, ''), nullif({ha1}, '')) IS NOT NULL" for ha1 in hashes)
        self._of_realm = None
        if schema.has_index_on(connection, "subscriber", "domain"):
            self._of_realm = f"SELECT domain, {has} FROM subscriber WHERE domain = ? LIMIT ?"  # noqa: S608 -- names from above
        self._first_rows = f"SELECT domain, {has} FROM subscriber LIMIT ?"  # noqa: S608 -- names from above
        # Places by a generator of Lehmer's, for what is evenly apart may all be of one realm or kind.
        places = (
            "WITH RECURSIVE ends(low, high) AS"
            " (SELECT (SELECT min(rowid) FROM subscriber), (SELECT max(rowid) FROM subscriber)),"
            " draw(number, seed) AS (VALUES (1, 1) UNION ALL"
            " SELECT number + 1, seed * 48271 % 2147483647 FROM draw WHERE number < ?),"
            " place(at) AS"
            " (SELECT low + CAST((high - low) * (seed / 2147483647.0) AS INTEGER) FROM draw, ends)"
        )
        self._all_over = (
            f"{places} SELECT domain, {has} FROM subscriber WHERE rowid IN"  # noqa: S608 -- names from above
            " (SELECT (SELECT rowid FROM subscriber WHERE rowid >= at ORDER BY rowid LIMIT 1) FROM place)"
        )
        self._version = -1
        self._due = 0.0
        self._took = 0.0
        self._known: dict[str, _Algorithms] = {}
        self._table: dict[str, Counter[_Algorithms]] | None = None

    def at_hand(self, version: int, folded: str) -> _Algorithms | None:
        """Those of a realm, the weakest first; None: they are to be looked up.

        :param version: of the database; where it changes all the time, the answer may be of an older one.
        """
        if version != self._version:
            self._forget(version)
        return self._known.get(folded)

    def look_up(
        self, connection: sqlite3.Connection, version: int, folded: str, spellings: tuple[str, ...]
    ) -> _Algorithms:
        """Those of a realm, which are kept.

        :param spellings: all that the table has of the realm. None: nothing is kept, for strangers choose the
            names of realms that are not there.
        """
        if not spellings:
            return ()
        if version != self._version:
            self._forget(version)
        started = time.thread_time()
        found = self._known[folded] = _most(self._count(connection, folded, spellings))
        self._took += time.thread_time() - started
        self._due = time.monotonic() + _SHARE * self._took if self._took > _SHORT else 0.0
        return found

    def _forget(self, version: int) -> None:
        if time.monotonic() >= self._due:
            self._known.clear()
            self._table = None
            self._version, self._took = version, 0.0

    def _count(
        self, connection: sqlite3.Connection, folded: str, spellings: tuple[str, ...]
    ) -> Counter[_Algorithms]:
        """How many users of the realm have what; of some of them."""
        first: Counter[_Algorithms] = Counter()
        if self._of_realm is not None:
            for spelling in spellings:
                left = _SAMPLE - first.total()
                first.update(_having(row) for row in connection.execute(self._of_realm, (spelling, left)))
            if first.total() < _SAMPLE:
                return first
        if self._table is None:
            self._table = self._look_all_over(connection)
        sample = self._table.get(folded, Counter())
        if first and sample.total() < _ENOUGH:
            return first
        return sample or sum(self._table.values(), Counter())

    def _look_all_over(self, connection: sqlite3.Connection) -> dict[str, Counter[_Algorithms]]:
        """The same by realm, of rows all over the table; of all where there are few."""
        rows = connection.execute(self._first_rows, (_SAMPLE,)).fetchall()
        if len(rows) == _SAMPLE:
            try:
                rows = connection.execute(self._all_over, (_SAMPLE,)).fetchall()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
                    raise  # else: no such column, rowid
        table: dict[str, Counter[_Algorithms]] = defaultdict(Counter)
        for row in rows:
            table[fold_realm(text(row[0]))][_having(row)] += 1
        return dict(table)


def _having(row: tuple[object, ...]) -> _Algorithms:
    return tuple(algorithm for algorithm, has in zip(HA1_COLUMNS, row[1:], strict=True) if has)


def _most(users: Counter[_Algorithms]) -> _Algorithms:
    """What most have of those who have anything; of two as frequent always the same."""
    del users[()]
    return max(users, key=lambda algorithms: (users[algorithms], algorithms), default=())
