"""The connections to DISC, without I/O: which one asks, whose answer came, who waited too long.

A driver owns the sockets and the clock. It tells the pool what happened, with the time ``now``
(seconds, monotonic) as an argument, and does what the pool says::

    submit(question) ──► Connection.outgoing      bytes to send on that connection
                    └──► wanted() → Peer          a connection to open; then opened() or failed()
    received(connection, bytes) ──► (question, answer) …
    closed(connection), failed(peer), expire(now) ──► (question, Cause) …   the ones without an answer
    spent() ──► Connection …                      to be closed: DISC hangs, or talks nonsense

States of a connection::

    wanted ──► opening ──► open ──► closed
                  └──► failed: the peer rests, for a time that doubles up to a second

Rules: the open connection with the fewest questions under way is asked; another one is opened when
all are full; what waits goes out, in order, as soon as one has room. A question whose connection
breaks is asked once more on another, never twice. All questions have the same time limit, so that the
oldest is the next to expire. A peer that failed is tried with one connection until it says something.
"""

from __future__ import annotations

import itertools
import random
import secrets
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from auth_diameter._core import Answer, AnswerStream, ParseError, Question, append_question
from auth_diameter.authorize import Cause
from auth_diameter.config import Config

# The dialect matches answers by SIP-MSGID, and the original DISC may put an answer on a connection
# that was opened after the question was asked: ids are unique in the process and start anywhere.
_msgids: Iterator[int] = itertools.count(secrets.randbits(32))

_KEPT_LATE = 10_000  # ids of questions without an answer that are remembered, to know a late one

_REST_FIRST = 0.05  # seconds that a peer rests after a first failure
_REST_MOST = 1.0  # so that all is well again within two seconds of its return

Failure = tuple[Question, Cause]

