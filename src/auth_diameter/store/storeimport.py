"""Import of subscribers from another store, such as Kamailio's database of another server.

Of each row the secret is taken that counts there: HA1, or the password where there is no HA1. If a row has
both and they agree, the password is taken, so that the user gets an HA1 for every algorithm. HA1 keeps the
row's spelling of the realm.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from auth_diameter.store.csvform import is_digest
from auth_diameter.store.hashes import Hashes, compute_ha1
from auth_diameter.store.importing import Flawed, Given
from auth_diameter.store.subscribers import BATCH, Row, Subscribers


class StoreSource:
    """The rows of a store.

    Args:
        accounts: the open store.
    """

    unit = "row"
    not_used: tuple[str, ...] = ()

    def __init__(self, accounts: Subscribers) -> None:
        self.name = str(accounts.session.name)
        self._accounts = accounts

    def named(self, row: Given) -> str:
        """The user of a row."""
        return f"user {row.values['username']}@{row.values['domain']}: "

    def rows(self) -> Iterator[Given | Flawed]:
        """The rows, with their groups."""
        spellings = self._accounts.group_spellings()
        rows = self._accounts.rows()
        number = 0
        while batch := list(islice(rows, BATCH)):
            names = [(row.username, row.domain) for row in batch]
            groups = self._accounts.groups_of(names, spellings)
            for row, its in zip(batch, groups, strict=True):
                number += 1
                yield Given(number, self._values(row), its)

    def _values(self, row: Row) -> dict[str, str]:
        counts = self._accounts.secrets(row)
        names = {"username": row.username, "domain": row.domain}
        ha1, password = counts["ha1"], counts["password"]
        agree = password and compute_ha1(row.username, row.domain, password) == ha1.lower()
        if not is_digest("ha1", ha1) or agree:
            return {**names, "password": password, "ha1": ""}
        hashes = {name: counts[name] for name in Hashes._fields if is_digest(name, counts[name])}
        return {**names, "password": "", **hashes}
