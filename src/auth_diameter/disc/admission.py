"""Admission of connections: how many DISC accepts, and from which addresses."""

from __future__ import annotations

import asyncio
import enum
import logging
import resource
import time
from collections import Counter
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

from auth_diameter.disc.config import ListenerConfig
from auth_diameter.logs import Sparing

log = logging.getLogger("auth_diameter.disc")

_OTHER_FILES = 32  # descriptors not for connections: the database, its replacement, metrics


class ConnectionEvent(enum.Enum):
    """An event of a connection, counted in `Listener.counts`."""

    __hash__ = object.__hash__  # members are single objects; Enum's own hash is a call in Python

    ACCEPTED = enum.auto()
    # Closed before any byte was read:
    NOT_ALLOWED = enum.auto()
    TOO_MANY = enum.auto()
    TOO_MANY_FROM_SOURCE = enum.auto()
    # Closed later by DISC:
    BAD_FRAMING = enum.auto()
    TOO_SLOW = enum.auto()
    # Of standard Diameter: the certificates do not fit, or the capabilities exchange opened no connection.
    NO_TLS = enum.auto()
    NO_CAPABILITIES = enum.auto()
    TOO_MUCH_UNFINISHED = enum.auto()
    NOT_READING = enum.auto()
    # Not an event of one connection: there was no descriptor to accept the next.
    NO_DESCRIPTOR = enum.auto()


class Admission:
    """The limits on connections, and the state that the connections share.

    Args:
        config: the limits.

    Attributes:
        open: the open connections.
        most: the limit to all connections.
        most_of_source: the limit to the connections of one source.
        taken: the number of admitted connections, including those that the loop is about to start.
        sources: the number of admitted connections of each source.
        unfinished: bytes of incomplete questions, over all connections.
        unanswered: bytes of questions that are being judged, over all connections.
        is_busy: whether no connection is read from, because of these.
        counts: the number of times of each `ConnectionEvent`.
        last_closed: a future that is done when the last connection is closed; None if nobody waits for it.
    """

    def __init__(self, config: ListenerConfig) -> None:
        self.config = config
        self.open: set[Any] = set()
        self.taken = 0
        self.sources: Counter[str | bytes] = Counter()
        self.unfinished = 0
        self.unanswered = 0
        self.is_busy = False
        self.counts: Counter[ConnectionEvent] = Counter()
        self.last_closed: asyncio.Future[None] | None = None
        self._sparing = Sparing(log)
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        room = config.max_connections if files == resource.RLIM_INFINITY else max(files - _OTHER_FILES, 1)
        self.most = min(config.max_connections, room)
        self.most_of_source = min(config.max_per_source, max(self.most * 3 // 4, 1))

    def admit(self, host: str, source: str | bytes) -> bool:
        """Whether to accept another connection of this source. It is counted either way.

        Args:
            host: the address of the peer.
            source: the network of the address, to which the limit applies.
        """
        if self.config.allow and not within(host, self.config.allow):
            event, reason = ConnectionEvent.NOT_ALLOWED, "the address is in no network of --allow"
        elif self.taken >= self.most:
            event, reason = ConnectionEvent.TOO_MANY, f"the limit of {self.most} in all is reached"
        elif self.sources[source] >= self.most_of_source:
            event = ConnectionEvent.TOO_MANY_FROM_SOURCE
            reason = f"the limit of {self.most_of_source} from one source is reached"
        else:
            self.counts[ConnectionEvent.ACCEPTED] += 1
            self.taken += 1
            self.sources[source] += 1
            return True
        self.note(event, "refused a connection from %s: %s", host, reason)
        return False

    def forget(self, source: str | bytes) -> None:
        """Takes an admitted connection of this source off the count, as it is closed."""
        self.taken -= 1
        self.sources[source] -= 1
        if not self.sources[source]:
            del self.sources[source]
        if not self.taken and self.last_closed is not None:
            self.last_closed.set_result(None)

    def note(self, event: ConnectionEvent, message: str, *arguments: object) -> None:
        """Counts an event, and logs it unless the same event was logged just before."""
        self.counts[event] += 1
        self._sparing.warning(event, time.monotonic(), message, *arguments)


def within(host: str, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    """Whether an IP address is in one of the networks."""
    address = ip_address(host)
    return any(address in network for network in networks)
