"""How digests are judged: each setting with its default, its unit and its reason."""

from __future__ import annotations

from dataclasses import dataclass

from auth_diameter._core import ConfigError
from auth_diameter.verifier.digest_uri import URI_POLICIES, UriPolicy

ALGORITHMS = ("MD5", "SHA-256", "SHA-512-256", "MD5-sess", "SHA-256-sess", "SHA-512-256-sess")
QOPS = ("auth", "auth-int")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierConfig:
    """What is offered in challenges, and what is accepted.

    Raises:
        ConfigError: a value that cannot be used; the message names the field.
    """

    algorithms: tuple[str, ...] = ("MD5",)
    """Offered in this order, the most wanted first, each in a challenge of its own (RFC 8760, 2.3): MD5,
    SHA-256, SHA-512-256, each also with -sess. Only to users whose HA1 of that algorithm is stored; no other
    is accepted, with -sess or without. Many telephones understand the first challenge alone or MD5 alone,
    hence the default."""

    qop: tuple[str, ...] = ("auth",)
    """Quality of protection offered: auth, auth-int. ``auth-int`` goes to SIP servers with our client, which
    sends the body's hash along; OpenSER's module sends none."""

    nonce_lifetime: float = 300.0
    """Seconds for which a nonce may be used, as the original DISC has it, and ten more, by which the clocks
    of several DISC may differ."""

    nonce_uses: int = 0
    """How often a nonce may be used; 1: once; 0: within its lifetime as often as the client counts."""

    max_nonces: int = 131_072
    """Nonces whose counts are remembered, some 400 bytes each. Beyond that the oldest get a new challenge,
    stale=true, before their lifetime is over."""

    bind_source: bool = False
    """Whether a nonce is good only from the address of the UAC that it was given to, whatever its port. The
    SIP server must tell the address (`Config.tell_source`); of others, and of OpenSER's module, it is not
    known."""

    userhash: bool = False
    """Whether the username may come hashed (RFC 7616, 3.4.4). To find who it is, all users of the realm
    are hashed whenever the database has changed."""

    authentication_info: bool = False
    """Whether a success brings rspauth, the server's own proof, and a new nonce when the old one is half
    through its lifetime or used up (RFC 7616, 3.5). With auth-int it proves a reply without a body: DISC
    sees no reply. OpenSER's module could do nothing with it, and gets none."""

    uri_policy: UriPolicy = "host"
    """What the digest-uri must name; host: the host of the Request-URI or of the realm, or one of the two has
    an IP address; strict: user, host and port of the Request-URI; off: anything. See `uri_fits`."""

    rechallenge: bool = False
    """Whether wrong credentials get a new challenge (401/407) instead of 403."""

    max_challenges: int = 5
    """With `rechallenge`: so many in a row for one user and source, then 403; a success begins anew."""

    penalty: bool = True
    """Whether wrong credentials are counted as guesses, by account and by the address of the UAC, over all
    SIP servers that tell it; who has too many is refused unseen for up to a minute."""

    limit_accounts: bool = False
    """Whether guesses from SIP servers that do not tell the address, such as OpenSER's module, hold their
    account back, too. Then who guesses at an account locks its owner out."""

    def __post_init__(self) -> None:
        for name, known in (("algorithms", ALGORITHMS), ("qop", QOPS)):
            value = getattr(self, name)
            if not isinstance(value, tuple) or not value or len(set(value)) != len(value):
                raise ConfigError(f"{name}: expected one at least, each once, not {value!r}")
            for item in value:
                if item not in known:
                    raise ConfigError(f"{name}: expected {', '.join(known)}, not {item!r}")
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
