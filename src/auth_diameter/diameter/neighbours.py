"""The peers with standard Diameter (RFC 6733), without I/O: what `peer_table` does, with a base protocol.

Each peer has a `PeerMachine`, which exchanges capabilities, watches and disconnects. This is what it adds::

    PeerMachine          connection
    ──────────────────────────────────────────────────────────────────────────────────────
    Opened               CAPABLE; UNTRUSTED while another peer can be asked, if the watchdog is in REOPEN
    FailOver             UNTRUSTED, and its questions go elsewhere, if another peer can be asked
    FailBack             TRUSTED
    Leaving              LEAVING; after BUSY and DO_NOT_WANT_TO_TALK_TO_YOU the peer rests for five minutes
    Transmit             the message is sent
    Disconnect           it is closed

* A peer has one connection (RFC 6733, 2.1). It is up when its CEA comes, not with the first byte.
* Questions without an answer open the peer's breaker, as in the dialect. They do not close the connection,
  unless it holds part of an answer (UNSYNCED), and the watchdog does not know of them. Answers close it
  again, and messages of the base protocol do not: a server whose application hangs goes on with its watchdog.
* When nobody else can be asked, a peer that the watchdog does not trust is asked all the same.
* A server that an answer named is a peer for as long as it is needed, see `redirects`. Its connection is
  reserved: it takes only the questions that were redirected to it.
* A peer that redirects all questions for a while is held back for so long, while the server that it named can
  be asked. Meanwhile the connection to that server is not reserved.
* Every message counts for the watchdog. It is told of those of the application only when its timer is due.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from auth_diameter._core import InFlight, Message, ParseError
from auth_diameter.config import Config
from auth_diameter.diameter.base import COMMAND_UNSUPPORTED, Node, answer, value_of
from auth_diameter.diameter.certificates import name_to_prove
from auth_diameter.diameter.connection import (
    CLOSING,
    HELD_BACK,
    INITIAL,
    OKAY,
    PROBING,
    REOPEN,
    UNSYNCED,
    Connection,
    Event,
)
from auth_diameter.diameter.events import Close, Open, PoolEvent, Send
from auth_diameter.diameter.own_requests import Answered, OwnRequests
from auth_diameter.diameter.peer import Peer, PeerEvent
from auth_diameter.diameter.peer_machine import (
    Cause,
    Connect,
    Disconnect,
    FailBack,
    FailOver,
    Leaving,
    Opened,
    Output,
    PeerMachine,
    Transmit,
)
from auth_diameter.diameter.peer_states import MachineState, Side
from auth_diameter.diameter.peer_table import PeerTable
from auth_diameter.diameter.redirects import KEPT, MOST_SERVERS, Redirect, Server
from auth_diameter.diameter.watchdog import WatchdogState

_MOST_COUNTED: Final = 32  # pairs of a command and a Result-Code, of which there are fewer
_LEFT: Final = 300.0  # seconds of rest of a peer that does not want a connection

_HUNG_UP = "it hangs up instead of sending a CEA"


class NeighbourTable(PeerTable):
    """All peers of one client, and the connection to each.

    Args:
        config: the settings.
        in_flight: is told which connections take questions.
        jitter: function that returns a number from 0 to 1.
        events: list to which the events for the driver are appended.
        node: who this client is.
        ask_elsewhere: function of a connection and of the time; it asks the questions on it again, elsewhere.
        capable: function of a connection and of the time; it is told that capabilities are exchanged.

    Attributes:
        own: the requests of this client that are no questions.
        serve: function of a request of a peer, which returns the answer; None: the command is not supported.
        answers: number of answers of the base protocol by the command's name and the Result-Code.
    """

    __slots__ = (
        "_ask_elsewhere",
        "_capable",
        "_is_secure",
        "_known",
        "_machines",
        "_new_machine",
        "_node",
        "_numbers",
        "_redirecting",
        "_servers",
        "answers",
        "own",
        "serve",
    )

    def __init__(
        self,
        config: Config,
        in_flight: InFlight,
        jitter: Callable[[], float],
        events: list[PoolEvent],
        node: Node,
        ask_elsewhere: Callable[[Connection, float], None],
        capable: Callable[[Connection, float], None],
    ) -> None:
        super().__init__(config, in_flight, jitter, events)
        self._node = node
        self._ask_elsewhere = ask_elsewhere
        self._capable = capable
        self.serve: Callable[[Message], Message | None] = _not_supported
        # Questions wait for the CEA as they wait for the connection.
        self._new_machine = functools.partial(
            PeerMachine, node, config.watchdog, cea_within=config.connect_timeout, jitter=jitter
        )
        self.answers: Counter[tuple[str, int]] = Counter()
        self.own = OwnRequests(config.timeout)
        self._machines = {peer: self._new_machine() for peer in self.peers}
        self._numbers = itertools.count(len(self.peers))
        self._is_secure = config.tls_ca is not None
        # The servers that answers named, and until when they stay; the peers that named one for all
        # questions, with that one and until when.
        self._servers: dict[Peer, float] = {}
        self._redirecting: dict[Peer, tuple[Peer, float]] = {}
        self._known = dict.fromkeys(
            self.peers, -math.inf
        )  # the last byte that each watchdog has been told of

    def _connection_of(self, peer: Peer) -> Connection | None:
        return next((connection for connection in self.connections if connection.peer is peer), None)

    def _others(self, connection: Connection) -> list[Connection]:
        """The connections to other peers that take questions, or soon will."""
        return [
            other
            for other in self.connections
            if other.peer is not connection.peer
            and other.state in (OKAY, REOPEN, UNSYNCED)
            and not other.is_reserved
        ]

    # ------------------------------------------------------------------ opening and closing

    def _may_connect(self, peer: Peer, waiting: int, now: float, *, needed: bool) -> bool:
        return not peer.opening and self._connection_of(peer) is None

    def opened(
        self, peer: Peer, transport: Any, now: float, address: str = "", names: Collection[str] | None = None
    ) -> Connection:
        """As `PeerTable.opened`; exchanges capabilities, if the certificate is for the peer."""
        peer.opening -= 1
        connection = self._add(peer, transport, now, INITIAL)
        connection.is_reserved = self._is_reserved(peer)
        name = name_to_prove(peer.host)
        if names is not None and name is not None and name not in names:
            connection.why = f"its certificate is not for {name}"
            self.step(connection, Event.FAULT)
            return connection
        machine = self._machines[peer]
        machine.start(now)
        machine.connected(address, now, names)
        self._carry_out(peer, now)
        return connection

    def remove(self, connection: Connection, now: float) -> None:
        """Removes a connection that is closed."""
        machine = self._machines[connection.peer]
        if machine.state is MachineState.WAIT_I_CEA and not connection.why:
            connection.why = self._why_no_cea(connection)
        connection.peer.probing = False
        super().remove(connection, now)
        machine.lost(Side.INITIATOR, now)
        self.own.lost(connection)
        machine.outputs.clear()  # its questions go elsewhere with any connection that is lost
        self._ask_agents_of(connection.peer)
        self._trust_the_last()

    def _why_no_cea(self, connection: Connection) -> str:
        if connection.fault is not None:
            return f"it sends no CEA ({connection.fault})"
        # In TLS 1.3 a server refuses the client's certificate after the handshake (RFC 8446, 4.4.2.4).
        return f"{_HUNG_UP}; it may want another tls_cert" if self._is_secure else _HUNG_UP

    def lost(self, connection: Connection, questions: int, now: float) -> None:
        """Judges a peer whose connection has ended."""
        peer = connection.peer
        if connection.why and peer.rest_until <= now:
            peer.back_off(now, self._jitter())
        super().lost(connection, questions, now)

    def leave(self, now: float) -> None:
        """Disconnects from all peers (RFC 6733, 5.4)."""
        for peer, machine in self._machines.items():
            machine.stop(Cause.REBOOTING, now)
            self._carry_out(peer, now)

    # ------------------------------------------------------------------ the base protocol

    def take_others(self, connection: Connection, now: float) -> None:
        """Takes the messages that came on a connection and are no answers to questions."""
        machine = self._machines[connection.peer]
        for data in connection.take_others():
            if not connection.is_live and connection.state is not CLOSING:
                return
            try:
                message = Message.decode(data)
            except ParseError as error:
                connection.why = f"it sends a message that cannot be read ({error})"
                self.step(connection, Event.FAULT)
                return
            if not message.is_request:
                self._count(message)
            if machine.received(Side.INITIATOR, message, now):
                pass
            elif message.is_request:
                told = self.serve(message) if connection.state is not INITIAL else None
                self._send(connection, told or answer(self._node, message, COMMAND_UNSUPPORTED))
            else:
                self.own.take(connection, message)
            self._carry_out(connection.peer, now)

    def request(self, connection: Connection, message: Message, answered: Answered, now: float) -> None:
        """Sends a request that is no question; see `OwnRequests.add`."""
        self.be_due(self.own.add(connection, message, answered, now))
        self._send(connection, message)

    def _count(self, message: Message) -> None:
        result = value_of(message, "Result-Code")
        if isinstance(result, int) and (
            len(self.answers) < _MOST_COUNTED or (message.name, result) in self.answers
        ):
            self.answers[message.name, result] += 1

    def _send(self, connection: Connection, message: Message) -> None:
        connection.append(message.encode())
        self.events.append(Send(connection))

    def _carry_out(self, peer: Peer, now: float) -> None:
        """Does what the machine of a peer wants."""
        machine = self._machines[peer]
        while machine.outputs:
            taken = machine.outputs[:]
            machine.outputs.clear()
            for output in taken:
                connection = self._connection_of(peer)
                if connection is not None:
                    self._do(output, connection, now)
        self.be_due(machine.due)

    def _do(self, output: Output, connection: Connection, now: float) -> None:
        match output:
            case Connect():
                pass  # the driver has done it
            case Transmit(_, message):
                self._send(connection, message)
            case Disconnect(_, why):
                connection.why = connection.why or why
                if why:
                    self.step(connection, Event.FAULT)
                else:
                    self.events.append(Close(connection))
            case Opened():
                self._is_capable(connection, now)
            case FailOver():
                self._ask_agents_of(connection.peer)
                if self._others(connection):
                    self.step(connection, Event.UNTRUSTED)
                    self._ask_elsewhere(connection, now)
            case FailBack():
                self._trust(connection)
            case Leaving(cause):
                if cause is not Cause.REBOOTING:
                    connection.peer.rest_until = now + _LEFT
                    connection.why = f"it does not want a connection ({cause.name})"
                self.step(connection, Event.LEAVING)

    def _is_capable(self, connection: Connection, now: float) -> None:
        peer = connection.peer
        peer.probing = False
        # A server that an answer named is vouched for, and nobody else can be asked what is redirected to it.
        reopens = self._machines[peer].watchdog.state is WatchdogState.REOPEN and peer not in self._servers
        self.step(connection, Event.UNTRUSTED if reopens and self._others(connection) else Event.CAPABLE)
        if peer.step(PeerEvent.HEARD):
            peer.recovered()
            self._tell(peer)
        for agent, (server, _) in self._redirecting.items():
            if server is peer:
                self._hold_back(agent)
        self._capable(connection, now)

    def _trust(self, connection: Connection) -> None:
        """Lets a connection take questions that was held back; if its peer is in doubt, a probe first."""
        was = connection.state
        self.step(connection, Event.TRUSTED)
        if was is HELD_BACK and connection.peer.in_doubt:
            self.step(connection, Event.UNANSWERED)
            self.be_due(connection.peer.rest_until)

    def _trust_the_last(self) -> None:
        """Asks peers all the same that the watchdog does not trust, if nobody else is left."""
        if not any(
            connection.state in (OKAY, REOPEN, PROBING, UNSYNCED)
            and not connection.is_reserved
            and not connection.peer.in_doubt
            for connection in self.connections
        ):
            for connection in self.connections:
                self._trust(connection)

    # ------------------------------------------------------------------ redirects

    def redirected(self, connection: Connection, redirect: Redirect, now: float) -> Peer | None:
        """Chooses a server that an answer on a connection names; it becomes a peer, and gets a connection.

        Returns:
            The peer; None: no server named can be asked.
        """
        for server in redirect.servers:
            peer = self._peer_at(server) if server.is_secure == self._is_secure else None
            if peer is not None and (peer is connection.peer or self._is_out_of_use(peer, now)):
                continue
            if peer is not None or self._may_add(server):
                break
        else:
            return None
        if not self._has_place() and (peer is None or self._connection_of(peer) is None):
            return None
        if peer is None:
            peer = self._add_server(server)
        if peer in self._servers:
            self._servers[peer] = now + max(KEPT, redirect.seconds)
            self.be_due(self._servers[peer])
        if redirect.seconds:
            before, _ = self._redirecting.get(connection.peer, (peer, 0.0))
            self._redirecting[connection.peer] = (peer, now + redirect.seconds)
            self.be_due(now + redirect.seconds)
            self._reserve(before)
            self._reserve(peer)
            if self.taking(peer) is not None:
                self._hold_back(connection.peer)
        if self._connection_of(peer) is None and not peer.opening:
            peer.opening += 1
            self.events.append(Open(peer))
        return peer

    def taking(self, peer: Peer) -> Connection | None:
        """The connection to a peer, if it takes questions."""
        connection = self._connection_of(peer)
        if connection is None or not connection.takes_questions:
            return None
        return connection if connection.under_way < self.max_in_flight else None

    def for_any_question(self) -> Sequence[Peer]:
        """The peers that any question may go to; servers that answers named only for all questions."""
        return [peer for peer in self.peers if not self._is_reserved(peer)]

    def _is_reserved(self, peer: Peer) -> bool:
        """Whether a peer gets only the questions that are redirected to it."""
        return peer in self._servers and all(server is not peer for server, _ in self._redirecting.values())

    def _reserve(self, peer: Peer) -> None:
        """Reserves the connection to a peer, or lets it take any question, by what is redirected to it."""
        connection = self._connection_of(peer)
        if connection is not None:
            connection.is_reserved = self._is_reserved(peer)
            self.refresh(connection)

    def _is_out_of_use(self, peer: Peer, now: float) -> bool:
        """Whether a peer rests, or its watchdog does not trust it."""
        connection = self._connection_of(peer)
        held_back = connection is not None and connection.state is HELD_BACK
        return held_back or (peer.in_doubt and peer.rest_until > now)

    def _peer_at(self, server: Server) -> Peer | None:
        """The peer that a server is, by its address or by the DiameterIdentity that it told."""
        for peer, machine in self._machines.items():
            told = machine.capabilities
            if (peer.host.lower(), peer.port) == (server.host, server.port):
                return peer
            if told is not None and told.host == server.host and self._connection_of(peer) is not None:
                return peer
        return None

    def _may_add(self, server: Server) -> bool:
        return server.is_secure == self._is_secure and len(self._servers) < MOST_SERVERS

    def _add_server(self, server: Server) -> Peer:
        peer = Peer(server.host, server.port, next(self._numbers))
        self.peers.append(peer)
        self._machines[peer] = self._new_machine()
        self._known[peer] = -math.inf
        self._servers[peer] = math.inf  # until the caller knows better
        return peer

    def _hold_back(self, agent: Peer) -> None:
        connection = self._connection_of(agent)
        if connection is not None:
            self.step(connection, Event.UNTRUSTED)

    def _ask_agents_of(self, server: Peer) -> None:
        """Asks the peers again that have redirected all questions to a server in doubt."""
        for agent, (named, _) in list(self._redirecting.items()):
            if named is server:
                self._ask_agent(agent)

    def _ask_agent(self, agent: Peer) -> None:
        """Asks a peer again that has redirected all questions."""
        server, _ = self._redirecting.pop(agent)
        self._reserve(server)
        connection = self._connection_of(agent)
        if connection is not None:
            self._trust(connection)

    def _end_redirects(self, now: float) -> None:
        for agent, (_, until) in list(self._redirecting.items()):
            if until <= now:
                self._ask_agent(agent)
            else:
                self.be_due(until)
        for peer, until in list(self._servers.items()):
            connection = self._connection_of(peer)
            if until > now:
                self.be_due(until)
            elif connection is not None and connection.under_way:
                self.be_due(now + 1.0)
            elif connection is not None and connection.is_live:
                self._machines[peer].stop(Cause.DO_NOT_WANT_TO_TALK_TO_YOU, now)
                self._carry_out(peer, now)
            elif connection is None and not peer.opening:
                self._remove_server(peer)

    def _remove_server(self, peer: Peer) -> None:
        self.peers.remove(peer)
        del self._servers[peer], self._machines[peer], self._known[peer]

    # ------------------------------------------------------------------ questions and answers

    def heard(self, connection: Connection, now: float) -> None:
        """Judges a connection and its peer by bytes that came."""
        if connection.state is HELD_BACK:
            self._tell_watchdog(connection, now)
            self._carry_out(connection.peer, now)
        if connection.is_live and connection.state is not INITIAL:
            if connection.heard_at == now:
                super().heard(connection, now)
            else:  # the base protocol alone
                self.read(connection)
        elif connection.fault is not None:
            self.step(connection, Event.FAULT)

    def expired(self, connection: Connection, now: float) -> None:
        """Judges a peer by a question to it that expired."""
        asked_at = connection.asked_at
        if not connection.is_live:
            return
        if asked_at is not None and now - asked_at >= self._timeout / 2:
            self._judge_silence(connection.peer, asked_at, now)
            if connection.peer.in_doubt and connection.state is OKAY:
                self.step(connection, Event.UNANSWERED)
        elif self._in_flight.holds_part(connection):
            self.step(connection, Event.ORPHANED)
        self._close_if_idle(connection)

    def _silence(self, peer: Peer) -> None:
        self._ask_agents_of(peer)
        for connection in self.connections:
            if connection.peer is peer:
                self.step(connection, Event.UNANSWERED)
        self._trust_the_last()

    def give_up_probe(self, connection: Connection, now: float) -> None:
        """Asks the probe on a connection elsewhere."""
        connection.probe_until = None
        self._ask_elsewhere(connection, now)

    # ------------------------------------------------------------------ time

    @property
    def wakes_at(self) -> float | None:
        """When `tend` must be called even if nobody asks anything; None: never."""
        return self.due if self.due < math.inf else None

    def tend(self, now: float) -> None:
        """Does what `PeerTable.tend` does, and what the timers of RFC 3539 and RFC 6733 want."""
        for peer, machine in self._machines.items():
            connection = self._connection_of(peer)
            if now >= machine.due:
                if connection is not None:
                    self._tell_watchdog(connection, now)
                machine.expire(now)
                self._carry_out(peer, now)
        super().tend(now)
        self.own.expire(now)
        self._end_redirects(now)
        for machine in self._machines.values():
            self.be_due(machine.due)

    def _tell_watchdog(self, connection: Connection, now: float) -> None:
        """Tells the watchdog of the last message of an application, if there was one since."""
        heard_at, peer = connection.heard_at, connection.peer
        if heard_at is not None and heard_at > self._known[peer]:
            self._known[peer] = heard_at
            self._machines[peer].heard(heard_at)

    def state_of(self, peer: Peer) -> WatchdogState | None:
        """What the watchdog says of a peer (RFC 3539, 3.4.1)."""
        return self._machines[peer].watchdog.state


def _not_supported(message: Message) -> None:
    """Answers no request."""
