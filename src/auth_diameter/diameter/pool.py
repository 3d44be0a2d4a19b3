"""The connections to DISC, without I/O: which one asks, whose answer came, who waited too long.

A driver owns the sockets and the clock. It tells the pool what happened, with the time ``now``
(seconds, monotonic) as an argument, and does what the pool says::

    submit(question) ──► Connection.outgoing      bytes to send on that connection
                    └──► wanted() → Peer          a connection to open; then opened() or failed()
    hold(question) ──► release(questions) ──► as submit
    received(connection, bytes) ──► (question, answer) …
    closed(connection), failed(peer), expire(now) ──► (question, Cause) …   the ones without an answer
    spent() ──► Connection …                      to be closed: DISC hangs, or talks nonsense
    tend(now), once `due` is over                 a DISC in doubt is tried again

Rules: of the connections to those DISC that answer, the one with the fewest questions under way is asked;
another one is opened when all are full; what waits goes out, in order, as soon as one has room. What is held
waits for the end of others first, which its driver sees. A question whose connection breaks is asked once
more on another, never twice. All questions have the same time limit, so that the oldest is the next to
expire. A DISC in doubt (see `peer`) gets a single question now and then;
while no other is left, all others are refused at once. A connection has 1 MiB to be sent at most: what
nobody takes is refused at once, and so is what would wait for too long (see `overload`).
"""

from __future__ import annotations

import itertools
import math
import os
import random
import secrets
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from auth_diameter._core import Answer, Question, append_question
from auth_diameter.config import Config
from auth_diameter.decision import Cause
from auth_diameter.diameter.limiter import NO_LIMIT, Overload
from auth_diameter.diameter.peer import Change, Connection, Peer, PeerState
from auth_diameter.diameter.stats import PeerStats, PoolStats

# The dialect matches answers by SIP-MSGID, and the original DISC may put an answer on a connection
# that was opened after the question was asked: ids are unique in the process and start anywhere.
_msgids: Iterator[int] = itertools.count(secrets.randbits(32))


def _start_msgids_anew() -> None:
    global _msgids  # noqa: PLW0603 - of this process, and no longer of its parent
    _msgids = itertools.count(secrets.randbits(32))


os.register_at_fork(after_in_child=_start_msgids_anew)

_KEPT_LATE = 10_000  # ids of questions without an answer that are remembered, to know a late one

_MOST_HELD_BYTES = 8 << 20  # of the requests that are held

_PATIENCE = 0.25  # seconds that a question to a DISC in doubt waits, where another can be asked
_SUSPECT = 0.05  # seconds that others are asked rather than a DISC that has just broken a connection
_BRIEF = 1.0  # seconds: a DISC that hangs up sooner, though nothing was asked, does not want us

Failure = tuple[Question, Cause]
Placed = Connection | Cause | None  # where a question went; None: it waits


