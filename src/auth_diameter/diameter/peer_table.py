"""The peers and the connections to them, without I/O: which may be asked, and which is opened next.

This is the Peer Table of RFC 6733, 2.6. It drives the state machines of `connection` and `peer`:

* A new connection begins OKAY, or REOPEN if its peer is in doubt.
* A connection that breaks with questions on it makes the other connections to that peer SUSPECT. While
  another peer can be asked, they and new connections to the peer prove little for 50 ms: a process that dies
  closes its connections one after another.
* A peer in doubt rests. After that one probe a second is sent to it, on an open connection (RETRY) or on a
  new one. If another peer can be asked, the probe waits 250 ms at most, and fails over to that peer.

`neighbours` adds the base protocol of standard Diameter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

from auth_diameter._core import InFlight
from auth_diameter.config import Config
from auth_diameter.decision import Cause
from auth_diameter.diameter.connection import (
    BROKEN,
    DOWN,
    OKAY,
    PROBING,
    REOPEN,
    SUSPECT,
    TRANSITIONS,
    Connection,
    Event,
    State,
)
from auth_diameter.diameter.events import Close, PoolEvent
from auth_diameter.diameter.peer import Change, Peer, PeerEvent, PeerState
from auth_diameter.diameter.stats import PeerStats

PATIENCE = 0.25  # seconds that a probe waits if another peer can be asked
_SUSPECT = 0.05  # seconds that a peer is avoided after it broke a connection
_BRIEF = 1.0  # seconds; a peer that closes an unused connection sooner does not accept us


class PeerTable:
    """All peers of one client, and its connections.

    Args:
        config: the settings.
        in_flight: is told which connections take questions.
        jitter: function that returns a number from 0 to 1, for the rest of peers that failed.
        events: list to which the events for the driver are appended.

    Attributes:
        peers: all peers, in the order of the configuration.
        connections: the open connections; always the same list.
        due: when `tend` has something to do; seconds, monotonic.
        spares_wanted: whether each peer without a connection is to get one.
        stopped: whether no connection is to be opened any more.
        events: those that the driver has not drained yet; always the same list.
        max_in_flight: limit on the questions under way on one connection.
    """

    __slots__ = (
        "_in_flight",
        "_jitter",
        "_max_connections",
        "_max_message",
        "_several",
        "_timeout",
        "connections",
        "due",
        "events",
        "max_in_flight",
        "peers",
        "spares_wanted",
        "stopped",
    )

    def __init__(
        self, config: Config, in_flight: InFlight, jitter: Callable[[], float], events: list[PoolEvent]
    ) -> None:
        self.peers = [Peer(host, port, number) for number, (host, port) in enumerate(config.addresses())]
        self.connections: list[Connection] = []
        self.due = math.inf
        self.spares_wanted = False
        self.stopped = False
        self.events = events
        self._jitter = jitter
        self._several = len(self.peers) > 1
        self._timeout = config.timeout
        self._max_connections = config.max_connections
        self._in_flight = in_flight
        self.max_in_flight = in_flight.most
        self._max_message = config.max_diameter_message

    # ------------------------------------------------------------------ the state machines

    def step(self, connection: Connection, event: Event) -> None:
        """Makes the transition of `connection`; asks the driver to close it if it is no longer live."""
        was = connection.state
        state = TRANSITIONS.get((was, event), was)
        if state is was:
            return
        connection.state = state
        if state in (BROKEN, DOWN) and was is not BROKEN and event is not Event.CLOSED:
            self.events.append(Close(connection))
        self.refresh(connection)

    def refresh(self, connection: Connection) -> None:
        """Notes whether `connection` takes any question, after its state or its room has changed."""
        connection.is_calm = connection.state is OKAY
        self._in_flight.set_ready(connection, connection.takes_any_question)

    def be_due(self, when: float) -> None:
        """Makes sure that `tend` is called at `when` or before."""
        self.due = min(self.due, when)

    def _open_breaker(self, peer: Peer, event: PeerEvent, now: float, why: str = "") -> None:
        """Opens the breaker of a peer that failed; the breaker may be open already, for another reason."""
        changed = peer.step(event)
        if event is PeerEvent.NOTHING_CAME:
            self._silence(peer)
        self.be_due(peer.rest_until)
        if changed:
            self._tell(peer, why, peer.rest_until - now)

    def _silence(self, peer: Peer) -> None:
        """Takes a peer that does not answer out of use."""
        for connection in self.connections:
            if connection.peer is peer:
                self.step(connection, Event.PEER_SILENT)

    def _tell(self, peer: Peer, why: str = "", rest: float = 0.0) -> None:
        self.events.append(Change(address=repr(peer), state=peer.state, why=why, rest=rest))

    # ------------------------------------------------------------------ what can be asked

    def for_any_question(self) -> Sequence[Peer]:
        """The peers that any question may go to."""
        return self.peers

    def usable(self, peer: Peer) -> list[Connection]:
        """The live connections to `peer`."""
        return [c for c in self.connections if c.peer is peer and c.is_live]

    @property
    def opening(self) -> int:
        """Number of connections that are being opened."""
        return sum(peer.opening for peer in self.peers)

    def _has_place(self) -> bool:
        return len(self.connections) + self.opening < self._max_connections

    def _is_suspect(self, peer: Peer, now: float) -> bool:
        """Whether the peer has just broken a connection, and another peer can be asked meanwhile."""
        return now < peer.suspect_until and any(
            not other.in_doubt and other.suspect_until <= now for other in self.for_any_question()
        )

    def can_accept(self, waiting: int, now: float) -> bool:
        """Whether one more question may wait for a connection.

        Args:
            waiting: number of questions that wait already.
            now: seconds, monotonic.
        """
        return any(self._can_accept(peer, waiting, now) for peer in self.for_any_question())

    def worth_waiting(self, waiting: int, now: float) -> bool:
        """Whether the questions that wait for a connection may still get one.

        For a peer in doubt only the connection that probes it counts; other connections were begun before it
        failed.

        Args:
            waiting: number of questions that wait.
            now: seconds, monotonic.
        """
        return any(
            not peer.in_doubt or peer.probing or self._can_accept(peer, waiting, now)
            for peer in self.for_any_question()
        )

    def _can_accept(self, peer: Peer, waiting: int, now: float) -> bool:
        if peer.in_doubt:
            if peer.opening:
                return not waiting  # one question waits, as the probe
            if peer.rest_until > now:
                return False
            return self._has_place() or any(c.under_way < self.max_in_flight for c in self.usable(peer))
        connections = self.usable(peer)
        if connections:
            # If the peer does not read, a further connection would fill up as well.
            return not all(connection.paused for connection in connections)
        return peer.opening > 0 or self._has_place()

    def why_not(self) -> Cause:
        """The Cause why no peer takes a question."""
        peers = self.for_any_question()
        if not all(peer.in_doubt for peer in peers):
            return Cause.OVERLOADED
        silent = any(peer.state == "silent" for peer in peers)
        return Cause.DISC_TIMEOUT if silent else Cause.DISC_UNREACHABLE

    # ------------------------------------------------------------------ opening and closing

    def claim_connect(self, waiting: int, now: float) -> Peer | None:
        """Chooses the peer to open a connection to, and counts the connection as opening from here on.

        Args:
            waiting: number of questions that wait for a connection.
            now: seconds, monotonic.

        Returns:
            The peer; None: no connection is needed, or none may be opened.
        """
        needed = waiting > self.opening * self.max_in_flight
        if self.stopped or not (needed or self.spares_wanted) or not self._has_place():
            return None
        best = None
        least = (True, 0)
        for peer in self.for_any_question():
            if peer.rest_until > now:
                self.be_due(peer.rest_until)
                continue
            if self._is_suspect(peer, now):
                self.be_due(peer.suspect_until)
                continue
            if not self._may_connect(peer, waiting, now, needed=needed):
                continue
            # The peer with the fewest connections, so that the peers share the load.
            rank = (peer.in_doubt, len(self.usable(peer)) + peer.opening)
            if best is None or rank < least:
                best, least = peer, rank
        if best is None:
            self.spares_wanted = False
            return None
        best.opening += 1
        if best.in_doubt:
            best.probing = True
            best.probed(now)
        return best

    def _may_connect(self, peer: Peer, waiting: int, now: float, *, needed: bool) -> bool:
        """Whether a peer may get a connection, or a further one."""
        connections = self.usable(peer)
        if peer.in_doubt:
            # A single connection carries the probe.
            return not peer.opening and all(c.under_way >= self.max_in_flight for c in connections)
        if not connections and not peer.opening:
            return True
        return needed and self._can_accept(peer, waiting, now)

    def opened(
        self, peer: Peer, transport: Any, now: float, address: str = "", names: Collection[str] | None = None
    ) -> Connection:
        """Adds a connection that was being opened; the arguments are those of `Pool.opened`."""
        peer.opening -= 1
        peer.probing = False
        # A connection that was being opened when others broke may be as dead as they are.
        state = DOWN if self._is_suspect(peer, now) else REOPEN if peer.in_doubt else OKAY
        connection = self._add(peer, transport, now, state)
        if state is DOWN:
            self.events.append(Close(connection))
        return connection

    def _add(self, peer: Peer, transport: Any, now: float, state: State) -> Connection:
        connection = Connection(peer, transport, now, self._max_message, state)
        connection.peer_number = peer.number
        self.connections.append(connection)
        self.refresh(connection)
        return connection

    def failed(self, peer: Peer, now: float, why: str) -> None:
        """Judges a peer to which a connection could not be opened."""
        # Of several failures at a time only the first counts; the failure of a probe always does.
        if peer.rest_until > now and not peer.probing:
            return
        peer.back_off(now, self._jitter())
        self.be_due(peer.rest_until)
        if not self.usable(peer):
            self._open_breaker(peer, PeerEvent.UNREACHABLE, now, why)

    def remove(self, connection: Connection, now: float) -> None:
        """Removes a connection that is closed."""
        self.connections.remove(connection)
        self.step(connection, Event.CLOSED)

    def lost(self, connection: Connection, questions: int, now: float) -> None:
        """Judges a peer that broke a connection.

        Args:
            connection: the connection, already removed.
            questions: number of questions that were under way on it.
            now: seconds, monotonic.
        """
        peer = connection.peer
        if questions:
            if self._several:
                # A process that dies closes its connections one after another. The questions of this one
                # must not go to the next of them, since their second attempt is the last.
                peer.suspect_until = now + _SUSPECT
            for sibling in self.usable(peer):
                self.step(sibling, Event.SIBLING_LOST)
                self._close_if_idle(sibling)
        if connection.heard_at is None and (questions or now - connection.opened_at < _BRIEF):
            peer.hung_up(now, self._jitter())
        if peer.rest_until > now and not self.usable(peer):
            self._open_breaker(peer, PeerEvent.UNREACHABLE, now, connection.why or "it hangs up")

    def _close_if_idle(self, connection: Connection) -> None:
        if not connection.under_way:
            self.step(connection, Event.IDLE)

    # ------------------------------------------------------------------ questions and answers

    def written(self, connection: Connection, now: float) -> None:
        """Notes that a question was written to a connection.

        The call can be spared when the connection is OKAY and has no more than `room` bytes to be sent.
        """
        if connection.unsent > connection.room:
            connection.full = True
            self.refresh(connection)
        if connection.state is REOPEN:
            self._probe(connection, now)

    def _probe(self, connection: Connection, now: float) -> None:
        """Notes that a REOPEN connection carries the probe."""
        self.step(connection, Event.ASKED)
        connection.peer.probed(now)
        connection.probe_until = now + PATIENCE
        self.be_due(connection.probe_until if self._several else connection.peer.rest_until)

    def heard(self, connection: Connection, now: float) -> None:
        """Judges a connection and its peer by bytes that came.

        The call can be spared when the connection is OKAY, its peer is up, and no part of an answer is left.
        """
        peer = connection.peer
        if connection.state is not SUSPECT or now >= peer.suspect_until:
            self.step(connection, Event.HEARD)
        if peer.step(PeerEvent.HEARD):
            self._recover(peer)
            self._tell(peer)
        self.read(connection)

    def _recover(self, peer: Peer) -> None:
        """Closes the breaker of a peer."""
        peer.recovered()
        for connection in self.connections:
            if connection.peer is peer:
                connection.probe_until = None
                self.step(connection, Event.PEER_UP)

    def learn(self, peer: Peer, state: PeerState, rest_until: float) -> None:
        """Takes over what another process has found out about a peer; there is no event of the change.

        Args:
            peer: the peer.
            state: its state there: up, down or silent.
            rest_until: when the next probe may be sent, unless it is up.
        """
        if state == "up":
            if peer.in_doubt and peer.step(PeerEvent.HEARD):
                self._recover(peer)
            return
        peer.step(PeerEvent.UNREACHABLE if state == "down" else PeerEvent.NOTHING_CAME)
        peer.rest_until = rest_until
        if state == "silent":
            self._silence(peer)
        self.be_due(rest_until)

    def read(self, connection: Connection) -> None:
        """Judges a connection by what it has left of the bytes that came."""
        if connection.fault is not None:
            self.step(connection, Event.FAULT)
        elif not self._in_flight.holds_part(connection):
            self.step(connection, Event.WHOLE)
        elif not connection.under_way:
            self.step(connection, Event.ORPHANED)
        self._close_if_idle(connection)

    def expired(self, connection: Connection, now: float) -> None:
        """Judges a connection and its peer by a question on it that expired."""
        asked_at = connection.asked_at
        if connection.state is SUSPECT:
            self.step(connection, Event.EXPIRED)
        elif connection.state is DOWN:
            return
        elif asked_at is not None and now - asked_at >= self._timeout / 2:
            self.step(connection, Event.NOTHING_CAME)
            self._judge_silence(connection.peer, asked_at, now)
        elif self._in_flight.holds_part(connection):
            # The peer is not judged: a question that had waited may have left it too little time.
            self.step(connection, Event.ORPHANED)
        self._close_if_idle(connection)

    def _judge_silence(self, peer: Peer, asked_at: float, now: float) -> None:
        """Judges a peer by a connection on which no byte came after the question of `asked_at`."""
        heard = (c.heard_at for c in self.connections if c.peer is peer and c.heard_at is not None)
        if max(heard, default=-math.inf) > asked_at:
            return
        if not peer.in_doubt:
            peer.left_unanswered(now)
            others = any(other is not peer and not other.in_doubt for other in self.for_any_question())
            more = any(c.under_way for c in self.connections if c.peer is peer)
            if not (others or more):
                peer.rest_until = now  # the question itself may be at fault: the next one probes at once
            self._open_breaker(peer, PeerEvent.NOTHING_CAME, now)
        elif peer.step(PeerEvent.NOTHING_CAME):
            self._tell(peer)

    # ------------------------------------------------------------------ time

    def tend(self, now: float) -> None:
        """Probes the peers that have rested, and ends probes that have waited too long.

        To be called at or after `due`.
        """
        self.due = math.inf
        self.spares_wanted = True
        for connection in self.connections:
            until = self.patience(connection)
            if until is not None and until <= now:
                # The probe fails over to another peer; this connection has proved nothing.
                self.give_up_probe(connection, now)
            elif until is not None:
                self.be_due(until)
            self._close_if_idle(connection)  # the last answer may have come on another connection
        self.retry(now)
        for peer in self.peers:
            if peer.in_doubt and peer.rest_until > now:
                self.be_due(peer.rest_until)
            elif self._is_suspect(peer, now):
                self.be_due(peer.suspect_until)  # then it gets a connection, if it has none left

    def retry(self, now: float) -> None:
        """Lets a probe through to each peer in doubt that has rested and has a connection with room."""
        for peer in self.peers:
            if peer.in_doubt and peer.rest_until <= now:
                for connection in self.usable(peer):
                    if connection.state is PROBING and connection.under_way < self.max_in_flight:
                        peer.probed(now)
                        self.step(connection, Event.RETRY)
                        break

    def give_up_probe(self, connection: Connection, now: float) -> None:
        """Ends the wait for the answer to the probe on a connection."""
        self.step(connection, Event.PATIENCE_OVER)

    @property
    def wakes_at(self) -> float | None:
        """When `tend` must be called even if nobody asks anything; None: never."""
        return None

    def patience(self, connection: Connection) -> float | None:
        """Until when the probe on a connection waits before it fails over to another peer.

        Returns:
            None: there is no probe on the connection, or no other peer to ask.
        """
        if connection.probe_until is None or connection.is_reserved:
            return None
        if all(peer.in_doubt for peer in self.for_any_question()):
            return None
        return connection.probe_until

    def stats(self) -> tuple[PeerStats, ...]:
        """The statistics of each peer, in the order of the configuration."""
        return tuple(self._stats_of(peer) for peer in self.peers)

    def _stats_of(self, peer: Peer) -> PeerStats:
        connections = [connection for connection in self.connections if connection.peer is peer]
        return PeerStats(
            address=repr(peer),
            state=peer.state,
            connections=len(connections),
            opening=peer.opening,
            under_way=sum(connection.under_way for connection in connections),
        )
