"""What names a database: the path of an SQLite file, or a URL."""

from __future__ import annotations

import importlib.util
import os
import re
from dataclasses import dataclass, field
from typing import Final, Literal

from auth_diameter._core import ConfigError

Kind = Literal["sqlite", "postgresql", "mysql", "redis", "cx"]

#: SQLite's name for a database in memory, which ends with its connection.
MEMORY: Final = ":memory:"

# RFC 3986, 3.1. A colon alone does not make a URL: the name of a file may contain one.
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
# The parts of a URL that may be shown: host, port and path. Any other part may contain a password.
# What follows a colon is a port: without an "@" it may be a password.
_PLACE: Final = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]*)(?::[0-9]+)?"
_SHOWN: Final = re.compile(rf"{_PLACE}(?:,{_PLACE})*(?:/[A-Za-z0-9._~:/-]*)?")
# What is nearly a URL: a quote or a space is before it, a colon or a slash is missing, or the scheme.
_LIKE_URL: Final = re.compile(
    r"(?![./])(?:.*://|[^/]*:.*@|(?:postgres|postgresql|mysql|mariadb|rediss?|valkeys?|sqlite|unix|cx)(?:[:;]|//))",
    re.DOTALL,
)

_KINDS: Final[dict[str, Kind]] = {
    "sqlite": "sqlite",
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
    "redis": "redis",
    "rediss": "redis",
    "valkey": "redis",
    "valkeys": "redis",
    "unix": "redis",
    "cx": "cx",
}
# The modules that a kind needs, and the extra that brings them.
_DRIVERS: Final[dict[Kind, tuple[str, ...]]] = {
    "sqlite": (),
    "postgresql": ("asyncpg",),
    "mysql": ("asyncmy",),
    "redis": ("redis",),
    "cx": (),
}


@dataclass(frozen=True, slots=True)
class DatabaseName:
    """A database as `--db` and `Config.db` name it.

    Attributes:
        kind: what serves it.
        text: the path of an SQLite file, else the URL; it may contain a password.
        shown: the same without user, password and options, for messages.
        password: the password, if the URL has none; None: there is none.
    """

    kind: Kind
    text: str = field(repr=False)
    shown: str
    password: str | None = field(default=None, repr=False)

    @property
    def is_file(self) -> bool:
        """Whether it is an SQLite file."""
        return self.kind == "sqlite" and self.text != MEMORY

    def __str__(self) -> str:
        return self.shown


def database_name(text: str, password: str | None = None) -> DatabaseName:
    """Parses a path or a URL.

    ``sqlite:///PATH`` is relative unless the path begins with a slash of its own: the URL of
    ``/var/lib/users.sqlite`` has four slashes.

    Args:
        text: the path, or a URL: ``sqlite:///PATH``, ``postgresql://…``, ``mysql://…`` or ``mariadb://…``,
            ``redis://…`` or ``valkey://…`` (``rediss://`` and ``valkeys://`` with TLS), ``cx://HOST/REALM``.
        password: the password of a database server, if the URL has none.

    Raises:
        ConfigError: no file can have this path, the URL is malformed or of another kind, or its driver is not
            installed. The message shows no password.
    """
    url = _URL.fullmatch(text)
    if url is None:
        if _LIKE_URL.match(text):
            raise ConfigError(
                "the database is neither a path nor a URL such as postgresql://HOST/NAME; look for a quote, a"
                " space or a missing character (a file of this name is ./NAME)"
            )
        return _file(text, text)
    scheme, rest = url[1].lower(), url[2]
    kind = _KINDS.get(scheme)
    shown = f"{scheme}://{_shown(rest)}"
    if kind is None:
        raise ConfigError(f"{shown}: expected a path, or a URL of sqlite, postgresql, mysql, redis or cx")
    if kind == "sqlite":
        if rest[:1] == "/" and rest[1:] and not {"?", "#"} & set(rest):
            return _file(rest[1:], rest[1:])
        raise ConfigError(
            f"{shown}: expected sqlite:///PATH, with four slashes for a path from the root, and no options"
        )
    for module in _DRIVERS[kind]:
        if importlib.util.find_spec(module) is None:
            raise ConfigError(f"{shown}: needs a driver: pip install 'auth-diameter[{kind}]'")
    return DatabaseName(kind, text, shown, password)


def _shown(rest: str) -> str:
    """What follows the scheme, without user, password and options."""
    place, *options = re.split(r"[?#]", rest, maxsplit=1)
    place = place.rpartition("@")[2]
    # With an "@" further on, it was a password that was split.
    return place if _SHOWN.fullmatch(place) and "@" not in "".join(options) else "…"


def _file(path: str, shown: str) -> DatabaseName:
    """The name of an SQLite file.

    Raises:
        ConfigError: no file can have it: it has a NUL, or what no byte was decoded to.
    """
    try:
        possible = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        possible = False
    if not possible:
        raise ConfigError(f"{path!r}: no file can have this name")
    return DatabaseName("sqlite", path, shown)
