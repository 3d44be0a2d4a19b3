"""The pool of connections to DISC, without I/O: it places questions, matches answers and expires questions.

A driver owns the sockets and the clock. It calls the pool with what happened and the time `now` (seconds,
monotonic). Then it drains the events that say what to do, see `events`::

    call                          what happened         result and events
    ────────────────────────────────────────────────    ─────────────────────────────────────────────
    submit(question)              a caller asks         result: its connection, if it has one;  Open
    connect()                     the client starts     Open
    hold(question)                not to be asked yet   result: the Cause why it cannot be held
    release(questions)            may be asked now      results as of submit
    opened(peer, transport)       Open was carried out  Send, Open, Close
    failed(peer)                  Open failed           Send, Finished, Open, Change
    received(connection, bytes)   bytes came            result: the answers;  Send, Open, Close, Change
    pause, resume, sent           flow control          Send
    closed(connection)            by us or the peer     Finished, Send, Open, Close, Change
    expire(now)                   `deadline` is over    Finished, Send, Open, Close, Change
    tend(now)                     `due` is over         Send, Open, Close
    stop()                        the client is closed  Finished

The rules:

* A question goes to the connection with the fewest questions under way, of those that take questions (see
  `connection`). When all are full, another connection is opened.
* Questions that wait are sent in order, as soon as a connection has room (see `waiting`).
* A question whose connection breaks is asked once more on another connection, never twice (see `failover`).
* All questions have the same time limit, so the oldest question is the next to expire.
* While every peer is in doubt (see `peer`), all questions but the probe are refused at once.
* A connection has 1 MiB to be sent at most. A question that no connection takes is refused at once, and so is
  a question that would wait too long (see `limiter`).

With standard Diameter there is a base protocol as well, see `neighbours`: a new connection first exchanges
capabilities, and a watchdog asks idle peers whether they are alive. If an answer says that the server cannot
be reached or is too busy (3002, 3004; RFC 6733, 7.1.3), another peer is asked, once. If the answer names
another server (3006), that one is asked, see `redirects`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from auth_diameter._core import Answer, InFlight, Message, Question, next_hop_by_hop
from auth_diameter.config import Config
from auth_diameter.decision import Cause
from auth_diameter.diameter.base import TOO_BUSY, UNABLE_TO_DELIVER
from auth_diameter.diameter.connection import OKAY, REOPEN, Connection, Event
from auth_diameter.diameter.events import Finished, PoolEvent, Send
from auth_diameter.diameter.failover import MOST_ATTEMPTS, fail_over
from auth_diameter.diameter.held import HeldQuestions
from auth_diameter.diameter.limiter import NO_LIMIT, Overload
from auth_diameter.diameter.neighbours import NeighbourTable
from auth_diameter.diameter.own_requests import Answered
from auth_diameter.diameter.peer import Peer, PeerState
from auth_diameter.diameter.peer_table import PeerTable
from auth_diameter.diameter.redirects import RedirectedQuestions, is_redirect, read_redirect
from auth_diameter.diameter.speaking import application_of, node_of
from auth_diameter.diameter.stats import Counts, PoolStats
from auth_diameter.diameter.waiting import WaitingQuestions

#: Result-Codes of a question that was not taken (RFC 6733, 7.1.3), and what they mean without another peer.
_NOT_DELIVERED = {
    UNABLE_TO_DELIVER: Cause.DISC_UNREACHABLE,
    TOO_BUSY: Cause.OVERLOADED,
}

Placed = Connection | Cause | None  # a connection; why it was refused; None: it waits for a connection


class Pool:
    """All connections of one client; not thread-safe, which is left to the driver.

    Args:
        config: the settings.
        max_in_flight: limit on the questions under way on one connection; None: that of `config`.
        jitter: function that returns a number from 0 to 1, for the rest of peers that failed.
        least: number of questions under way that are always allowed, however slow DISC is.

    Attributes:
        events: those that the driver has not drained yet, see `take_events`; always the same list.
        peers: all peers, in the order of the configuration.
        connections: the open connections.
        in_flight: the questions that were written, in the order of deadlines.
        waiting: the questions that wait for a connection, in the order of deadlines.
        held: the questions that may not be asked yet.
        redirected: the questions that wait for a server that an answer named.
        counts: see `PoolStats`.
        node: who this client is, with standard Diameter; None in the DISC dialect.
    """

    __slots__ = (
        "_application",
        "_neighbours",
        "_of_one_realm",
        "_overload",
        "_table",
        "_timeout",
        "_waiting",
        "connections",
        "counts",
        "events",
        "held",
        "in_flight",
        "node",
        "peers",
        "redirected",
        "waiting",
    )

    def __init__(
        self,
        config: Config,
        max_in_flight: int | None = None,
        jitter: Callable[[], float] = random.random,
        least: int = 128,
    ) -> None:
        self.events: list[PoolEvent] = []
        self._application = application_of(config)
        self.in_flight = InFlight(
            max_in_flight or config.max_in_flight, len(config.addresses()) > 1, self._application
        )
        self.node = node = node_of(config)
        self._neighbours: NeighbourTable | None = None
        if node is None:
            self._table = PeerTable(config, self.in_flight, jitter, self.events)
        else:
            self._neighbours = NeighbourTable(
                config, self.in_flight, jitter, self.events, node, self._ask_elsewhere, self._ask_redirected
            )
            self._table = self._neighbours
        self.peers = self._table.peers
        self.connections = self._table.connections
        self.counts = Counts()
        self.held = HeldQuestions(config.max_waiting)
        self.redirected = RedirectedQuestions(config.max_waiting)
        self._overload = Overload(config.max_delay, least)
        self._waiting = WaitingQuestions(
            config.max_waiting, self._table, self.in_flight, self._overload, self.counts
        )
        self.waiting = self._waiting.questions
        self._timeout = config.timeout
        self._of_one_realm = config.destination_realm is not None

    def take_events(self) -> list[PoolEvent]:
        """The events for the driver, in order; each is returned once."""
        taken = self.events[:]
        self.events.clear()
        return taken

    # ------------------------------------------------------------------ asking

    def submit(self, question: Question, now: float, until: float | None = None) -> Placed:
        """Takes a question on.

        Args:
            question: the question.
            now: seconds, monotonic.
            until: deadline of a question that was held; None: the time limit starts now.

        Returns:
            The connection it was written to; None: it waits for one; or the Cause why it cannot be asked.
        """
        question.deadline = now + self._timeout if until is None else until
        best: Connection | None = self.in_flight.submit(question, now)
        if best is None:
            return self._waiting.add(question, now)
        if best.unsent > best.room or best.state is REOPEN:
            self._table.written(best, now)
        return best

    def submit_together(self, questions: Sequence[Question], now: float) -> Connection | None:
        """Writes several questions to an idle connection, for a thread that has it for itself.

        Returns:
            The connection; None: none is idle, or too much is under way. Then no question was written.
        """
        ready = self.in_flight.ready_wires
        connection: Connection | None = next((wire for wire in ready if not wire.under_way), None)
        room = self.in_flight.limit - len(self.in_flight)
        if connection is None or not connection.is_calm or len(questions) > room or self.waiting:
            return None
        for question in questions:
            question.deadline = now + self._timeout
            self.in_flight.write(connection, question, now)
        if connection.unsent > connection.room:
            self._table.written(connection, now)
        return connection

    def learn(self, peer: Peer, state: PeerState, rest_until: float) -> None:
        """Takes over what another process has found out about a peer; see `PeerTable.learn`."""
        self._table.learn(peer, state, rest_until)

    def refuse_in_doubt(self) -> Cause:
        """Refuses a question without asking, since all peers are in doubt."""
        self.counts.refused_down += 1
        return self._table.why_not()

    def is_full(self) -> bool:
        """Whether a new question would be refused because of those under way and waiting."""
        return self._waiting.is_full()

    def hold(self, question: Question, now: float) -> Cause | None:
        """Takes a question on that may not be asked yet, see `release`.

        As many questions may be held as may wait. Their bytes have a limit of their own, below that of a
        driver for all requests, so that users who do not guess passwords still find room.

        Returns:
            None: it is held. Otherwise the Cause why it cannot be.
        """
        question.deadline = now + self._timeout
        if self.is_full() or not self.held.add(question):
            self.counts.refused_overload += 1
            return Cause.OVERLOADED
        return None

    def drop(self, question: Question) -> bool:
        """Removes a question that was held; returns whether it still was."""
        return self.held.drop(question)

    def release(self, questions: list[Question], now: float) -> list[tuple[Question, Placed]]:
        """Asks questions that were held.

        Returns:
            Each question with the result of `submit`.
        """
        placed: list[tuple[Question, Placed]] = []
        for question in questions:
            self.held.drop(question)
            placed.append((question, self.submit(question, now, question.deadline)))
        self._waiting.sort()  # they are older than the questions that were asked meanwhile
        return placed

    # ------------------------------------------------------------------ connections

    def connect(self, now: float) -> None:
        """Has a connection opened to each peer that has none, before the first question."""
        self._table.spares_wanted = True
        self._waiting.open_needed(now)

    def opened(
        self, peer: Peer, transport: Any, now: float, address: str = "", names: Collection[str] | None = None
    ) -> Connection:
        """Adds a connection that the driver has opened.

        Args:
            peer: the peer.
            transport: the driver's own object.
            now: seconds, monotonic.
            address: our own IP address on the connection, for standard Diameter.
            names: the names in the peer's certificate, for the same; None: there is no TLS.
        """
        self.counts.connects += 1
        connection = self._table.opened(peer, transport, now, address, names)
        self._waiting.fill(connection, now)
        self._waiting.open_needed(now)
        return connection

    def failed(self, peer: Peer, now: float, why: str = "") -> None:
        """Notes that a connection could not be opened; `why` is the reason for the event `Change`."""
        peer.opening -= 1
        if self._table.stopped:
            return
        self.counts.connect_failures += 1
        self._table.failed(peer, now, why)
        self._refuse_redirected(peer)
        self._refuse_waiting(now)
        self._waiting.open_needed(now)

    def closed(self, connection: Connection, now: float) -> None:
        """Removes a connection; its questions wait for another connection, or end (see `failover`).

        To be called once the socket is closed, by whichever side; a second call does nothing.
        """
        if connection not in self.connections:
            return
        again, ended, cause = fail_over(connection, self.in_flight, now)
        self._table.remove(connection, now)
        stopped = self._table.stopped
        if not stopped:
            self.counts.connections_lost += 1
        self._finish(ended, cause)
        self._refuse_redirected(connection.peer)
        if cause is Cause.DISC_TIMEOUT:
            self.counts.expired += len(ended)
        else:
            self.counts.lost += len(ended)
            if not stopped:
                self._table.lost(connection, len(again) + len(ended), now)
        if again:
            self._waiting.put_back(again)
            self._waiting.fill_all(now)
        # If other peers have a connection, this peer gets a new one with the next question.
        self._table.be_due(now)
        self._refuse_waiting(now)
        self._waiting.open_needed(now)

    def _refuse_waiting(self, now: float) -> None:
        """Ends the questions that wait, if no peer is left that could take them."""
        if self.waiting:
            self._table.retry(now)
            self._waiting.fill_all(now)
        if not self.waiting or self._table.worth_waiting(len(self.waiting), now):
            return
        cause = self._table.why_not()
        self.counts.refused_down += len(self.waiting)
        self._finish(self.waiting, cause)
        self.waiting.clear()

    def _refuse_redirected(self, peer: Peer) -> None:
        """Ends the questions that wait for a server that cannot be asked."""
        refused = self.redirected.take(peer)
        self.counts.refused_down += len(refused)
        self._finish(refused, Cause.DISC_UNREACHABLE)

    def _finish(self, questions: Iterable[Question], cause: Cause) -> None:
        self.events.extend(Finished(question, cause) for question in questions)

    def pause(self, connection: Connection) -> None:
        """Stops writing questions to a connection on which the driver cannot send, until `resume`."""
        connection.paused = True
        self._table.refresh(connection)

    def resume(self, connection: Connection, now: float) -> None:
        """Continues on a connection on which the driver can send again."""
        connection.paused = False
        if connection.unsent:
            self.events.append(Send(connection))
        self.sent(connection, now)

    def sent(self, connection: Connection, now: float) -> None:
        """Notes that the driver took away the bytes to be sent.

        To be called if the connection was `full`.
        """
        connection.full = False
        self._table.refresh(connection)
        self._ask_redirected(connection, now)
        self._waiting.fill(connection, now)

    # ------------------------------------------------------------------ answers

    def received(self, connection: Connection, data: bytes, now: float) -> list[tuple[Question, Answer]]:
        """Takes the bytes that came on a connection.

        An answer may come on another connection than the one its question was sent on.

        Returns:
            The answers in the bytes, each with its question.
        """
        flights = self.in_flight
        before = flights.answered
        found = flights.received(connection, data, now)
        if self._neighbours is not None:
            found = self._sort_out(connection, found, now)
        if flights.answered != before:
            self._note_answers(now)
        elif connection.fault is not None:
            self._table.step(connection, Event.FAULT)
            return found
        self._heard(connection, now)
        return found

    def judge(self, connection: Connection, now: float) -> None:
        """Judges a connection on which more came to compiled code than a whole answer."""
        self._heard(connection, now)

    def request(self, make: Callable[[int, int], Message], answered: Answered, now: float) -> None:
        """Sends a request that is no question, with standard Diameter.

        Args:
            make: function that makes it with its Hop-by-Hop and End-to-End Identifiers.
            answered: function of its answer; of None if none comes, or if no peer can be asked now.
            now: seconds, monotonic.
        """
        ready: list[Connection] = self.in_flight.ready_wires
        if self._neighbours is None or not ready or self._neighbours.own.is_full:
            answered(None)
            return
        connection = min(ready, key=lambda wire: wire.under_way)
        message = make(next_hop_by_hop(), self._application.take_end_to_end())
        self._neighbours.request(connection, message, answered, now)

    def serve(self, asked: Callable[[Message], Message | None]) -> None:
        """Has a function answer the requests of peers; None from it: the command is not supported."""
        if self._neighbours is not None:
            self._neighbours.serve = asked

    def _sort_out(
        self, connection: Connection, found: list[tuple[Question, Answer]], now: float
    ) -> list[tuple[Question, Answer]]:
        """Takes the messages of the base protocol, and asks others where the server cannot answer.

        Returns:
            The other answers.
        """
        if connection.has_others:
            assert self._neighbours is not None
            self._neighbours.take_others(connection, now)
        if all(_why_not_delivered(answer) is None for _, answer in found):
            return found
        answers = []
        for question, answer in found:
            cause = _why_not_delivered(answer)
            if cause is None:
                answers.append((question, answer))
            elif not self._ask_once_more(connection, question, answer, now):
                self._finish([question], cause)
        return answers

    def _ask_once_more(self, connection: Connection, question: Question, answer: Answer, now: float) -> bool:
        """Asks another peer a question that was answered with an error; False: there is none."""
        if question.attempts >= MOST_ATTEMPTS or question.deadline <= now:
            return False
        if is_redirect(answer):
            return self._follow(connection, question, answer, now)
        return self._ask_another(connection, question, now)

    def _follow(self, connection: Connection, question: Question, answer: Answer, now: float) -> bool:
        """Asks the server that an answer names, once it can be asked; False: there is none."""
        assert self._neighbours is not None
        redirect = read_redirect(answer, of_one_realm=self._of_one_realm)
        peer = self._neighbours.redirected(connection, redirect, now)
        if peer is None:
            return False
        wire = self._neighbours.taking(peer)
        if wire is None:
            return self.redirected.add(peer, question)
        self._ask_on(wire, question, now)
        return True

    def _ask_redirected(self, connection: Connection, now: float) -> None:
        """Asks the questions that waited for a server, if it can be asked now."""
        if not self.redirected or self._neighbours is None:
            return
        if self._neighbours.taking(connection.peer) is connection:
            for question in self.redirected.take(connection.peer):
                self._ask_on(connection, question, now)

    def _ask_another(self, connection: Connection, question: Question, now: float) -> bool:
        """Asks the other peer with the fewest questions; False: there is none."""
        others: list[Connection] = [
            wire
            for wire in self.in_flight.ready_wires
            if wire.peer is not connection.peer and wire.under_way < self._table.max_in_flight
        ]
        if not others:
            return False
        self._ask_on(min(others, key=lambda wire: wire.under_way), question, now)
        return True

    def _ask_on(self, connection: Connection, question: Question, now: float) -> None:
        """Asks a question once more that was answered with an error, so without the T flag."""
        question.was_refused = True
        self.in_flight.write(connection, question, now)
        self._table.written(connection, now)
        self.counts.asked_again += 1
        self.events.append(Send(connection, (question,)))

    def _ask_elsewhere(self, connection: Connection, now: float) -> None:
        """Asks the questions on a connection again on others; those that were asked again already end."""
        again, ended, _ = fail_over(connection, self.in_flight, now)
        self.counts.expired += len(ended)
        self._finish(ended, Cause.DISC_TIMEOUT)
        self._waiting.put_back(again)
        self._waiting.fill_all(now)

    def _note_answers(self, now: float) -> None:
        """Measures how fast answers come in."""
        flights, overload = self.in_flight, self._overload
        if now >= overload.due:
            took = now - flights.answered_deadline + self._timeout
            overload.measure(now, flights.answered, took)
            flights.limit = overload.limit
        if overload.limit != NO_LIMIT and not flights:
            self._calm()

    def _calm(self) -> None:
        """Removes the limit on the questions in flight."""
        self._overload.calm()
        self.in_flight.limit = self._overload.limit

    def received_on(self, connection: Connection, data: bytes, now: float) -> list[tuple[Question, Answer]]:
        """Takes bytes for a driver whose threads have a connection each for themselves.

        No bytes mean that the peer has closed the connection.

        Returns:
            The answers in the bytes, each with its question on that connection.
        """
        if not data:
            return []
        found = self.in_flight.received_on(connection, data, now)
        if found:
            self._note_answers(now)
        elif connection.fault is not None:
            self._table.step(connection, Event.FAULT)
            return []
        if connection.full:
            # Such a driver sends the whole question before it reads.
            connection.full = False
            self._table.refresh(connection)
        self._heard(connection, now)
        return found

    def _heard(self, connection: Connection, now: float) -> None:
        """Notes that bytes came, all of which are Diameter."""
        if (
            connection.pending
            or connection.state is not OKAY
            or connection.peer.state != "up"
            or connection.fault is not None
        ):
            self._table.heard(connection, now)
        if self.redirected:
            self._ask_redirected(connection, now)
        if self.waiting:
            self._waiting.fill_all(now)
            self._waiting.open_needed(now)

    def abandon(self, question: Question) -> bool:
        """Removes a question whose caller is gone; an answer that still comes is counted as late.

        Returns:
            Whether it was on a connection, which may now hold part of the question or of its answer.
        """
        if self.in_flight.give_up(question):
            self.counts.abandoned += 1
            return True
        if question in self.waiting:
            self.waiting.remove(question)
            self.counts.abandoned += 1
        return False

    # ------------------------------------------------------------------ time

    @property
    def due(self) -> float:
        """When `tend` has something to do; seconds, monotonic. The driver checks it whenever it asks."""
        return self._table.due

    def be_due(self, when: float) -> None:
        """Moves `due` to `when`, if that is earlier."""
        self._table.be_due(when)

    def tend(self, now: float) -> None:
        """Tries peers in doubt again; to be called at or after `due`."""
        self._tend(now)
        self._waiting.open_needed(now)

    def _tend(self, now: float) -> None:
        self._table.tend(now)
        if self.waiting:
            self._waiting.fill_all(now)

    def patience(self, connection: Connection) -> float | None:
        """Until when the probe on a connection waits, see `give_up`.

        Returns:
            None: as long as any other question.
        """
        return self._table.patience(connection)

    def give_up(self, connection: Connection, now: float) -> None:
        """Closes a connection whose probe has waited for its `patience`.

        For a driver that times each question itself.
        """
        self._table.give_up_probe(connection, now)

    def deadline(self) -> float | None:
        """When `expire` has something to do next; None: no question is under way, waiting or held.

        With standard Diameter there is the watchdog as well.
        """
        held = self.held.first()
        deadlines = (
            self._table.wakes_at,
            self.in_flight.deadline,
            self.waiting[0].deadline if self.waiting else None,
            held.deadline if held is not None else None,
            self.redirected.deadline() if self.redirected else None,
        )
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def expire(self, now: float) -> None:
        """Ends the questions whose deadline has passed; calls `tend`, too, if it is `due`."""
        late: list[Question] = []
        while (question := self.in_flight.take_expired(now)) is not None:
            late.append(question)
            self._expire_pending(question, now)
        self._finish(late, Cause.DISC_TIMEOUT)
        while self.waiting and self.waiting[0].deadline <= now:
            self.counts.expired += 1
            self._finish([self.waiting.popleft()], self._why_expired())
        while (held := self.held.first()) is not None and held.deadline <= now:
            self.held.drop(held)
            self.counts.expired += 1
            self._finish([held], Cause.DISC_TIMEOUT)
        if self.redirected:
            too_late = self.redirected.take_expired(now)
            self.counts.expired += len(too_late)
            self._finish(too_late, Cause.DISC_UNREACHABLE)
        if self.waiting:
            self._waiting.fill_all(now)
        if now >= self.due:
            self._tend(now)
        self._waiting.open_needed(now)

    def expire_one(self, question: Question, now: float, *, is_alone: bool = False) -> Cause:
        """Ends one question whose deadline has passed, for a driver that times it itself.

        Args:
            question: the question.
            now: seconds, monotonic.
            is_alone: whether the peer has answered others meanwhile, so that this one proves nothing.

        Returns:
            The Cause.
        """
        if self.in_flight.give_up(question):
            if is_alone:
                self.counts.expired += 1
            else:
                self._expire_pending(question, now)
            return Cause.DISC_TIMEOUT
        if question in self.waiting:
            self.waiting.remove(question)
            self.counts.expired += 1
        return self._why_expired()

    def _expire_pending(self, question: Question, now: float) -> None:
        """Counts a question that expired, and judges its connection."""
        self.counts.expired += 1
        if not self.in_flight:
            self._calm()
        self._table.expired(question.connection, now)

    def _why_expired(self) -> Cause:
        """The Cause of a question that expired while it waited for a connection."""
        return Cause.DISC_TIMEOUT if self.connections else Cause.DISC_UNREACHABLE

    def stop(self, now: float) -> None:
        """Ends all questions with DISC_LOST; no connection is opened from here on.

        With standard Diameter, the peers are told.
        """
        self._table.stopped = True
        if self._neighbours is not None:
            self._neighbours.leave(now)
        self.in_flight.limit = 0  # nor is a question written by others than `submit`
        left = [*self.in_flight.take_all(), *self.waiting, *self.held.clear(), *self.redirected.take_all()]
        self.counts.lost += len(left)
        self.waiting.clear()
        self._finish(left, Cause.DISC_LOST)

    # ------------------------------------------------------------------ statistics

    def stats(self) -> PoolStats:
        """All counts, and the questions under way now."""
        waiting = len(self.waiting) + len(self.redirected)
        base = self._neighbours.answers if self._neighbours is not None else {}
        return self.counts.stats(self.in_flight, waiting, self._table.stats(), base)


def _why_not_delivered(answer: Answer) -> Cause | None:
    """What an answer means if no other peer can be asked; None: the question was taken."""
    return Cause.DISC_UNREACHABLE if is_redirect(answer) else _NOT_DELIVERED.get(answer.code)
