"""The questions that wait for a connection; they are sent in order, as soon as a connection has room.

A question that no connection will take soon is refused at once: `WaitingQuestions.add` says why.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from auth_diameter._core import InFlight, Question
from auth_diameter.decision import Cause
from auth_diameter.diameter.connection import REOPEN, Connection
from auth_diameter.diameter.events import Open, Send
from auth_diameter.diameter.limiter import Overload
from auth_diameter.diameter.peer_table import PeerTable
from auth_diameter.diameter.stats import Counts


def by_deadline(questions: Iterable[Question]) -> list[Question]:
    """The questions in the order of their deadlines, the earliest first."""
    return sorted(questions, key=lambda question: question.deadline)


class WaitingQuestions:
    """Waiting questions in the order of their deadlines.

    Args:
        most: limit on their number.
        table: the peers and the connections.
        in_flight: the questions under way, to which those that are sent are added.
        overload: the limit on the questions that are under way or wait.
        counts: refused questions, and those asked again, are counted here.

    Attributes:
        questions: always the same deque.
    """

    __slots__ = ("_counts", "_in_flight", "_most", "_overload", "_several", "_table", "_write", "questions")

    def __init__(
        self, most: int, table: PeerTable, in_flight: InFlight, overload: Overload, counts: Counts
    ) -> None:
        self.questions: deque[Question] = deque()
        self._most = most
        self._table = table
        self._several = len(table.peers) > 1
        self._in_flight = in_flight
        self._write = in_flight.write
        self._overload = overload
        self._counts = counts

    def add(self, question: Question, now: float) -> Cause | None:
        """Lets a question wait for a connection.

        Returns:
            None: it waits. Otherwise the Cause why it may not.
        """
        if not self._table.can_accept(len(self.questions), now):
            cause = self._table.why_not()
        elif self.is_full():
            cause = Cause.OVERLOADED
        else:
            self.questions.append(question)
            self._table.spares_wanted = self._several
            self.open_needed(now)
            return None
        if cause is Cause.OVERLOADED:
            self._counts.refused_overload += 1
        else:
            self._counts.refused_down += 1
        return cause

    def is_full(self) -> bool:
        """Whether a new question would be refused because of those under way and waiting."""
        waiting = len(self.questions)
        return waiting >= self._most or len(self._in_flight) + waiting >= self._overload.limit

    def put_back(self, questions: Sequence[Question]) -> None:
        """Adds questions that were asked already, and so are older than most."""
        self.questions.extendleft(reversed(questions))
        self.sort()

    def sort(self) -> None:
        """Restores the order of deadlines after older questions were added behind newer ones."""
        ordered = by_deadline(self.questions)
        self.questions.clear()
        self.questions.extend(ordered)

    def fill(self, connection: Connection, now: float) -> None:
        """Writes waiting questions to a connection that has room."""
        filled: list[Question] = []
        asked_again = 0
        most = self._table.max_in_flight
        while self.questions and connection.takes_any_question and connection.under_way < most:
            question = self.questions.popleft()
            self._write(connection, question, now)
            if connection.unsent > connection.room or connection.state is REOPEN:
                self._table.written(connection, now)
            filled.append(question)
            asked_again += question.attempts > 1
        self._counts.asked_again += asked_again
        if filled:
            self._table.events.append(Send(connection, filled))

    def fill_all(self, now: float) -> None:
        """Writes waiting questions to all connections that have room."""
        for connection in self._in_flight.ready_wires:
            if not self.questions:
                break
            self.fill(connection, now)

    def open_needed(self, now: float) -> None:
        """Asks the driver to open the connections that are needed."""
        while (peer := self._table.claim_connect(len(self.questions), now)) is not None:
            self._table.events.append(Open(peer))
