"""How a connection to a peer is opened: which addresses are tried, in which order, and for how long each.

All addresses of one peer share `connect_timeout`, the lookup of its name included. Each gets an equal part of
what is left when its turn comes, so that one that does not answer leaves time for the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from auth_diameter.diameter.peer import Peer
from auth_diameter.diameter.resolver import Address, Outcome, Resolver

LOOKUP_TIMED_OUT = "looking up its name takes too long"


class Dial:
    """One attempt to connect to a peer; it begins when it is made.

    A driver looks the name up, hands the outcome in, and then tries what `attempts` yields::

        dial = Dial(peer, resolver, connect_timeout, clock)
        for address, seconds in dial.attempts(outcome):
            try: …connect…
            except OSError as error: dial.failed(error)
            else: return dial.connected(address)
        raise dial.error

    Args:
        connect_timeout: seconds for all of it.
        clock: function that gives seconds, monotonic.

    Attributes:
        error: OSError, why the last address could not be connected to.
    """

    __slots__ = ("_clock", "_peer", "_resolver", "_until", "connect_timeout", "error")

    def __init__(
        self, peer: Peer, resolver: Resolver, connect_timeout: float, clock: Callable[[], float]
    ) -> None:
        self._peer = peer
        self._resolver = resolver
        self._clock = clock
        self._until = clock() + connect_timeout
        self.connect_timeout = connect_timeout
        self.error: OSError = TimeoutError()

    def look_up(self, done: Callable[[Outcome], object]) -> None:
        """Begins to look up the name; see `Resolver.look_up` for `done`."""
        self._resolver.look_up(self._peer.host, self._peer.port, done)

    def forget_lookup(self, done: Callable[[Outcome], object]) -> None:
        """Nobody waits for it any more: it is over, or has taken `connect_timeout`."""
        self._resolver.forget(self._peer.port, done)

    def attempts(self, outcome: Outcome) -> Iterator[tuple[Address, float]]:
        """Each address to be tried, and how many seconds it has.

        When none is left, the name is to be looked up again.

        Raises:
            OSError: the lookup failed.
        """
        if isinstance(outcome, OSError):
            raise outcome
        for index, address in enumerate(outcome):
            yield address, (self._until - self._clock()) / (len(outcome) - index)
        self._resolver.tried(self._peer.host, None)

    def failed(self, error: OSError) -> None:
        """The last address could not be connected to."""
        self.error = error

    def connected(self, address: Address) -> None:
        """That address could be connected to: the next dial tries it first."""
        self._resolver.tried(self._peer.host, address)
