"""Detects several DISC that refuse each other's nonces because they have no common key.

Without a common key a login is challenged again and again: one DISC has just issued the nonce, and another
one calls it stale although nobody has used it before. After a few such refusals one warning is logged, if
they outnumber the logins that succeeded across two DISC.
"""

from __future__ import annotations

import itertools
import logging

from auth_diameter._core import NonceIssuers, Question

log = logging.getLogger("auth_diameter.pool")


class NonceWatch:
    """Watches which DISC issues a nonce, and whether another DISC accepts it; thread-safe.

    Attributes:
        issuers: the nonces that are watched. The DISC in it are numbers, see `number_of`.
    """

    def __init__(self) -> None:
        self.issuers = NonceIssuers()
        self._numbers: dict[object, int] = {}
        self._next = itertools.count()

    def number_of(self, peer: object) -> int:
        """The number of a DISC, the same each time."""
        number = self._numbers.get(peer)
        return self._numbers.setdefault(peer, next(self._next)) if number is None else number

    def authorized(self, question: Question, now: float) -> None:
        """Notes that DISC accepted the credentials of `question`, and so their nonce."""
        credentials, connection = question.credentials, question.connection
        if credentials is not None and connection is not None:
            self.issuers.authorized(credentials.nonce, self.number_of(connection.peer), now)

    def challenged(self, question: Question, challenges: tuple[bytes, ...], now: float) -> None:
        """Notes the challenges with which DISC answered `question`; it may have had credentials."""
        credentials, connection = question.credentials, question.connection
        if connection is None:
            return
        nonce = credentials.nonce if credentials is not None else None
        self.issuers.challenged(nonce, self.number_of(connection.peer), challenges, now)
        self.tell()

    def tell(self) -> None:
        """Logs the warning, if it is due."""
        warning = self.issuers.take_warning()
        if warning is not None:
            peers = {number: peer for peer, number in self._numbers.items()}
            log.warning(
                "DISC %s and %s refuse each other's nonces: give all the same --nonce-key, and the same time",
                *(peers[number] for number in warning),
            )
