"""Challenges: the algorithms and the qop that a user is offered (RFC 8760, 2.3)."""

from __future__ import annotations

from auth_diameter._core import Question, format_challenge
from auth_diameter.verifier.config import VerifierConfig
from auth_diameter.verifier.nonces import Nonces
from auth_diameter.verifier.subscribers import Subscribers

BASES = {
    "MD5": "MD5",
    "SHA-256": "SHA-256",
    "SHA-512-256": "SHA-512-256",
    "MD5-sess": "MD5",
    "SHA-256-sess": "SHA-256",
    "SHA-512-256-sess": "SHA-512-256",
}  # the algorithm of whose HA1 each makes use: RFC 7616, 3.4.2
_MD5 = ("MD5",)
_AUTH = ("auth",)


class Challenges:
    """Makes the challenges of one `VerifierConfig`."""

    def __init__(self, config: VerifierConfig, nonces: Nonces, subscribers: Subscribers) -> None:
        self._config = config
        self._nonces = nonces
        self._subscribers = subscribers
        self._bases = frozenset(BASES[algorithm] for algorithm in config.algorithms)
        # OpenSER's module takes one challenge, and its telephones know MD5 best.
        self._single = (
            next(one for one in (*_MD5, "MD5-sess", *config.algorithms) if one in config.algorithms),
        )

    def make(
        self, question: Question, username: str | None, realm: str, stale: bool, now: float
    ) -> tuple[bytes, ...]:
        """The values of WWW-Authenticate, the most wanted first.

        :param username: of the credentials; None: there were none, and `Question.user_name` stands for it.
        :param stale: whether the digest was right, and its nonce alone of no use.
        :param now: seconds since 1970.
        :raises ConfigError: the realm holds a control character; StoreError: the store cannot be read.
        """
        source = self.source(question)
        qop = self.qop(question)
        made: list[bytes] = []
        for algorithm in self._offer(question, username, realm):
            nonce = self._nonces.make(realm, now, algorithm, source)
            challenge = format_challenge(
                realm, nonce, algorithm=algorithm, qop=qop, stale=stale, userhash=self._config.userhash
            )
            made.append(challenge.encode("utf-8", "surrogateescape"))
        return tuple(made)

    def source(self, question: Question) -> str:
        """The address that a nonce is bound to; "": none."""
        return question.source if self._config.bind_source else ""

    def qop(self, question: Question) -> tuple[str, ...]:
        """The qop that this SIP server is offered: OpenSER's module sends no hash of the body."""
        qop = self._config.qop
        return qop if qop == _AUTH or question.is_extended else _AUTH

    def _offer(self, question: Question, username: str | None, realm: str) -> tuple[str, ...]:
        """The algorithms that this user of this SIP server can use.

        Who is unknown or can use none of those that are configured gets what most users of the realm get.
        """
        algorithms = self._config.algorithms
        if algorithms == _MD5:
            return _MD5
        if not question.is_extended or (question.asker is not None and question.asker.one_challenge):
            return self._single
        if username is None:
            username = question.user_name.partition("@")[0]
        having = self._subscribers.algorithms(username, realm, self._bases)
        return tuple(one for one in algorithms if BASES[one] in having) or algorithms
