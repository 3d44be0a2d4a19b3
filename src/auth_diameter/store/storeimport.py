"""Import of subscribers from another store, such as Kamailio's database of another server.

Of each row the secret is taken that counts there: HA1, or the password where there is no HA1. If a row has
both and they agree, the password is taken, so that the user gets an HA1 for every algorithm. HA1 keeps the
row's spelling of the realm.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from auth_diameter.store import bulk
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.csvform import is_digest
from auth_diameter.store.hashes import Hashes, compute_ha1
from auth_diameter.store.importing import Flawed, Given


class StoreSource:
    """The rows of a store.

    Args:
        accounts: the open store.
    """

    unit = "row"
    not_used: tuple[str, ...] = ()

    def __init__(self, accounts: Accounts) -> None:
        self.name = str(accounts.session.name)
        self._accounts = accounts

    def named(self, row: Given) -> str:
        """The user of a row."""
        return f"user {row.values['username']}@{row.values['domain']}: "

    def rows(self) -> Iterator[Given | Flawed]:
        """The rows, with their groups."""
        spellings = self._accounts.group_spellings()
        rows = bulk.all_rows(self._accounts)
        number = 0
        while batch := list(islice(rows, bulk.BATCH)):
            names = [(row.username, row.domain) for row in batch]
            groups = bulk.groups_of(self._accounts, names, spellings)
            for row, its in zip(batch, groups, strict=True):
                number += 1
                yield Given(number, self._values(row), its)

    def _values(self, row: bulk.Row) -> dict[str, str]:
        tables, config = self._accounts.tables, self._accounts.config
        columns = {name: row.contents[column.name] for name, column in tables.secrets.items()}
        counting = "" if tables.counting is None else row.contents[tables.counting.name]
        ha1, password = counting, columns.get("password", "")
        if config.calculate_ha1:
            ha1, password = "", counting
        values = {"username": row.username, "domain": row.domain, "password": password, "ha1": ""}
        agree = password and compute_ha1(row.username, row.domain, password) == ha1.lower()
        if is_digest("ha1", ha1) and not agree:
            values |= {"password": "", "ha1": ha1}
            # Of a user's other hashes, those count that can be hashes.
            for name in Hashes._fields[1:]:
                if is_digest(name, columns.get(name, "")) and not (name == "ha1b" and config.password_column):
                    values[name] = columns[name]
        return values
