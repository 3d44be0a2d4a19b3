"""The questions under way on all connections, and the ids by which their answers are matched.

The dialect matches answers by SIP-MSGID. The original DISC may send an answer on a connection that was opened
after its question was sent. So the ids are unique in the process, and start at a random number.

A `Question` carries what belongs to its time in the pool. This is who writes which attribute:

==========  ======================================================================================
deadline    `Pool.submit` and `Pool.hold`; while a thread holds the question, `client.sync`
msgid       `append_question`, called by `InFlight.write`: a new one for each attempt
attempts    `append_question`: how often the question was written
connection  `InFlight.write`; `InFlight.take_back` sets it to None again
callback    the client; of a question of a thread, `diameter.sync`
==========  ======================================================================================
"""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Iterable, Iterator

from auth_diameter._core import Question, append_question
from auth_diameter.diameter.connection import Connection
from auth_diameter.diameter.stats import Counts

_msgids: Iterator[int] = itertools.count(secrets.randbits(32))


def _restart_msgids() -> None:
    global _msgids  # noqa: PLW0603 - the child counts on its own
    _msgids = itertools.count(secrets.randbits(32))


os.register_at_fork(after_in_child=_restart_msgids)

_KEPT_LATE = 10_000  # ids of ended questions that are remembered, to recognize late answers


def by_deadline(questions: Iterable[Question]) -> list[Question]:
    """The questions in the order of their deadlines, the earliest first."""
    return sorted(questions, key=lambda question: question.deadline)


class InFlight:
    """The questions that were written and have no answer yet.

    Args:
        counts: late and unknown answers are counted here.

    Attributes:
        pending: dict of msgid to Question, in the order of deadlines; always the same object.
    """

    __slots__ = ("_counts", "_late", "pending")

    def __init__(self, counts: Counts) -> None:
        self.pending: dict[int, Question] = {}
        self._counts = counts
        self._late: dict[int, None] = {}  # ids of questions that ended without an answer, the newest last

    def write(self, connection: Connection, question: Question, now: float) -> None:
        """Writes `question` to `Connection.outgoing`, under a new id."""
        msgid = next(_msgids) & 0xFFFFFFFF
        append_question(connection.outgoing, question, msgid)
        question.connection = connection
        self.pending[msgid] = question
        connection.under_way += 1
        if connection.asked_at is None:
            connection.asked_at = now

    def sort(self) -> None:
        """Restores the order of deadlines after older questions were written behind newer ones."""
        ordered = by_deadline(self.pending.values())
        self.pending.clear()
        self.pending.update((question.msgid, question) for question in ordered)

    def forget(self, question: Question) -> bool:
        """Removes a question.

        Returns:
            Whether it was under way.
        """
        if self.pending.get(question.msgid) is not question:
            return False
        del self.pending[question.msgid]
        question.connection.under_way -= 1
        return True

    def give_up(self, question: Question) -> bool:
        """Removes a question that ends without an answer; an answer that still comes is counted as late.

        Returns:
            Whether it was under way.
        """
        if not self.forget(question):
            return False
        self._expect_late(question.msgid)
        return True

    def take_back(self, connection: Connection) -> list[Question]:
        """Removes the questions of a connection that is closed; see `failover` for what becomes of them.

        Returns:
            The questions, in the order of deadlines.
        """
        questions = [question for question in self.pending.values() if question.connection is connection]
        for question in questions:
            del self.pending[question.msgid]
            self._expect_late(question.msgid)
            question.connection = None
        return questions

    def count_strays(self, strays: list[int]) -> None:
        """Counts the answers, given by id, that match no question under way; empties the list."""
        for msgid in strays:
            if msgid in self._late:
                del self._late[msgid]
                self._counts.late += 1
            else:
                self._counts.unknown += 1
        strays.clear()

    def _expect_late(self, msgid: int) -> None:
        self._late[msgid] = None
        if len(self._late) > _KEPT_LATE:
            del self._late[next(iter(self._late))]
