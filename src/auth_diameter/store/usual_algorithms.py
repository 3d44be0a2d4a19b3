"""The algorithms that most users of a realm have: what an unknown user is offered.

To find them, a sample of some hundred rows is read and not the whole table: all users of a small realm, and
for a large realm users at random places in the table.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

from auth_diameter.store.hashes import HA1_COLUMNS
from auth_diameter.store.names import fold_realm
from auth_diameter.store.pace import Pace
from auth_diameter.store.realms import EveryRealm, Spellings
from auth_diameter.store.schema import text
from auth_diameter.store.sqlite_file import Database
from auth_diameter.store.statements import Statements

#: Rows of a sample; some 3 ms. In 49 of 50 samples, a majority of 55 % of a large realm's users shows.
_SAMPLE: Final = 400
#: With at least this many users of the realm, a sample of the whole table is better than the realm's first
#: users by name.
_ENOUGH: Final = 30

_Algorithms = tuple[str, ...]
#: The number of users by the algorithms for which they have an HA1.
Counts = Counter[_Algorithms]


class UsualAlgorithms:
    """The algorithms for which most users of each realm have an HA1.

    Args:
        database: the open database.
        spellings: the realms of its subscribers.

    Attributes:
        pace: the limit to sampling, by the time of all samples since the last change.
    """

    def __init__(self, database: Database, spellings: Spellings | EveryRealm) -> None:
        self.pace = Pace()
        self._database = database
        self._spellings = spellings
        self._statements: Statements | None = None
        self._version = -1
        self._took = 0.0
        self._known: dict[str, _Algorithms] = {}
        self._table: dict[str, Counts] | None = None

    def of(self, realm: str) -> _Algorithms:
        """The algorithms of a realm, the weakest first; empty for a realm without subscribers.

        While the database keeps changing, the result may be of a former version. The result is cached, except
        for an unknown realm, whose name an untrusted peer may have chosen.

        Raises:
            StoreError: the database could not be read.
        """
        self._forget_old()
        folded = fold_realm(realm)
        found = self._known.get(folded)
        if found is None:
            spellings = self._spellings.known().get(folded, ())
            if not spellings:
                return ()
            self._forget_old()
            started = time.thread_time()
            with self._database.reading() as connection:
                found = self._known[folded] = most(self._count(connection, folded, spellings))
            self._took += time.thread_time() - started
            self.pace.done(self._took)
        return found

    def _forget_old(self) -> None:
        version, statements = self._database.seen_version, self._database.statements
        if statements is not self._statements or (version != self._version and self.pace.allows()):
            self._known.clear()
            self._table = None
            self._statements, self._version, self._took = statements, version, 0.0
            self.pace.forget()

    def _count(self, connection: sqlite3.Connection, folded: str, spellings: tuple[str, ...]) -> Counts:
        """Counts a sample of the realm's users by their algorithms."""
        first: Counts = Counter()
        of_realm = self._database.statements.usual_of_realm
        if of_realm is not None:
            for spelling in spellings:
                left = _SAMPLE - first.total()
                first.update(having(row) for row in connection.execute(of_realm, (spelling, left)))
            if first.total() < _SAMPLE:
                return first
        if self._table is None:
            self._table = self._look_all_over(connection)
        sample = self._table.get(folded, Counter())
        if first and sample.total() < _ENOUGH:
            return first
        return sample or sum(self._table.values(), Counter())

    def _look_all_over(self, connection: sqlite3.Connection) -> dict[str, Counts]:
        """Counts a sample of the whole table by realm and algorithms; a small table is counted whole."""
        rows = connection.execute(self._database.statements.usual_first, (_SAMPLE,)).fetchall()
        if len(rows) == _SAMPLE:
            try:
                rows = connection.execute(self._database.statements.usual_all_over, (_SAMPLE,)).fetchall()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
                    raise  # SQLITE_ERROR here means: no such column, rowid
        table: dict[str, Counts] = defaultdict(Counter)
        for row in rows:
            table[fold_realm(text(row[0]))][having(row)] += 1
        return dict(table)


def having(row: Sequence[object]) -> _Algorithms:
    """The algorithms of a row of a sample: a domain, and for each algorithm whether the user has an HA1."""
    return tuple(algorithm for algorithm, has in zip(HA1_COLUMNS, row[1:], strict=True) if has)


def most(users: Counts) -> _Algorithms:
    """The most frequent algorithms, apart from none; of two as frequent, always the same one."""
    del users[()]
    return max(users, key=lambda algorithms: (users[algorithms], algorithms), default=())
