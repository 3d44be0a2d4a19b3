"""What is known of a whole table of a database server: columns, realms and usual algorithms."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from auth_diameter.store.dialect import Tables
from auth_diameter.store.names import fold_realm
from auth_diameter.store.realms import Spelled, spelled
from auth_diameter.store.store import HashedUser, StoreError
from auth_diameter.store.userhash import HashedNames
from auth_diameter.store.usual_algorithms import Counts, having, most


class ServerSurvey:
    """A `Survey` that was made once and does not change.

    Args:
        name: the name of the store in the log.
        tables: the tables.
        domains: all domains; None: they do not count, and every realm is served.
        sample: rows of the domain of some users, and for each algorithm whether they have an HA1.

    Attributes:
        tables: the tables.
        hashed: the hashed usernames by realm, as challenges spell it, and algorithm.
    """

    def __init__(
        self, name: str, tables: Tables, domains: Iterable[str] | None, sample: Iterable[Sequence[Any]]
    ) -> None:
        self.name = name
        self.tables = tables
        self.hashed: dict[tuple[str, str], HashedNames] = {}
        self._spelled: Spelled | None = None if domains is None else spelled(domains)
        counts: Mapping[str, Counts] = defaultdict(Counter)
        for row in sample:
            counts[fold_realm(str(row[0]))][having(row)] += 1
        self._usual = {realm: most(of_realm) for realm, of_realm in counts.items()}
        self._usual_of_all = most(sum(counts.values(), Counter()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ServerSurvey) and self._facts() == other._facts()

    __hash__ = None  # type: ignore[assignment]

    def _facts(self) -> tuple[object, ...]:
        return self.tables, self._spelled, self._usual

    def spellings(self, realm: str) -> tuple[str, ...]:
        """The spellings of a realm, the canonical one first; empty for a realm without subscribers."""
        return (realm,) if self._spelled is None else self._spelled.get(fold_realm(realm), ())

    def canonical(self, realm: str) -> str | None:
        """As `Survey.canonical`."""
        return next(iter(self.spellings(realm)), None)

    def under(self, realm: str) -> Sequence[str]:
        """As `Survey.under`."""
        return self.spellings(realm) or (realm,)

    def usual(self, realm: str) -> tuple[str, ...]:
        """As `Survey.usual`."""
        if not self.spellings(realm):
            return ()
        return self._usual.get("" if self._spelled is None else fold_realm(realm), self._usual_of_all)

    def unhashed(self, key: HashedUser) -> tuple[str, bool]:
        """As `Survey.unhashed`; `hashed` has the realm."""
        hashed = self.hashed.get((self.canonical(key.realm) or "", key.algorithm))
        if hashed is None:
            raise StoreError(f"{self.name}: hashed usernames of too many realms at once")
        return hashed.find(key.hashed)
