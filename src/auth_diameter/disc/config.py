"""The settings of the listener, each with its default, its unit and its reason."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from auth_diameter._core import ConfigError


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
