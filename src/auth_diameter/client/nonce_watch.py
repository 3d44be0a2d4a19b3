"""Whether several DISC take each other's nonces: without a common key a login is challenged again and again.

What one DISC has just handed out, another one calls stale, although nobody has used it before: a few such
refusals, and no more logins that went well across two DISC, are told in one line.
"""

from __future__ import annotations

import logging

from auth_diameter._core import Challenge, ParseError, Question

log = logging.getLogger("auth_diameter.pool")

_MOST = 256  # nonces that are remembered until they come back
_YOUNG = 60.0  # seconds for which they are; no DISC's nonces expire so early
_ENOUGH = 3  # refusals


class NonceWatch:
    """Sees the challenges that a client gets, and what becomes of the credentials that answer them.

    It remembers some of the nonces, which are enough, and is wrong about none where threads come in between.
    """

    def __init__(self) -> None:
        self._handed_out: dict[str, tuple[object, float]] = {}  # by which DISC, and when
        self._first = 0.0  # when the oldest of them was
        self._refused = 0  # by another DISC
        self._taken = 0
        self._told = False

    def authorized(self, question: Question, now: float) -> None:
        """DISC has found its credentials right, and takes their nonce."""
        if self._is_across(question, now) is not None:
            self._taken += 1

    def challenged(self, question: Question, challenges: tuple[bytes, ...], now: float) -> None:
        """DISC wants other credentials than these, or some where there were none."""
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
        """Which DISC has just handed out the nonce that another one now has before it for the first time."""
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
