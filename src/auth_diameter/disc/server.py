"""What DISC answers, without I/O: questions in, answers out.

==============  ===============================================  =========================
Service-Type    case                                             Result-Code
==============  ===============================================  =========================
6               no credentials, realm served                     4001 + Challenge
6               digest right, nonce fresh                        2001
6               digest right, nonce expired                      4001 + Challenge, stale
6               digest right, nonce not ours                     4001 + Challenge
6               digest wrong, user unknown, algorithm or qop     5003; 4001 + Challenge
                not offered                                      with `rechallenge`
6               realm not served                                 5003
8               member / not                                     2001 / 4001
any             store cannot be read                             5012
any             malformed                                        as RFC 6733, 7.1 has it
==============  ===============================================  =========================

Stale is decided only when the digest is right (RFC 7616, 3.3), and an unknown user costs the same
work and gets the same answer as a wrong password, so that nobody learns who exists: where an HA1 is missing
stands one that nobody has.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from auth_diameter._core import (
    AaRequest,
    ConfigError,
    Credentials,
    ParseError,
    append_answer,
    format_challenge,
    verify_many,
)
from auth_diameter.disc.nonce import Nonces, NonceState
from auth_diameter.disc.store import Store, StoreError

log = logging.getLogger("auth_diameter.disc")

_K = TypeVar("_K")
_T = TypeVar("_T")

# Result-Codes: RFC 6733, 7.1
SUCCESS = 2001
AUTHENTICATION_REJECTED = 4001
AUTHORIZATION_REJECTED = 5003
UNABLE_TO_COMPLY = 5012

_HA1 = 32  # characters
_DECOY = secrets.token_hex(_HA1 // 2)  # what an unknown user's response is compared with
_CACHE_MOST = 100_000  # users whose HA1 is kept at hand: some 30 MB
_CACHE_LONGEST = 256  # characters of a name that is kept; a host name has 253, and others are not served
_CACHE_SECONDS = 0.5  # after which a change in the database is noticed


_Judged = tuple[AaRequest, Credentials, str, str, bool]  # and an HA1, the realm, whether the user is known


class Outcome(enum.Enum):
    """What became of a question; counted in `Disc.counts`."""

    __hash__ = object.__hash__  # members are single objects; Enum's own hash is a call in Python

    CHALLENGED = enum.auto()
    AUTHORIZED = enum.auto()
    STALE = enum.auto()
    FOREIGN_NONCE = enum.auto()
    WRONG_DIGEST = enum.auto()
    UNKNOWN_USER = enum.auto()
    UNSUPPORTED = enum.auto()
    MALFORMED_CREDENTIALS = enum.auto()
    REALM_NOT_SERVED = enum.auto()
    MEMBER = enum.auto()
    NOT_MEMBER = enum.auto()
    STORE_FAILED = enum.auto()
    MALFORMED = enum.auto()


_REFUSED = (Outcome.UNKNOWN_USER, Outcome.WRONG_DIGEST)  # by whether there is such a user, in the same time


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscConfig:
    """How DISC judges."""

    nonce_lifetime: float = 300.0
    """Seconds for which a nonce may be used, as the original DISC has it."""

    rechallenge: bool = False
    """Whether wrong credentials get a new challenge (401/407) instead of 403."""


class Disc:
    """Judges questions against a store.

    :param store: open for reading; used from one thread at a time.
    """

    def __init__(self, store: Store, config: DiscConfig | None = None, nonces: Nonces | None = None) -> None:
        self._store = store
        self._config = config if config is not None else DiscConfig()
        self._nonces = nonces if nonces is not None else Nonces(lifetime=self._config.nonce_lifetime)
        self.counts: Counter[Outcome] = Counter()
        self._users: dict[tuple[str, str], tuple[bool, str]] = {}
        self._realms: dict[str, str | None] = {}
        self._version = -1
        self._check_at = 0.0
        self._broken: StoreError | None = None  # until the next look at the store
        self._reported: str | None = None  # what is wrong with it, as the log has it
        self._verbose = False

    def answer(self, questions: list[AaRequest], out: bytearray, now: float) -> None:
        """Writes an answer to each question at the end of `out`, in any order.

        Digests are verified together. :param now: seconds since 1970.
        """
        self._verbose = log.isEnabledFor(logging.DEBUG)
        self._forget_changed(now)
        judged: list[_Judged] = []
        with self._store.together() if len(questions) > 1 else contextlib.nullcontext():
            self._look_at(questions, judged, out, now)
        if judged:
            self._judge(judged, out, now)

    def _look_at(
        self,
        questions: list[AaRequest],
        judged: list[_Judged],
        out: bytearray,
        now: float,
    ) -> None:
        """Answers all but those with credentials, which go to `judged`."""
        for question in questions:
            if question.fault:
                self._write(out, question, question.fault, Outcome.MALFORMED)
                continue
            try:
                if question.is_group_check:
                    self._answer_group(question, out)
                elif not question.has_credentials:
                    self._challenge_first(question, out, now)
                else:
                    self._collect(question, judged, out)
            except StoreError:
                self._write(out, question, UNABLE_TO_COMPLY, Outcome.STORE_FAILED)

    # ------------------------------------------------------------------ credentials

    def _collect(self, question: AaRequest, judged: list[_Judged], out: bytearray) -> None:
        try:
            credentials = question.credentials()
        except ParseError:
            self._write(out, question, AUTHORIZATION_REJECTED, Outcome.MALFORMED_CREDENTIALS)
            return
        assert credentials is not None
        realm = credentials.realm or ""
        known, candidates = self._ha1_candidates(credentials.username, realm)
        judged.append((question, credentials, candidates[:_HA1], realm, known))
        if len(candidates) > _HA1:
            judged.append((question, credentials, candidates[_HA1:], realm, known))

    def _judge(self, judged: list[_Judged], out: bytearray, now: float) -> None:
        right = verify_many([(c, q.method, ha1) for q, c, ha1, _, _ in judged])
        index = 0
        while index < len(judged):
            question, credentials, _, realm, known = judged[index]
            matched = right[index]
            index += 1
            # A username with an "@" may have been hashed whole or without its domain.
            while index < len(judged) and judged[index][0] is question:
                matched |= right[index]
                index += 1
            if not matched & known:
                outcome = _REFUSED[known]
            elif (credentials.algorithm or "MD5").upper() != "MD5" or credentials.qop not in (None, "auth"):
                outcome = Outcome.UNSUPPORTED
            else:
                state = self._nonces.check(credentials.nonce or "", realm, now)
                if state is NonceState.FRESH:
                    self._write(out, question, SUCCESS, Outcome.AUTHORIZED)
                    continue
                stale = state is NonceState.EXPIRED
                outcome = Outcome.STALE if stale else Outcome.FOREIGN_NONCE
                self._challenge(question, realm, stale, out, now, outcome)
                continue
            if self._config.rechallenge:
                self._challenge(question, realm, False, out, now, outcome)
            else:
                self._write(out, question, AUTHORIZATION_REJECTED, outcome)

    # ------------------------------------------------------------------ challenges

    def _challenge_first(self, question: AaRequest, out: bytearray, now: float) -> None:
        realm = self._canonical_realm(_text(question.destination_realm))
        if realm is None:
            self._write(out, question, AUTHORIZATION_REJECTED, Outcome.REALM_NOT_SERVED)
        else:
            self._challenge(question, realm, False, out, now, Outcome.CHALLENGED)

    def _challenge(
        self, question: AaRequest, realm: str, stale: bool, out: bytearray, now: float, outcome: Outcome
    ) -> None:
        try:
            challenge = format_challenge(realm, self._nonces.make(realm, now), stale=stale)
        except ConfigError:
            # Credentials can name a realm with a control character (a quoted-pair), a challenge cannot.
            self._write(out, question, AUTHORIZATION_REJECTED, outcome)
            return
        self._count(question, outcome)
        append_answer(out, question, AUTHENTICATION_REJECTED, [challenge.encode("utf-8", "surrogateescape")])

    # ------------------------------------------------------------------ groups

    def _answer_group(self, question: AaRequest, out: bytearray) -> None:
        username, _, domain = _text(question.user_name).partition("@")
        if self._ask(self._store.is_member, username, domain, _text(question.group)):
            self._write(out, question, SUCCESS, Outcome.MEMBER)
        else:
            self._write(out, question, AUTHENTICATION_REJECTED, Outcome.NOT_MEMBER)

    def _write(self, out: bytearray, question: AaRequest, result_code: int, outcome: Outcome) -> None:
        self._count(question, outcome)
        append_answer(out, question, result_code)

    def _count(self, question: AaRequest, outcome: Outcome) -> None:
        self.counts[outcome] += 1
        if self._verbose:
            log.debug("%s: %r", outcome.name, question)

    # ------------------------------------------------------------------ the store, at hand

    def _forget_changed(self, now: float) -> None:
        if self._check_at - _CACHE_SECONDS <= now < self._check_at:
            return
        self._check_at = now + _CACHE_SECONDS
        self._broken = None
        try:
            version = self._ask(self._store.data_version)
        except StoreError:
            version = -1
        if version != self._version:
            self._version = version
            self._users.clear()
            self._realms.clear()

    def _ask(self, lookup: Callable[..., _T], *arguments: str) -> _T:
        """What `lookup` finds.

        After a failure all fail until the next look, for a locked database costs its time limit each
        time. The log has each failure once, and its end.

        :raises StoreError: the store cannot be read.
        """
        if self._broken is not None:
            raise self._broken
        try:
            found = lookup(*arguments)
        except StoreError as error:
            self._broken = error
            if str(error) != self._reported:
                self._reported = str(error)
                log.error("%s; questions get %d (unable to comply)", error, UNABLE_TO_COMPLY)
            raise
        if self._reported is not None and arguments:
            self._reported = None
            log.warning("%s: can be read again", self._store.path)
        return found

    def _ha1_candidates(self, username: str, realm: str) -> tuple[bool, str]:
        """Whether there is such a user, and what to compare its response with: as much in either case.

        That is one HA1, or two in one string, for where an object lies in memory shows in its time. So each
        user has an object of its own, which lower() makes, of a decoy as of an HA1.
        """
        key = (username, realm)
        found = self._users.get(key)
        if found is None:
            places = self._ask(self._store.ha1_places, username, realm)
            found = any(places), "".join([ha1 or _DECOY for ha1 in places]).lower()
            _keep(self._users, key, found, len(username) + len(realm))
        return found

    def _canonical_realm(self, realm: str) -> str | None:
        if realm in self._realms:
            return self._realms[realm]
        found = self._ask(self._store.canonical_realm, realm)
        _keep(self._realms, realm, found, len(realm))
        return found


def _keep(cache: dict[_K, _T], key: _K, value: _T, size: int) -> None:
    """Strangers choose the names that are asked for, so a cache is bounded in both directions."""
    if size > _CACHE_LONGEST:
        return
    if len(cache) >= _CACHE_MOST:
        cache.clear()
    cache[key] = value


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
