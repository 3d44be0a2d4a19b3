"""PostgreSQL: how it is connected to, and its errors in words."""

from __future__ import annotations

import socket
import ssl
from typing import Any, Final

import asyncpg  # type: ignore[import-untyped]

from auth_diameter._core import ConfigError
from auth_diameter.store.url import DatabaseName

#: All errors of a connection or a statement.
ERRORS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
_APPLICATION: Final = "auth-diameter"  # in pg_stat_activity

_WHAT_HAPPENED: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (asyncpg.InvalidPasswordError, "the password is wrong or missing, or there is no such user"),
    (asyncpg.InvalidAuthorizationSpecificationError, "the server does not let this user in; see pg_hba.conf"),
    (asyncpg.InvalidCatalogNameError, "there is no such database; createdb makes it"),
    (asyncpg.TooManyConnectionsError, "the server has too many connections; see max_connections"),
    (asyncpg.CannotConnectNowError, "the server is starting or stopping"),
    (asyncpg.AdminShutdownError, "the server has ended the connection"),
    (asyncpg.UndefinedTableError, "a table is missing; see --table and --group-table"),
    (asyncpg.UndefinedColumnError, "a column is missing; see --user-column and the options beside it"),
    (asyncpg.InsufficientPrivilegeError, "the user may not do this; GRANT SELECT ON the tables lets it read"),
    (asyncpg.ReadOnlySQLTransactionError, "the server cannot be written to; is it a standby?"),
    (asyncpg.UniqueViolationError, "the table refuses a row that is there already"),
    (asyncpg.StringDataRightTruncationError, "a value is too long for its column"),
    (asyncpg.CharacterNotInRepertoireError, "has text that is not UTF-8; see the ENCODING of the database"),
    (
        asyncpg.UntranslatableCharacterError,
        "a name has characters that the ENCODING of the database cannot have",
    ),
    (asyncpg.NotNullViolationError, "a column without a default needs a value"),
    (asyncpg.DiskFullError, "the server's disk is full"),
    (asyncpg.QueryCanceledError, "the server took too long"),
    (asyncpg.TargetServerAttributeNotMatched, "no host is of the kind that target_session_attrs names"),
    (asyncpg.ConnectionDoesNotExistError, "the server has closed the connection"),
    (asyncpg.InterfaceError, "the connection is lost"),
    (ssl.SSLError, "TLS failed: check sslmode and sslrootcert"),
    (TimeoutError, "does not answer"),
    (ConnectionRefusedError, "nothing listens there; is PostgreSQL running?"),
    (FileNotFoundError, "there is no such socket or file; is PostgreSQL running?"),
    (socket.gaierror, "the name of the host is not known"),
    (ConnectionError, "the connection is lost"),
)


async def connect(name: DatabaseName, *, timeout: float, read_only: bool) -> asyncpg.Connection[Any]:
    """Connects to the database of a URL, with all that libpq's URLs have: several hosts, sockets, TLS.

    Args:
        name: the database.
        timeout: seconds.
        read_only: whether the server is to refuse changes.

    Raises:
        ConfigError: the URL is malformed.
        asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError: see `describe`.
    """
    settings = {"application_name": _APPLICATION}
    if read_only:
        settings["default_transaction_read_only"] = "on"
    try:
        return await asyncpg.connect(
            name.text, password=name.password, timeout=timeout, server_settings=settings
        )
    except (ValueError, asyncpg.ClientConfigurationError):
        raise ConfigError(
            f"{name}: is no URL that PostgreSQL has; write @ in a password as %40, or use --db-password-file"
        ) from None


def describe(error: BaseException) -> str:
    """What an error means for the operator, in one line, without any value of a row."""
    for kind, words in _WHAT_HAPPENED:
        if isinstance(error, kind):
            return words
    if isinstance(error, asyncpg.PostgresError):
        return f"error {error.sqlstate} ({type(error).__name__})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return type(error).__name__
