"""Redis and Valkey: how they are connected to, and their errors in words."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import redis.asyncio.connection as connections
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from auth_diameter._core import ConfigError
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.url import DatabaseName

#: All errors of a connection or a command.
ERRORS: Final = (exceptions.RedisError, OSError, TimeoutError)
_PORT: Final = 6379
_TLS: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
_USAGE: Final = "expected redis://HOST:PORT/NUMBER or unix:///PATH?db=NUMBER"

_CLUSTER: Final = "is a cluster; subscribers need a server that has all keys"
# The client makes classes of some errors of the server, and leaves their first word out then.
_WHAT_HAPPENED: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (
        exceptions.NoPermissionError,
        "the user may not do this; an ACL with +@read +@write +@transaction +@pubsub ~ad:* &* lets it",
    ),
    (exceptions.AuthenticationError, "the password is wrong or missing, or there is no such user"),
    (exceptions.BusyLoadingError, "the server has started, and is reading its data"),
    (exceptions.OutOfMemoryError, "the server's memory is full; see maxmemory"),
    (exceptions.ReadOnlyError, "the server cannot be written to; is it a replica?"),
    (exceptions.ExecAbortError, "the server has refused a change"),
    (exceptions.TimeoutError, "does not answer"),
    (ssl.SSLError, "TLS failed: check ssl_ca_certs"),
    (TimeoutError, "does not answer"),
    (ConnectionRefusedError, "nothing listens there; is Redis running?"),
    (FileNotFoundError, "there is no such socket or file; is Redis running?"),
    (socket.gaierror, "the name of the host is not known"),
    (ConnectionError, "the connection is lost"),
)
# What others begin with.
_BEGINNINGS: Final = {
    "Authentication required": "needs a password; see --db-password-file",
    "MASTERDOWN": "the server is a replica that has lost its master",
    "CROSSSLOT": _CLUSTER,
    "MOVED": _CLUSTER,
    "CLUSTERDOWN": _CLUSTER,
    "NOAUTH": "needs a password; see --db-password-file",
    "MISCONF": "the server takes no changes, since it cannot save them to its disk",
    "NOREPLICAS": "the server takes no changes, since it has too few replicas",
    "max number of clients": "the server has too many connections; see maxclients",
    "DB index": "has no database of this number",
    "invalid username-password": "the password is wrong or missing, or there is no such user",
}


class Target(NamedTuple):
    """What a URL names.

    Attributes:
        kind: "tcp", "tls" or "unix".
        database: its number.
        options: arguments of the client's connections.
    """

    kind: str
    database: int
    options: dict[str, Any]

    def __repr__(self) -> str:
        return f"Target({self.kind!r}, {self.database})"


def target_of(name: DatabaseName) -> Target:
    """Parses a URL of Redis or Valkey.

    ``redis://[[USER]:PASSWORD@]HOST[:PORT][/NUMBER]``, with ``rediss`` over TLS, where the options are
    ``ssl_ca_certs``, ``ssl_certfile``, ``ssl_keyfile`` and ``ssl_check_hostname``; ``valkey`` and ``valkeys``
    are the same. ``unix://[[USER]:PASSWORD@]/PATH[?db=NUMBER]`` names a socket.

    Raises:
        ConfigError: the URL is malformed, or has an unknown option.
    """
    try:
        parts = urlsplit(name.text)
        given = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        port = parts.port
    except ValueError:
        raise ConfigError(f"{name}: is no URL: {_USAGE}") from None
    kind = "unix" if parts.scheme == "unix" else "tls" if parts.scheme in ("rediss", "valkeys") else "tcp"
    number = given.pop("db", "") if kind == "unix" else parts.path.removeprefix("/")
    if parts.fragment or (number and not (number.isascii() and number.isdigit() and len(number) < 6)):
        raise ConfigError(f"{name}: names no database by its number: {_USAGE}")
    options: dict[str, Any] = {"db": int(number or 0)}
    if kind == "unix":
        options["path"] = unquote(parts.path)
    else:
        options |= {"host": unquote(parts.hostname or "localhost"), "port": port or _PORT}
    if kind == "tls":
        checks = given.pop("ssl_check_hostname", "true").lower() not in ("false", "0", "no")
        options |= {"ssl_check_hostname": checks, "ssl_cert_reqs": "required"}
        options |= {option: given.pop(option) for option in _TLS if option in given}
    if parts.username:
        options["username"] = unquote(parts.username)
    password = name.password if parts.password is None else unquote(parts.password)
    if password is not None:
        options["password"] = password
    if given:
        raise ConfigError(f"{name}: has an unknown option {sorted(given)[0]!r}")
    return Target(kind, options["db"], options)


def require_no_tables(name: DatabaseName, config: StoreConfig) -> None:
    """Refuses settings that are about tables: there are none, and the layout is fixed.

    Raises:
        ConfigError: such a setting is not as it is by default.
    """
    default = StoreConfig()
    for field in ("table", "group_table", "user_column", "domain_column", "password_column", "domain"):
        if getattr(config, field) != getattr(default, field):
            option = field.replace("_", "-") if field != "domain" else "no-domain"
            raise ConfigError(f"{name}: has no tables, so --{option} does not apply")


class Link:
    """A connection to a server; for one event loop. Replies are bytes, integers, lists or None.

    Args:
        connection: of the client, connected.
        database: the number of the database.
        timeout: seconds in which the server should answer a command.
    """

    def __init__(self, connection: connections.AbstractConnection, database: int, timeout: float) -> None:
        self.database = database
        self.timeout = timeout
        self._connection = connection
        assert connection._writer is not None
        self._transport = connection._writer.transport
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_open(self) -> bool:
        """Whether the connection is not known to be lost."""
        return bool(self._connection.is_connected)

    async def say(self, *words: str | bytes | int) -> Any:
        """Sends a command and reads its reply.

        Raises:
            redis.exceptions.RedisError, OSError: the server refused it, or the connection is lost.
        """
        await self.send(words)
        return await self.read()

    async def send(self, *commands: Sequence[str | bytes | int]) -> None:
        """Sends commands, whose replies are read with `read`."""
        packed = [part for words in commands for part in self._connection.pack_command(*words)]
        await self._connection.send_packed_command(packed, check_health=False)

    async def read(self) -> Any:
        """Reads the next reply."""
        return await self._connection.read_response(disable_decoding=True)

    def keep(self, task: asyncio.Task[None]) -> None:
        """Keeps a task that reads, until the connection is closed."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Closes the connection at once."""
        for task in self._tasks:
            task.cancel()
        self._transport.abort()  # TLS would wait for the server
        _close(self._connection)


