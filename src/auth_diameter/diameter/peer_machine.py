"""The peer state machine of RFC 6733, 5.6, without I/O: the connections between this node and one peer.

A connection that this node opened is the initiator (I), one that the peer opened is the responder (R). Both
may exist for a moment, when both sides connect at once; then the election of 5.6.4 leaves one. `peer_states`
has the table. Messages of applications pass by this machine; it sees what the base protocol is about.

A driver calls the machine with what happened, and carries out what it appends to `outputs`::

    call                        event of 5.6                             outputs
    ────────────────────────────────────────────────────────────────────────────────────────────────
    start()                     Start                                    Connect
    connected(address)          I-Rcv-Conn-Ack                           Transmit (CER)
    not_connected()             I-Rcv-Conn-Nack
    incoming(cer, address)      R-Conn-CER                               Transmit (CEA), Opened, Disconnect
    received(side, message)     Rcv-CEA, -DWR, -DWA, -DPR, -DPA,         Transmit, Opened, Refused, FailBack,
                                -Non-CEA                                 Leaving, Disconnect
    lost(side)                  Peer-Disc                                FailOver
    stop(cause)                 Stop                                     Transmit (DPR)
    expire()                    Timeout; the timer of RFC 3539           Transmit (DWR), FailOver, Disconnect

The watchdog is that of `watchdog`, over all connections to the peer. Every `now` is in seconds, monotonic.
"""

from __future__ import annotations

import enum
import math
import random
from collections.abc import Callable, Collection
from typing import Final, NamedTuple, TypeAlias

from auth_diameter._core import Message, next_hop_by_hop
from auth_diameter.diameter.base import (
    BASE_COMMANDS,
    CAPABILITIES_EXCHANGE,
    DEVICE_WATCHDOG,
    DISCONNECT_PEER,
    ELECTION_LOST,
    INVALID_HDR_BITS,
    PROXIABLE,
    SUCCESS,
    UNABLE_TO_COMPLY,
    Node,
    answer,
    avp_named,
    request,
    value_of,
)
from auth_diameter.diameter.capabilities import Capabilities, Refusal, cea, cer, read_cea
from auth_diameter.diameter.peer_states import TRANSITIONS, MachineAction, MachineEvent, MachineState, Side
from auth_diameter.diameter.watchdog import Action as WatchdogAction
from auth_diameter.diameter.watchdog import Watchdog, WatchdogEvent

_PATIENCE: Final = 5.0  # seconds for a DPA, and for the end of the connection behind them

I, R = Side  # noqa: E741 - the prefixes of 5.6
_S, _E, _A = MachineState, MachineEvent, MachineAction

_EVENT_OF_LOSS = {Side.INITIATOR: _E.I_PEER_DISC, Side.RESPONDER: _E.R_PEER_DISC}
_EVENT_OF_DPR = {Side.INITIATOR: _E.I_RCV_DPR, Side.RESPONDER: _E.R_RCV_DPR}
_EVENT_OF_DPA = {Side.INITIATOR: _E.I_RCV_DPA, Side.RESPONDER: _E.R_RCV_DPA}
_OPEN_SIDE = {_S.I_OPEN: Side.INITIATOR, _S.R_OPEN: Side.RESPONDER}
_WAITING = frozenset({_S.WAIT_CONN_ACK, _S.WAIT_I_CEA, _S.ELECT, _S.WAIT_RETURNS, _S.CLOSING})


class Cause(enum.IntEnum):
    """Disconnect-Cause (RFC 6733, 5.4.3)."""

    REBOOTING = 0
    BUSY = 1
    DO_NOT_WANT_TO_TALK_TO_YOU = 2


class Connect(NamedTuple):
    """A connection to the peer is to be opened; then call `PeerMachine.connected` or `not_connected`."""


class Transmit(NamedTuple):
    """A message is to be sent on a connection.

    Attributes:
        side: the connection.
        message: the message.
    """

    side: Side
    message: Message


