"""Detects several DISC that refuse each other's nonces because they have no common key.

Without a common key a login is challenged again and again: one DISC has just issued the nonce, and another
one calls it stale although nobody has used it before. After a few such refusals one warning is logged, if
they outnumber the logins that succeeded across two DISC.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from auth_diameter._core import NonceIssuers, Question
from auth_diameter.addresses import show

log = logging.getLogger("auth_diameter.pool")


class NonceWatch:
    """Watches which DISC issues a nonce, and whether another DISC accepts it; thread-safe.

    Args:
        peers: each DISC as (host, port), in the order of the configuration.

    Attributes:
        issuers: the nonces that are watched. The DISC in it are numbers: their places in `peers`.
    """

    def __init__(self, peers: Sequence[tuple[str, int]]) -> None:
        self.issuers = NonceIssuers()
        self._peers = peers

    def authorized(self, question: Question, now: float) -> None:
        """Notes that DISC accepted the credentials of `question`, and so their nonce."""
        credentials, connection = question.credentials, question.connection
        if credentials is not None and connection is not None:
            self.issuers.authorized(credentials.nonce, connection.peer_number, now)

    def challenged(self, question: Question, challenges: tuple[bytes, ...], now: float) -> None:
        """Notes the challenges with which DISC answered `question`; it may have had credentials."""
        credentials, connection = question.credentials, question.connection
        if connection is None:
            return
        nonce = credentials.nonce if credentials is not None else None
        self.issuers.challenged(nonce, connection.peer_number, challenges, now)
        self.tell()

    def tell(self) -> None:
        """Logs the warning, if it is due."""
        warning = self.issuers.take_warning()
        if warning is not None:
            log.warning(
                "DISC %s and %s refuse each other's nonces: give all the same --nonce-key, and the same time",
                *(show(*self._peers[number]) for number in warning),
            )
