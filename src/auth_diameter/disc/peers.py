"""The peers of a DISC that speaks standard Diameter: who may connect, and the state machine of each.

A peer is known while it has a connection. DISC opens none itself. What it remembers of an S-CSCF that is gone
is in `registrations`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Protocol

from auth_diameter._core import Message
from auth_diameter.diameter.base import UNKNOWN_PEER, Identifiers, Node
from auth_diameter.diameter.capabilities import Capabilities, Refusal
from auth_diameter.diameter.certificates import names_in
from auth_diameter.diameter.cx import CX, VENDOR
from auth_diameter.diameter.peer_machine import Cause as DisconnectCause
from auth_diameter.diameter.peer_machine import (
    Disconnect,
    FailBack,
    FailOver,
    Leaving,
    Opened,
    PeerMachine,
    Transmit,
)
from auth_diameter.diameter.peer_states import Side
from auth_diameter.diameter.sip import SIP
from auth_diameter.diameter.watchdog import WatchdogState
from auth_diameter.disc.config import DiameterConfig
from auth_diameter.logs import Sparing, one_word

log = logging.getLogger("auth_diameter.disc")

_MOST_PRODUCT = 60  # characters of a Product-Name that the log shows
_SIDE = Side.RESPONDER  # all connections are opened by the peers


class Connection(Protocol):
    """The connection of a peer.

    Attributes:
        host: the address of the peer.
        local: our own address on the connection.
        certificate: of the peer, as `ssl.SSLSocket.getpeercert` returns it; None: the connection has no TLS.
        peer: the peer once its capabilities are known; None: not yet, or no longer.
    """

    host: str
    local: str
    certificate: Mapping[str, Any] | None
    peer: Peer | None

    def transmit(self, message: Message) -> None:
        """Sends a message."""

    def end(self) -> None:
        """Closes the connection behind what is to be sent on it."""


class Peer:
    """A peer that has a connection.

    Args:
        name: its DiameterIdentity.
        machine: its state machine.
        connection: its connection.

    Attributes:
        timer: calls when the machine has something to do; None: not so far.
    """

    __slots__ = ("connection", "machine", "name", "timer")

    def __init__(self, name: str, machine: PeerMachine, connection: Connection) -> None:
        self.name = name
        self.machine = machine
        self.connection = connection
        self.timer: asyncio.TimerHandle | None = None


class Peers:
    """The peers of one DISC; for one event loop.

    Args:
        config: the settings.

    Attributes:
        config: the same.
        answers: the number of messages answered here, by command and Result-Code; MAR are not among them.
        cx_node: this DISC, as peers that are told HA1 know it.
    """

    def __init__(self, config: DiameterConfig) -> None:
        self.config = config
        state_id, identifiers = int(time.time()), Identifiers()
        # Two views of one node: not every peer may know of Cx.
        self._node, self.cx_node = (
            Node(
                host=config.origin_host,
                realm=config.origin_realm,
                applications=(SIP,),
                vendor_applications=vendor_applications,
                state_id=state_id,
                identifiers=identifiers,
            )
            for vendor_applications in ((), ((VENDOR, CX),))
        )
        self.answers: Counter[tuple[str, int]] = Counter()
        self._allowed = frozenset(name.lower() for name in config.peer)
        self._own_nonces = frozenset(name.lower() for name in config.own_nonces)
        self._tell_ha1 = frozenset(name.lower() for name in config.tell_ha1)
        self._peers: dict[str, Peer] = {}
        self._sparing = Sparing(log)
        self._loop = asyncio.get_running_loop()

    @property
    def states(self) -> Counter[WatchdogState]:
        """The number of peers that have a connection, by the state of their watchdog (RFC 3539, 3.4.1)."""
        # A thread that exports metrics may ask: what the loop changes meanwhile is not iterated.
        return Counter(peer.machine.watchdog.state for peer in list(self._peers.values()))

    def makes_nonces(self, name: str) -> bool:
        """Whether the SIP servers of that peer make their nonces themselves."""
        return name in self._own_nonces

    def tells_ha1(self, name: str, connection: Connection) -> bool:
        """Whether a peer is told HA1 on a connection."""
        is_safe = connection.certificate is not None or ip_address(connection.host).is_loopback
        return name in self._tell_ha1 and (is_safe or self.config.ha1_in_clear)

    def that_is_told_ha1(self, name: str) -> Peer | None:
        """The peer of that name, if messages may be sent to it, HA1 among them; None: it is away."""
        peer = self._peers.get(name)
        if peer is None or peer.machine.open_side is None or not self.tells_ha1(name, peer.connection):
            return None
        return peer

    def node_for(self, name: str, connection: Connection) -> Node:
        """This DISC as it tells a peer: Cx is for those that are told HA1."""
        return self.cx_node if self.tells_ha1(name, connection) else self._node

    def check(self, told: Capabilities, connection: Connection) -> None:
        """Checks whether a peer may connect.

        Raises:
            Refusal: it may not.
        """
        reason = self._objection(told.host, connection)
        if reason:
            raise Refusal(UNKNOWN_PEER, reason)

    def _objection(self, name: str, connection: Connection) -> str:
        if name == self._node.host.lower():
            return "it has the identity of this server"
        if self._allowed and name not in self._allowed:
            return "it is not among the peers of this server"
        if not self._allowed and not ip_address(connection.host).is_loopback:
            return "this server has no peers but those on loopback addresses"
        if connection.certificate is not None and name not in names_in(connection.certificate):
            return "its certificate is for another name"
        return ""

    # ------------------------------------------------------------------ what happens

    def open(self, connection: Connection, asked: Message, told: Capabilities) -> Message | None:
        """Takes a connection with the CER of a peer that may connect.

        Args:
            connection: the connection.
            asked: the CER.
            told: what the CER says.

        Returns:
            None, and the CEA is on its way; or the CEA that refuses a second connection of this peer.
        """
        peer = self._peers.get(told.host)
        if peer is not None and self.config.takes_newer:
            peer.connection.end()
            self._forget(peer, "it has opened another connection")
            peer = None
        if peer is None:
            peer = Peer(
                told.host, PeerMachine(self.node_for(told.host, connection), self.config.watchdog), connection
            )
        if not peer.machine.incoming(asked, told, connection.local, self._loop.time()):
            return peer.machine.refuse(asked, connection.local)
        connection.peer = self._peers[peer.name] = peer
        self._carry_out(peer)
        return None

    def received(self, peer: Peer, message: Message) -> bool:
        """Takes a message of the base protocol; returns whether it is one."""
        known = peer.machine.received(_SIDE, message, self._loop.time())
        self._carry_out(peer)
        return known

    def heard(self, peer: Peer) -> None:
        """Notes that a message of an application came."""
        peer.machine.heard(self._loop.time())
        if peer.machine.outputs:
            self._carry_out(peer)

    def lost(self, peer: Peer) -> None:
        """Notes that the connection of a peer is closed."""
        peer.machine.lost(_SIDE, self._loop.time())
        peer.machine.outputs.clear()
        self._forget(peer, "the connection is closed")

    def stop(self, peer: Peer) -> None:
        """Leaves a peer, as this DISC stops (RFC 6733, 5.4)."""
        peer.machine.stop(DisconnectCause.REBOOTING, self._loop.time())
        self._carry_out(peer)

    def _expire(self, peer: Peer) -> None:
        peer.timer = None
        now = self._loop.time()
        if now >= peer.machine.due:
            peer.machine.expire(now)
        self._carry_out(peer)

    # ------------------------------------------------------------------ what follows

    def _say(self, peer: Peer, change: str, *arguments: object) -> None:
        """Logs a change, each kind once a second: of a peer of ours, or of all others together."""
        name = peer.name if peer.name in self._allowed else ""
        self._sparing.info((name, change), time.monotonic(), f"peer %s: {change}", peer.name, *arguments)

    def _carry_out(self, peer: Peer) -> None:
        machine = peer.machine
        outputs = machine.outputs[:]
        machine.outputs.clear()
        for output in outputs:
            match output:
                case Transmit(_, message):
                    peer.connection.transmit(message)
                case Opened(_, told):
                    product = one_word(told.product[:_MOST_PRODUCT])
                    self._say(peer, "is connected from %s (%s)", peer.connection.host, product)
                case Leaving(cause):
                    self._say(peer, "leaves, because of %s", cause.name)
                case FailOver():
                    if machine.open_side is not None:
                        self._say(peer, "does not answer the watchdog")
                case FailBack():
                    self._say(peer, "answers again")
                case Disconnect(_, why):
                    peer.connection.end()
                    self._forget(peer, why or "as agreed")
        self._set_timer(peer)

    def _forget(self, peer: Peer, why: str) -> None:
        if self._peers.get(peer.name) is peer and peer.connection.peer is peer:
            self._say(peer, "is disconnected: %s", why)
            peer.connection.peer = None
            del self._peers[peer.name]
        if peer.timer is not None:
            peer.timer.cancel()
            peer.timer = None

    def _set_timer(self, peer: Peer) -> None:
        """Has the machine called when it is due. Messages make that later, which the timer finds out."""
        due = peer.machine.due
        if peer.connection.peer is not peer or due == math.inf:
            return
        if peer.timer is not None:
            if peer.timer.when() <= due:
                return
            peer.timer.cancel()
        peer.timer = self._loop.call_at(due, self._expire, peer)
