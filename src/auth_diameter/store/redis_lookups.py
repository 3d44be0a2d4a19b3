"""How subscribers are read from Redis or Valkey: one MGET for all users and memberships of a turn.

The time of a lookup: MGET asks for as many keys of the same form, known or unknown. Of an unknown user the
server has no value to read and to send. A stranger's takes its place here, so everything behind that is the
same. What is left is the time of the server for one value: measured, 0.1 µs, and 1 µs where a million values
are not in the caches of the processor. A server-side script would even out the sending alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from redis.exceptions import NoPermissionError, ResponseError

from auth_diameter.store import redis
from auth_diameter.store.columns import Columns
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.dialect import Membership, Tables, UnusableError
from auth_diameter.store.hashes import HA1_COLUMNS
from auth_diameter.store.lookups import SECRETS, AskedUser
from auth_diameter.store.names import fold_realm
from auth_diameter.store.redis import Link
from auth_diameter.store.redis_layout import (
    CHANNEL,
    LAYOUT,
    LAYOUT_KEY,
    PREFIX,
    REALMS,
    USER_PREFIX,
    fields,
    groups_by_domain,
    groups_key,
    is_possible,
    name_of,
    split_groups,
    user_key,
)
from auth_diameter.store.sendable import sendable
from auth_diameter.store.store import Member
from auth_diameter.store.url import DatabaseName

_PAGE: Final = 1000  # keys that one SCAN looks at; the server does nothing else meanwhile, some 0.3 ms
_SAMPLE: Final = 2000  # users
_MOST_PAGES: Final = 64  # of a sample, in a database with many keys of others
_SECRETS: Final = slice(0, len(SECRETS))
_GROUPS: Final = len(SECRETS)
_PASSWORD: Final = SECRETS.index("password")
_HA1: Final = tuple(SECRETS.index(column) for column in HA1_COLUMNS.values())
#: The fields of nobody, where there are no users.
_NOBODY: Final = b"\t" * _GROUPS
#: Seconds between two calls for changes: an import changes thousands of keys in one.
_PAUSE: Final = 1.0
#: Seconds after which values are looked up again although the server has told of no change.
_LONGEST_TRUST: Final = 10.0
# What INFO says that changes with every change of the data, of any database of the server.
_CHANGES: Final = (
    "run_id",
    "rdb_changes_since_last_save",
    "rdb_last_save_time",
    "rdb_saves",
    "expired_keys",
    "evicted_keys",
    "master_link_status",
    "slave_repl_offset",
)


class Redis:
    """Redis from version 6 on, and Valkey; as `Dialect` has it."""

    errors = redis.ERRORS

    async def connect(self, name: DatabaseName, timeout: float) -> Link:
        """As `Dialect.connect`."""
        return await redis.connect(name, timeout=timeout)

    def is_open(self, connection: Link) -> bool:
        """As `Dialect.is_open`."""
        return connection.is_open

    def discard(self, connection: Link) -> None:
        """As `Dialect.discard`."""
        connection.close()

    def is_lost(self, error: BaseException) -> bool:
        """As `Dialect.is_lost`."""
        return redis.is_lost(error)

    def describe(self, error: BaseException) -> str:
        """As `Dialect.describe`."""
        return redis.describe(error)

    # ------------------------------------------------------------------ what there is

    async def tables(self, connection: Link, config: StoreConfig) -> Tables:
        """As `Dialect.tables`; there are none, so this is what the layout has."""
        layout = await connection.say("GET", LAYOUT_KEY)
        if layout not in (None, LAYOUT):
            raise UnusableError("has a layout of a later version of this program")
        secrets: dict[str, str | None] = dict.fromkeys(SECRETS)
        names = ("password",) if config.calculate_ha1 else SECRETS
        columns = Columns("username", "domain", secrets | {name: name for name in names})
        more = {"strangers": [_NOBODY], "tells": await _tells(connection)}
        return Tables(columns, True, True, {}, more, tells_all=False)

    # ------------------------------------------------------------------ lookups

    async def look_up(
        self, connection: Link, tables: Tables, users: Sequence[AskedUser], members: Sequence[Member]
    ) -> tuple[list[tuple[Any, ...]], list[Membership]]:
        """As `Dialect.look_up`."""
        keys = _keys([(user.username, user.domain) for user in users])
        keys += _keys([(member.username, member.domain) for member in members], groups=True)
        values = await connection.say("MGET", *keys)
        strangers = tables.more["strangers"]
        hashes = tables.columns.secrets["ha1"] is not None
        rows: list[tuple[Any, ...]] = []
        for number, user in enumerate(users):
            # An unknown user gets the value of a stranger, always the same one.
            stranger = strangers[hash(user.username) % len(strangers)]
            value = values[number]
            known = value is not None
            secrets = fields((stranger, value)[known])[_SECRETS]
            rows.append((number, known, *(secrets if hashes else _password_alone(secrets))))
        memberships = [
            Membership(number, member.username, member.domain, member.group)
            for number, (member, value) in enumerate(zip(members, values[len(users) :], strict=True))
            if value is not None and member.group in _groups(member, value)
        ]
        return rows, memberships

    async def domains(self, connection: Link, tables: Tables) -> list[str]:
        """As `Dialect.domains`."""
        return [_text(name) for name in await connection.say("SMEMBERS", REALMS)]

    async def sample(self, connection: Link, tables: Tables) -> list[tuple[Any, ...]]:
        """As `Dialect.sample`. The users are the strangers of the next lookups, too.

        SCAN goes through the keys in the order of their hashes, so the first are as good as any.
        """
        keys: list[bytes] = []
        cursor: bytes | int = 0
        for _ in range(_MOST_PAGES):
            cursor, found = await _scan(connection, cursor, f"{USER_PREFIX}*")
            keys += found
            if int(cursor) == 0 or len(keys) >= _SAMPLE:
                break
        if not keys:
            tables.more["strangers"][:] = [_NOBODY]
            return []
        hashes = tables.columns.secrets["ha1"] is not None
        values = await connection.say("MGET", *keys)
        rows = []
        for key, value in zip(keys, values, strict=True):
            if value is not None:
                its = fields(value)
                has = (bool(its[_PASSWORD] or (hashes and its[place])) for place in _HA1)
                rows.append((name_of(key)[1], *has))
        tables.more["strangers"][:] = [value for value in values if value is not None] or [_NOBODY]
        return rows

    async def usernames(self, connection: Link, tables: Tables, spellings: Sequence[str]) -> list[str]:
        """As `Dialect.usernames`. All keys are looked at; other commands come between."""
        found: set[str] = set()
        for domain in sendable(list({fold_realm(spelling) for spelling in spellings})):
            cursor: bytes | int = 0
            while True:
                async with asyncio.timeout(connection.timeout):  # for each part, as there may be many
                    cursor, keys = await _scan(connection, cursor, f"{redis.literal(user_key('', domain))}*")
                names = map(name_of, keys)
                found.update(username for username, its in names if its == domain)
                if int(cursor) == 0:
                    break
        return list(found)

    # ------------------------------------------------------------------ changes

    async def state(self, connection: Link, tables: Tables) -> object | None:
        """What INFO says of changes; with notices of changes, what these do not tell."""
        if tables.more["tells"]:
            # FLUSHDB is not told of, but it shows.
            size = await connection.say("DBSIZE")
            return size == 0, time.monotonic() // _LONGEST_TRUST
        try:
            info = (await connection.say("INFO")).decode("utf-8", "replace")
        except ResponseError:  # it may be forbidden
            return None
        found = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
        return [found.get(name) for name in _CHANGES] if _CHANGES[1] in found else None

    async def listen(self, connection: Link, changed: Callable[[], None]) -> bool:
        """As `Dialect.listen`: what our commands publish, and what the server itself tells."""
        try:
            await connection.say("SUBSCRIBE", CHANNEL)
            await connection.say("PSUBSCRIBE", f"__keyspace@{connection.database}__:{PREFIX}*")
        except NoPermissionError:
            return False
        connection.keep(asyncio.get_running_loop().create_task(_hear(connection, changed)))
        return True


async def _tells(connection: Link) -> bool:
    """Whether the server tells of each change of a key."""
    try:
        reply = await connection.say("CONFIG", "GET", "notify-keyspace-events")
    except ResponseError:  # it may be forbidden
        return False
    flags = reply[1] if len(reply) > 1 else b""
    return b"K" in flags and (b"A" in flags or all(flag in flags for flag in b"g$sxe"))


async def _hear(connection: Link, changed: Callable[[], None]) -> None:
    """Calls `changed` for messages, at once for the first; when the connection is lost, for the last time."""
    loop = asyncio.get_running_loop()
    quiet_until = 0.0
    try:
        while True:
            await connection.read()
            if loop.time() < quiet_until:
                await asyncio.sleep(quiet_until - loop.time())
            quiet_until = loop.time() + _PAUSE
            changed()
    except redis.ERRORS:
        connection.close()
        changed()


def _keys(names: Sequence[tuple[str, str]], *, groups: bool = False) -> list[str]:
    """The keys of users, one for each; of names that nobody can have, one that does not exist.

    Args:
        names: usernames and domains.
        groups: whether a user without a domain is any of that name.
    """
    usernames = sendable([username for username, _ in names])
    domains = sendable([domain for _, domain in names])
    return [
        (groups_key(username) if groups and not domain else user_key(username, domain))
        if is_possible(username)
        else USER_PREFIX
        for username, domain in zip(usernames, domains, strict=True)
    ]


def _groups(member: Member, value: bytes) -> tuple[str, ...]:
    """The groups of a member, in the value that `_keys` has asked for."""
    if member.domain:
        return split_groups(_text(fields(value)[_GROUPS]))
    return tuple(group for its in groups_by_domain(value).values() for group in its)


def _password_alone(secrets: Sequence[bytes]) -> list[bytes]:
    return [secret if place == _PASSWORD else b"" for place, secret in enumerate(secrets)]


async def _scan(connection: Link, cursor: bytes | int, pattern: str) -> tuple[bytes, list[bytes]]:
    following, keys = await connection.say("SCAN", cursor, "MATCH", pattern, "COUNT", _PAGE)
    return following, keys


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")
