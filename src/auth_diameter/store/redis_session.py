"""Redis or Valkey opened for the operator's commands: what is read, and what is written in one transaction.

What a command writes is kept until its end, and reads see it. Then all of it is one MULTI/EXEC. Commands that
write take turns, by ``ad:lock``: what one of them has read is still true when it writes. The lock ends by
itself, in case its holder was killed. So its holder makes sure that it still has it.

An import is many such transactions, a batch of users each. As one, it would need room for all its commands
in the memory of the server, which would answer nobody until all were done.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

import redis as client
from redis.backoff import NoBackoff
from redis.exceptions import WatchError
from redis.retry import Retry

from auth_diameter._core import ConfigError
from auth_diameter.store import redis
from auth_diameter.store.redis_layout import CHANNEL, LAYOUT, LAYOUT_KEY, LOCK, REALMS
from auth_diameter.store.store import StoreError
from auth_diameter.store.url import DatabaseName

#: Seconds within which the server must let us in, and answer a command.
_TIMEOUT: Final = 10.0
#: Seconds after which the lock of a command that was killed ends.
_LOCKED: Final = 10.0
#: Seconds for which a command waits for others, and between two looks.
_PATIENCE: Final = 15.0
_LOOK: Final = 0.02
#: Keys that one command looks at.
_PAGE: Final = 1000

_KINDS: Final[dict[str, Any]] = {
    "tcp": client.Connection,
    "tls": client.SSLConnection,
    "unix": client.UnixDomainSocketConnection,
}


class RedisSession:
    """An open database, as :class:`~auth_diameter.store.subscribers.Session`.

    Args:
        name: the database.
        writable: whether it may be changed.

    Raises:
        ConfigError: the database cannot be used.
    """

    all_or_nothing = False

    def __init__(self, name: DatabaseName, *, writable: bool) -> None:
        self.name: Final = name
        self.writable: Final = writable
        target = redis.target_of(name)
        pool = client.ConnectionPool(
            connection_class=_KINDS[target.kind],
            **target.options,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=_TIMEOUT,
            socket_timeout=_TIMEOUT,
        )
        self._server: Any = client.Redis(connection_pool=pool)
        self._values: dict[str, bytes | None] = {}  # what keys have or will have, inside `changing`
        self._written: set[str] = set()  # the keys that will be changed
        self._realms: dict[str, bool] = {}  # whether each is to be there
        self._token = ""
        with self.failing(ConfigError):
            layout = self._server.get(LAYOUT_KEY)
        if layout not in (None, LAYOUT):
            self.close()
            raise ConfigError(f"{name}: has a layout of a later version of this program")

    def close(self) -> None:
        """Closes the connections. A second call does nothing."""
        with contextlib.suppress(*redis.ERRORS):
            self._server.close()
            self._server.connection_pool.disconnect()

    # -- reading --

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values of keys; None for what is not there. Inside `changing`, a key is read once.

        Raises:
            StoreError: the database could not be read.
        """
        missing = [key for key in dict.fromkeys(keys) if key not in self._values]
        known = self._values
        if missing:
            with self.failing(StoreError):
                values = self._server.mget([key.encode() for key in missing])
            found = dict(zip(missing, values, strict=True))
            if self._token:
                known.update(found)
            else:
                known = found
        return [known[key] for key in keys]

    def scan(self, pattern: str) -> Iterator[list[bytes]]:
        """The keys that match, in parts; a key may be in several.

        Raises:
            StoreError: the database could not be read.
        """
        cursor = 0
        while True:
            with self.failing(StoreError):
                cursor, keys = self._server.scan(cursor, match=pattern, count=_PAGE)
                if self._token:  # this may take longer than a lock lasts
                    self._server.pexpire(LOCK, int(_LOCKED * 1000))
            yield keys
            if not cursor:
                return

    def realms(self) -> set[str]:
        """All realms, as they are spelled.

        Raises:
            StoreError: the database could not be read.
        """
        with self.failing(StoreError):
            found = {name.decode("utf-8", "surrogateescape") for name in self._server.smembers(REALMS)}
        for name, there in self._realms.items():
            (found.add if there else found.discard)(name)
        return found

    # -- writing, inside `changing` --

    def write(self, key: str, text: str | None) -> None:
        """Sets the value of a key; None deletes the key."""
        self._values[key] = None if text is None else text.encode("utf-8", "surrogateescape")
        self._written.add(key)

    def is_deleted(self, key: str) -> bool:
        """Whether a key will be deleted."""
        return key in self._written and self._values[key] is None

    def serve(self, realm: str, *, served: bool = True) -> None:
        """Adds a realm, or removes it."""
        self._realms[realm] = served

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """One transaction: written when the block ends, and forgotten when it raises.

        Raises:
            ConfigError: the database is open for reading, or cannot be changed.
        """
        if not self.writable:
            raise ConfigError(f"{self.name}: was opened for reading only")
        with self.failing(ConfigError):
            self._lock()
            try:
                yield
                self._write()
            except UnicodeEncodeError:
                raise ConfigError(f"{self.name}: a name that is not UTF-8 cannot be in it") from None
            except WatchError:
                raise ConfigError(f"{self.name}: took too long, and another command has written") from None
            finally:
                self._values.clear()
                self._written.clear()
                self._realms.clear()
                self._unlock()

    def _lock(self) -> None:
        token = secrets.token_hex(8)
        give_up = time.monotonic() + _PATIENCE
        while not self._server.set(LOCK, token, nx=True, px=int(_LOCKED * 1000)):
            if time.monotonic() > give_up:
                raise ConfigError(f"{self.name}: another command is writing; try again")
            time.sleep(_LOOK)
        self._token = token

    def _unlock(self) -> None:
        """Ends the lock, if `_write` has not."""
        token, self._token = self._token, ""
        if token:
            with contextlib.suppress(*redis.ERRORS), self._server.pipeline() as pipe:
                pipe.watch(LOCK)
                if pipe.get(LOCK) == token.encode():
                    pipe.multi()
                    pipe.delete(LOCK)
                    pipe.execute()

    def _write(self) -> None:
        if not self._written and not self._realms:
            return
        values = {key.encode(): self._values[key] for key in self._written}
        kept = {key: value for key, value in values.items() if value is not None}
        gone = [key for key in values if key not in kept]
        with self._server.pipeline() as pipe:
            pipe.watch(LOCK)
            if pipe.get(LOCK) != self._token.encode():
                raise WatchError
            pipe.multi()
            if kept:
                pipe.mset(kept)
            if gone:
                pipe.delete(*gone)
            for realm, served in self._realms.items():
                (pipe.sadd if served else pipe.srem)(REALMS, realm.encode("utf-8", "surrogateescape"))
            pipe.set(LAYOUT_KEY, LAYOUT)
            pipe.delete(LOCK)
            pipe.publish(CHANNEL, "")
            pipe.execute()
        self._token = ""

    @contextlib.contextmanager
    def failing(self, kind: type[ConfigError] | type[StoreError]) -> Iterator[None]:
        """A block in which the errors of the client are of this kind, in words."""
        try:
            yield
        except redis.ERRORS as error:
            raise kind(f"{self.name}: {redis.describe(error)}") from None
