"""Which connections DISC takes: how many, from where, and what became of them."""

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

_OTHER_FILES = 32  # descriptors that are not for connections: the database, a successor of it, metrics


class ConnectionEvent(enum.Enum):
    """What became of a connection; counted in `Listener.counts`."""

    __hash__ = object.__hash__  # members are single objects; Enum's own hash is a call in Python

    ACCEPTED = enum.auto()
    # Closed before a byte of it was read:
    NOT_ALLOWED = enum.auto()
    TOO_MANY = enum.auto()
    TOO_MANY_FROM_SOURCE = enum.auto()
    # Closed later, by us:
    BAD_FRAMING = enum.auto()
    TOO_SLOW = enum.auto()
    TOO_MUCH_UNFINISHED = enum.auto()
    NOT_READING = enum.auto()
    # Not of one connection: how often there was no descriptor for the next.
    NO_DESCRIPTOR = enum.auto()


class Admission:
    """Who may connect, and what the connections share.

    Attributes:
        open: the connections, whatever the listener has for one.
        most: how many connections there may be, in all and of one source.
        most_of_source: see `most`.
        taken: how many there are, with those that the loop is about to start.
        sources: how many of them each source has.
        unfinished: bytes that they keep of questions that have not come whole.
        none: ends when the last one is closed, while somebody waits for that.
    """

    def __init__(self, config: ListenerConfig) -> None:
        self.config = config
        self.open: set[Any] = set()
        self.taken = 0
        self.sources: Counter[str | int] = Counter()
        self.unfinished = 0
        self.counts: Counter[ConnectionEvent] = Counter()
        self.none: asyncio.Future[None] | None = None
        self._sparing = Sparing(log)
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        room = config.max_connections if files == resource.RLIM_INFINITY else max(files - _OTHER_FILES, 1)
        self.most = min(config.max_connections, room)
        self.most_of_source = min(config.max_per_source, max(self.most * 3 // 4, 1))

    def admit(self, host: str, source: str | int) -> bool:
        """Whether one more connection of this source is taken; it is counted either way."""
        if self.config.allow and not within(host, self.config.allow):
            event, reason = ConnectionEvent.NOT_ALLOWED, "none of the networks that --allow names"
        elif self.taken >= self.most:
            event, reason = ConnectionEvent.TOO_MANY, f"{self.most} are open"
        elif self.sources[source] >= self.most_of_source:
            event, reason = ConnectionEvent.TOO_MANY_FROM_SOURCE, f"it has {self.most_of_source}"
        else:
            self.counts[ConnectionEvent.ACCEPTED] += 1
            self.taken += 1
            self.sources[source] += 1
            return True
        self.note(event, "refused a connection from %s: %s", host, reason)
        return False

    def forget(self, source: str | int) -> None:
        """One that was admitted is closed."""
        self.taken -= 1
        self.sources[source] -= 1
        if not self.sources[source]:
            del self.sources[source]
        if not self.taken and self.none is not None:
            self.none.set_result(None)

    def note(self, event: ConnectionEvent, message: str, *arguments: object) -> None:
        """Counts it, and logs it unless it has just been."""
        self.counts[event] += 1
        self._sparing.warning(event, time.monotonic(), message, *arguments)


def within(host: str, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    """Whether an IP address is in one of the networks."""
    address = ip_address(host)
    return any(address in network for network in networks)