async def connect(name: DatabaseName, *, timeout: float) -> Link:
    """Connects to a server, logs in and selects the database.

    Args:
        name: the database.
        timeout: seconds.

    Raises:
        ConfigError: the URL is malformed.
        redis.exceptions.RedisError, OSError, TimeoutError: see `describe`.
    """
    target = target_of(name)
    kinds: dict[str, type[connections.AbstractConnection]] = {
        "tcp": connections.Connection,
        "tls": connections.SSLConnection,
        "unix": connections.UnixDomainSocketConnection,
    }
    # Who waits has a time limit of its own, and tries again as `Connections` has it.
    connection = kinds[target.kind](
        **target.options,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        socket_connect_timeout=timeout,
        socket_timeout=None,
    )
    try:
        await connection.connect()  # type: ignore[no-untyped-call]
    except BaseException:
        _close(connection)
        raise
    return Link(connection, target.database, timeout)


def _close(connection: connections.AbstractConnection) -> None:
    connection._close()  # type: ignore[no-untyped-call]  # the public way needs an event loop that runs


def is_lost(error: BaseException) -> bool:
    """Whether an error means that the connection was lost, and not that the server has refused something."""
    if isinstance(error, exceptions.AuthenticationError | exceptions.BusyLoadingError):
        return False
    return isinstance(error, exceptions.ConnectionError | ConnectionError)


def describe(error: BaseException) -> str:
    """What an error means for the operator, in one line, without any value."""
    text = str(error)
    code = getattr(error, "status_code", None) or ""  # later versions of the client have it
    for beginning, words in _BEGINNINGS.items():
        if text.startswith(beginning) or code == beginning:
            return words
    # The client makes a text of an OSError; the error itself is the context.
    its = error.__context__ if type(error) is exceptions.ConnectionError else None
    for each in (error, its):
        for kind, words in _WHAT_HAPPENED:
            if isinstance(each, kind):
                return words
        if isinstance(each, OSError) and each.strerror:
            return each.strerror.lower()
    if isinstance(error, exceptions.ConnectionError):
        return "the connection is lost"
    first = code or text.partition(" ")[0]
    return f"error {first if first.isascii() and first.isupper() else 'ERR'}"


def literal(text: str) -> str:
    """A pattern of keys for this text alone."""
    return "".join(f"\\{character}" if character in "*?[]^-\\" else character for character in text)
