"""The answers from one connection, matched with questions of given ids, without a pool."""

from __future__ import annotations

from auth_diameter._core import Answer, InFlight, ParseError, Question, Wire, restart_msgids


class AnswerStream:
    """One connection, and the questions whose answers may come on it.

    Attributes:
        wire: the connection.
        in_flight: its questions.
    """

    def __init__(self, limit: int = 65536) -> None:
        self.wire = Wire(limit)
        self.in_flight = InFlight(1 << 20)

    def feed(self, data, pending: dict[int, Question]) -> list[tuple[Question, Answer]]:
        """Takes the next bytes; `pending` has the questions by id, and loses those that are answered."""
        under_way = set(self.in_flight.questions())
        for msgid, question in pending.items():
            if question not in under_way:
                restart_msgids(msgid)
                self.in_flight.write(self.wire, question, 0.0)
        restart_msgids()
        found = self.in_flight.received(self.wire, data, 0.0)
        left = set(self.in_flight.questions())
        for msgid in [msgid for msgid, question in pending.items() if question not in left]:
            del pending[msgid]
        return found

    @property
    def dropped(self) -> int:
        """The number of messages without a question."""
        return self.in_flight.unknown + self.in_flight.late

    @property
    def pending(self) -> int:
        return self.wire.pending

    @property
    def fault(self) -> ParseError | None:
        return self.wire.fault

    @property
    def limit(self) -> int:
        return self.wire.limit
