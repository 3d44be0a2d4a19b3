"""MariaDB and MySQL: how they are connected to, and their errors in words."""

from __future__ import annotations

import logging
import socket
import ssl
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import asyncmy
from asyncmy import errors

from auth_diameter._core import ConfigError
from auth_diameter.store.url import DatabaseName

#: All errors of a connection or a statement.
ERRORS: Final = (errors.Error, OSError, TimeoutError, EOFError)
_TLS: Final = ("ssl_ca", "ssl_cert", "ssl_key", "ssl_check_hostname")
_APPLICATION: Final = "auth-diameter"  # among the connection attributes
_PORT: Final = 3306
_STATEMENTS: Final = 32  # prepared statements of a connection that are kept

# https://mariadb.com/kb/en/mariadb-error-codes/
_WHAT_HAPPENED: Final = {
    1040: "the server has too many connections; see max_connections",
    1044: "the user may not use this database; GRANT SELECT ON its tables lets it read",
    1045: "the password is wrong or missing, or there is no such user",
    1049: "there is no such database",
    1053: "the server is stopping",
    1054: "a column is missing; see --user-column and the options beside it",
    1062: "the table refuses a row that is there already",
    1114: "the server's disk or the table is full",
    1142: "the user may not do this; GRANT SELECT ON the tables lets it read",
    1143: "the user may not do this; GRANT SELECT ON the tables lets it read",
    1146: "a table is missing; see --table and --group-table",
    1203: "this user has too many connections; see max_user_connections",
    1205: "another transaction holds a lock for too long; try again",
    1213: "another transaction was in the way; try again",
    1226: "this user has too many connections; see max_user_connections",
    1267: "a name has characters that its column cannot have",
    1290: "the server cannot be written to; is it a replica?",
    1364: "a column without a default needs a value",
    1366: "a value has characters that its column cannot have",
    1406: "a value is too long for its column",
    1698: "the server does not let this user in from here",
    1792: "the server cannot be written to",
    1836: "the server cannot be written to; is it a replica?",
    2003: "nothing listens there; is MariaDB running?",
    2006: "the connection is lost",
    2013: "the connection is lost",
}
_OTHERS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (ssl.SSLError, "TLS failed: check ssl_ca"),
    (TimeoutError, "does not answer"),
    (ConnectionRefusedError, "nothing listens there; is MariaDB running?"),
    (FileNotFoundError, "there is no such socket or file; is MariaDB running?"),
    (socket.gaierror, "the name of the host is not known"),
    (ConnectionError, "the connection is lost"),
    (EOFError, "the connection is lost"),
)


# The driver would log a warning of the server for each name that the character set of a table does not have.
# Such a name is nobody's, and the sender of a request chooses it.
logging.getLogger("asyncmy").setLevel(logging.ERROR)


class Target(NamedTuple):
    """What a URL names.

    Attributes:
        hosts: (host, port), to be tried in this order.
        options: further arguments of `asyncmy.connect`.
    """

    hosts: tuple[tuple[str, int], ...]
    options: dict[str, Any]

    def __repr__(self) -> str:
        return f"Target(hosts={self.hosts})"


def target_of(name: DatabaseName) -> Target:
    """Parses ``mysql://USER[:PASSWORD]@HOST[:PORT][,HOST…]/DATABASE[?OPTION=VALUE&…]``.

    The options are ``unix_socket`` and, for TLS, ``ssl_ca``, ``ssl_cert``, ``ssl_key`` and
    ``ssl_check_hostname``.

    Raises:
        ConfigError: the URL is malformed, or has an unknown option.
    """
    try:
        parts = urlsplit(name.text)
        given = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError:
        raise ConfigError(f"{name}: is no URL: {_USAGE}") from None
    database = unquote(parts.path[1:])
    credentials, _, places = parts.netloc.rpartition("@")
    user, colon, password = credentials.partition(":")
    if not database or "/" in database or parts.fragment:
        raise ConfigError(f"{name}: names no database: {_USAGE}")
    options: dict[str, Any] = {"database": database}
    if user:
        options["user"] = unquote(user)
    secret = unquote(password) if colon else name.password
    if secret is not None:
        options["password"] = secret.encode()
    if "unix_socket" in given:
        options["unix_socket"] = given.pop("unix_socket")
    tls = {option[4:]: given.pop(option) for option in _TLS if option in given}
    if tls:
        options["ssl"] = _context(name, tls)
    if given:
        raise ConfigError(f"{name}: has an unknown option {sorted(given)[0]!r}")
    return Target(tuple(_host(name, place) for place in places.split(",")), options)


_USAGE: Final = "expected mysql://USER@HOST:PORT/DATABASE"


def _host(name: DatabaseName, place: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{place}")
        return parts.hostname or "localhost", parts.port or _PORT
    except ValueError:
        raise ConfigError(f"{name}: has a port that is none: {_USAGE}") from None


def _context(name: DatabaseName, tls: dict[str, str]) -> ssl.SSLContext:
    """TLS as the options have it: without ``ssl_ca`` the certificates of the system count."""
    try:
        context = ssl.create_default_context(cafile=tls.get("ca"))
        context.check_hostname = tls.get("check_hostname", "true").lower() not in ("false", "0", "no")
        if "cert" in tls:
            context.load_cert_chain(tls["cert"], tls.get("key"))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{name}: a file for TLS cannot be used: {error.strerror}") from None
    return context


async def connect(name: DatabaseName, *, timeout: float, read_only: bool) -> asyncmy.Connection:
    """Connects to the first host of a URL that lets us in.

    Args:
        name: the database.
        timeout: seconds for each host.
        read_only: whether the server is to refuse changes.

    Raises:
        ConfigError: the URL is malformed.
        asyncmy.errors.Error, OSError, TimeoutError: of the last host; see `describe`.
    """
    target = target_of(name)
    failure: Exception | None = None
    for host, port in target.hosts:
        try:
            return await asyncmy.connect(
                host=host,
                port=port,
                charset="utf8mb4",
                connect_timeout=timeout,
                autocommit=True,
                program_name=_APPLICATION,
                stmt_cache_size=_STATEMENTS,
                init_command="SET SESSION TRANSACTION READ ONLY" if read_only else None,
                **target.options,
            )
        except ERRORS as error:
            failure = error
    assert failure is not None
    raise failure


def describe(error: BaseException) -> str:
    """What an error means for the operator, in one line, without any value of a row."""
    code = error.args[0] if isinstance(error, errors.Error) and error.args else None
    if code in _WHAT_HAPPENED:
        return _WHAT_HAPPENED[code]
    for kind, words in _OTHERS:
        if isinstance(error, kind):
            return words
    if isinstance(error, errors.Error):
        return f"error {code}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return type(error).__name__
