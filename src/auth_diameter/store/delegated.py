"""A store that is an HSS: HA1 is delegated over Cx (3GPP TS 29.228, 6.3), with the scheme ``SIP Digest``.

The HSS is asked for a user by the username in the credentials, as it is spelled: HA1 belongs to that. What
it says, known or unknown, is kept for its Authorization-Lifetime, and for
`StandardConfig.delegation_lifetime` at most. It tells at once of a new password (Push-Profile) and of a user
who is gone (Registration-Termination).

HA1 is as good as a password. So it is taken over TLS or from this machine alone, unless
`StandardConfig.plain_ha1` says otherwise.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
import secrets
from collections.abc import Collection
from functools import partial
from typing import Any, Final, NamedTuple

from auth_diameter._core import (
    ALGORITHMS,
    Answer,
    ConfigError,
    DiscError,
    Message,
    Question,
    Verdict,
    ha1_lookup,
)
from auth_diameter.addresses import parse_address
from auth_diameter.config import Config
from auth_diameter.decision import Cause
from auth_diameter.diameter.aio import AioTransport
from auth_diameter.diameter.base import Node
from auth_diameter.diameter.cx import PUSH_PROFILE, REGISTRATION_TERMINATION, done, not_known, user_of
from auth_diameter.diameter.realms import transport_of
from auth_diameter.diameter.speaking import is_private, tls_of
from auth_diameter.standard import StandardConfig
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.names import fold_realm
from auth_diameter.store.sendable import sendable
from auth_diameter.store.store import (
    Algorithms,
    Candidates,
    Changed,
    Found,
    HashedCandidates,
    HashedUser,
    Key,
    Member,
    Offer,
    Realm,
    Spelling,
    StoreBusyError,
    StoreError,
    User,
)
from auth_diameter.store.url import DatabaseName

_log = logging.getLogger("auth_diameter.disc.database")

_MOST_KEPT: Final = 200_000  # users whose end of life is known; the oldest is dropped sooner


class _Subscriber(NamedTuple):
    """What the HSS says of a user.

    Attributes:
        ha1: HA1 by the name of its algorithm; empty for a user that it does not know.
        lifetime: seconds for which that counts.
    """

    ha1: dict[str, str]
    lifetime: float

    def __repr__(self) -> str:
        return "_Subscriber(...)"


class DelegatedStore:
    """A :class:`~auth_diameter.store.store.Store` that asks an HSS; for one event loop.

    Args:
        name: the URL: ``cx://HOST[:PORT][,HOST…][/REALM]``. With a realm, no other is served.
        config: the time limit of a lookup.
        standard: who we are, and TLS.

    Attributes:
        leaving: the task that leaves the HSS on the event loop, after `close`; None: there is none.

    Raises:
        ConfigError: the URL or a setting cannot be used.
    """

    waits = True

    def __init__(
        self,
        name: DatabaseName,
        config: StoreConfig,
        standard: StandardConfig | None,
    ) -> None:
        self.name = str(name)
        self._realm, self._config = _transport_config(name, config, standard)
        self._changed: Changed = _nobody
        self._loop: asyncio.AbstractEventLoop | None = None
        self._transport: AioTransport | None = None
        self._asking: dict[tuple[str, str], asyncio.Future[_Subscriber]] = {}
        self._kept: dict[tuple[str, str], float] = {}  # users at hand, and until when
        self._ends: list[tuple[float, tuple[str, str]]] = []  # the same, a heap
        self._realms: dict[str, set[str]] = {}  # by username, of the users at hand or asked about
        self._timer: asyncio.TimerHandle | None = None
        self.leaving: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------ the interface of a store

    async def open(self) -> None:
        """Does nothing: the HSS is connected to with the first lookup, and need not run before."""

    def watch(self, changed: Changed) -> None:
        """As `Store.watch`."""
        self._changed = changed

    async def version(self) -> int:
        """As `Store.version`: what has changed is told at once instead."""
        return 0

    async def fetch(self, keys: Collection[Key]) -> Found:
        """As `Store.fetch`. A user about whom alone the HSS cannot be asked has a StoreBusyError.

        Raises:
            StoreError: no HSS can be reached, or none answers.
        """
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._transport = transport_of(self._config, self._answered, self._failed, lambda now: None)
            node = self._transport.pool.node
            assert node is not None
            self._transport.serve = partial(self._serve, node)  # also while the HSS is left
        return await self._fetch(keys)

    def close(self) -> None:
        """Leaves the HSS, which takes until `leaving` is done."""
        loop, transport = self._loop, self._transport
        self._loop = self._transport = None
        if transport is not None and loop is not None and not loop.is_closed():
            self.leaving = loop.create_task(transport.aclose())

    # ------------------------------------------------------------------ lookups

    async def _fetch(self, keys: Collection[Key]) -> Found:
        found: Found = {}
        users: dict[tuple[str, str], list[Key]] = {}
        for key in keys:
            match key:
                case Realm(name):
                    found[key] = Spelling(name if self._serves(name) else None)
                case Member():
                    found[key] = False
                case HashedUser(_, _, algorithm):
                    found[key] = HashedCandidates(False, _decoy(algorithm), "", False)
                case User(username, realm) | Algorithms(username, realm):
                    users.setdefault((username, realm), []).append(key)
        pending = [self._look_up(user) for user in users]
        if pending:
            await asyncio.wait(pending)  # others may wait for the same, so it is not cancelled
        outcomes = [one.exception() or one.result() for one in pending]
        some_known = any(isinstance(outcome, _Subscriber) for outcome in outcomes)
        for its_keys, outcome in zip(users.values(), outcomes, strict=True):
            if isinstance(outcome, _Subscriber):
                found.update((key, _value(key, outcome)) for key in its_keys)
            elif isinstance(outcome, StoreBusyError) or (some_known and isinstance(outcome, StoreError)):
                found.update(dict.fromkeys(its_keys, outcome))
            else:
                raise outcome
        return found

    def _serves(self, realm: str) -> bool:
        return _can_be(realm) if self._realm is None else fold_realm(realm) == self._realm

    def _look_up(self, user: tuple[str, str]) -> asyncio.Future[_Subscriber]:
        """Asks the HSS for a user, unless it is being asked already, or nobody can have that name."""
        pending = self._asking.get(user)
        if pending is not None:
            return pending
        pending = asyncio.get_running_loop().create_future()
        if not _can_be(*user):
            pending.set_result(_Subscriber({}, self._config.delegation_lifetime))
            return pending
        self._asking[user] = pending
        self._realms.setdefault(user[0], set()).add(user[1])
        try:
            self._ask(user, pending)
        except BaseException:  # nobody will answer
            self._asking.pop(user, None)
            self._forget_name(user)
            raise
        return pending

    def _ask(self, user: tuple[str, str], pending: asyncio.Future[_Subscriber]) -> None:
        username, realm = user
        address = username if "@" in username else f"{username}@{realm}"
        question = ha1_lookup(realm, username, f"sip:{address}")
        assert self._transport is not None
        question.callback = (user, pending, self._transport.is_down())
        try:
            self._transport.ask(question)
        except DiscError as error:
            self._end(question, StoreError(f"{self.name}: {error}"))

    def _answered(self, answers: list[tuple[Question, Answer]], now: float) -> None:
        for question, answer in answers:
            self._end(question, self._read(question, answer))

    def _failed(self, question: Question, cause: Cause, now: float) -> None:
        kind = StoreError if self._is_away(question, cause) else StoreBusyError
        why = cause.value.replace("DISC", "HSS")  # the same as a client of DISC says
        self._end(question, kind(f"{self.name}: {why}"))

    def _is_away(self, question: Question, cause: Cause) -> bool:
        """Whether a question has failed since the HSS as such cannot be asked.

        A relay may say that it cannot reach the HSS of one realm, or wait for it in vain. A peer that has
        answered is up. One that was up when it was asked is not judged by one question without an answer.
        """
        if self._transport is None:
            return True
        _, _, was_down = question.callback
        return self._transport.is_down() and (was_down or cause is not Cause.DISC_TIMEOUT)

    def _end(self, question: Question, outcome: _Subscriber | StoreError) -> None:
        user, pending, _ = question.callback
        if self._asking.get(user) is pending:  # otherwise the user was forgotten meanwhile
            del self._asking[user]
            if isinstance(outcome, _Subscriber):
                self._keep(user, outcome.lifetime)
            self._forget_name(user)
        if isinstance(outcome, _Subscriber):
            if not pending.done():
                pending.set_result(outcome)
        elif not pending.done():
            pending.set_exception(outcome)
            pending.exception()  # nobody may wait any more

    def _read(self, question: Question, answer: Answer) -> _Subscriber | StoreError:
        """What an answer says of a user. An error of one user is not one of the store."""
        most = self._config.delegation_lifetime
        if answer.fault is None and answer.verdict is Verdict.REJECTED:
            return _Subscriber({}, most)
        if answer.fault is not None or answer.delegated is None:
            why = answer.fault or f"answers {answer.code}"
            return StoreBusyError(f"{self.name}: cannot be asked for a user: {why}")
        pairs, realm, _, user_name, lifetime = answer.delegated
        if fold_realm(realm) != fold_realm(question.realm) or user_name not in (None, question.user_name):
            return StoreBusyError(f"{self.name}: has sent HA1 of another user or realm")
        if not self._config.plain_ha1 and not is_private(question.connection.transport):
            return StoreError(f"{self.name}: sends HA1 without TLS, see plain_ha1")
        return _Subscriber(dict(pairs), most if lifetime is None else min(most, lifetime))

    # ------------------------------------------------------------------ how long it counts

    def _keep(self, user: tuple[str, str], lifetime: float) -> None:
        loop = self._loop
        if loop is None:  # closed meanwhile
            return
        until = loop.time() + lifetime
        self._kept[user] = until
        heapq.heappush(self._ends, (until, user))
        if len(self._ends) > _MOST_KEPT:
            self._drop([heapq.heappop(self._ends)[1]], expired=True)
        self._set_timer(loop)

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._ends:
            self._timer = loop.call_at(self._ends[0][0], self._expire, loop)

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is None:  # closed, though the loop goes on until the HSS is left
            return
        now = loop.time()
        over = []
        while self._ends and self._ends[0][0] <= now:
            _, user = heapq.heappop(self._ends)
            if self._kept.get(user, math.inf) <= now:  # it may have been looked up again since
                over.append(user)
        self._drop(over, expired=True)
        self._set_timer(loop)

    def _drop(self, users: Collection[tuple[str, str]], *, expired: bool = False) -> None:
        """Has the cache forget users, and what is still to come of them; they are asked about the next time.

        Who waits for a question under way gets its answer. It is not kept: it may be older than the push.
        """
        keys: list[Key] = []
        for user in users:
            self._kept.pop(user, None)
            self._asking.pop(user, None)
            self._forget_name(user)
            username, realm = user
            keys.append(Algorithms(username, realm))
            keys += [User(username, realm, algorithm) for algorithm in ALGORITHMS if "-sess" not in algorithm]
        if keys:
            self._changed(keys, expired=expired)

    def _forget_name(self, user: tuple[str, str]) -> None:
        """Removes a user from those by their usernames, unless they are at hand or asked about."""
        username, realm = user
        realms = self._realms.get(username)
        if realms is not None and user not in self._kept and user not in self._asking:
            realms.discard(realm)
            if not realms:
                del self._realms[username]

    # ------------------------------------------------------------------ what the HSS asks

    def _serve(self, node: Node, message: Message) -> Message | None:
        """Answers a request of the HSS: a new password, or a user who is gone (TS 29.228, 6.2 and 6.5)."""
        if message.command not in (PUSH_PROFILE, REGISTRATION_TERMINATION):
            return None
        username = user_of(message)
        users = (
            [(username, realm) for realm in self._realms.get(username, ())] if username is not None else []
        )
        if not users:
            return not_known(node, message) if message.command == PUSH_PROFILE else done(node, message)
        _log.info("%s: %s of a user at hand, who is asked about anew", self.name, message.name)
        self._drop(users)
        return done(node, message)


def _can_be(*names: str) -> bool:
    """Whether somebody can have these names, as in the other stores."""
    return sendable([*names]) == [*names]


def _value(key: Key, subscriber: _Subscriber) -> Any:
    if isinstance(key, Algorithms):
        own = tuple(name for name in ALGORITHMS if name in subscriber.ha1) or ("MD5",)
        return Offer(own, own)
    assert isinstance(key, User)
    ha1 = subscriber.ha1.get(key.algorithm)
    if ha1 is None:
        return Candidates(False, _decoy(key.algorithm))
    return Candidates(True, ha1.lower())


def _decoy(algorithm: str) -> str:
    """An HA1 that matches no password, for a user who has none."""
    return secrets.token_hex(16 if algorithm == "MD5" else 32)


def _transport_config(
    name: DatabaseName, config: StoreConfig, standard: StandardConfig | None
) -> tuple[str | None, Config]:
    """The realm that is served, folded, or None for any; and the settings of the connections."""
    if standard is None or standard.origin_host is None:
        raise ConfigError(f"{name}: needs origin_host, the name of this server in Diameter")
    hosts, realm = cx_url(name.text)
    values = {field: getattr(standard, field) for field in StandardConfig.__dataclass_fields__}
    values.update(application="cx")
    if realm is not None and values["destination_realm"] is None:
        values["destination_realm"] = realm
    port = StandardConfig(**values).default_port
    peers = [parse_address(host, port, "cx") for host in hosts.split(",")]
    timeout = config.db_timeout
    # A second attempt to connect fits into the time limit, as with the defaults of the client.
    made = Config(peers=peers, timeout=timeout, connect_timeout=timeout / 2, max_delay=None, **values)
    tls_of(made)  # what it raises is raised now
    return None if realm is None else fold_realm(realm), made


def cx_url(text: str) -> tuple[str, str | None]:
    """The hosts and the realm in ``cx://HOST[:PORT][,HOST…][/REALM]``; None: any realm.

    Raises:
        ConfigError: it is none.
    """
    hosts, _, realm = text.removeprefix("cx://").partition("/")
    if not hosts or {"@", "?", "#", "/"} & set(hosts + realm):
        raise ConfigError("cx: expected cx://HOST[:PORT][,HOST…][/REALM]")
    return hosts, realm or None


def _nobody(keys: Collection[Key] | None = None, *, expired: bool = False) -> None:
    pass
