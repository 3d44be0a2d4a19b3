"""A few connections to a database server, each for one statement at a time.

A server that fails is left alone for a moment. Then one statement tries it, while all others fail at once. So
a server that hangs costs one deadline, and one that is back is not run over.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from auth_diameter._core import ConfigError
from auth_diameter.store.dialect import Dialect, UnusableError
from auth_diameter.store.store import StoreError
from auth_diameter.store.url import DatabaseName

#: Connections at most: more make a server no faster (measured), and it serves others as well.
MOST: Final = 4

#: Seconds until a server that failed is tried again: doubled with each failure, and drawn from half to all of
#: it.
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0

_T = TypeVar("_T")


class Connections:
    """The connections of one store to its server; for one event loop.

    Args:
        dialect: the kind of server.
        name: the database.
        timeout: seconds within which `run` ends.
    """

    def __init__(self, dialect: Dialect, name: DatabaseName, timeout: float) -> None:
        self._dialect = dialect
        self._name = name
        self._timeout = timeout
        self._room = asyncio.Semaphore(MOST)
        self._free: list[Any] = []
        self._failure: str | None = None
        self._pause = _FIRST_PAUSE
        self._retry_at = 0.0
        self._trying = False
        self._closed = False
        self._errors: tuple[type[BaseException], ...] = dialect.errors
        self._failures: tuple[type[BaseException], ...] = (*dialect.errors, UnusableError, ConfigError)

    async def run(self, work: Callable[[Any], Awaitable[_T]], *, timeout: float | None = None) -> _T:
        """Does work with a connection of its own.

        If the server has closed a connection that was open before, the work is done once more with a new one.

        Args:
            work: function of the connection.
            timeout: seconds, if they are other than those of all.

        Raises:
            StoreError: the server failed, has just failed, or takes longer than the timeout.
        """
        tries = False
        if self._failure is not None:
            if self._trying or time.monotonic() < self._retry_at:
                raise StoreError(self._failure)
            tries = self._trying = True
        try:
            async with asyncio.timeout(timeout or self._timeout), self._room:
                result = await self._work(work)
        except self._failures as error:
            raise self._failed(error) from None
        finally:
            if tries:
                self._trying = False
        if self._failure is not None:
            self._failure, self._pause = None, _FIRST_PAUSE
        return result

    async def dedicate(self, work: Callable[[Any], Awaitable[bool]]) -> Any | None:
        """Opens a connection that is not one of these, and does work with it.

        Args:
            work: function of the connection; it says whether the connection is still needed.

        Returns:
            The connection, which the caller closes; None if it is not needed.

        Raises:
            StoreError: the server failed.
        """
        connection, needed = None, False
        try:
            async with asyncio.timeout(self._timeout):
                connection = await self._dialect.connect(self._name, self._timeout)
                needed = await work(connection)
        except self._failures as error:
            raise self._failed(error) from None
        finally:
            if connection is not None and not needed:
                self._discard(connection)
        return connection if needed else None

    async def _work(self, work: Callable[[Any], Awaitable[_T]]) -> _T:
        while self._free:
            connection = self._free.pop()
            if not self._dialect.is_open(connection):
                continue
            try:
                return await self._use(connection, work)
            except self._errors as error:
                if not self._dialect.is_lost(error):
                    raise
                # The server was restarted, or has closed what was idle; the other connections are lost, too.
                self._discard_free()
        return await self._use(await self._dialect.connect(self._name, self._timeout), work)

    async def _use(self, connection: Any, work: Callable[[Any], Awaitable[_T]]) -> _T:
        try:
            result = await work(connection)
        except BaseException:
            self._discard(connection)
            raise
        if self._closed:
            self._discard(connection)
        else:
            self._free.append(connection)
        return result

    def _failed(self, error: BaseException) -> StoreError:
        if isinstance(error, ConfigError):
            self._failure = str(error)
        elif isinstance(error, UnusableError):
            self._failure = f"{self._name}: {error}"
        else:
            self._failure = f"{self._name}: {self._dialect.describe(error)}"
        self._retry_at = time.monotonic() + self._pause * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        self._discard_free()
        return StoreError(self._failure)

    def _discard_free(self) -> None:
        while self._free:
            self._discard(self._free.pop())

    def _discard(self, connection: Any) -> None:
        with contextlib.suppress(*self._errors):
            self._dialect.discard(connection)

    def close(self) -> None:
        """Closes all connections; those in use when they are free."""
        self._closed = True
        self._discard_free()
