"""Which column of an operator's table has what, by the conventions of Kamailio's ``auth_db``.

=====================================  ===========================================  ==========================
settings                               MD5 hash of the username                     password in plain text
=====================================  ===========================================  ==========================
none                                   ``ha1``                                      ``password``, where a row
                                                                                    has no hash
``password_column=X``                  ``X``                                        none
``calculate_ha1``                      none                                         ``password``
``calculate_ha1, password_column=X``   none                                         ``X``
=====================================  ===========================================  ==========================

With ``calculate_ha1`` no hash counts. Otherwise ``ha1b``, ``ha1_sha256`` and ``ha1_sha512t256`` count as
well, if the table has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from auth_diameter.store.config import StoreConfig
from auth_diameter.store.lookups import SECRETS


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table of subscribers, as the table spells them.

    Attributes:
        username: the column with the username.
        domain: the column with the domain; None: it does not count.
        secrets: the column of each of `SECRETS`; None: there is none.
    """

    username: str
    domain: str | None
    secrets: Mapping[str, str | None]

    @property
    def places(self) -> tuple[str | None, ...]:
        """The columns of `SECRETS`, in their order."""
        return tuple(self.secrets[name] for name in SECRETS)


def columns_of(config: StoreConfig, there: Iterable[str]) -> Columns | str:
    """Chooses the columns.

    Args:
        config: the settings.
        there: the columns that the table has.

    Returns:
        The columns; or the name of the first that is needed and missing.
    """
    names = list(there)
    spelled = {name.lower(): name for name in names} | {name: name for name in names}

    def find(name: str) -> str | None:
        return spelled.get(name) or spelled.get(name.lower())

    secrets: dict[str, str | None] = dict.fromkeys(SECRETS)
    if config.calculate_ha1:
        needed = config.password_column or "password"
        secrets["password"] = find(needed)
    else:
        secrets |= {name: find(name) for name in SECRETS}
        needed = config.password_column or "ha1"
        if config.password_column:
            secrets |= {"ha1": find(config.password_column), "password": None}
    username = find(config.user_column)
    domain = find(config.domain_column)
    if config.domain and domain is None:
        return config.domain_column
    if username is None:
        return config.user_column
    if not secrets["ha1"] and not secrets["password"]:
        return needed
    return Columns(username, domain if config.domain else None, secrets)
