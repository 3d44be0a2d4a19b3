"""The settings of the listeners, each with its default, its unit and its reason."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from auth_diameter._core import ConfigError
from auth_diameter.standard import LEAST_WATCHDOG, is_identity


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerConfig:
    """The limits on what DISC accepts from the network.

    Raises:
        ConfigError: a value is not above 0; the message names the field.
    """

    allow: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks from which connections are accepted; empty: from any address."""

    one_challenge: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks of SIP servers that can use only one challenge; they get the one for MD5. The modules of
    OpenSER and Kamailio need not be listed: DISC recognises them by their End-to-End Identifier, which is
    always 0."""

    max_connections: int = 32_768
    """Connections in all; an idle one takes some 2 KiB. Fewer if the process may open fewer files."""

    max_per_source: int = 16_384
    """Connections from one IPv4 address or one IPv6 /64; at most three quarters of all connections, so that
    no source can lock the others out. A process with our client has at most 64 connections and a process of
    Kamailio has one, but many processes may share an address."""

    max_question: int = 65_536
    """Greatest length of a question in bytes; with credentials, one has some 600. When a longer question
    begins, the connection is closed."""

    max_question_time: float = 10.0
    """Seconds from the first byte of a question to the last; TCP repairs losses in less time."""

    max_unfinished: int = 64 << 20
    """Bytes of incomplete questions over all connections. Beyond this number the connection with the most is
    closed. The default is a thousand questions of the greatest length."""

    max_unread: int = 1 << 20
    """Bytes of answers that a SIP server may leave unread before its connection is closed: some 7,000
    answers."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, tuple) and not value > 0:
                raise ConfigError(f"{field.name}: expected a number above 0, not {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DiameterConfig:
    """The settings of standard Diameter (RFC 6733, RFC 4740).

    Raises:
        ConfigError: a name is no DiameterIdentity, or the watchdog is too quick; the message names the field.
    """

    origin_host: str
    """DiameterIdentity of this DISC, a name with dots, by which peers know it."""

    origin_realm: str
    """Realm of this DISC. Requests for it are answered, and those for the realms of the subscribers."""

    peer: tuple[str, ...] = ()
    """DiameterIdentity of a peer that may connect; without any: all, from loopback addresses alone."""

    own_nonces: tuple[str, ...] = ()
    """DiameterIdentity of a peer whose SIP servers make the nonces themselves, as OpenSIPS does. No replay
    can be recognised there."""

    tell_ha1: tuple[str, ...] = ()
    """DiameterIdentity of a peer that is told HA1, as good as a password, and verifies credentials itself: an
    S-CSCF with Cx, or a SIP server with RFC 4740, 6.3."""

    ha1_in_clear: bool = False
    """Whether HA1 is told without TLS, too, and not on loopback addresses alone."""

    watchdog: float = 30.0
    """Seconds without a message until a peer is asked whether it is there, 6 or more (RFC 3539, 3.4.1)."""

    takes_newer: bool = False
    """Whether a second connection of a peer replaces the first, instead of being refused."""

    own_addresses: bool = True
    """Whether a user may register no other address than their own: the username, and the realm as its host
    (RFC 4740, 8.8)."""

    tell_unknown: bool = False
    """Whether a user that does not exist gets an answer of its own (5032), as RFC 4740 has it. Everybody who
    can make a SIP server ask then learns who exists, so the default is the answer to a wrong password."""

    def __post_init__(self) -> None:
        for name in ("origin_host", "origin_realm"):
            _check_identity(name, getattr(self, name))
        for name in ("peer", "own_nonces", "tell_ha1"):
            for each in getattr(self, name):
                _check_identity(name, each)
        if not self.watchdog >= LEAST_WATCHDOG:
            raise ConfigError(f"watchdog: expected {LEAST_WATCHDOG:g} seconds or more, not {self.watchdog!r}")


def _check_identity(name: str, text: str) -> None:
    if not is_identity(text) or "." not in text.strip("."):
        raise ConfigError(f"{name}: expected a name with dots, such as disc.example.net, not {text!r}")
