"""The rules of the Verifier once more, slow and plain, for tests to compare the compiled ones with.

It uses nothing of the package: hashes are hashlib's, a nonce is checked with hmac, and counts are sets. It
does not know guesses, retransmissions, userhash, and any other policy for the digest-uri than "host".
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass, field

HASHES = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}


@dataclass
class Asked:
    """A question with credentials, as far as the rules look at it. Without `username`: for a challenge."""

    username: str | None
    realm: str
    password: str = ""
    nonce: str = ""
    uri: str = "sip:siphub.net"
    method: str = "REGISTER"
    resource: str = "siphub.net"
    algorithm: str = "MD5"
    qop: str | None = "auth"
    nc: int = 1
    cnonce: str = "c0ffee"
    body_hash: str | None = None
    source: str = ""


def hashed(algorithm: str, *parts: str) -> str:
    return hashlib.new(HASHES[algorithm.removesuffix("-sess")], ":".join(parts).encode()).hexdigest()


def respond(asked: Asked) -> str:
    """The response that a telephone with this password sends (RFC 7616, 3.4.1 to 3.4.3)."""
    assert asked.username is not None
    a1 = hashed(asked.algorithm, asked.username, asked.realm, asked.password)
    if asked.algorithm.endswith("-sess"):
        a1 = hashed(asked.algorithm, a1, asked.nonce, asked.cnonce)
    body = (asked.body_hash or "",) if asked.qop == "auth-int" else ()
    a2 = hashed(asked.algorithm, asked.method, asked.uri, *body)
    if asked.qop is None:
        return hashed(asked.algorithm, a1, asked.nonce, a2)
    return hashed(asked.algorithm, a1, asked.nonce, f"{asked.nc:08x}", asked.cnonce, asked.qop, a2)


@dataclass
class Judge:
    """Says which outcome a question has, by its name.

    Attributes:
        passwords: the users, by name and realm.
        key: of the nonces.
        algorithms: those that are offered.
        qop: those that are offered.
        bind_source: whether a nonce is good for one source only.
        lifetime: seconds for which a nonce is good, those for clocks that differ included.
    """

    passwords: dict[tuple[str, str], str]
    key: bytes
    algorithms: tuple[str, ...]
    qop: tuple[str, ...]
    bind_source: bool = False
    lifetime: float = 310.0
    _used: dict[str, set[int]] = field(default_factory=dict)

    def nonce_state(self, asked: Asked, now: float) -> str:
        """FRESH, STALE or FOREIGN_NONCE."""
        stamp, mac = asked.nonce[:24], asked.nonce[24:]
        source = asked.source if self.bind_source else ""
        text = f"{stamp}{asked.algorithm}\0{source}\0{asked.realm.lower()}"
        if len(asked.nonce) != 56 or hmac.new(self.key, text.encode(), "sha256").hexdigest()[:32] != mac:
            return "FOREIGN_NONCE"
        age = now - int(stamp[:8], 16)
        if age < -10:
            return "FOREIGN_NONCE"
        return "FRESH" if age <= self.lifetime else "STALE"

    def outcome(self, asked: Asked, response: str, now: float) -> str:
        """The outcome for a question whose credentials have this response."""
        realms = {realm.lower(): realm for _, realm in self.passwords}
        if asked.realm.lower() not in realms:
            return "REALM_NOT_SERVED"
        if asked.username is None:
            return "CHALLENGED"
        if asked.algorithm not in self.algorithms:
            return "ALGORITHM_NOT_OFFERED"
        qop = asked.qop or "auth"
        if qop not in self.qop or (qop == "auth-int" and not asked.body_hash):
            return "QOP_NOT_OFFERED"
        if self.bind_source:
            state = self.nonce_state(asked, now)
            if state == "FOREIGN_NONCE" or (state == "STALE" and now - int(asked.nonce[:8], 16) > 3600):
                return "FOREIGN_NONCE"
        return self.outcome_of_digest(asked, response, now)

    def outcome_of_digest(self, asked: Asked, response: str, now: float) -> str:
        """The same, once it is known that there is a digest to be verified."""
        password = self.passwords.get((asked.username or "", asked.realm))
        if password is None:
            return "UNKNOWN_USER"
        # HA1 is made with the realm as the store spells it, and so is what the telephone sends.
        right = respond(Asked(**{**vars(asked), "password": password}))
        if response != right:
            return "WRONG_DIGEST"
        if not self.uri_fits(asked):
            return "OTHER_URI"
        if asked.qop is not None and asked.nc == 0:
            return "COUNT_ZERO"
        return self.use(asked, now)

    def use(self, asked: Asked, now: float) -> str:
        """Whether the nonce and its count are of use."""
        state = self.nonce_state(asked, now)
        if state != "FRESH":
            return state
        count = 1 if asked.qop is None else asked.nc
        seen = self._used.setdefault(asked.nonce, set())
        if count in seen or count <= max(seen, default=0) - 64:
            return "REPLAYED"
        seen.add(count)
        return "AUTHORIZED"

    @staticmethod
    def uri_fits(asked: Asked) -> bool:
        """Whether the host of the digest-uri is that of the request or the realm, or one has an address."""
        host, wanted = (text.rpartition("@")[2].partition(":")[0] for text in (asked.uri[4:], asked.resource))
        realm = asked.realm.lower()
        return host in (wanted, realm) or host.endswith("." + realm) or is_address(host) or is_address(wanted)


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
