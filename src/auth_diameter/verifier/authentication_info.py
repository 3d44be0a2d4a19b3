"""The values of Authentication-Info: the server's own proof and the next nonce (RFC 7616, 3.5)."""

from __future__ import annotations

from auth_diameter._core import Answer, Credentials, Use, Verdict, digest_response
from auth_diameter.store.cache import BoundedCache
from auth_diameter.verifier.case import Case
from auth_diameter.verifier.config import VerifierConfig
from auth_diameter.verifier.nonces import Nonces

# Members of enums as module globals: in Python 3.11 the lookup on the class is slow.
_FIRST = Use.FIRST
_SUCCESS = Verdict.SUCCESS

_FOLLOWING_ROOM = 6 << 20  # bytes of the next nonces that are remembered


class AuthenticationInfo:
    """Makes the values of Authentication-Info for successes.

    Args:
        config: how often a nonce may be used.
        nonces: makes the next nonces.
    """

    def __init__(self, config: VerifierConfig, nonces: Nonces) -> None:
        self._config = config
        self._nonces = nonces
        # A retransmission must get the same next nonce.
        self._following: BoundedCache[tuple[str, int], str] = BoundedCache(_FOLLOWING_ROOM)

    def success(self, case: Case, use: Use, name: bytes | None, source: str, now: float) -> Answer:
        """A success with rspauth, and with a next nonce if the current one is soon at its end.

        Args:
            case: the credentials, with the HA1 of their digest.
            use: the use of their nonce.
            name: the username if the credentials have only its hash.
            source: the address to which the next nonce is bound; "" for none.
            now: seconds since 1970.
        """
        credentials = case.credentials
        nonce = credentials.nonce
        # The proof is a response whose A2 has no method.
        proof = digest_response(
            case.ha1,
            "",
            credentials.uri,
            nonce,
            algorithm=credentials.algorithm or "MD5",
            qop=credentials.qop,
            nc=credentials.nc,
            cnonce=credentials.cnonce,
        )
        key = (nonce, credentials.nonce_count)
        following = self._following.get(key)
        if use is _FIRST and (self._is_used_up(credentials) or self._is_half_through(nonce, now)):
            following = self._nonces.make(case.realm, now, case.algorithm, source)
            self._following.put(key, following)
        nextnonce = following.encode("ascii") if following is not None else None
        return Answer(_SUCCESS, response_auth=proof.encode("ascii"), nextnonce=nextnonce, user_name=name)

    def _is_used_up(self, credentials: Credentials) -> bool:
        return credentials.qop is None or 0 < self._config.nonce_uses <= credentials.nonce_count

    def _is_half_through(self, nonce: str, now: float) -> bool:
        return now - self._nonces.made_at(nonce) > self._nonces.lifetime / 2
