"""Challenges: the algorithms and the qop to offer to a user (RFC 8760, 2.3)."""

from __future__ import annotations

from auth_diameter._core import ALGORITHMS, Question, format_challenge
from auth_diameter.store.store import Algorithms, Offer
from auth_diameter.verifier.config import VerifierConfig
from auth_diameter.verifier.nonces import Nonces
from auth_diameter.verifier.outcome import STALE, Outcome
from auth_diameter.verifier.turn import Turn

# The algorithm of the HA1 that each algorithm uses: RFC 7616, 3.4.2
BASES = {name: algorithm.base for name, algorithm in ALGORITHMS.items()}
_MD5 = ("MD5",)
_AUTH = ("auth",)


class Challenges:
    """Makes the challenges of one `VerifierConfig`.

    Args:
        config: the algorithms and the qop to offer.
        nonces: makes the nonces.
    """

    def __init__(self, config: VerifierConfig, nonces: Nonces) -> None:
        self._config = config
        self._nonces = nonces
        self._offered: dict[Offer, tuple[str, ...]] = {}
        self._always_single = config.algorithms == _MD5
        self._userhash = config.userhash
        # Indexed by `Question.is_extended`: a SIP server without extensions sends no hash of the body.
        self._qops = (_AUTH, config.qop)
        # For SIP servers that can use only one challenge: MD5 is what most telephones support.
        self._single: tuple[str, ...] = (
            next(one for one in (*_MD5, "MD5-sess", *config.algorithms) if one in config.algorithms),
        )

    def make(
        self, turn: Turn, index: int, username: str | None, realm: str, outcome: Outcome
    ) -> tuple[bytes, ...] | None:
        """Makes the values of WWW-Authenticate, the preferred challenge first.

        Args:
            turn: the turn of the question.
            index: the index of the question to challenge.
            username: the username of the credentials; None without credentials, when `Question.user_name` is
                used.
            realm: the realm of the challenges.
            outcome: why the user is challenged. It tells whether only the nonce was not accepted.

        Returns:
            The values; None if the key for the user's algorithms is missing.

        Raises:
            ConfigError: the realm contains a control character.
        """
        question = turn.questions[index]
        algorithms = self._single
        if not (self._always_single or not question.is_extended or question.one_challenge):
            user = question.user_name.partition("@")[0] if username is None else username
            offer: Offer | None = turn.value(Algorithms(user, realm))
            if offer is None:
                return None
            algorithms = self._algorithms(offer)
        source = turn.sources[index]
        qop = self._qops[question.is_extended]
        stale = outcome in STALE
        made: list[bytes] = []
        for algorithm in algorithms:
            nonce = self._nonces.make(realm, turn.now, algorithm, source)
            challenge = format_challenge(
                realm, nonce, algorithm=algorithm, qop=qop, stale=stale, userhash=self._userhash
            )
            made.append(challenge.encode("utf-8", "surrogateescape"))
        return tuple(made)

    def qop(self, question: Question) -> tuple[str, ...]:
        """The qop to offer to this SIP server."""
        return self._qops[question.is_extended]

    def _algorithms(self, offer: Offer) -> tuple[str, ...]:
        """The algorithms to offer to this user.

        An unknown user, or one who can use none of the configured algorithms, is offered those that most
        users of the realm can use.
        """
        found = self._offered.get(offer)
        if found is None:
            algorithms = self._config.algorithms
            own, usual = (tuple(one for one in algorithms if BASES[one] in having) for having in offer)
            found = self._offered[offer] = own or usual or algorithms
        return found
