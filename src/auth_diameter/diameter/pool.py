"""The pool of connections to DISC, without I/O: which one is asked, whose answer came, who waited too long.

A driver owns the sockets and the clock. It tells the pool what happened, with the time `now` (seconds,
monotonic) as an argument, and drains the events that say what to do (see `events`)::

    what happened                                       what there is to do
    ────────────────────────────────────────────────    ─────────────────────────────────────────────
    submit(question)              a question            returned: the connection that it was written to
    hold(question), release(…)    one to be asked later as submit
    opened(peer, transport)       as Open asked for     Send, Close
    failed(peer)                  that did not work     Finished, Open, Change
    received(connection, bytes)   bytes came            returned: (question, answer) …;  Send, Close, Change
    pause, resume, sent           what it can send      Send
    closed(connection)            as Close asked for,   Finished, Send, Open, Close, Change
                                  or the peer closed
    expire(now)                   `deadline` is over    Finished, Send, Open, Close, Change
    tend(now)                     `due` is over         Send, Open, Close
    stop()                        the end               Finished

Rules: of the connections that take questions (see `connection`), the one with the fewest under way is
asked. Another one is opened when all are full. What waits goes out, in order, as soon as one has room. A
question whose connection breaks is asked once more on another, never twice. All questions have the same time
limit, so that the oldest is the next to expire. While every peer is in doubt (see `peer`), all questions but
the one that finds out are refused at once. A connection has 1 MiB to be sent at most: what nobody takes is
refused at once, and so is what would wait for too long (see `limiter`).

A handshake, a watchdog and a farewell are rows of `connection`; their messages are written to
`Connection.outgoing` here, beside `Pool.submit`, and their answers are taken out in `Pool.received`.
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from auth_diameter._core import Answer, Question
from auth_diameter.config import Config
from auth_diameter.decision import Cause
from auth_diameter.diameter.connection import DOWN, OKAY, REOPEN, Connection, Event
from auth_diameter.diameter.events import Finished, Open, PoolEvent, Send
from auth_diameter.diameter.held import HeldQuestions
from auth_diameter.diameter.in_flight import InFlight, by_deadline
from auth_diameter.diameter.limiter import NO_LIMIT, Overload
from auth_diameter.diameter.peer import Peer
from auth_diameter.diameter.peer_table import PeerTable
from auth_diameter.diameter.stats import Counts, PoolStats

Placed = Connection | Cause | None  # where a question went; None: it waits


class Pool:
    """All connections of one client. Not thread-safe: its driver is.

    Args:
        max_in_flight: questions under way on one connection; None: as configured.
        jitter: function that gives a number from 0 to 1, for the rest of peers that failed.
        least: questions under way that are let through however slow DISC is.

    Attributes:
        events: those that the driver has not drained yet, see `take_events`; it stays the same list.
        peers: list of `Peer`.
        connections: list of `Connection`, those that are open.
        pending: the questions that were written, dict by msgid, in the order of deadlines.
        waiting: the questions that wait for a connection, in the order of deadlines.
        held: the questions that are not to be asked yet.
        counts: see `PoolStats`.
    """

    __slots__ = (
        "_in_flight",
        "_max_in_flight",
        "_max_waiting",
        "_overload",
        "_ready",
        "_several",
        "_stopped",
        "_table",
        "_timeout",
        "_write",
        "connections",
        "counts",
        "events",
        "held",
        "peers",
        "pending",
        "waiting",
    )

    def __init__(
        self,
        config: Config,
        max_in_flight: int | None = None,
        jitter: Callable[[], float] = random.random,
        least: int = 128,
    ) -> None:
        self._max_in_flight = max_in_flight or config.max_in_flight
        self.events: list[PoolEvent] = []
        self._table = PeerTable(config, self._max_in_flight, jitter, self.events)
        self.peers = self._table.peers
        self.connections = self._table.connections
        self._ready = self._table.ready
        self.counts = Counts()
        self._in_flight = InFlight(self.counts)
        self._write = self._in_flight.write
        self.pending = self._in_flight.pending
        self.waiting: deque[Question] = deque()
        self.held = HeldQuestions(config.max_waiting)
        self._overload = Overload(config.max_delay, least)
        self._several = len(self.peers) > 1
        self._timeout = config.timeout
        self._max_waiting = config.max_waiting
        self._stopped = False

    def take_events(self) -> list[PoolEvent]:
        """What the driver has to do, in order; each event is given once."""
        taken = self.events[:]
        self.events.clear()
        return taken

    # ------------------------------------------------------------------ asking

    def submit(self, question: Question, now: float, until: float | None = None) -> Placed:
        """Takes a question on.

        Args:
            until: its deadline, where it was held before; the caller then restores the order of deadlines.

        Returns:
            The connection that it was written to; None where it waits for one; or the Cause why it cannot be
            asked.
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
        if best is None or len(self.pending) >= self._overload.limit:
            return self._queue(question, now)
        if self._several:
            # The next of those with as few gets the next question, so that each DISC has its share.
            self._ready.remove(best)
            self._ready.append(best)
        self._write(best, question, now)
        if len(best.outgoing) > best.room or best.state is REOPEN:
            self._took_enough(best, now)
        return best

    def _took_enough(self, connection: Connection, now: float) -> None:
        """It has no room left, or was given the one question that finds out about a peer in doubt."""
        if len(connection.outgoing) > connection.room:
            connection.full = True
            self._table.refresh(connection)
        if connection.state is REOPEN:
            self._table.asked(connection, now)

    def _queue(self, question: Question, now: float) -> Cause | None:
        """No connection takes it now: it waits where one will, else the Cause."""
        if not self._table.can_accept(len(self.waiting), now):
            cause = self._table.why_not()
        elif self.is_full():
            cause = Cause.OVERLOADED
        else:
            self.waiting.append(question)
            self._table.spares_wanted = self._several
            self._open_needed(now)
            return None
        if cause is Cause.OVERLOADED:
            self.counts.refused_overload += 1
        else:
            self.counts.refused_down += 1
        return cause

    def is_full(self) -> bool:
        """Whether a question would be refused because of all those under way and waiting."""
        waiting = len(self.waiting)
        return waiting >= self._max_waiting or len(self.pending) + waiting >= self._overload.limit

    def hold(self, question: Question, now: float) -> Cause | None:
        """Takes a question on that is not to be asked yet, see `release`.

        As many may be held as may wait, and in so many bytes that a driver which bounds those of all requests
        has room for others: those who do not guess are not refused for that.

        Returns:
            The Cause why it cannot be; None: it is held.
        """
        question.deadline = now + self._timeout
        if self.is_full() or not self.held.add(question):
            self.counts.refused_overload += 1
            return Cause.OVERLOADED
        return None

    def drop(self, question: Question) -> None:
        """Forgets a question that was held and is not to be asked at all."""
        self.held.drop(question)

    def release(self, questions: list[Question], now: float) -> list[tuple[Question, Placed]]:
        """Asks questions that were held.

        Returns:
            Where each went, as `submit` says it.
        """
        placed: list[tuple[Question, Placed]] = []
        for question in questions:
            self.held.drop(question)
            placed.append((question, self.submit(question, now, question.deadline)))
        # They are older than those that were asked meanwhile.
        self._in_flight.sort()
        if self.waiting:
            self.waiting = deque(by_deadline(self.waiting))
        return placed

    # ------------------------------------------------------------------ questions that wait

    def _fill(self, connection: Connection, now: float) -> None:
        """Gives a connection with room the questions that wait."""
        filled: list[Question] = []
        asked_again = 0
        while self.waiting and connection.takes_questions and connection.under_way < self._max_in_flight:
            question = self.waiting.popleft()
            self._write(connection, question, now)
            if len(connection.outgoing) > connection.room or connection.state is REOPEN:
                self._took_enough(connection, now)
            filled.append(question)
            asked_again += question.attempts > 1
        if asked_again:
            self.counts.asked_again += asked_again
            self._in_flight.sort()
        if filled:
            self.events.append(Send(connection, filled))

    def _fill_all(self, now: float) -> None:
        for connection in list(self._ready):
            if not self.waiting:
                break
            self._fill(connection, now)

    def _open_needed(self, now: float) -> None:
        """Asks the driver for the connections that are needed."""
        while not self._stopped and (peer := self._table.claim_connect(len(self.waiting), now)) is not None:
            self.events.append(Open(peer))

    def _refuse_waiting(self, now: float) -> None:
        """Ends the questions that wait, where no peer is left that could take them."""
        if self.waiting:
            self._table.retry(now)
            self._fill_all(now)
        if not self.waiting or self._table.worth_waiting(len(self.waiting), now):
            return
        cause = self._table.why_not()
        self.counts.refused_down += len(self.waiting)
        self._finish(self.waiting, cause)
        self.waiting.clear()

    def _finish(self, questions: Iterable[Question], cause: Cause) -> None:
        self.events.extend(Finished(question, cause) for question in questions)

    # ------------------------------------------------------------------ connections

    def opened(self, peer: Peer, transport: Any, now: float) -> Connection:
        """A connection was opened, as the event Open asked for.

        Args:
            transport: what the driver keeps as `Connection.transport`.
        """
        self.counts.connects += 1
        connection = self._table.opened(peer, transport, now)
        self._fill(connection, now)
        self._open_needed(now)
        return connection

    def failed(self, peer: Peer, now: float, why: str = "") -> None:
        """A connection could not be opened, as the event Open asked for.

        Args:
            why: the reason, for the `Change`.
        """
        peer.opening -= 1
        if self._stopped:
            return
        self.counts.connect_failures += 1
        self._table.failed(peer, now, why)
        self._refuse_waiting(now)
        self._open_needed(now)

    def closed(self, connection: Connection, now: float) -> None:
        """A connection is gone: its questions wait for another, or have failed for good.

        To be called once its socket is closed, whoever closed it; a second call does nothing.
        """
        if connection not in self.connections:
            return
        was_given_up = connection.state is DOWN
        self._table.remove(connection)
        if not self._stopped:
            self.counts.connections_lost += 1
        again, ended = self._in_flight.take_back(connection, now)
        if was_given_up:
            self.counts.expired += len(ended)
            self._finish(ended, Cause.DISC_TIMEOUT)
        else:
            self.counts.lost += len(ended)
            self._finish(ended, Cause.DISC_LOST)
            if not self._stopped:
                self._table.lost(connection, len(again) + len(ended), now)
        if again:
            # They are older than those that wait already: deadlines stay in order.
            self.waiting = deque(by_deadline([*again, *self.waiting]))
            self._fill_all(now)
        # Where others have a connection, the next question opens one here as well.
        self._table.be_due(now)
        self._refuse_waiting(now)
        self._open_needed(now)

    def pause(self, connection: Connection) -> None:
        """The driver cannot send more for now: no more questions go there until `resume`."""
        connection.paused = True
        self._table.refresh(connection)

    def resume(self, connection: Connection, now: float) -> None:
        """It can again."""
        connection.paused = False
        if connection.outgoing:
            self.events.append(Send(connection))
        self.sent(connection, now)

    def sent(self, connection: Connection, now: float) -> None:
        """The driver took away what was in `outgoing`; to be called where it was `full`."""
        connection.full = False
        self._table.refresh(connection)
        self._fill(connection, now)

    # ------------------------------------------------------------------ what comes back

    def received(self, connection: Connection, data: bytes, now: float) -> list[tuple[Question, Answer]]:
        """Bytes came on a connection.

        An answer may come on another connection than its question went out on.

        Returns:
            The answers in them, each with its question.
        """
        answers = connection.answers
        found = answers.feed(data, self.pending)
        if found:
            for question, _ in found:
                question.connection.under_way -= 1
            self.counts.answered += len(found)
            if now >= self._overload.due:
                self._measure(question, now)
            if self._overload.limit != NO_LIMIT and not self.pending:
                self._overload.calm()
        elif answers.fault is not None:
            self._table.step(connection, Event.FAULT)
            return found
        self._heard(connection, now)
        return found

    def received_by(self, question: Question, data: bytes, now: float) -> Answer | None:
        """The same for a driver that reads a connection for the one question on it.

        Args:
            data: b"": the peer has closed the connection.
        """
        connection: Connection = question.connection
        answers = connection.answers
        found = answers.feed(data, {question.msgid: question})
        if found:
            self.counts.answered += self._in_flight.forget(question)
            if now >= self._overload.due:
                self._measure(question, now)
            if self._overload.limit != NO_LIMIT and not self.pending:
                self._overload.calm()
        elif answers.fault is not None:
            self._table.step(connection, Event.FAULT)
            return None
        elif not data:
            return None
        if connection.full:
            # Such a driver sends all of a question before it reads.
            connection.full = False
            self._table.refresh(connection)
        self._heard(connection, now)
        return found[0][1] if found else None

    def _heard(self, connection: Connection, now: float) -> None:
        """Bytes came that are Diameter."""
        connection.asked_at = None
        connection.heard_at = now
        answers = connection.answers
        if (
            answers.pending
            or connection.state is not OKAY
            or connection.peer.state != "up"
            or answers.fault is not None
        ):
            self._table.heard(connection, now)
        if answers.strays:
            self._in_flight.count_strays(answers.strays)
        if self.waiting:
            self._fill_all(now)
            self._open_needed(now)

    def _measure(self, question: Question, now: float) -> None:
        took = now - question.deadline + self._timeout
        self._overload.measure(now, self.counts.answered, took)

    def abandon(self, question: Question) -> bool:
        """Nobody wants the answer any more: a late one is dropped.

        Returns:
            Whether it was on a connection, which then may hold half of it, or of its answer.
        """
        if self._in_flight.give_up(question):
            self.counts.abandoned += 1
            return True
        if question in self.waiting:
            self.waiting.remove(question)
            self.counts.abandoned += 1
        return False

    # ------------------------------------------------------------------ time

    @property
    def due(self) -> float:
        """When `tend` has something to do, seconds; the driver looks at it when it asks."""
        return self._table.due

    def be_due(self, when: float) -> None:
        """Moves `due` to `when`, if that is earlier."""
        self._table.be_due(when)

    def tend(self, now: float) -> None:
        """Time has passed, and it is `due`: a peer in doubt is tried again."""
        self._tend(now)
        self._open_needed(now)

    def _tend(self, now: float) -> None:
        self._table.tend(now)
        if self.waiting:
            self._fill_all(now)

    def patience(self, connection: Connection) -> float | None:
        """Until when a question that finds out about a peer in doubt waits there, see `give_up`.

        Returns:
            None: as long as any other question.
        """
        return self._table.patience(connection)

    def give_up(self, connection: Connection) -> None:
        """That time is over, as a driver knows that waits for the question: it is to be closed."""
        self._table.step(connection, Event.PATIENCE_OVER)

    def deadline(self) -> float | None:
        """When `expire` has something to do next; None while nothing is under way."""
        firsts = (
            next(iter(self.pending.values()), None),
            self.waiting[0] if self.waiting else None,
            self.held.first(),
        )
        return min((question.deadline for question in firsts if question is not None), default=None)

    def expire(self, now: float) -> None:
        """Time has passed: ends the questions that nobody answered in time; tends, too, if it is `due`."""
        late = list(itertools.takewhile(lambda question: question.deadline <= now, self.pending.values()))
        for question in late:
            self._in_flight.give_up(question)
            self._expire_pending(question, now)
        self._finish(late, Cause.DISC_TIMEOUT)
        while self.waiting and self.waiting[0].deadline <= now:
            self.counts.expired += 1
            self._finish([self.waiting.popleft()], self._why_expired())
        while (held := self.held.first()) is not None and held.deadline <= now:
            self.held.drop(held)
            self.counts.expired += 1
            self._finish([held], Cause.DISC_TIMEOUT)
        if self.waiting:
            self._fill_all(now)
        if now >= self.due:
            self._tend(now)
        self._open_needed(now)

    def expire_one(self, question: Question, now: float) -> Cause:
        """Ends one question that was not answered in time, as its driver knows.

        Returns:
            The Cause.
        """
        if self._in_flight.give_up(question):
            self._expire_pending(question, now)
            return Cause.DISC_TIMEOUT
        if question in self.waiting:
            self.waiting.remove(question)
            self.counts.expired += 1
        return self._why_expired()

    def _expire_pending(self, question: Question, now: float) -> None:
        """One that was under way, and is no more."""
        self.counts.expired += 1
        if not self.pending:
            self._overload.calm()
        self._table.expired(question.connection, now)

    def _why_expired(self) -> Cause:
        """Of a question that waited for a connection."""
        return Cause.DISC_TIMEOUT if self.connections else Cause.DISC_UNREACHABLE

    def stop(self) -> None:
        """No more: every question that is under way has failed."""
        self._stopped = True
        left = [*self.pending.values(), *self.waiting, *self.held.clear()]
        self.counts.lost += len(left)
        self.pending.clear()
        self.waiting.clear()
        self._finish(left, Cause.DISC_LOST)

    # ------------------------------------------------------------------ what there is to see

    def stats(self) -> PoolStats:
        """All counts, and what is under way now."""
        return self.counts.stats(len(self.pending), len(self.waiting), self._table.stats())
