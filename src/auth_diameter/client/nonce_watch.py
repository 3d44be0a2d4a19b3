"""Detects several DISC that refuse each other's nonces because they have no common key.

Without a common key a login is challenged again and again: one DISC has just issued the nonce, and another
one calls it stale although nobody has used it before. After a few such refusals one warning is logged, if
they outnumber the logins that succeeded across two DISC.
"""

from __future__ import annotations

import logging

from auth_diameter._core import Challenge, ParseError, Question

log = logging.getLogger("auth_diameter.pool")

_MOST = 256  # nonces that are remembered until a client uses them
_YOUNG = 60.0  # seconds for which they are remembered; no DISC's nonces expire so early
_ENOUGH = 3  # refusals before the log line


class NonceWatch:
    """Watches which DISC issues a nonce, and whether another DISC accepts it.

    A sample of the nonces is enough. Threads may call it at the same time: that can lose a nonce, but never
    misjudges one.
    """

    def __init__(self) -> None:
        self._handed_out: dict[str, tuple[object, float]] = {}  # nonce: the DISC that issued it, and when
        self._first = 0.0  # when the oldest of them was issued
        self._refused = 0  # nonces refused by another DISC than their issuer
        self._taken = 0  # nonces accepted by another DISC than their issuer
        self._told = False

    def authorized(self, question: Question, now: float) -> None:
        """Notes that DISC accepted the credentials of `question`, and so their nonce."""
        if self._is_across(question, now) is not None:
            self._taken += 1

    def challenged(self, question: Question, challenges: tuple[bytes, ...], now: float) -> None:
        """Notes the challenges with which DISC answered `question`; it may have had credentials."""
        if self._told or question.connection is None:
            return
        parsed = list(filter(None, map(_parse, challenges)))
        if question.credentials is not None:
            issuer = self._is_across(question, now)
            if issuer is not None and any(challenge.stale for challenge in parsed):
                self._refused += 1
                if self._refused >= _ENOUGH and self._refused > self._taken:
                    self._tell(issuer, question.connection.peer)
        if len(self._handed_out) >= _MOST and now - self._first > _YOUNG:
            self._handed_out.clear()
            self._refused = self._taken = 0
        if not self._handed_out:
            self._first = now
        if len(self._handed_out) < _MOST:
            for challenge in parsed:
                self._handed_out[challenge.nonce] = (question.connection.peer, now)

    def _is_across(self, question: Question, now: float) -> object | None:
        """The DISC that issued the nonce, if another DISC now sees it for the first time; otherwise None."""
        credentials, connection = question.credentials, question.connection
        if credentials is None or connection is None:
            return None
        issuer, when = self._handed_out.pop(credentials.nonce, (None, now))
        return issuer if issuer is not connection.peer and now - when <= _YOUNG else None

    def _tell(self, one: object, other: object) -> None:
        self._told = True
        self._handed_out.clear()
        log.warning(
            "DISC %s and %s refuse each other's nonces: give all the same --nonce-key, and the same time",
            one,
            other,
        )


def _parse(challenge: bytes) -> Challenge | None:
    try:
        return Challenge.parse(challenge)
    except ParseError:
        return None
