"""The settings of a store: which tables and columns it reads, and what happens when it cannot be read."""

from __future__ import annotations

import re
from dataclasses import dataclass

from auth_diameter._core import ConfigError

# What PostgreSQL, MariaDB and SQLite take as a name. Names go into statements, so nothing else is accepted.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}")
_LONGEST_TIMEOUT = 60.0
_LONGEST_STALE = 86_400.0


@dataclass(frozen=True, kw_only=True)
class StoreConfig:
    """The tables of the subscribers, by the conventions of Kamailio's modules ``auth_db`` and ``group``.

    Raises:
        ConfigError: a value is not valid; the message names the field.
    """

    table: str = "subscriber"
    """Table of the subscribers."""

    group_table: str = "grp"
    """Table of the group memberships; it need not exist."""

    user_column: str = "username"
    """Column with the username, in the table of the subscribers."""

    domain_column: str = "domain"
    """Column with the domain, in the table of the subscribers."""

    password_column: str = ""
    """Column with the HA1 (MD5); with `calculate_ha1`, the one with the password. The default is ``ha1`` or
    ``password``. If it is named, no other column with an MD5 hash of the username counts."""

    calculate_ha1: bool = False
    """Whether the password in plain text counts alone, whatever hashes the row has. Without it a hash counts,
    and a password only where there is no hash."""

    domain: bool = True
    """Whether a user is found by the username and the domain. Without it the username alone counts, and every
    realm is served."""

    db_timeout: float = 1.0
    """Seconds within which a database server must answer. Then questions fail that need it."""

    stale_for: float = 60.0
    """Seconds for which users at hand go on while the database cannot be read; 0: not at all."""

    def __post_init__(self) -> None:
        for name in ("table", "group_table"):
            value = getattr(self, name)
            if not isinstance(value, str) or not 1 <= len(parts := value.split(".")) <= 2:
                raise ConfigError(f"{name}: expected the name of a table, not {value!r}")
            for part in parts:
                _require_name(name, part, value)
        for name in ("user_column", "domain_column"):
            _require_name(name, getattr(self, name), getattr(self, name))
        if self.password_column != "":
            _require_name("password_column", self.password_column, self.password_column)
        for name in ("calculate_ha1", "domain"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name}: expected True or False, not {getattr(self, name)!r}")
        if not isinstance(self.db_timeout, int | float) or not 0 < self.db_timeout <= _LONGEST_TIMEOUT:
            raise ConfigError(f"db_timeout: expected seconds above 0, up to 60, not {self.db_timeout!r}")
        if not isinstance(self.stale_for, int | float) or not 0 <= self.stale_for <= _LONGEST_STALE:
            raise ConfigError(f"stale_for: expected seconds from 0 to 86400, not {self.stale_for!r}")


def _require_name(field: str, name: object, shown: object) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(f"{field}: expected a name of letters, digits and _, not {shown!r}")
