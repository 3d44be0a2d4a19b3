"""A store in PostgreSQL, MariaDB, MySQL, Redis or Valkey.

One statement looks up all that a turn of the event loop lacks. While all connections are busy, what further
turns lack is gathered, and is the next statement. The tables as a whole are surveyed now and then, by a
statement that no question waits for.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from auth_diameter._core import ConfigError
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.connections import MOST, Connections
from auth_diameter.store.dialect import Dialect, Tables
from auth_diameter.store.lookups import Lookup, Warnings
from auth_diameter.store.names import fold_realm
from auth_diameter.store.pace import Pace
from auth_diameter.store.store import Changed, Found, HashedUser, Key, Member, StoreBusyError, StoreError
from auth_diameter.store.survey import ServerSurvey
from auth_diameter.store.url import DatabaseName
from auth_diameter.store.userhash import MOST_REALMS, HashedNames

_log = logging.getLogger("auth_diameter.disc.database")

#: Keys that one statement looks up at most.
_MOST_KEYS: Final = 256
#: Seconds between two surveys, and how many times as long as one takes: to find all domains is work.
_SURVEY_PAUSE: Final = 1.0
_SURVEY_SHARE: Final = 50
#: Seconds for which values count in a database with many changes; a check comes every half second.
_AGE: Final = 0.95
#: Seconds that the first survey may take, and one in the background.
_LONGEST_SURVEY: Final = 60.0
#: Seconds between two looks for changes that a database with notices has not told: triggers were off, another
#: table has taken the name, or the connection is silent.
_LOOK_PAUSE: Final = 10.0
#: Seconds until a server that has refused to tell of changes is asked again.
_LISTEN_PAUSE: Final = 10.0
#: Seconds between two lines in the log about lookups that were given up.
_BUSY_PAUSE: Final = 10.0


class _Waiting(NamedTuple):
    """A fetch that waits for a connection.

    Attributes:
        keys: what it looks up.
        found: the values, or an error.
        since: seconds of the monotonic clock.
    """

    keys: Collection[Key]
    found: asyncio.Future[Found]
    since: float


class ServerStore:
    """A :class:`~auth_diameter.store.store.Store` in a database server; for one event loop.

    Args:
        dialect: the kind of server.
        name: the database.
        config: the names of the tables and of their columns, and the time limits.
        in_background: whether the event loop goes on between fetches. If not, nothing is done meanwhile.
    """

    waits = True

    def __init__(
        self, dialect: Dialect, name: DatabaseName, config: StoreConfig, *, in_background: bool = True
    ) -> None:
        self.name = str(name)
        self._dialect = dialect
        self._url = name
        self._config = config
        self._in_background = in_background
        self._connections = Connections(dialect, name, config.db_timeout)
        self._survey: ServerSurvey | None = None
        self._hashed: dict[tuple[str, str], _Hashed] = {}
        self._survey_due = 0.0
        self._surveyed_version = -1
        self._surveying: asyncio.Task[None] | None = None
        self._warnings = Warnings()
        self._changed: Changed = _nobody
        self._listening: Any | None = None
        self._listen_at = self._look_at = 0.0
        self._version = 0
        self._state: object | None = None
        self._may_have_changed = False
        self._changed_at = 0.0
        self._busy = 0
        self._waiting: deque[_Waiting] = deque()
        self._said_busy = -_BUSY_PAUSE
        self._took = 0.0  # seconds of the last statement
        self._working: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Connects, and surveys the tables.

        Raises:
            ConfigError: the database cannot be used. The message is one line.
        """
        try:
            await self._make_survey()
        except StoreError as error:
            raise ConfigError(str(error)) from None

    def close(self) -> None:
        """Closes the connections."""
        if self._listening is not None:
            self._dialect.discard(self._listening)
            self._listening = None
        if self._surveying is not None:
            self._surveying.cancel()
        self._connections.close()

    def watch(self, changed: Changed) -> None:
        """As `Store.watch`."""
        self._changed = changed

    # ------------------------------------------------------------------ lookups

    async def fetch(self, keys: Collection[Key]) -> Found:
        """As `Store.fetch`: one statement for all keys."""
        if self._busy >= MOST:
            return await self._wait(keys)
        self._busy += 1
        try:
            return await self._look_up(keys)
        finally:
            self._busy -= 1
            if self._waiting:
                task = asyncio.get_running_loop().create_task(self._work_off())
                self._working.add(task)
                task.add_done_callback(self._working.discard)

    async def _wait(self, keys: Collection[Key]) -> Found:
        """Looks up keys once a connection is free, together with what else waits for it."""
        waiting = _Waiting(keys, asyncio.get_running_loop().create_future(), time.monotonic())
        self._waiting.append(waiting)
        try:
            async with asyncio.timeout(self._config.db_timeout):
                return await waiting.found
        except TimeoutError:
            raise self._too_busy() from None

    async def _work_off(self) -> None:
        """Looks up what has been gathered, as long as there is something."""
        self._busy += 1
        try:
            while part := self._take_waiting():
                await self._look_up_together(part)
        finally:
            self._busy -= 1

    def _take_waiting(self) -> list[_Waiting]:
        """Takes the oldest fetches for one statement; none if there are none.

        Those for which too little time is left, as the last statement took longer, are given up. Otherwise a
        database with too much to do would be asked for what nobody waits for any more.
        """
        oldest = time.monotonic() + self._took - self._config.db_timeout
        part: list[_Waiting] = []
        size = 0
        while self._waiting:
            first = self._waiting[0]
            if part and size + len(first.keys) > _MOST_KEYS:
                break
            self._waiting.popleft()
            if first.found.done():
                continue
            if first.since < oldest:
                first.found.set_exception(self._too_busy())
            else:
                part.append(first)
                size += len(first.keys)
        return part

    def _too_busy(self) -> StoreBusyError:
        now = time.monotonic()
        error = StoreBusyError(f"{self.name}: is too slow for all lookups; some are given up")
        if now >= self._said_busy + _BUSY_PAUSE:
            self._said_busy = now
            _log.warning("%s", error)
        return error

    async def _look_up_together(self, part: list[_Waiting]) -> None:
        try:
            found = await self._look_up(dict.fromkeys(key for each in part for key in each.keys))
        except BaseException as error:
            for each in part:
                if not each.found.done():
                    # A new one each: an exception that is raised in several tasks keeps all their frames.
                    its = StoreError(*error.args) if isinstance(error, StoreError) else error
                    each.found.set_exception(its)
            if not isinstance(error, Exception):
                raise
        else:
            for each in part:
                if not each.found.done():
                    each.found.set_result({key: found[key] for key in each.keys})

    async def _look_up(self, keys: Collection[Key]) -> Found:
        survey = await self._surveyed()
        if hashed := [key for key in keys if isinstance(key, HashedUser)]:
            await self._hash_usernames(survey, hashed)
        lookup = Lookup(keys, survey, self._warnings)
        members = lookup.members if survey.tables.has_groups else []
        found: Found = {}
        if lookup.users or members:
            began = time.monotonic()
            rows, memberships = await self._connections.run(
                lambda connection: self._dialect.look_up(connection, survey.tables, lookup.users, members)
            )
            self._took = time.monotonic() - began
            lookup.take(rows)
            there = {
                members[row.number]
                for row in memberships
                if _is_of(members[row.number], row.username, row.domain, row.group)
            }
            found.update((key, key in there) for key in members)
        if not survey.tables.has_groups:
            found.update(dict.fromkeys(lookup.members, False))
        found.update(lookup.found())
        return found

    async def _hash_usernames(self, survey: ServerSurvey, keys: Sequence[HashedUser]) -> None:
        """Reads and hashes all usernames of the realms of hashed users.

        If hashing takes long, a former result is used for a while.
        """
        for key in keys:
            realm = survey.canonical(key.realm) or ""
            hashed = self._hashed.pop((realm, key.algorithm), None) or _Hashed()
            self._hashed[realm, key.algorithm] = hashed  # the one used last is at the end
            if hashed.version != self._version and hashed.pace.allows():
                version, names = self._version, []
                if spellings := survey.spellings(key.realm):
                    # To read them may take long, but a server that hangs is noticed at once.
                    await self._connections.run(partial(self._dialect.state, tables=survey.tables))
                    names = await self._connections.run(
                        partial(self._usernames, survey.tables, spellings), timeout=_LONGEST_SURVEY
                    )
                started = time.thread_time()
                survey.hashed[realm, key.algorithm] = HashedNames(names, realm, key.algorithm)
                hashed.pace.done(time.thread_time() - started)
                hashed.version = version
        if not self._config.domain:
            for oldest in list(self._hashed)[:-MOST_REALMS]:
                del self._hashed[oldest]
                survey.hashed.pop(oldest, None)

    async def _usernames(self, tables: Tables, spellings: Sequence[str], connection: Any) -> list[str]:
        return await self._dialect.usernames(connection, tables, spellings)

    # ------------------------------------------------------------------ the survey

    async def _surveyed(self) -> ServerSurvey:
        if self._survey is None:
            await self._make_survey()
        assert self._survey is not None
        return self._survey

    async def _make_survey(self) -> None:
        """Surveys the tables, with a connection of its own for as long as that takes.

        Raises:
            StoreError: the database cannot be used.
        """
        version = self._version
        started = time.monotonic()
        found = await self._connections.run(self._read_survey, timeout=_LONGEST_SURVEY)
        took = time.monotonic() - started
        self._survey_due = started + took + max(_SURVEY_PAUSE, _SURVEY_SHARE * took)
        self._surveyed_version = version
        if found != self._survey:
            self._version += self._survey is not None
        if self._survey is not None:
            found.hashed = self._survey.hashed
        self._survey = found

    async def _read_survey(self, connection: Any) -> ServerSurvey:
        dialect = self._dialect
        tables = await dialect.tables(connection, self._config)
        domains = await dialect.domains(connection, tables) if self._config.domain else None
        return ServerSurvey(self.name, tables, domains, await dialect.sample(connection, tables))

    async def _survey_again(self) -> None:
        """Surveys the tables again, if they have changed since and it is time."""
        if self._version == self._surveyed_version or time.monotonic() < self._survey_due:
            return
        if not self._in_background:
            await self._make_survey()
        elif self._surveying is None or self._surveying.done():
            self._surveying = asyncio.get_running_loop().create_task(self._survey_quietly())

    async def _survey_quietly(self) -> None:
        try:
            await self._make_survey()
        except StoreError:  # the next look at the database tells it
            self._survey_due = time.monotonic() + _SURVEY_PAUSE

    # ------------------------------------------------------------------ changes

    async def version(self) -> int:
        """A number that changes when somebody may have changed the tables; as `Store.version`.

        Raises:
            StoreError: the database cannot be read.
        """
        tables = (await self._surveyed()).tables
        if self._in_background and tables.tells_changes:
            await self._listen()
        state = await self._connections.run(lambda connection: self._dialect.state(connection, tables))
        now = time.monotonic()
        if self._listening is None or not tables.tells_all or now >= self._look_at:
            self._look_at = now + _LOOK_PAUSE
            self._may_have_changed |= state is None or state != self._state
            self._state = state
        # A database with many changes is not asked for all users all the time.
        if self._may_have_changed and now >= self._changed_at + _AGE:
            self._version += 1
            self._may_have_changed, self._changed_at = False, now
        await self._survey_again()
        return self._version

    async def _listen(self) -> None:
        """Has a connection of its own told of changes."""
        if self._listening is not None and self._dialect.is_open(self._listening):
            return
        self._listening = None
        if time.monotonic() < self._listen_at:
            return
        self._listening = await self._connections.dedicate(
            lambda connection: self._dialect.listen(connection, self._told)
        )
        if self._listening is None:
            self._listen_at = time.monotonic() + _LISTEN_PAUSE
        else:
            self._version += 1  # what happened meanwhile was not told

    def _told(self) -> None:
        """Takes a change that the database has told, or the loss of the connection that tells."""
        self._version += 1
        if self._listening is not None and not self._dialect.is_open(self._listening):
            self._listening = None
        self._changed()


class _Hashed:
    """When the usernames of a realm were hashed."""

    def __init__(self) -> None:
        self.pace = Pace()
        self.version = -1


def _nobody(keys: Collection[Key] | None = None, *, expired: bool = False) -> None:
    pass


def _is_of(key: Member, username: str, domain: str, group: str) -> bool:
    """Whether a membership that the database has found is that of the key, byte for byte."""
    same_domain = not key.domain or fold_realm(key.domain) == fold_realm(domain or "")  # it may be NULL
    return username == key.username and group == key.group and same_domain
