"""The URL of shared state: ``redis://[[USER]:PASSWORD@]HOST[:PORT][/N]``, ``rediss://``, ``valkey://``, ``unix://``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from auth_diameter._core import ConfigError

if TYPE_CHECKING:
    import ssl

PORT: Final = 6379
_PLAIN: Final = ("redis", "valkey")
_TLS: Final = ("rediss", "valkeys")


@dataclass(frozen=True, slots=True)
class StateUrl:
    """Where shared state is. The password is in no text about it.

    Attributes:
        name: the URL without user and password, for the log.
        host: of TCP; "" with `path`.
        port: of TCP.
        path: of a Unix socket; "" with `host`.
        database: its number.
        username: for ACLs, or "".
        password: or "".
        tls: whether TLS is used.
        ca: file of the certificates to trust; "": those of the system.
    """

    name: str
    host: str = ""
    port: int = PORT
    path: str = ""
    database: int = 0
    username: str = dataclasses.field(default="", repr=False)
    password: str = dataclasses.field(default="", repr=False)
    tls: bool = False
    ca: str = ""

    def tls_context(self) -> ssl.SSLContext | None:
        """The settings of TLS, or None without it.

        Raises:
            ConfigError: the file of certificates cannot be used.
        """
        if not self.tls:
            return None
        import ssl  # it takes long

        try:
            return ssl.create_default_context(cafile=self.ca or None)
        except OSError as error:  # an SSLError is one
            raise ConfigError(f"state: {self.ca}: {error.strerror or 'no certificates in it'}") from None


def parse_url(text: str) -> StateUrl:
    """Parses the URL of shared state.

    Raises:
        ConfigError: it is none; the message does not repeat it, since it may have a password.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
        options = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
    except ValueError:
        raise ConfigError("state: expected redis://HOST:PORT/N or unix:///PATH") from None
    unix = parts.scheme == "unix"
    if parts.scheme not in (*_PLAIN, *_TLS, "unix"):
        raise ConfigError("state: expected a URL with redis://, rediss://, valkey://, valkeys:// or unix://")
    known = {"db"} if unix else {"ssl_ca_certs"} if parts.scheme in _TLS else set()
    if parts.fragment or not options.keys() <= known:
        raise ConfigError(f"state: expected no options but {', '.join(known) or 'none'}, and no fragment")
    if unix:
        if not parts.path or parts.hostname:
            raise ConfigError("state: expected unix:///PATH, with the whole path of the socket")
        return _unix(parts, options)
    if not parts.hostname:
        raise ConfigError(f"state: expected a host, as in {parts.scheme}://HOST:PORT/N")
    number = _database(parts.path[1:])
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return StateUrl(
        f"{parts.scheme}://{host}:{port or PORT}/{number}",
        host=parts.hostname,
        port=port or PORT,
        database=number,
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        tls=parts.scheme in _TLS,
        ca=options.get("ssl_ca_certs", ""),
    )


def _unix(parts: SplitResult, options: dict[str, str]) -> StateUrl:
    number = _database(options.get("db", ""))
    return StateUrl(
        f"unix://{parts.path}" + (f"?db={number}" if number else ""),
        path=unquote(parts.path),
        database=number,
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


def _database(text: str) -> int:
    if text and not (text.isascii() and text.isdigit() and len(text) < 6):
        raise ConfigError("state: expected the number of a database, as in redis://HOST:PORT/0")
    return int(text or 0)
