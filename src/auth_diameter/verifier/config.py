"""The settings of the verifier, each with its default, its unit and its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from auth_diameter._core import ALGORITHMS, QOPS, ConfigError

UriPolicy = Literal["host", "strict", "off"]
URI_POLICIES: tuple[UriPolicy, ...] = ("host", "strict", "off")

NONCE_LIFETIME = 300.0  # seconds, as in the original DISC


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierConfig:
    """The settings for challenges, and for the credentials that are accepted.

    Raises:
        ConfigError: a value is not valid; the message names the field.
    """

    algorithms: tuple[str, ...] = ("MD5",)
    """Algorithms to offer, the preferred one first, each in a challenge of its own (RFC 8760, 2.3): MD5,
    SHA-256, SHA-512-256, and each with -sess. A user is offered only algorithms for which an HA1 is stored.
    Other algorithms are not accepted, and MD5-sess is another algorithm than MD5. The default is MD5, because
    many telephones support only MD5, or use only the first challenge."""

    qop: tuple[str, ...] = ("auth",)
    """Quality of protection to offer: auth, auth-int. Only SIP servers with our client are offered auth-int,
    since it sends the hash of the body; OpenSER's module sends none."""

    nonce_lifetime: float = NONCE_LIFETIME
    """Seconds for which a nonce may be used; the default is that of the original DISC. Ten seconds are
    added, by which the clocks of servers that share a nonce key may differ."""

    nonce_uses: int = 0
    """How many times a nonce may be used; 0: any number of times within its lifetime, with a new nonce count
    each time."""

    max_nonces: int = 131_072
    """Nonces whose counts are remembered, some 200 bytes each. Beyond this number the oldest nonces become
    stale before their lifetime ends: their users get a new challenge with stale=true."""

    bind_source: bool = False
    """Whether a nonce is accepted only from the IP address of the UAC that was challenged with it, on any
    port. The SIP server must send the address (`Config.tell_source`); OpenSER's module does not."""

    userhash: bool = False
    """Whether hashed usernames are accepted (RFC 7616, 3.4.4). To find the user, all usernames of the realm
    are hashed whenever the database has changed."""

    authentication_info: bool = False
    """Whether a success carries rspauth, the server's own proof, and nextnonce once the current one is used
    up or past half of its lifetime (RFC 7616, 3.5). With auth-int the proof is for a reply without a body, as
    the reply is not known here. OpenSER's module cannot use these values and gets none."""

    uri_policy: UriPolicy = "host"
    """How the digest-uri is compared with the Request-URI. host: its host is that of the Request-URI or the
    realm, or one of the two URIs has an IP address; strict: its user, host and port are those of the
    Request-URI; off: not at all. See `uri_fits`."""

    rechallenge: bool = False
    """Whether wrong credentials get a new challenge (401/407) instead of 403."""

    max_challenges: int = 5
    """Challenges in a row for one user and source before 403, with `rechallenge`; a success resets the
    count."""

    penalty: bool = True
    """Whether wrong credentials count as guesses, by account and by the address of the UAC, over all SIP
    servers that send the address. After too many guesses, credentials are refused without verification for
    up to a minute."""

    limit_accounts: bool = False
    """Whether guesses also count against an account if the SIP server does not send the address, as OpenSER's
    module does not. An attacker who guesses at an account then locks its owner out."""

    def __post_init__(self) -> None:
        for name, known in (("algorithms", ALGORITHMS), ("qop", QOPS)):
            value = getattr(self, name)
            if not isinstance(value, tuple) or not value:
                raise ConfigError(f"{name}: expected one at least, each once, not {value!r}")
            for item in value:
                if item not in tuple(known):  # it may be unhashable
                    raise ConfigError(f"{name}: expected {', '.join(known)}, not {item!r}")
            if len(set(value)) != len(value):
                raise ConfigError(f"{name}: expected one at least, each once, not {value!r}")
        if not isinstance(self.nonce_lifetime, int | float) or not 0 < self.nonce_lifetime <= 86400:
            raise ConfigError(
                f"nonce_lifetime: expected seconds above 0, up to a day, not {self.nonce_lifetime!r}"
            )
        for name, least in (("nonce_uses", 0), ("max_nonces", 1), ("max_challenges", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ConfigError(f"{name}: expected a whole number from {least} on, not {value!r}")
        if self.uri_policy not in URI_POLICIES:
            raise ConfigError(f"uri_policy: expected {', '.join(URI_POLICIES)}, not {self.uri_policy!r}")
