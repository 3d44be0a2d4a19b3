"""Realms as a table has them: served or not, and in which spellings.

HA1 is taken over one spelling of the realm (RFC 7616 3.4.2), and domains are compared without regard to the
case of ASCII letters. So a challenge must have the spelling with which HA1 was made. New realms are stored in
lower case; a realm that a table already has keeps the spelling it has there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final, Literal

from auth_diameter.store.names import fold_realm
from auth_diameter.store.pace import Pace
from auth_diameter.store.schema import text
from auth_diameter.store.sqlite_file import Database
from auth_diameter.store.statements import Statements

#: New spellings of a domain that others have written are looked for after this many seconds at most.
_AGE: Final = 0.5
#: Domains whose spellings are kept at hand, and characters of one of them: strangers choose them.
_MAX_DOMAINS: Final = 1000
_MAX_DOMAIN: Final = 255


class Spellings:
    """The domains of one table in all their spellings.

    Attributes:
        pace: of the scans for all domains: a large table without an index on ``domain`` is read whole.
    """

    def __init__(self, database: Database, table: Literal["subscriber", "grp"]) -> None:
        self.pace = Pace()
        self._database = database
        self._table = table
        self._statements: Statements | None = None  # of the tables that were scanned
        self._version = -1  # of the database, when they were scanned
        self._known: dict[str, tuple[str, ...]] = {}
        self._kept: dict[str, tuple[str, ...]] = {}
        self._kept_until = 0.0
        self._kept_version = -1

    def canonical(self, realm: str) -> str | None:
        """Give the realm as the table spells it, to be sent in a challenge; None: it has no such realm.

        Raises:
            StoreError: the database could not be read.
        """
        known = self.known().get(fold_realm(realm))
        return known[0] if known else None

    def known(self, *, now: bool = False) -> Mapping[str, tuple[str, ...]]:
        """All domains: the folded one, to all spellings that the table has, the canonical one first.

        Args:
            now: as they are now; else they may be older for a while where a scan takes long.

        Raises:
            StoreError: the database could not be read.
        """
        version = self._database.version()
        statements = self._database.statements
        if statements is not self._statements:
            self._statements, self._version = statements, -1
            self.pace.forget()
        if version != self._version and (now or self.pace.allows()):
            self._scan(statements.domains(self._table))
            self._version = version
        return self._known

    def _scan(self, query: str | None) -> None:
        started = time.thread_time()
        known: dict[str, list[str]] = {}
        if query is not None:
            with self._database.reading() as connection:
                for (value,) in connection.execute(query):
                    name = text(value)
                    known.setdefault(fold_realm(name), []).append(name)
        self._known = {
            folded: tuple(sorted(names, key=lambda name: (name != folded, name)))
            for folded, names in known.items()
        }
        self.pace.done(time.thread_time() - started)

    def under(self, domain: str) -> tuple[str, ...]:
        """Spellings to look under: the given one, the folded one, then those of the table. Kept for a while.

        Raises:
            StoreError: the database could not be read.
        """
        now = time.monotonic()
        if now >= self._kept_until or self._kept_version != self._database.seen_version:
            self._kept.clear()
            self._kept_until, self._kept_version = now + _AGE, self._database.version()
        spellings = self._kept.get(domain)
        if spellings is None:
            folded = fold_realm(domain)
            spellings = tuple(dict.fromkeys((domain, folded, *self.known().get(folded, ()))))
            if len(self._kept) >= _MAX_DOMAINS:
                self._kept.clear()
            if len(domain) <= _MAX_DOMAIN:
                self._kept[domain] = spellings
        return spellings