class Disconnect(NamedTuple):
    """A connection is to be closed, behind what is to be sent on it; `PeerMachine.lost` need not be called.

    Attributes:
        side: the connection.
        why: the reason in a few words, for the log; "": as both sides agreed.
    """

    side: Side
    why: str = ""


class Opened(NamedTuple):
    """Capabilities have been exchanged: messages of applications may pass on a connection.

    Attributes:
        side: the connection.
        capabilities: what the peer tells of itself.
    """

    side: Side
    capabilities: Capabilities


class FailOver(NamedTuple):
    """The requests under way to the peer go elsewhere (RFC 3539, 3.4.1)."""


class FailBack(NamedTuple):
    """The peer may have requests again (RFC 3539, 3.4.1)."""


class Leaving(NamedTuple):
    """The peer sent a DPR: it gets no request any more.

    Attributes:
        cause: why it leaves.
    """

    cause: Cause


Output: TypeAlias = Connect | Transmit | Disconnect | Opened | FailOver | FailBack | Leaving


class PeerMachine:
    """The connections between this node and one peer.

    Args:
        node: this node.
        watchdog: seconds of Tw, 6 or more (RFC 3539, 3.4.1).
        cea_within: seconds for the CEA on a connection of ours.
        jitter: function that returns a number from 0 to 1, for the watchdog.

    Attributes:
        state: the state of 5.6.
        capabilities: what the peer last told of itself; None: nothing so far.
        outputs: what the driver is to do; it drains the list.
        watchdog: the state machine of RFC 3539.
    """

    def __init__(
        self,
        node: Node,
        watchdog: float,
        *,
        cea_within: float = _PATIENCE,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._node = node
        self._names: Collection[str] | None = None  # in the certificate on our own connection
        self._cea_within = cea_within
        self.state = MachineState.CLOSED
        self.capabilities: Capabilities | None = None
        self.outputs: list[Output] = []
        self.watchdog = Watchdog(watchdog, jitter)
        self._until = math.inf  # when `Timeout` happens
        self._addresses: dict[Side, str] = {}  # our own, on the connections that there are
        self._asked: Message | None = None  # the CER of the peer, whose CEA waits for the election
        self._told: Capabilities | None = None  # what that CER says
        self._is_open_on: Side | None = None
        self._why = ""
        self._cause = Cause.REBOOTING

    # ------------------------------------------------------------------ what happened

    @property
    def open_side(self) -> Side | None:
        """The connection on which messages of applications pass; None: there is none."""
        return _OPEN_SIDE.get(self.state)

    @property
    def due(self) -> float:
        """When `expire` has something to do; seconds, monotonic; infinity: never."""
        return min(self._until, self.watchdog.due)

    def start(self, now: float) -> None:
        """Begins to connect to the peer."""
        self._step(_E.START, now)

    def connected(self, address: str, now: float, names: Collection[str] | None = None) -> None:
        """Notes that the connection is there.

        Args:
            address: our own IP address on it.
            now: seconds, monotonic.
            names: the names in the peer's certificate, of which its DiameterIdentity must be one; None: there
                is no TLS.
        """
        self._addresses[I] = address
        self._names = names
        self._step(_E.I_RCV_CONN_ACK, now)

    def not_connected(self, now: float) -> None:
        """Notes that the connection could not be opened."""
        self._step(_E.I_RCV_CONN_NACK, now)

    def incoming(self, asked: Message, told: Capabilities, address: str, now: float) -> bool:
        """Takes a connection that the peer opened, with its CER.

        Args:
            asked: the CER.
            told: what the CER says, of a peer that is allowed.
            address: our own IP address on the connection.
            now: seconds, monotonic.

        Returns:
            Whether this is the responder connection from now on. If not, it is to get the CEA of `refuse`,
            and to be closed.
        """
        if _A.R_REJECT in self._actions(_E.R_CONN_CER):
            return False
        self._asked, self._told = asked, told
        self._addresses[R] = address
        self._step(_E.R_CONN_CER, now)
        return True

    def refuse(self, asked: Message, address: str) -> Message:
        """The CEA on a second connection of the peer, which is not taken."""
        if self.state in (_S.ELECT, _S.WAIT_RETURNS):
            return cea(self._node, address, asked, Refusal(ELECTION_LOST, "the election is not over"))
        return cea(self._node, address, asked, Refusal(UNABLE_TO_COMPLY, "this peer is connected already"))

    def received(self, side: Side, message: Message, now: float) -> bool:
        """Takes a message of the base protocol.

        Args:
            side: the connection it came on.
            message: the message.
            now: seconds, monotonic.

        Returns:
            Whether it is one; if not, it is left to the application.
        """
        if self.state is _S.WAIT_I_CEA or self.state is _S.WAIT_RETURNS:
            if side is I:
                self._received_first(message, now)
            return True
        is_dwa = message.command == DEVICE_WATCHDOG and not message.is_request
        self._watch(WatchdogEvent.DWA if is_dwa else WatchdogEvent.OTHER, now)
        if message.application_id != 0 or message.command not in BASE_COMMANDS:
            return False
        if message.is_request:
            self._asked_by_peer(side, message, now)
        elif message.command == DISCONNECT_PEER:
            self._step(_EVENT_OF_DPA[side], now)
        return True

    def heard(self, now: float) -> None:
        """Notes that a message of an application came."""
        self._watch(WatchdogEvent.OTHER, now)

    def lost(self, side: Side, now: float) -> None:
        """Notes that the peer closed a connection, or that it broke."""
        self._lose(side, now)

    def stop(self, cause: Cause, now: float) -> None:
        """Leaves the peer: its connection gets a DPR, and is closed with the DPA."""
        self._cause = cause
        self._step(_E.STOP, now)

    def expire(self, now: float) -> None:
        """Does what is due; to be called at or after `due`."""
        if now >= self._until:
            self._until = math.inf
            self._why = "no answer came in time"
            self._step(_E.TIMEOUT, now)
        if now >= self.watchdog.due:
            self._watch(WatchdogEvent.TIMER, now)

    # ------------------------------------------------------------------ messages

    def _received_first(self, message: Message, now: float) -> None:
        """The first message on our own connection, which must be the CEA."""
        if message.command != CAPABILITIES_EXCHANGE or message.is_request:
            self._why = f"its first message is {message.name}, no CEA"
            self._step(_E.I_RCV_NON_CEA, now)
            return
        try:
            self._told = read_cea(self._node, message, self._names)
        except Refusal as refusal:
            self._why = refusal.why
            self._step(_E.I_RCV_NON_CEA, now)
        else:
            self._step(_E.I_RCV_CEA, now)

    def _asked_by_peer(self, side: Side, message: Message, now: float) -> None:
        if message.flags & PROXIABLE:  # RFC 6733, 7.1.3
            self._send(side, answer(self._node, message, INVALID_HDR_BITS))
        elif message.command == DEVICE_WATCHDOG:
            state_id = avp_named("Origin-State-Id", self._node.state_id)
            self._send(side, answer(self._node, message, SUCCESS, state_id))
        elif message.command == DISCONNECT_PEER:
            cause = value_of(message, "Disconnect-Cause")
            known = Cause(cause) if cause in tuple(Cause) else Cause.REBOOTING
            self._asked = message
            self.outputs.append(Leaving(known))
            self._step(_EVENT_OF_DPR[side], now)
        else:
            # A second CER on an open connection; RFC 6737 would have it, as an application of its own.
            self._send(side, answer(self._node, message, UNABLE_TO_COMPLY))

    def _send(self, side: Side, message: Message) -> None:
        self.outputs.append(Transmit(side, message))

    # ------------------------------------------------------------------ the tables

    def _actions(self, event: MachineEvent) -> tuple[MachineAction, ...]:
        return TRANSITIONS.get((self.state, event), ((_A.R_REJECT,), self.state))[0]

    def _step(self, event: MachineEvent, now: float) -> None:
        row = TRANSITIONS.get((self.state, event))
        if row is None:
            return
        actions, self.state = row
        self._until = now + self._patience()
        for action in actions:
            self._do(action, now)

    def _patience(self) -> float:
        if self.state is _S.WAIT_I_CEA:
            return self._cea_within
        return _PATIENCE if self.state in _WAITING else math.inf

    def _do(self, action: MachineAction, now: float) -> None:
        node = self._node
        match action:
            case MachineAction.I_SND_CONN_REQ:
                self.outputs.append(Connect())
            case MachineAction.I_SND_CER:
                self._send(I, cer(node, self._addresses[I], next_hop_by_hop()))
            case MachineAction.R_SND_CEA:
                assert self._asked is not None
                self._send(R, cea(node, self._addresses[R], self._asked))
                self._opened(R, now)
            case MachineAction.PROCESS_CEA:
                self._opened(I, now)
            case MachineAction.ELECT:
                assert self._told is not None
                if node.host.lower() > self._told.host:
                    self._step(_E.WIN_ELECTION, now)
            case MachineAction.I_SND_DPR | MachineAction.R_SND_DPR:
                side = I if action is _A.I_SND_DPR else R
                cause = avp_named("Disconnect-Cause", self._cause)
                self._send(side, request(node, DISCONNECT_PEER, [*node.origin(), cause], next_hop_by_hop()))
            case MachineAction.I_SND_DPA | MachineAction.R_SND_DPA:
                assert self._asked is not None
                self._send(I if action is _A.I_SND_DPA else R, answer(node, self._asked, SUCCESS))
            case MachineAction.I_DISC:
                self._disconnect(I, now)
            case MachineAction.R_DISC:
                self._disconnect(R, now)
            case MachineAction.ERROR:
                for side in list(self._addresses):
                    self._disconnect(side, now)

    def _opened(self, side: Side, now: float) -> None:
        assert self._told is not None
        self.capabilities = self._told
        self._is_open_on = side
        self.outputs.append(Opened(side, self._told))
        self._watch(WatchdogEvent.UP, now)

    def _disconnect(self, side: Side, now: float) -> None:
        if self._addresses.pop(side, None) is not None:
            self.outputs.append(Disconnect(side, self._why))
            self._no_longer_open(side, now)
        self._why = ""

    def _lose(self, side: Side, now: float) -> None:
        if self._addresses.pop(side, None) is not None:
            self._no_longer_open(side, now)
            self._step(_EVENT_OF_LOSS[side], now)

    def _no_longer_open(self, side: Side, now: float) -> None:
        if self._is_open_on is side:
            self._is_open_on = None
            self._watch(WatchdogEvent.LOST, now)

    def _watch(self, event: WatchdogEvent, now: float) -> None:
        """Has the watchdog make its transition, and does what follows from it."""
        side = self._is_open_on
        for action in self.watchdog.happened(event, now):
            match action:
                case WatchdogAction.SEND:
                    assert side is not None
                    state_id = avp_named("Origin-State-Id", self._node.state_id)
                    avps = [*self._node.origin(), state_id]
                    self._send(side, request(self._node, DEVICE_WATCHDOG, avps, next_hop_by_hop()))
                case WatchdogAction.FAIL_OVER:
                    self.outputs.append(FailOver())
                case WatchdogAction.FAIL_BACK:
                    self.outputs.append(FailBack())
                case WatchdogAction.CLOSE:
                    assert side is not None
                    self._why = "it answers no watchdog"
                    self._is_open_on = None
                    self._addresses.pop(side)
                    self.outputs.append(Disconnect(side, self._why))
                    self._step(_EVENT_OF_LOSS[side], now)
