"""One attempt to connect to a peer: which addresses are tried, in which order, and for how long each.

All addresses of a peer share `connect_timeout`, and so does the lookup of its name. Each address gets an
equal share of the time left when its turn comes, so that an address that does not answer leaves time for the
next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from auth_diameter.diameter.peer import Peer
from auth_diameter.diameter.resolver import Address, Outcome, Resolver

LOOKUP_TIMED_OUT = "looking up its name takes too long"


class Dial:
    """One attempt to connect to a peer; its time starts when the object is made.

    The driver looks the name up, and then tries each address that `attempts` yields::

        dial = Dial(peer, resolver, connect_timeout, clock)
        for address, seconds in dial.attempts(outcome):
            try: …connect…
            except OSError as error: dial.failed(error)
            else: return dial.connected(address)
        raise dial.error

    Args:
        peer: the peer to connect to.
        resolver: the names of this client.
        clock: function that returns seconds, monotonic.

    Attributes:
        connect_timeout: seconds for the whole attempt.
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
        """Starts the lookup of the name; see `Resolver.look_up` for `done`."""
        self._resolver.look_up(self._peer.host, self._peer.port, done)

    def forget_lookup(self, done: Callable[[Outcome], object]) -> None:
        """Ends the wait for the lookup; to be called when it is over, or has timed out."""
        self._resolver.forget(self._peer.port, done)

    def attempts(self, outcome: Outcome) -> Iterator[tuple[Address, float]]:
        """Yields each address to try, and the seconds it has.

        When all addresses have failed, the next dial looks the name up again.

        Args:
            outcome: the addresses, or the error of the lookup.

        Raises:
            OSError: the lookup failed.
        """
        if isinstance(outcome, OSError):
            raise outcome
        for index, address in enumerate(outcome):
            yield address, (self._until - self._clock()) / (len(outcome) - index)
        self._resolver.tried(self._peer.host, None)

    def failed(self, error: OSError) -> None:
        """Notes why the last address could not be connected to."""
        self.error = error

    def connected(self, address: Address) -> None:
        """Notes the address that was connected to; the next dial tries it first."""
        self._resolver.tried(self._peer.host, address)