PeerState = Literal["new", "up", "down", "silent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStats:
    """One DISC, as a client sees it.

    :ivar address: ``HOST:PORT``.
    :ivar state: ``new`` nobody has tried it yet; ``up`` it answers; ``down`` it cannot be connected
        to, or hangs up; ``silent`` it takes questions and does not answer. The breaker of one that is
        ``down`` or ``silent`` is open: it gets a single question now and then, and the first byte that
        comes back closes the breaker.
    :ivar connections: open ones. :ivar opening: those on the way.
    :ivar under_way: questions that it was asked and has not answered.
    """

    address: str
    state: PeerState
    connections: int
    opening: int
    under_way: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStats:
    """What a client has done since its beginning, in counts, and what it does now.

    :ivar asked: questions, each of them in one of the next six, `under_way` or `waiting`.
    :ivar answered: those that DISC answered.
    :ivar expired: those without an answer within `Config.timeout`.
    :ivar lost: those whose connection broke and that could not be asked again.
    :ivar abandoned: those that nobody waits for any more: their thread was interrupted.
    :ivar refused_down: those refused because no DISC can be reached or answers.
    :ivar refused_overload: those refused at once because too many wait or are under way.
    :ivar asked_again: questions that went out a second time, because their first connection broke.
    :ivar late: answers that came after their question had expired, or was asked again.
    :ivar unknown: messages that answer no question of this client, or one that was answered before.
    :ivar connects: connections that were opened. :ivar connect_failures: attempts that failed.
    :ivar connections_lost: connections that ended before the client did.
    :ivar under_way: questions that were sent and are not answered, now.
    :ivar waiting: questions that wait for a connection, now.
    :ivar peers: each DISC, in the order of the configuration.
    """

    asked: int
    answered: int
    expired: int
    lost: int
    abandoned: int
    refused_down: int
    refused_overload: int
    asked_again: int
    late: int
    unknown: int
    connects: int
    connect_failures: int
    connections_lost: int
    under_way: int
    waiting: int
    peers: tuple[PeerStats, ...]


class Peer:
    """One DISC: where it is, and whether it is worth a try."""

    __slots__ = ("failures", "host", "opening", "port", "rest_until", "state")

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.state: PeerState = "new"
        self.opening = 0  # connections on the way
        self.failures = 0  # in a row
        self.rest_until = 0.0

    def __repr__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Connection:
    """One TCP connection with a DISC, but for the socket.

    :ivar outgoing: bytes to be sent; the driver takes them away.
    :ivar under_way: how many questions wait for an answer on it.
    :ivar paused: whether the driver cannot send more for now; it is then given no new question.
    :ivar silent: whether a question expired and not one byte came since it was asked.
    :ivar doubted: whether a question expired behind part of an answer, or part of one came that
        nobody waits for. Were the rest never to come, the next answers would be taken for it: there
        is no new question until that answer is whole.
    :ivar transport: the driver's own.
    """

    __slots__ = (
        "answers",
        "doubted",
        "outgoing",
        "paused",
        "peer",
        "silent",
        "transport",
        "under_way",
        "unheard",
    )

    def __init__(self, peer: Peer, transport: Any, max_message: int = 65_536) -> None:
        self.peer = peer
        self.transport = transport
        self.outgoing = bytearray()
        self.answers = AnswerStream(max_message)
        self.under_way = 0
        self.paused = False
        self.silent = False
        self.doubted = False
        self.unheard: Question | None = None  # the first that was submitted to it since bytes came

    @property
    def fault(self) -> ParseError | None:
        """What ended the framing of its answers; the driver then closes it."""
        return self.answers.fault

    @property
    def is_spent(self) -> bool:
        """Whether the driver is to close it: DISC hangs, or what it says cannot be told apart."""
        doubted = self.doubted and not self.under_way
        return self.silent or doubted or self.answers.fault is not None

    @property
    def is_fit(self) -> bool:
        """Whether it may be given a new question."""
        return not (self.paused or self.silent or self.doubted)


class Pool:
    """All connections of one client. Not thread-safe: its driver is.

    :param max_in_flight: questions under way on one connection; None: as configured.
    :param jitter: function that gives a number from 0 to 1, for the rest of peers that failed.
    """

    def __init__(
        self,
        config: Config,
        max_in_flight: int | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.peers = [Peer(host, port) for host, port in config.addresses()]
        self.connections: list[Connection] = []
        self.pending: dict[int, Question] = {}  # by msgid, in the order of deadlines
        self.waiting: deque[Question] = deque()  # for a connection, in the order of deadlines
        self._late: dict[int, bool] = {}  # ids of questions without an answer, the newest last
        # See PoolStats.
        self.answered = self.expired = self.lost = self.abandoned = 0
        self.refused_down = self.refused_overload = self.asked_again = 0
        self.late = self.unknown = 0
        self.connects = self.connect_failures = self.connections_lost = 0
        self._timeout = config.timeout
        self._max_connections = config.max_connections
        self._max_in_flight = max_in_flight or config.max_in_flight
        self._max_waiting = config.max_waiting
        self._max_message = config.max_diameter_message
        self._jitter = jitter
        self._stopped = False

    # ------------------------------------------------------------------ asking

    def submit(self, question: Question, now: float) -> Connection | Cause | None:
        """Takes a question on.

        The connection that it was written to; None where it waits for one, see `wanted`; or the
        Cause why it cannot be asked.
        """
        question.deadline = now + self._timeout
        connection = self._choose()
        if connection is not None:
            self._write(connection, question)
            if connection.unheard is None:
                connection.unheard = question
            return connection
        if not self.connections and not self._can_open(now):
            self.refused_down += 1
            return Cause.DISC_UNREACHABLE
        if len(self.waiting) >= self._max_waiting:
            self.refused_overload += 1
            return Cause.OVERLOADED
        self.waiting.append(question)
        return None

    def _choose(self) -> Connection | None:
        best = None
        least = self._max_in_flight
        for connection in self.connections:
            if connection.under_way < least and connection.is_fit:
                best = connection
                least = connection.under_way
        return best

    def _write(self, connection: Connection, question: Question) -> None:
        msgid = next(_msgids) & 0xFFFFFFFF
        append_question(connection.outgoing, question, msgid)
        question.connection = connection
        self.pending[msgid] = question
        connection.under_way += 1

    # ------------------------------------------------------------------ opening

    def _opening(self) -> int:
        return sum(peer.opening for peer in self.peers)

    def _can_open(self, now: float) -> bool:
        """Whether a connection is on the way, or one could be."""
        return any(peer.opening or peer.rest_until <= now for peer in self.peers)

    def wanted(self, now: float) -> Peer | None:
        """The peer to open a connection to now, which counts as on the way from here on; or None."""
        opening = self._opening()
        if len(self.waiting) <= opening * self._max_in_flight:
            return None
        if len(self.connections) + opening >= self._max_connections:
            return None
        counts = {id(peer): peer.opening for peer in self.peers}
        for connection in self.connections:
            counts[id(connection.peer)] += 1
        # One that failed may hang, or fail again: a single connection finds out.
        fit = [
            peer
            for peer in self.peers
            if peer.rest_until <= now and (not peer.failures or not counts[id(peer)])
        ]
        if not fit:
            return None
        # The one with the fewest connections, so that several DISC share the work.
        peer = min(fit, key=lambda peer: counts[id(peer)])
        peer.opening += 1
        return peer

    def opened(self, peer: Peer, transport: Any) -> Connection:
        """A connection was opened; the questions that waited are in its `outgoing` now."""
        peer.opening -= 1
        self.connects += 1
        connection = Connection(peer, transport, self._max_message)
        self.connections.append(connection)
        self.fill(connection)
        return connection

    def fill(self, connection: Connection) -> bool:
        """Gives a connection with room the questions that wait; whether there were any."""
        filled = again = False
        while self.waiting and connection.under_way < self._max_in_flight:
            if not connection.is_fit:
                break
            question = self.waiting.popleft()
            self._write(connection, question)
            filled = True
            if question.attempts > 1:
                again = True
                self.asked_again += 1
        if again:
            self._sort_pending()
        return filled

    def _fill_all(self) -> None:
        for connection in self.connections:
            if not self.waiting:
                break
            self.fill(connection)

    def failed(self, peer: Peer, now: float) -> list[Failure]:
        """A connection could not be opened; the questions that now have no hope left."""
        peer.opening -= 1
        self.connect_failures += 1
        peer.state = "down"
        self._rest(peer, now)
        if self.connections or self._can_open(now):
            return []
        return self._all_hopeless()

    def _all_hopeless(self) -> list[Failure]:
        self.refused_down += len(self.waiting)
        hopeless = [(question, Cause.DISC_UNREACHABLE) for question in self.waiting]
        self.waiting.clear()
        return hopeless

    def _rest(self, peer: Peer, now: float) -> None:
        rest = min(_REST_MOST, _REST_FIRST * 2.0 ** min(peer.failures, 10))
        peer.failures += 1
        peer.rest_until = now + rest * (0.5 + 0.5 * self._jitter())

    # ------------------------------------------------------------------ what comes back

    def received(self, connection: Connection, data: bytes) -> list[tuple[Question, Answer]]:
        """Bytes came: the answers in them, each with its question.

        Then look at `connection.is_spent`, at `wanted`, and at the `outgoing` of all connections where
        questions wait: an answer may come on another connection than its question went out on.
        """
        self._heard(connection)
        found = connection.answers.feed(data, self.pending)
        for question, _ in found:
            question.connection.under_way -= 1
        self._doubt(connection)
        self.answered += len(found)
        if connection.answers.strays:
            self._count_strays(connection)
        if self.waiting:
            self._fill_all()
        return found

    def received_by(self, question: Question, data: bytes) -> Answer | None:
        """The same for a driver that reads a connection for the one question on it."""
        connection: Connection = question.connection
        if data:
            self._heard(connection)
        found = connection.answers.feed(data, {question.msgid: question})
        if connection.answers.strays:
            self._count_strays(connection)
        if not found:
            return None
        self._forget(question)
        self._doubt(connection)
        self.answered += 1
        return found[0][1]

    @staticmethod
    def _doubt(connection: Connection) -> None:
        if not connection.answers.pending:
            connection.doubted = False
        elif not connection.under_way:
            connection.doubted = True

    def _count_strays(self, connection: Connection) -> None:
        strays = connection.answers.strays
        for msgid in strays:
            if self._late.pop(msgid, False):
                self.late += 1
            else:
                self.unknown += 1
        strays.clear()

    def _remember(self, question: Question) -> None:
        """An answer to it, as it was asked last, would be late."""
        self._late[question.msgid] = True
        if len(self._late) > _KEPT_LATE:
            del self._late[next(iter(self._late))]

    @staticmethod
    def _heard(connection: Connection) -> None:
        connection.peer.state = "up"
        connection.unheard = None
        connection.peer.failures = 0
        connection.peer.rest_until = 0.0

    def closed(self, connection: Connection, now: float) -> list[Failure]:
        """A connection is gone: its questions wait for another, or have failed for good."""
        if connection not in self.connections:
            return []
        self.connections.remove(connection)
        self.connections_lost += not self._stopped
        if connection.silent and len(self.peers) > 1:
            self._rest(connection.peer, now)  # the others are asked first
        lost = [question for question in self.pending.values() if question.connection is connection]
        failures: list[Failure] = []
        again: list[Question] = []
        for question in lost:
            del self.pending[question.msgid]
            self._remember(question)
            question.connection = None
            if question.attempts < 2 and question.deadline > now:
                again.append(question)
            else:
                self.lost += 1
                failures.append((question, Cause.DISC_LOST))
        if again:
            # They are older than those that wait already: deadlines stay in order.
            merged = sorted([*again, *self.waiting], key=lambda question: question.deadline)
            self.waiting = deque(merged)
            self._fill_all()
        if self.waiting and not self.connections and not self._can_open(now):
            failures += self._all_hopeless()
        return failures

    def _sort_pending(self) -> None:
        ordered = sorted(self.pending.items(), key=lambda item: item[1].deadline)
        self.pending.clear()
        self.pending.update(ordered)

    def abandon(self, question: Question, expired: bool = False) -> bool:
        """Nobody wants the answer any more: a late one is dropped. Whether it was on a connection.

        :param expired: whether that is so because its time is over.
        """
        was_asked = self._forget(question)
        if was_asked:
            self._remember(question)
        elif question in self.waiting:
            self.waiting.remove(question)
        else:
            return False
        if expired:
            self.expired += 1
        else:
            self.abandoned += 1
        return was_asked

    def _forget(self, question: Question) -> bool:
        """Whether it was under way; then it is no more."""
        if self.pending.get(question.msgid) is not question:
            return False
        del self.pending[question.msgid]
        question.connection.under_way -= 1
        return True

    # ------------------------------------------------------------------ time

    def deadline(self) -> float | None:
        """When `expire` has something to do next; None while nothing is under way."""
        first = next(iter(self.pending.values()), None)
        if self.waiting and (first is None or self.waiting[0].deadline < first.deadline):
            first = self.waiting[0]
        return first.deadline if first is not None else None

    def expire(self, now: float) -> list[Failure]:
        """The questions that nobody answered in time.

        Then look at `spent`, at `wanted`, and at the `outgoing` of all connections.
        """
        late: list[Failure] = []
        for question in self.pending.values():
            if question.deadline > now:
                break
            late.append((question, Cause.DISC_TIMEOUT))
        for question, _ in late:
            del self.pending[question.msgid]
            self._remember(question)
            connection: Connection = question.connection
            connection.under_way -= 1
            connection.silent = connection.silent or connection.unheard is question
            connection.doubted = connection.answers.pending > 0
        while self.waiting and self.waiting[0].deadline <= now:
            question = self.waiting.popleft()
            late.append((question, Cause.DISC_TIMEOUT if self.connections else Cause.DISC_UNREACHABLE))
        self.expired += len(late)
        if self.waiting:
            self._fill_all()
        return late

    def spent(self) -> list[Connection]:
        """The connections that are to be closed; see `Connection.is_spent`."""
        return [connection for connection in self.connections if connection.is_spent]

    def stop(self) -> list[Failure]:
        """No more: every question that is under way has failed."""
        self._stopped = True
        left = [*self.pending.values(), *self.waiting]
        self.lost += len(left)
        self.pending.clear()
        self.waiting.clear()
        return [(question, Cause.DISC_LOST) for question in left]

    # ------------------------------------------------------------------ what there is to see

    def stats(self) -> PoolStats:
        """All counts, and what is under way now."""
        ended = self.answered + self.expired + self.lost + self.abandoned
        refused = self.refused_down + self.refused_overload
        return PoolStats(
            asked=ended + refused + len(self.pending) + len(self.waiting),
            answered=self.answered,
            expired=self.expired,
            lost=self.lost,
            abandoned=self.abandoned,
            refused_down=self.refused_down,
            refused_overload=self.refused_overload,
            asked_again=self.asked_again,
            late=self.late,
            unknown=self.unknown,
            connects=self.connects,
            connect_failures=self.connect_failures,
            connections_lost=self.connections_lost,
            under_way=len(self.pending),
            waiting=len(self.waiting),
            peers=tuple(self._stats_of(peer) for peer in self.peers),
        )

    def _stats_of(self, peer: Peer) -> PeerStats:
        connections = [connection for connection in self.connections if connection.peer is peer]
        return PeerStats(
            address=repr(peer),
            state=peer.state,
            connections=len(connections),
            opening=peer.opening,
            under_way=sum(connection.under_way for connection in connections),
        )
