"""What DISC takes from the network."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from auth_diameter._core import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerConfig:
    """What DISC takes from the network."""

    allow: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks from which connections are taken; none: from everywhere."""

    one_challenge: tuple[IPv4Network | IPv6Network, ...] = ()
    """SIP servers that can take no more than one challenge: they get that of MD5. OpenSER's and Kamailio's
    module need not be among them: it is known by its End-to-End Identifier, which is always 0."""

    max_connections: int = 32_768
    """Connections in all; an idle one takes some 2 KiB. Fewer where the process may open fewer files."""

    max_per_source: int = 16_384
    """Connections from one IPv4 address or one IPv6 /64, and three quarters of all at most, so that nobody
    keeps others out. A process of ours has 64 at most and Kamailio's have one each, but many may be behind
    one address."""

    max_question: int = 65_536
    """Bytes that a question may have; with the whole credentials in it, one has some 600. A connection on
    which a longer one begins is closed."""

    max_question_time: float = 10.0
    """Seconds in which a question that has begun must have come; TCP repairs a lossy line in less."""

    max_unfinished: int = 64 << 20
    """Bytes of such questions over all connections; beyond, the connection that has most is closed. It is a
    thousand of the longest questions that there are."""

    max_unread: int = 1 << 20
    """Bytes of answers that a SIP server may leave unread before it is closed: some 7,000 answers."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, tuple) and not value > 0:
                raise ConfigError(f"{field.name}: expected a number above 0, not {value!r}")