class Pool:
    """All connections of one client. Not thread-safe: its driver is.

    :param max_in_flight: questions under way on one connection; None: as configured.
    :param jitter: function that gives a number from 0 to 1, for the rest of peers that failed.
    :param least: questions under way that are let through however slow DISC is.
    :param changed: function that is called, in the middle of whatever is done, with each `Change`.
    :ivar due: when `tend` has something to do; the driver looks at it when it asks.
    """

    # Beyond some thirty attributes Python finds those of an object with a dictionary more slowly.
    __slots__ = (
        "_changed",
        "_jitter",
        "_late",
        "_limit",
        "_max_connections",
        "_max_in_flight",
        "_max_message",
        "_max_waiting",
        "_overload",
        "_ready",
        "_several",
        "_spares",
        "_stopped",
        "_timeout",
        "abandoned",
        "answered",
        "asked_again",
        "connect_failures",
        "connections",
        "connections_lost",
        "connects",
        "due",
        "expired",
        "held",
        "held_size",
        "late",
        "lost",
        "peers",
        "pending",
        "refused_down",
        "refused_overload",
        "unknown",
        "waiting",
    )

    def __init__(
        self,
        config: Config,
        max_in_flight: int | None = None,
        jitter: Callable[[], float] = random.random,
        least: int = 128,
        changed: Callable[[Change], object] = lambda change: None,
    ) -> None:
        self.peers = [Peer(host, port) for host, port in config.addresses()]
        self.connections: list[Connection] = []
        self.pending: dict[int, Question] = {}  # by msgid, in the order of deadlines
        self.waiting: deque[Question] = deque()  # for a connection, in the order of deadlines
        self.held: dict[Question, None] = {}  # not to be asked yet, in the order of deadlines
        self.held_size = 0  # bytes of their requests
        self.due = math.inf
        self._ready: list[Connection] = []  # those that may be given questions
        self._overload = Overload(config.max_delay, least)
        self._limit = NO_LIMIT  # questions under way from which on the next is refused
        self._late: dict[int, bool] = {}  # ids of questions without an answer, the newest last
        self._spares = False  # whether a connection is wanted to each DISC that has none
        self._several = len(self.peers) > 1
        self._timeout = config.timeout
        self._max_connections = config.max_connections
        self._max_in_flight = max_in_flight or config.max_in_flight
        self._max_waiting = config.max_waiting
        self._max_message = config.max_diameter_message
        self._jitter = jitter
        self._changed = changed
        self._stopped = False
        # See PoolStats.
        self.answered = self.expired = self.lost = self.abandoned = 0
        self.refused_down = self.refused_overload = self.asked_again = 0
        self.late = self.unknown = 0
        self.connects = self.connect_failures = self.connections_lost = 0

    # ------------------------------------------------------------------ asking

    def submit(self, question: Question, now: float, until: float | None = None) -> Placed:
        """Takes a question on.

        The connection that it was written to; None where it waits for one, see `wanted`; or the
        Cause why it cannot be asked. Then look at `due`.

        :param until: its deadline, where it was held before; then see to it that deadlines are in order.
        """
        question.deadline = now + self._timeout if until is None else until
        best = None
        least = self._max_in_flight
        for connection in self._ready:
            under_way = connection.under_way
            if under_way < least:
                best = connection
                if not under_way:
                    break
                least = under_way
        if best is None or len(self.pending) >= self._limit:
            return self._queue(question, now)
        if self._several:
            # The next of those with as few gets the next question, so that each DISC has its share.
            self._ready.remove(best)
            self._ready.append(best)
        self._write(best, question, now)
        return best

    def hold(self, question: Question, now: float) -> Cause | None:
        """Takes a question on that is not to be asked yet; or the Cause why not. See `release`.

        So many may be held as may wait, and in so many bytes that a driver which bounds those of all requests
        has room for others: those who do not guess are not refused for that.
        """
        question.deadline = now + self._timeout
        size = question.request.data_size
        if len(self.held) >= self._max_waiting or self.held_size + size > _MOST_HELD_BYTES or self.is_full():
            self.refused_overload += 1
            return Cause.OVERLOADED
        self.held[question] = None
        self.held_size += size
        return None

    def drop(self, question: Question) -> None:
        """One that was held is not to be asked at all."""
        if question in self.held:
            del self.held[question]
            self.held_size -= question.request.data_size

    def release(
        self, questions: list[Question], now: float
    ) -> list[tuple[Question, Connection | Cause | None]]:
        """Asks those that were held; where each went, as `submit` says it."""
        placed: list[tuple[Question, Connection | Cause | None]] = []
        for question in questions:
            self.drop(question)
            placed.append((question, self.submit(question, now, question.deadline)))
        # They are older than those that were asked meanwhile.
        self._sort_pending()
        if self.waiting:
            self.waiting = deque(sorted(self.waiting, key=lambda question: question.deadline))
        return placed

    def _write(self, connection: Connection, question: Question, now: float) -> None:
        msgid = next(_msgids) & 0xFFFFFFFF
        append_question(connection.outgoing, question, msgid)
        question.connection = connection
        self.pending[msgid] = question
        connection.under_way += 1
        if connection.asked_at is None:
            connection.asked_at = now
        if len(connection.outgoing) > connection.most:
            self._took_enough(connection, now)

    def _took_enough(self, connection: Connection, now: float) -> None:
        """It has no room left, or was given the one question that finds out about a DISC in doubt."""
        connection.full = True
        self._update(connection)
        if connection.peer.in_doubt:
            connection.peer.probed(now)
            connection.probe_until = now + _PATIENCE
            self._be_due(connection.probe_until if self._several else connection.peer.rest_until)

    def _queue(self, question: Question, now: float) -> Cause | None:
        """No connection takes it now: it waits where one will, else the Cause."""
        if not any(self._gives_hope(peer, now) for peer in self.peers):
            cause = self._why_nobody()
        elif self.is_full():
            cause = Cause.OVERLOADED
        else:
            self.waiting.append(question)
            self._spares = self._several
            return None
        if cause is Cause.OVERLOADED:
            self.refused_overload += 1
        else:
            self.refused_down += 1
        return cause

    def is_full(self) -> bool:
        """Whether a question would be refused because of all those under way and waiting."""
        waiting = len(self.waiting)
        return waiting >= self._max_waiting or len(self.pending) + waiting >= self._limit

    def _gives_hope(self, peer: Peer, now: float) -> bool:
        """Whether a question that begins to wait now may go there."""
        if peer.in_doubt:
            if peer.opening:
                return not self.waiting  # a single one waits for the outcome
            if peer.rest_until > now:
                return False
            return self._has_place() or any(c.under_way < self._max_in_flight for c in self._of(peer))
        taking = [not connection.paused for connection in self._of(peer)]
        # Another connection to a DISC that does not read what it has would fill up as well.
        return any(taking) if taking else peer.opening > 0 or self._has_place()

    def _why_nobody(self) -> Cause:
        """Why no DISC takes a question."""
        if not all(peer.in_doubt for peer in self.peers):
            return Cause.OVERLOADED
        silent = any(peer.state == "silent" for peer in self.peers)
        return Cause.DISC_TIMEOUT if silent else Cause.DISC_UNREACHABLE

    def _of(self, peer: Peer) -> list[Connection]:
        """Its connections that are of use."""
        return [c for c in self.connections if c.peer is peer and not (c.silent or c.closing)]

    # ------------------------------------------------------------------ opening

    def _opening(self) -> int:
        return sum(peer.opening for peer in self.peers)

    def _has_place(self) -> bool:
        return len(self.connections) + self._opening() < self._max_connections

    def wanted(self, now: float) -> Peer | None:
        """The peer to open a connection to now, which counts as on the way from here on; or None."""
        needed = len(self.waiting) > self._opening() * self._max_in_flight
        if not (needed or self._spares) or not self._has_place():
            return None
        best = None
        least = (True, 0)
        for peer in self.peers:
            if peer.rest_until > now or self._is_suspect(peer, now):
                continue
            connections = self._of(peer)
            count = len(connections) + peer.opening
            if peer.in_doubt:
                # A single connection finds out.
                if peer.opening or any(c.under_way < self._max_in_flight for c in connections):
                    continue
            elif count and not (needed and self._gives_hope(peer, now)):
                continue
            # The one with the fewest, so that several DISC share the work.
            rank = (peer.in_doubt, count)
            if best is None or rank < least:
                best, least = peer, rank
        if best is None:
            self._spares = False
            return None
        best.opening += 1
        if best.in_doubt:
            best.probing = True
            best.probed(now)
        return best

    def opened(self, peer: Peer, transport: Any, now: float) -> Connection:
        """A connection was opened; the questions that waited are in its `outgoing` now."""
        peer.opening -= 1
        peer.probing = False
        self.connects += 1
        connection = Connection(peer, transport, now, self._max_message)
        self.connections.append(connection)
        # One that was on its way when others broke may be as dead as they are.
        connection.suspect = connection.silent = self._is_suspect(peer, now)
        if peer.in_doubt:
            self._let_one_through(connection)
        else:
            self._update(connection)
        self.fill(connection, now)
        return connection

    def _is_suspect(self, peer: Peer, now: float) -> bool:
        """Whether it has just broken a connection, and another can be asked meanwhile."""
        return now < peer.suspect_until and any(
            not other.in_doubt and other.suspect_until <= now for other in self.peers
        )

    def _let_one_through(self, connection: Connection) -> None:
        """The next question goes there, and finds out about a DISC in doubt."""
        connection.most = 0
        connection.full = False
        self._update(connection)

    def _update(self, connection: Connection) -> None:
        """Whether it may be given questions is to be seen anew."""
        ready = not (
            connection.paused
            or connection.full
            or connection.suspect
            or connection.silent
            or connection.doubted
            or connection.closing
            or (connection.most and connection.peer.in_doubt)
        )
        if ready and not connection.ready:
            self._ready.insert(0, connection)
        elif connection.ready and not ready:
            self._ready.remove(connection)
        connection.ready = ready

    def fill(self, connection: Connection, now: float) -> list[Question]:
        """Gives a connection with room the questions that wait; which ones."""
        filled = []
        again = False
        while self.waiting and connection.ready and connection.under_way < self._max_in_flight:
            question = self.waiting.popleft()
            self._write(connection, question, now)
            filled.append(question)
            if question.attempts > 1:
                again = True
                self.asked_again += 1
        if again:
            self._sort_pending()
        return filled

    def _fill_all(self, now: float) -> None:
        for connection in list(self._ready):
            if not self.waiting:
                break
            self.fill(connection, now)

    def failed(self, peer: Peer, now: float, why: str = "") -> list[Failure]:
        """A connection could not be opened; the questions that now have no hope left.

        :param why: the reason, for the `Change`.
        """
        peer.opening -= 1
        if self._stopped:
            return []
        self.connect_failures += 1
        # Of many attempts at a time the first tells all; of one that finds out, its own.
        if peer.rest_until <= now or peer.probing:
            self._rest(peer, now, why)
        return self._give_up_hope(now)

    def _rest(self, peer: Peer, now: float, why: str) -> None:
        peer.back_off(now, self._jitter())
        self._be_due(peer.rest_until)
        if not self._of(peer):
            self._into_doubt(peer, "down", now, why)

    def _into_doubt(self, peer: Peer, state: PeerState, now: float, why: str = "") -> None:
        """Its breaker opens, or stays open for another reason."""
        was, peer.state = peer.state, state
        for connection in self.connections:
            if connection.peer is peer:
                connection.silent = connection.silent or state == "silent"
                self._update(connection)
        self._be_due(peer.rest_until)
        if was != state:
            self._tell(peer, why, peer.rest_until - now)

    def _tell(self, peer: Peer, why: str = "", rest: float = 0.0) -> None:
        self._changed(Change(address=repr(peer), state=peer.state, why=why, rest=rest))

    def _give_up_hope(self, now: float) -> list[Failure]:
        """The questions that wait, where no DISC is left that could take them.

        Of one in doubt, only the attempt that finds out gives hope: the others began before it failed.
        """
        if self.waiting:
            self._probe(now)
        if not self.waiting or any(
            not peer.in_doubt or peer.probing or self._gives_hope(peer, now) for peer in self.peers
        ):
            return []
        cause = self._why_nobody()
        hopeless = [(question, cause) for question in self.waiting]
        self.refused_down += len(hopeless)
        self.waiting.clear()
        return hopeless

    # ------------------------------------------------------------------ what the driver can send

    def pause(self, connection: Connection) -> None:
        """The driver cannot send more for now: no more questions go there until `resume`."""
        connection.paused = True
        self._update(connection)

    def give_up(self, connection: Connection) -> None:
        """The driver closes it, and calls `closed` later: no more questions go there."""
        connection.closing = True
        self._update(connection)

    def resume(self, connection: Connection, now: float) -> None:
        """It can again; questions that waited may be in its `outgoing` now."""
        connection.paused = False
        self.sent(connection, now)

    def sent(self, connection: Connection, now: float) -> None:
        """The driver took away what was in `outgoing`; questions that waited may be there instead."""
        if connection.full and connection.most:
            connection.full = False
        self._update(connection)
        self.fill(connection, now)

    # ------------------------------------------------------------------ what comes back

    def received(self, connection: Connection, data: bytes, now: float) -> list[tuple[Question, Answer]]:
        """Bytes came: the answers in them, each with its question.

        Then look at `connection.is_spent`, at `wanted`, and at the `outgoing` of all connections where
        questions wait: an answer may come on another connection than its question went out on.
        """
        answers = connection.answers
        found = answers.feed(data, self.pending)
        if found:
            for question, _ in found:
                question.connection.under_way -= 1
            self.answered += len(found)
            if now >= self._overload.due:
                self._measure(question, now)
            if self._limit != NO_LIMIT and not self.pending:
                self._calm_down()
        elif answers.fault is not None:
            return found
        connection.asked_at = None
        connection.heard_at = now
        if connection.peer.state != "up" or connection.suspect:
            self._is_up(connection, now)
        if answers.pending or connection.doubted:
            self._doubt(connection)
        if answers.strays:
            self._count_strays(connection)
        if self.waiting:
            self._fill_all(now)
        return found

    def received_by(self, question: Question, data: bytes, now: float) -> Answer | None:
        """The same for a driver that reads a connection for the one question on it."""
        connection: Connection = question.connection
        answers = connection.answers
        found = answers.feed(data, {question.msgid: question})
        if found:
            self.answered += self._forget(question)
            if now >= self._overload.due:
                self._measure(question, now)
            if self._limit != NO_LIMIT and not self.pending:
                self._calm_down()
        elif answers.fault is not None or not data:
            return None
        connection.asked_at = None
        connection.heard_at = now
        if connection.peer.state != "up" or connection.suspect:
            self._is_up(connection, now)
        if answers.pending or connection.doubted:
            self._doubt(connection)
        if answers.strays:
            self._count_strays(connection)
        return found[0][1] if found else None

    def _doubt(self, connection: Connection) -> None:
        if not connection.answers.pending:
            connection.doubted = False
        elif not connection.under_way:
            connection.doubted = True
        self._update(connection)

    def _is_up(self, connection: Connection, now: float) -> None:
        """A byte came, where that is news."""
        peer = connection.peer
        if connection.suspect and now < peer.suspect_until:
            connection.silent = not connection.under_way
        else:
            connection.suspect = False
        self._update(connection)
        if peer.state == "up":
            return
        peer.heard()
        for other in self.connections:
            if other.peer is peer:
                other.most = other.room
                other.full = len(other.outgoing) > other.room
                other.probe_until = None
                self._update(other)
        self._tell(peer)

    def _measure(self, question: Question, now: float) -> None:
        took = now - question.deadline + self._timeout
        self._limit = self._overload.measure(now, self.answered, took)

    def _calm_down(self) -> None:
        """Nothing is under way."""
        self._overload.calm()
        self._limit = NO_LIMIT

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

    def closed(self, connection: Connection, now: float) -> list[Failure]:
        """A connection is gone: its questions wait for another, or have failed for good.

        Then look at `spent`, at `wanted`, and at the `outgoing` of all connections.
        """
        if connection not in self.connections:
            return []
        self.connections.remove(connection)
        if connection.ready:
            self._ready.remove(connection)
            connection.ready = False
        self.connections_lost += not self._stopped
        again: list[Question] = []
        failures: list[Failure] = []
        for question in [q for q in self.pending.values() if q.connection is connection]:
            del self.pending[question.msgid]
            self._remember(question)
            question.connection = None
            if question.attempts < 2 and question.deadline > now:
                again.append(question)
            elif connection.silent:
                self.expired += 1
                failures.append((question, Cause.DISC_TIMEOUT))
            else:
                self.lost += 1
                failures.append((question, Cause.DISC_LOST))
        if not connection.silent and not self._stopped:
            self._judge_loss(connection, bool(again or failures), now)
        connection.silent = True
        if again:
            # They are older than those that wait already: deadlines stay in order.
            merged = sorted([*again, *self.waiting], key=lambda question: question.deadline)
            self.waiting = deque(merged)
            self._fill_all(now)
        self._be_due(now)  # where others have a connection, the next question opens one here as well
        return failures + self._give_up_hope(now)

    def _judge_loss(self, connection: Connection, was_used: bool, now: float) -> None:
        """What it says about its DISC that a connection broke."""
        peer = connection.peer
        if was_used:
            # The others to the same DISC may be broken as well: those at rest are of no use, and those
            # with questions under way get no more until a byte comes.
            if self._several:
                # A process that dies closes one after the other; what one of them took is not given to
                # the next of them, since the second try is the last.
                peer.suspect_until = now + _SUSPECT
            for other in self._of(peer):
                other.suspect = True
                other.silent = not other.under_way
                self._update(other)
        if connection.heard_at is None and (was_used or now - connection.opened_at < _BRIEF):
            peer.lost_one(now, self._jitter())
        if peer.rest_until > now and not self._of(peer):
            self._into_doubt(peer, "down", now, "it hangs up")

    def _sort_pending(self) -> None:
        ordered = sorted(self.pending.items(), key=lambda item: item[1].deadline)
        self.pending.clear()
        self.pending.update(ordered)

    def abandon(self, question: Question) -> bool:
        """Nobody wants the answer any more: a late one is dropped. Whether it was on a connection."""
        if self._forget(question):
            self._remember(question)
            self.abandoned += 1
            return True
        if question in self.waiting:
            self.waiting.remove(question)
            self.abandoned += 1
        return False

    def _forget(self, question: Question) -> bool:
        """Whether it was under way; then it is no more."""
        if self.pending.get(question.msgid) is not question:
            return False
        del self.pending[question.msgid]
        question.connection.under_way -= 1
        return True

    # ------------------------------------------------------------------ time

    def _be_due(self, when: float) -> None:
        self.due = min(self.due, when)

    def tend(self, now: float) -> None:
        """Sees to the DISC in doubt, at the first question at or after `due`: once a second one finds out.

        Then look at `spent`, at `wanted`, and at the `outgoing` of all connections.
        """
        self.due = math.inf
        self._spares = True
        for connection in self.connections:
            until = self.patience(connection)
            if until is not None and until <= now:
                # Its question is asked elsewhere; it has told what there was to be told.
                connection.silent = True
            elif until is not None:
                self._be_due(until)
        self._probe(now)
        for peer in self.peers:
            if peer.in_doubt and peer.rest_until > now:
                self._be_due(peer.rest_until)
            elif self._is_suspect(peer, now):
                self._be_due(peer.suspect_until)  # it may have no connection left, and is to get one then

    def _probe(self, now: float) -> None:
        """Lets a question through to each DISC in doubt that has rested and has a connection with room."""
        for peer in self.peers:
            if peer.in_doubt and peer.rest_until <= now:
                for connection in self._of(peer):
                    if not connection.ready and connection.under_way < self._max_in_flight:
                        peer.probed(now)
                        self._let_one_through(connection)
                        break
        if self.waiting:
            self._fill_all(now)

    def patience(self, connection: Connection) -> float | None:
        """Until when a question waits that finds out about a DISC in doubt, and then goes to another."""
        if connection.probe_until is None or all(peer.in_doubt for peer in self.peers):
            return None
        return connection.probe_until

    def deadline(self) -> float | None:
        """When `expire` has something to do next; None while nothing is under way."""
        first = next(iter(self.pending.values()), None)
        if self.waiting and (first is None or self.waiting[0].deadline < first.deadline):
            first = self.waiting[0]
        if self.held:
            held = next(iter(self.held))
            if first is None or held.deadline < first.deadline:
                first = held
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
            self.expire_one(question, now)
        while self.waiting and self.waiting[0].deadline <= now:
            question = self.waiting.popleft()
            self.expired += 1
            late.append((question, Cause.DISC_TIMEOUT if self.connections else Cause.DISC_UNREACHABLE))
        while self.held and (question := next(iter(self.held))).deadline <= now:
            self.drop(question)
            self.expired += 1
            late.append((question, Cause.DISC_TIMEOUT))
        if self.waiting:
            self._fill_all(now)
        return late

    def expire_one(self, question: Question, now: float) -> Cause:
        """A question was not answered in time, as its driver knows; the Cause.

        Then look at the same.
        """
        if not self._forget(question):
            if question in self.waiting:
                self.waiting.remove(question)
                self.expired += 1
            return Cause.DISC_TIMEOUT if self.connections else Cause.DISC_UNREACHABLE
        self.expired += 1
        self._remember(question)
        if not self.pending:
            self._calm_down()
        connection: Connection = question.connection
        asked_at = connection.asked_at
        # One that had to wait for the connection may have left DISC too little time to say anything.
        connection.doubted = connection.answers.pending > 0
        if connection.suspect:
            connection.silent = True
        elif asked_at is not None and now - asked_at >= self._timeout / 2:
            connection.silent = True
            peer = connection.peer
            heard = (c.heard_at for c in self.connections if c.peer is peer and c.heard_at is not None)
            if max(heard, default=-math.inf) <= asked_at:
                if not peer.in_doubt:
                    others = any(other is not peer and not other.in_doubt for other in self.peers)
                    more = any(c.under_way for c in self.connections if c.peer is peer)
                    peer.says_nothing(now, single=not (others or more))
                    self._into_doubt(peer, "silent", now)
                elif peer.state != "silent":
                    peer.state = "silent"
                    self._tell(peer)
        self._update(connection)
        return Cause.DISC_TIMEOUT

    def spent(self) -> list[Connection]:
        """The connections that are to be closed; see `Connection.is_spent`."""
        return [connection for connection in self.connections if connection.is_spent]

    def stop(self) -> list[Failure]:
        """No more: every question that is under way has failed."""
        self._stopped = True
        left = [*self.pending.values(), *self.waiting, *self.held]
        self.lost += len(left)
        self.pending.clear()
        self.waiting.clear()
        self.held.clear()
        self.held_size = 0
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
