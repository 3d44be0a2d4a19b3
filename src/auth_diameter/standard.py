"""The settings for standard Diameter, each with its default, its unit and its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from auth_diameter._core import ConfigError
from auth_diameter.addresses import checked_peers

ApplicationName = Literal["disc", "sip", "cx"]
APPLICATIONS: Final[tuple[ApplicationName, ...]] = ("disc", "sip", "cx")

#: TCP ports: of OpenSER's module; of standard Diameter, without and with TLS (RFC 6733, 2.1; erratum 3997).
DIALECT_PORT, STANDARD_PORT, TLS_PORT = 3000, 3868, 5868

LEAST_WATCHDOG: Final = 6.0  # seconds (RFC 3539, 3.4.1)
_MOST_NAME: Final = 255  # characters of a DiameterIdentity, which is a name of the DNS


@dataclass(frozen=True, kw_only=True)
class StandardConfig:
    """What is spoken to the back end, and with standard Diameter who we are (RFC 6733).

    Raises:
        ConfigError: a value cannot be used; the message names the field.
    """

    application: ApplicationName = "disc"
    """What is spoken: "disc", the dialect of DISC and of OpenSER's module; "sip", standard Diameter with RFC
    4740; "cx", standard Diameter with 3GPP Cx and SIP Digest, to an HSS."""

    origin_host: str | None = None
    """DiameterIdentity of this SIP server, a name with dots that no other node of the network has. Needed for
    "sip" and "cx". A peer accepts one connection of each identity, so that each process needs its own."""

    origin_realm: str | None = None
    """The Diameter realm of this SIP server; None: `origin_host` without its first label."""

    destination_realm: str | None = None
    """The Diameter realm of the servers, to which relays route; None: the realm that is asked about."""

    destination_host: str | None = None
    """DiameterIdentity of the server that must answer; None: any of the realm."""

    realms: Mapping[str, Sequence[tuple[str, int]]] | None = None
    """The servers of some realms as (host, port): ``{"a.example": [("10.0.0.1",
    3868)]}``. The others are asked for all other realms, see RFC 6733, 2.7. The limits on connections and on
    questions count for each realm. None: all servers serve all realms."""

    server_uri: str | None = None
    """SIP URI of this SIP server as a registrar (RFC 4740, 8.7: SIP-Server-URI); None: it is a proxy."""

    tls_ca: str | None = None
    """File with the certificates of the authorities that the peers' certificates come from, in PEM. With it,
    TLS comes before the first message (RFC 6733, 13.1). The peer's DiameterIdentity must be in its
    certificate, and so must the host name under which it is configured. None: no TLS."""

    tls_cert: str | None = None
    """File with the certificate of this SIP server, in PEM; most peers want one."""

    tls_key: str | None = None
    """File with its key, in PEM, without a password; None: it is in `tls_cert`."""

    watchdog: float = 30.0
    """Seconds without a message after which a peer is asked whether it is alive (RFC 3539, 3.4.1: Tw), 6 or
    more; a random part of up to 2 s comes on top or off."""

    delegation_lifetime: float = 300.0
    """Seconds for which HA1 that a server delegates is kept, of known and unknown users; less if it says so
    (Authorization-Lifetime)."""

    plain_ha1: bool = False
    """Whether HA1 that a server delegates is taken without TLS from another machine. It is as good as a
    password: whoever reads along can use it."""

    def __post_init__(self) -> None:
        if self.application not in APPLICATIONS:
            raise ConfigError(f"application: expected {', '.join(APPLICATIONS)}, not {self.application!r}")
        for name in ("origin_host", "origin_realm", "destination_realm", "destination_host"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and is_identity(value)):
                raise ConfigError(f"{name}: expected a name as in the DNS, not {value!r}")
        for name in ("server_uri", "tls_ca", "tls_cert", "tls_key"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value.isprintable() or not value):
                raise ConfigError(f"{name}: expected a text, not {value!r}")
        if not isinstance(self.watchdog, int | float) or not LEAST_WATCHDOG <= self.watchdog <= 3600:
            raise ConfigError(
                f"watchdog: expected seconds from {LEAST_WATCHDOG:g} to 3600, not {self.watchdog!r}"
            )
        lifetime = self.delegation_lifetime
        if not isinstance(lifetime, int | float) or not 0 < lifetime <= 86_400:
            raise ConfigError(f"delegation_lifetime: expected seconds, up to a day, not {lifetime!r}")
        if not isinstance(self.plain_ha1, bool):
            raise ConfigError(f"plain_ha1: expected True or False, not {self.plain_ha1!r}")
        self._check_together()
        if self.realms is not None:
            object.__setattr__(self, "realms", self._checked_realms(self.realms))

    def _checked_realms(self, realms: object) -> dict[str, tuple[tuple[str, int], ...]]:
        if not isinstance(realms, Mapping) or not realms:
            raise ConfigError("realms: expected a dict of realms, each with its servers")
        checked: dict[str, tuple[tuple[str, int], ...]] = {}
        for realm, peers in realms.items():
            if not isinstance(realm, str) or not is_identity(realm):
                raise ConfigError(f"realms: expected a name as in the DNS, not {realm!r}")
            if realm.lower() in checked:
                raise ConfigError(f"realms: {realm} is there twice")
            checked[realm.lower()] = checked_peers(f"realms: {realm}", peers)
        return checked

    def _check_together(self) -> None:
        if self.application == "disc":
            for name, field in StandardConfig.__dataclass_fields__.items():
                if getattr(self, name) != field.default:
                    raise ConfigError(f'{name}: needs application "sip" or "cx"')
            return
        if self.origin_host is None or "." not in self.origin_host:
            raise ConfigError(
                f'origin_host: application "{self.application}" needs the name of this server in Diameter, '
                f"such as sip1.example.net"
            )
        if self.origin_realm is None:
            object.__setattr__(self, "origin_realm", self.origin_host.partition(".")[2])
        if self.tls_ca is None and (self.tls_cert is not None or self.tls_key is not None):
            raise ConfigError("tls_ca: is missing: which authorities vouch for the peers?")
        if self.tls_key is not None and self.tls_cert is None:
            raise ConfigError("tls_cert: is missing for the tls_key")

    @property
    def is_standard(self) -> bool:
        """Whether standard Diameter is spoken."""
        return self.application != "disc"

    @property
    def default_port(self) -> int:
        """The TCP port of a host without one."""
        if self.application == "disc":
            return DIALECT_PORT
        return STANDARD_PORT if self.tls_ca is None else TLS_PORT


def is_identity(text: str) -> bool:
    """Whether a text can be a DiameterIdentity: a name of the DNS (RFC 6733, 4.3.1)."""
    return (
        0 < len(text) <= _MOST_NAME
        and text.isascii()
        and all(character.isalnum() or character in "-._" for character in text)
    )
