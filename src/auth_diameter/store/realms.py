"""The realms of a table and their spellings.

HA1 is computed with one spelling of the realm (RFC 7616, 3.4.2), but domains are compared without regard to
the case of ASCII letters. So a challenge must have the spelling with which HA1 was computed. New realms are
stored in lower case. A realm that a table already has keeps its spelling.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from auth_diameter.store.names import fold_realm
from auth_diameter.store.pace import Pace
from auth_diameter.store.schema import text
from auth_diameter.store.sqlite_file import Database
from auth_diameter.store.statements import Statements

#: Seconds for which the spellings of a domain are cached; another process may write new ones.
_AGE: Final = 0.5
#: Domains whose spellings are cached, and characters of one domain. Untrusted peers choose them.
_MAX_DOMAINS: Final = 1000
_MAX_DOMAIN: Final = 255


#: Each folded domain with all its spellings, the canonical one first.
Spelled = dict[str, tuple[str, ...]]


def spelled(domains: Iterable[str]) -> Spelled:
    """Gathers the spellings of domains; the folded spelling of a domain, if there is one, is canonical."""
    found: dict[str, list[str]] = {}
    for name in domains:
        found.setdefault(fold_realm(name), []).append(name)
    return {
        folded: tuple(sorted(names, key=lambda name: (name != folded, name)))
        for folded, names in found.items()
    }


class EveryRealm:
    """The spellings where users have no domain: every realm is served, as it is spelled.

    Attributes:
        pace: as that of `Spellings`.
    """

    def __init__(self) -> None:
        self.pace = Pace()

    def canonical(self, realm: str) -> str | None:
        """The realm itself."""
        return realm

    def known(self, *, now: bool = False) -> Mapping[str, tuple[str, ...]]:
        """One realm without a name."""
        return {"": ("",)}

    def under(self, domain: str) -> tuple[str, ...]:
        """One spelling, which no lookup looks at."""
        return ("",)


class Spellings:
    """The domains of one table in all their spellings.

    Args:
        database: the open database.
        table: the table with the domains.

    Attributes:
        pace: the limit to scans for all domains. Without an index on ``domain`` a scan reads the whole table.
    """

    def __init__(self, database: Database, table: Literal["subscriber", "grp"]) -> None:
        self.pace = Pace()
        self._database = database
        self._table = table
        self._statements: Statements | None = None  # the database's statements at the last scan
        self._version = -1  # the database's version at the last scan
        self._known: Spelled = {}
        self._kept: dict[str, tuple[str, ...]] = {}
        self._kept_until = 0.0
        self._kept_version = -1

    def canonical(self, realm: str) -> str | None:
        """The realm as the table spells it, for a challenge; None for a realm without subscribers.

        Raises:
            StoreError: the database could not be read.
        """
        known = self.known().get(fold_realm(realm))
        return known[0] if known else None

    def known(self, *, now: bool = False) -> Mapping[str, tuple[str, ...]]:
        """All domains: each folded domain with all its spellings, the canonical one first.

        Args:
            now: True for the current domains; False allows a former result for a while if a scan takes long.

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
        names: list[str] = []
        if query is not None:
            with self._database.reading() as connection:
                names = [text(value) for (value,) in connection.execute(query)]
        self._known = spelled(names)
        self.pace.done(time.thread_time() - started)

    def under(self, domain: str) -> tuple[str, ...]:
        """The spellings to look up: the given one, the folded one, then the table's.

        The result is cached for a while.

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
