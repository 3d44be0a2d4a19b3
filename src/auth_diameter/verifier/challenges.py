"""Challenges: the algorithms and the qop that a user is offered (RFC 8760, 2.3)."""

from __future__ import annotations

from auth_diameter._core import Question, format_challenge
from auth_diameter.store.store import Algorithms, Offer
from auth_diameter.verifier.config import VerifierConfig
from auth_diameter.verifier.nonces import Nonces

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

    def __init__(self, config: VerifierConfig, nonces: Nonces) -> None:
        self._config = config
        self._nonces = nonces
        self._offered: dict[Offer, tuple[str, ...]] = {}
        self._always_single = config.algorithms == _MD5
        self._bind_source = config.bind_source
        self._userhash = config.userhash
        # OpenSER's module sends no hash of the body.
        self._qops = (_AUTH, config.qop)  # by whether the SIP server takes more than that module
        # OpenSER's module takes one challenge, and its telephones know MD5 best.
        self._single = (
            next(one for one in (*_MD5, "MD5-sess", *config.algorithms) if one in config.algorithms),
        )

    def needs(self, question: Question, username: str | None, realm: str) -> Algorithms | None:
        """What must be known of the user for a challenge; None: nothing.

        Args:
            username: of the credentials; None: there were none, and `Question.user_name` stands for it.
        """
        if (
            self._always_single
            or not question.is_extended
            or (question.asker is not None and question.asker.one_challenge)
        ):
            return None
        return Algorithms(question.user_name.partition("@")[0] if username is None else username, realm)

    def make(
        self, question: Question, realm: str, stale: bool, now: float, offer: Offer | None
    ) -> tuple[bytes, ...]:
        """The values of WWW-Authenticate, the most wanted first.

        Args:
            stale: whether the digest was right, and its nonce alone of no use.
            now: seconds since 1970.
            offer: the value of what it `needs`.

        Raises:
            ConfigError: the realm holds a control character.
        """
        source = question.source if self._bind_source else ""
        qop = self._qops[question.is_extended]
        made: list[bytes] = []
        for algorithm in self._single if offer is None else self._algorithms(offer):
            nonce = self._nonces.make(realm, now, algorithm, source)
            challenge = format_challenge(
                realm, nonce, algorithm=algorithm, qop=qop, stale=stale, userhash=self._userhash
            )
            made.append(challenge.encode("utf-8", "surrogateescape"))
        return tuple(made)

    def source(self, question: Question) -> str:
        """The address that a nonce is bound to; "": none."""
        return question.source if self._bind_source else ""

    def qop(self, question: Question) -> tuple[str, ...]:
        """The qop that this SIP server is offered."""
        return self._qops[question.is_extended]

    def _algorithms(self, offer: Offer) -> tuple[str, ...]:
        """The algorithms that this user can use.

        Who is unknown or can use none of those that are configured gets what most users of the realm get.
        """
        found = self._offered.get(offer)
        if found is None:
            algorithms = self._config.algorithms
            own, usual = (tuple(one for one in algorithms if BASES[one] in having) for having in offer)
            found = self._offered[offer] = own or usual or algorithms
        return found
