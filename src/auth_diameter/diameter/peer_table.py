"""The peers and the connections to them, without I/O: which one may be asked, and which is opened next.

This is the Peer Table of RFC 6733, 2.6. It steps the machines of `connection` and `peer`:

* A new connection begins OKAY, or REOPEN where its peer is in doubt.
* A connection that breaks with questions on it makes its siblings SUSPECT. While another peer is fine, they
  and new connections to the same peer prove little for 50 ms: a process that dies closes one after the other.
* A peer in doubt rests. After that a single question finds out, once a second: on a connection that is open
  (RETRY), or on a new one. Where another peer is fine, the question waits 250 ms at most, and goes there.

A watchdog (RFC 3539, 3.4.1) is one more timer of `PeerTable.tend`; the states that it leads to exist already.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from auth_diameter.config import Config
from auth_diameter.decision import Cause
from auth_diameter.diameter.connection import (
    BROKEN,
    DOWN,
    OKAY,
    REOPEN,
    SUSPECT,
    TRANSITIONS,
    Connection,
    Event,
)
from auth_diameter.diameter.events import Close, PoolEvent
from auth_diameter.diameter.peer import Change, Peer, PeerEvent
from auth_diameter.diameter.stats import PeerStats

_PATIENCE = 0.25  # seconds that a question to a peer in doubt waits, where another can be asked
_SUSPECT = 0.05  # seconds that others are asked rather than a peer that has just broken a connection
_BRIEF = 1.0  # seconds: a peer that hangs up sooner, though nothing was asked, does not want us


class PeerTable:
    """All peers of one client, and its connections.

    Args:
        max_in_flight: questions under way on one connection.
        jitter: function that gives a number from 0 to 1, for the rest of peers that failed.
        events: list to which the events for the driver are appended.

    Attributes:
        connections: those that are open, list of `Connection`; it stays the same list.
        ready: those that take questions; it stays the same list. Its order is the pool's.
        due: when `tend` has something to do, seconds.
        spares_wanted: whether each peer without a connection is to get one.
    """

    __slots__ = (
        "_events",
        "_jitter",
        "_max_connections",
        "_max_in_flight",
        "_max_message",
        "_several",
        "_timeout",
        "connections",
        "due",
        "peers",
        "ready",
        "spares_wanted",
    )

    def __init__(
        self, config: Config, max_in_flight: int, jitter: Callable[[], float], events: list[PoolEvent]
    ) -> None:
        self.peers = [Peer(host, port) for host, port in config.addresses()]
        self.connections: list[Connection] = []
        self.ready: list[Connection] = []
        self.due = math.inf
        self.spares_wanted = False
        self._events = events
        self._jitter = jitter
        self._several = len(self.peers) > 1
        self._timeout = config.timeout
        self._max_connections = config.max_connections
        self._max_in_flight = max_in_flight
        self._max_message = config.max_diameter_message

    # ------------------------------------------------------------------ the machines

    def step(self, connection: Connection, event: Event) -> None:
        """Follows the table of `connection`. One that is of no use from now on is to be closed."""
        was = connection.state
        state = TRANSITIONS.get((was, event), was)
        if state is was:
            return
        connection.state = state
        if not connection.is_live and was is not BROKEN and event is not Event.CLOSED:
            self._events.append(Close(connection))
        self.refresh(connection)

    def refresh(self, connection: Connection) -> None:
        """Recomputes whether it stands in `ready`, after its state or its room has changed."""
        if connection.takes_questions:
            if connection not in self.ready:
                self.ready.insert(0, connection)
        elif connection in self.ready:
            self.ready.remove(connection)

    def be_due(self, when: float) -> None:
        """Sees to it that `tend` is called at that time or before."""
        self.due = min(self.due, when)

    def _open_breaker(self, peer: Peer, event: PeerEvent, now: float, why: str = "") -> None:
        """Of a peer that failed; it may be open already, for another reason."""
        changed = peer.step(event)
        if event is PeerEvent.NOTHING_CAME:
            for connection in self.connections:
                if connection.peer is peer:
                    self.step(connection, Event.PEER_SILENT)
        self.be_due(peer.rest_until)
        if changed:
            self._tell(peer, why, peer.rest_until - now)

    def _tell(self, peer: Peer, why: str = "", rest: float = 0.0) -> None:
        self._events.append(Change(address=repr(peer), state=peer.state, why=why, rest=rest))

    # ------------------------------------------------------------------ what there is

    def usable(self, peer: Peer) -> list[Connection]:
        """The connections to `peer` that are not to be closed."""
        return [c for c in self.connections if c.peer is peer and c.is_live]

    @property
    def opening(self) -> int:
        """How many connections are on their way."""
        return sum(peer.opening for peer in self.peers)

    def _has_place(self) -> bool:
        return len(self.connections) + self.opening < self._max_connections

    def _is_suspect(self, peer: Peer, now: float) -> bool:
        """Whether it has just broken a connection, and another peer can be asked meanwhile."""
        return now < peer.suspect_until and any(
            not other.in_doubt and other.suspect_until <= now for other in self.peers
        )

    def can_accept(self, waiting: int, now: float) -> bool:
        """Whether one more question may wait for a connection.

        Args:
            waiting: how many do already.
        """
        return any(self._can_accept(peer, waiting, now) for peer in self.peers)

    def worth_waiting(self, waiting: int, now: float) -> bool:
        """Whether the questions that wait for a connection may still get one.

        Of a peer in doubt, only the attempt that finds out counts: the others began before it failed.

        Args:
            waiting: how many there are.
        """
        return any(
            not peer.in_doubt or peer.probing or self._can_accept(peer, waiting, now) for peer in self.peers
        )

    def _can_accept(self, peer: Peer, waiting: int, now: float) -> bool:
        if peer.in_doubt:
            if peer.opening:
                return not waiting  # a single question waits for the outcome
            if peer.rest_until > now:
                return False
            return self._has_place() or any(c.under_way < self._max_in_flight for c in self.usable(peer))
        connections = self.usable(peer)
        if connections:
            # Another connection to a peer that does not read what it has would fill up as well.
            return not all(connection.paused for connection in connections)
        return peer.opening > 0 or self._has_place()

    def why_not(self) -> Cause:
        """Why no peer takes a question."""
        if not all(peer.in_doubt for peer in self.peers):
            return Cause.OVERLOADED
        silent = any(peer.state == "silent" for peer in self.peers)
        return Cause.DISC_TIMEOUT if silent else Cause.DISC_UNREACHABLE

    # ------------------------------------------------------------------ opening and closing

    def claim_connect(self, waiting: int, now: float) -> Peer | None:
        """Chooses the peer to open a connection to, and counts that as on its way from here on.

        Args:
            waiting: how many questions wait for a connection.

        Returns:
            None: no connection is needed, or none may be opened.
        """
        needed = waiting > self.opening * self._max_in_flight
        if not (needed or self.spares_wanted) or not self._has_place():
            return None
        best = None
        least = (True, 0)
        for peer in self.peers:
            if peer.rest_until > now or self._is_suspect(peer, now):
                continue
            connections = self.usable(peer)
            count = len(connections) + peer.opening
            if peer.in_doubt:
                # A single connection finds out.
                if peer.opening or any(c.under_way < self._max_in_flight for c in connections):
                    continue
            elif count and not (needed and self._can_accept(peer, waiting, now)):
                continue
            # The one with the fewest, so that several peers share the work.
            rank = (peer.in_doubt, count)
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

    def opened(self, peer: Peer, transport: Any, now: float) -> Connection:
        """Adds a connection that was on its way."""
        peer.opening -= 1
        peer.probing = False
        # One that was on its way when others broke may be as dead as they are.
        state = DOWN if self._is_suspect(peer, now) else REOPEN if peer.in_doubt else OKAY
        connection = Connection(peer, transport, now, self._max_message, state)
        self.connections.append(connection)
        if state is DOWN:
            self._events.append(Close(connection))
        self.refresh(connection)
        return connection

    def failed(self, peer: Peer, now: float, why: str) -> None:
        """Judges a peer to which a connection could not be opened."""
        # Of many attempts at a time the first tells all; of one that finds out, its own.
        if peer.rest_until > now and not peer.probing:
            return
        peer.back_off(now, self._jitter())
        self.be_due(peer.rest_until)
        if not self.usable(peer):
            self._open_breaker(peer, PeerEvent.UNREACHABLE, now, why)

    def remove(self, connection: Connection) -> None:
        """Forgets a connection that is closed."""
        self.connections.remove(connection)
        self.step(connection, Event.CLOSED)

    def lost(self, connection: Connection, questions: int, now: float) -> None:
        """Judges a peer that broke a connection.

        Args:
            connection: one that was removed.
            questions: how many were under way on it.
        """
        peer = connection.peer
        if questions:
            if self._several:
                # A process that dies closes one after the other; what one of them took is not given to
                # the next of them, since the second try is the last.
                peer.suspect_until = now + _SUSPECT
            for sibling in self.usable(peer):
                self.step(sibling, Event.SIBLING_LOST)
                self._close_if_idle(sibling)
        if connection.heard_at is None and (questions or now - connection.opened_at < _BRIEF):
            peer.hung_up(now, self._jitter())
        if peer.rest_until > now and not self.usable(peer):
            self._open_breaker(peer, PeerEvent.UNREACHABLE, now, "it hangs up")

    def _close_if_idle(self, connection: Connection) -> None:
        if not connection.under_way:
            self.step(connection, Event.IDLE)

    # ------------------------------------------------------------------ questions and answers

    def asked(self, connection: Connection, now: float) -> None:
        """Notes that a REOPEN connection carries the question that finds out."""
        self.step(connection, Event.ASKED)
        connection.peer.probed(now)
        connection.probe_until = now + _PATIENCE
        self.be_due(connection.probe_until if self._several else connection.peer.rest_until)

    def heard(self, connection: Connection, now: float) -> None:
        """Judges a connection, and its peer, by bytes that came.

        Not needed where it is OKAY, its peer up, and every answer whole.
        """
        peer = connection.peer
        answers = connection.answers
        if connection.state is not SUSPECT or now >= peer.suspect_until:
            self.step(connection, Event.HEARD)
        if peer.step(PeerEvent.HEARD):
            peer.recovered()
            for other in self.connections:
                if other.peer is peer:
                    other.probe_until = None
                    self.step(other, Event.PEER_UP)
            self._tell(peer)
        if answers.fault is not None:
            self.step(connection, Event.FAULT)
        elif not answers.pending:
            self.step(connection, Event.WHOLE)
        elif not connection.under_way:
            self.step(connection, Event.ORPHANED)
        self._close_if_idle(connection)

    def expired(self, connection: Connection, now: float) -> None:
        """Judges a connection, and its peer, by a question on it that had no answer in time."""
        asked_at = connection.asked_at
        if connection.state is SUSPECT:
            self.step(connection, Event.EXPIRED)
        elif connection.state is DOWN:
            return
        elif asked_at is not None and now - asked_at >= self._timeout / 2:
            self.step(connection, Event.NOTHING_CAME)
            self._judge_silence(connection.peer, asked_at, now)
        elif connection.answers.pending:
            # That says nothing about the peer, to which a question that had to wait left too little time.
            self.step(connection, Event.ORPHANED)
        self._close_if_idle(connection)

    def _judge_silence(self, peer: Peer, asked_at: float, now: float) -> None:
        """Of a peer that was asked at that time, and left the question unanswered."""
        heard = (c.heard_at for c in self.connections if c.peer is peer and c.heard_at is not None)
        if max(heard, default=-math.inf) > asked_at:
            return
        if not peer.in_doubt:
            peer.left_unanswered(now)
            others = any(other is not peer and not other.in_doubt for other in self.peers)
            more = any(c.under_way for c in self.connections if c.peer is peer)
            if not (others or more):
                peer.rest_until = now  # the question may be to blame itself: the next one is asked at once
            self._open_breaker(peer, PeerEvent.NOTHING_CAME, now)
        elif peer.step(PeerEvent.NOTHING_CAME):
            self._tell(peer)

    # ------------------------------------------------------------------ time

    def tend(self, now: float) -> None:
        """Sees to the peers in doubt, at or after `due`: once a second a question finds out."""
        self.due = math.inf
        self.spares_wanted = True
        for connection in self.connections:
            until = self.patience(connection)
            if until is not None and until <= now:
                # Its question is asked elsewhere; it has told what there was to be told.
                self.step(connection, Event.PATIENCE_OVER)
            elif until is not None:
                self.be_due(until)
            self._close_if_idle(connection)  # its last answer may have come on another connection
        self.retry(now)
        for peer in self.peers:
            if peer.in_doubt and peer.rest_until > now:
                self.be_due(peer.rest_until)
            elif self._is_suspect(peer, now):
                self.be_due(peer.suspect_until)  # it may have no connection left, and is to get one then

    def retry(self, now: float) -> None:
        """Lets a question through to each peer in doubt that has rested and has a connection with room."""
        for peer in self.peers:
            if peer.in_doubt and peer.rest_until <= now:
                for connection in self.usable(peer):
                    if not connection.takes_questions and connection.under_way < self._max_in_flight:
                        peer.probed(now)
                        self.step(connection, Event.RETRY)
                        break

    def patience(self, connection: Connection) -> float | None:
        """Until when the question waits that finds out about a peer in doubt; then it is asked elsewhere.

        Returns:
            None: there is no such question on it, or nobody else to be asked.
        """
        if connection.probe_until is None or all(peer.in_doubt for peer in self.peers):
            return None
        return connection.probe_until

    def stats(self) -> tuple[PeerStats, ...]:
        """Each peer as it is now, in the order of the configuration."""
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
