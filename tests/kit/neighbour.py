"""A server of standard Diameter for tests of the pool, without I/O: it answers what a connection has sent."""

from __future__ import annotations

from collections.abc import Sequence

from kit.dialect import sip

from auth_diameter import Avp, Config, Message
from auth_diameter._core import Answer, Question, authentication
from auth_diameter.decision import Cause
from auth_diameter.diameter.base import (
    CAPABILITIES_EXCHANGE,
    DEVICE_WATCHDOG,
    DISCONNECT_PEER,
    SUCCESS,
    Node,
    answer,
    request,
)
from auth_diameter.diameter.capabilities import Refusal, cea
from auth_diameter.diameter.connection import Connection
from auth_diameter.diameter.events import Close, Finished, Open, PoolEvent, Send
from auth_diameter.diameter.peer import Change, Peer
from auth_diameter.diameter.pool import Pool

SIP, MULTIMEDIA_AUTH = 6, 286
TW = 30.0

SERVER = Node(host="disc.h.test", realm="h.test", applications=(SIP,))
OTHER = Node(host="other.h.test", realm="h.test", applications=(SIP,))


def new_pool(*peers: tuple[str, int], **settings: object) -> Pool:
    """A pool whose watchdog has no jitter."""
    named = peers or (("10.0.0.1", 3868),)
    config = Config(application="sip", origin_host="sip.h.test", peers=named, watchdog=TW, **settings)  # type: ignore[arg-type]
    return Pool(config, jitter=lambda: 0.5)


def new_question() -> Question:
    return authentication(sip(), "siphub.net", None, False)


class Far:
    """The far ends of all connections of a pool, and its driver.

    Attributes:
        pool: the pool.
        now: seconds, monotonic.
        got: what each connection has sent, by its peer.
        finished: the questions that ended without an answer.
        answered: those with one.
        changes: of peers.
        refusal: why CER are refused; None: they are not.
        silent: peers that answer nothing any more.
    """

    def __init__(self, pool: Pool, now: float = 0.0) -> None:
        self.pool = pool
        self.now = now
        self.got: list[tuple[Connection, Message]] = []
        self.finished: list[tuple[Question, Cause]] = []
        self.answered: list[tuple[Question, Answer]] = []
        self.changes: list[Change] = []
        self.refusal: Refusal | None = None
        self.nodes: dict[Peer, Node] = {}
        self.silent: set[Peer] = set()
        self.unreachable: set[Peer] = set()
        self.opened = 0
        self.names: frozenset[str] | None = None

    def node_of(self, peer: Peer) -> Node:
        return self.nodes.setdefault(peer, SERVER if peer is self.pool.peers[0] else OTHER)

    def settle(self) -> None:
        """Carries out the events of the pool, and has the far ends answer the base protocol."""
        while events := self.pool.take_events():
            for event in events:
                self._do(event)

    def _do(self, event: PoolEvent) -> None:
        match event:
            case Open(peer):
                if peer in self.unreachable:
                    self.pool.failed(peer, self.now, "refused")
                else:
                    self.opened += 1
                    self.pool.opened(peer, None, self.now, "10.0.0.9", self.names)
            case Close(connection):
                self.pool.closed(connection, self.now)
            case Send(connection):
                self._sent(connection)
            case Finished(question, cause):
                self.finished.append((question, cause))
            case Change():
                self.changes.append(event)

    def _sent(self, connection: Connection) -> None:
        data = connection.take_unsent()
        while data:
            size = int.from_bytes(data[1:4], "big")
            message, data = Message.decode(data[:size]), data[size:]
            self.got.append((connection, message))
            if message.application_id == 0 and message.is_request and connection.peer not in self.silent:
                self._answer_base(connection, message)

    def _answer_base(self, connection: Connection, asked: Message) -> None:
        node = self.node_of(connection.peer)
        if asked.command == CAPABILITIES_EXCHANGE:
            self.tell(connection, cea(node, "10.0.0.1", asked, self.refusal))
        elif asked.command in (DEVICE_WATCHDOG, DISCONNECT_PEER):
            self.tell(connection, answer(node, asked, SUCCESS))

    def tell(self, connection: Connection, *messages: Message) -> None:
        """Messages come on a connection."""
        data = b"".join(message.encode() for message in messages)
        self.answered += self.pool.received(connection, data, self.now)
        self.settle()

    def ask(self, connection: Connection, command: int, *avps: Avp) -> Message:
        """The far end asks something; what was sent on the connection since."""
        before = len(self.got)
        node = self.node_of(connection.peer)
        self.tell(connection, request(node, command, [*node.origin(), *avps], 0xABCD))
        return self.got[before][1]

    def submit(self) -> Question:
        """A question is asked."""
        question = new_question()
        placed = self.pool.submit(question, self.now)
        if isinstance(placed, Connection):
            self._sent(placed)
        elif placed is not None:
            self.finished.append((question, placed))
        self.settle()
        return question

    def asked(self, connection: Connection | None = None) -> list[Message]:
        """The MAR that were sent, on one connection or on all."""
        return [m for c, m in self.got if m.command == MULTIMEDIA_AUTH and connection in (None, c)]

    def commands(self, connection: Connection) -> list[int]:
        """The commands of all messages that were sent on a connection, in order."""
        return [message.command for one, message in self.got if one is connection]

    def maa(self, asked: Message, result: int = 1001, *more: Avp) -> Message:
        """The answer to a MAR."""
        return answer(SERVER, asked, result, *more)

    def wait(self, until: float) -> None:
        """Time passes; the timers of the pool run."""
        while (due := self.pool.deadline()) is not None and due <= until:
            self.now = max(self.now, due, min(self.pool.due, due))
            self.pool.expire(self.now)
            self.settle()
        self.now = until
        if self.pool.due <= until:
            self.pool.tend(until)
            self.settle()


def connected(*peers: tuple[str, int], **settings: object) -> tuple[Far, Sequence[Connection]]:
    """A pool with an open connection to each peer."""
    far = Far(new_pool(*peers, **settings))
    far.pool.connect(0.0)
    far.settle()
    return far, list(far.pool.connections)
