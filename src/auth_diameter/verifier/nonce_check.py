"""The check of a nonce and its nonce count, once the digest is right (RFC 7616, 3.3 and 5.4 to 5.5).

`Nonces` recognises a nonce and knows its age. `auth_diameter._core.NonceUses` has the window of nonce counts:
which counts have come with the nonce.
"""

from __future__ import annotations

from auth_diameter._core import Credentials, NonceUses, Use
from auth_diameter.verifier.case import Case
from auth_diameter.verifier.config import VerifierConfig
from auth_diameter.verifier.nonces import CLOCK_DRIFT, Nonces, NonceState

_PROOF = 3600.0  # seconds for which a nonce proves its source; later another host may have the address

# Members of enums as module globals: in Python 3.11 the lookup on the class is slow.
_AGAIN, _UNKNOWN = Use.AGAIN, Use.UNKNOWN
_FRESH = NonceState.FRESH


class NonceCheck:
    """Checks the nonces and the nonce counts of credentials.

    Args:
        config: how often a nonce may be used, and how many are remembered.
        nonces: recognises the nonces.
    """

    def __init__(self, config: VerifierConfig, nonces: Nonces) -> None:
        self._nonces = nonces
        self.uses = NonceUses(nonces.remembered, config.max_nonces, config.nonce_uses, CLOCK_DRIFT)

    def use(self, case: Case, count: int, source: str, now: float) -> Use:
        """Records a use of the nonce and returns its kind; `Use.UNKNOWN` for a foreign nonce.

        Args:
            case: the credentials. Whether they are a retransmission is set.
            count: their nonce count, from 1 on.
            source: the address to which the nonce must be bound; "" for none.
            now: seconds since 1970.
        """
        question, nonce = case.question, case.credentials.nonce
        realm, algorithm = case.realm, case.algorithm
        # A retransmission has the `request_id` of the original request.
        request_id = question.request_id
        mark = hash((request_id, case.credentials.response)) & 0xFFFFFFFFFFFFFFFF if request_id else 0
        use = self.uses.take(nonce, realm, algorithm, source, count, mark, now)
        if use is _UNKNOWN:
            state = self._nonces.check(nonce, realm, now, algorithm, source)
            if state is _FRESH:
                made_at = self._nonces.made_at(nonce)
                use = self.uses.add(nonce, realm, algorithm, source, count, mark, now, made_at)
            elif state is NonceState.EXPIRED:
                use = Use.EXPIRED
        case.again = use is _AGAIN
        return use

    def is_foreign(self, credentials: Credentials, algorithm: str, source: str, now: float) -> bool:
        """Whether the nonce does not prove the source, before the digest is verified.

        It was made for another source or not by us, or so long ago that another host may have the address
        now.
        """
        nonce = credentials.nonce
        state = self._nonces.check(nonce, credentials.realm or "", now, algorithm, source)
        if state is NonceState.EXPIRED:
            return now - self._nonces.made_at(nonce) > _PROOF
        return state is NonceState.FOREIGN
