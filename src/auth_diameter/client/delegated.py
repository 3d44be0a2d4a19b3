"""HA1 that RFC 4740 servers delegate with their challenges (6.3), and the credentials that it verifies here.

::

    MAA with a challenge and HA1 ──► keep: is it of this realm and user? ──► Delegations, by nonce
    credentials ──► outcome: did their nonce come with HA1? ─┬─► no: the server is asked
                                                             └─► yes: let in, refused, or the nonce is used up

The server is asked as well if the HA1 may be that of another user, and about a REGISTER for another address
than the one that was challenged. The nonce is the server's and counts as ours. When it is used up, the server
is asked for another challenge, which gets stale=true, since the digest was right.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from auth_diameter._core import (
    CLOCK_DRIFT,
    Answer,
    DelegatedJudge,
    Delegations,
    Judge,
    Nonces,
    NonceUses,
    Question,
    Users,
)
from auth_diameter.config import Config
from auth_diameter.diameter.speaking import is_private
from auth_diameter.logs import Sparing
from auth_diameter.verifier.config import VerifierConfig

_log = logging.getLogger("auth_diameter.pool")

_ROOM = 64 << 20  # bytes: some 200,000 nonces
_MOST_USED = 131_072  # nonces whose counts are remembered


class Delegated:
    """What servers have delegated to one client; thread-safe.

    Args:
        config: the settings.

    Attributes:
        delegations: HA1 by nonce, for compiled code.
        compiled: judges by them; its `outcome` is for one thread at a time.
    """

    def __init__(self, config: Config) -> None:
        self._lifetime = config.delegation_lifetime
        self._plain = config.plain_ha1
        self.delegations = Delegations(_ROOM)
        lifetime = self._lifetime + CLOCK_DRIFT
        rules = VerifierConfig(qop=("auth", "auth-int"), penalty=False)
        uses = NonceUses(lifetime, _MOST_USED, 0, CLOCK_DRIFT)
        judge = Judge(Users(), Nonces(), uses, None, rules, 0, 0)
        judge.delegations = self.delegations
        self.compiled = DelegatedJudge(judge, tells_registrations=config.server_uri is not None)
        self._lock = threading.Lock()
        self._sparing = Sparing(_log)

    def after_fork(self) -> None:
        """Keeps in the child what was delegated to the parent."""
        self._lock = threading.Lock()

    def outcome(self, question: Question, now: float) -> int:
        """The value of the Outcome of a question; 0: the server is to be asked.

        Args:
            question: the question, with credentials.
            now: seconds, monotonic.
        """
        with self._lock:
            return self.compiled.outcome(question, now)

    def fits(self, question: Question, answer: Answer) -> bool:
        """Whether the HA1 in an answer is of the realm that was asked about, and of the user."""
        assert answer.delegated is not None
        _, realm, _, user_name, _ = answer.delegated
        credentials = question.credentials
        if realm != question.realm:
            return False
        return credentials is None or user_name in (None, credentials.username)

    def keep(self, question: Question, answer: Answer, now: float) -> None:
        """Keeps the HA1 that came with a challenge, unless others could have read it on the way.

        Args:
            question: the question.
            answer: the answer, which `fits`.
            now: seconds, monotonic.
        """
        assert answer.delegated is not None
        pairs, realm, nonce, user_name, lifetime = answer.delegated
        if nonce is None:
            return
        if not self._plain and not is_private(_transport_of(question)):
            self._sparing.warning(
                "plain HA1", time.monotonic(), "HA1 came without TLS, and is not used: see plain_ha1"
            )
            return
        names = (user_name, "") if user_name is not None else _names(question)
        address = self.compiled.address_of(question)
        until = now + min(self._lifetime, self._lifetime if lifetime is None else lifetime)
        for algorithm, ha1 in pairs:
            self.delegations.put(nonce, *names, realm, algorithm, ha1.lower(), now, until, address)


def _names(question: Question) -> tuple[str, str]:
    """The usernames of the user that a MAR without User-Name was about: without and with the domain."""
    credentials = question.credentials
    if credentials is not None:
        return credentials.username, ""
    request = question.request
    address = question.user_name if request.method == "REGISTER" else question.resource
    user, _, _ = address.partition("@")
    return user, address


def _transport_of(question: Question) -> Any:
    return None if question.connection is None else question.connection.transport
