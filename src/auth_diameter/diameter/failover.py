"""Fail-over (RFC 6733, 5.5.4): which questions of a closed connection are asked again, and which end.

A question goes to another connection if it was asked only once and its deadline is ahead. It keeps its
deadline, so it goes before younger questions. It gets a new id and the T flag (potentially retransmitted; RFC
6733, 3); an answer under its first id is counted as late. While no connection has room for it, it waits.

Every other question ends. Its Cause is DISC_TIMEOUT if the connection was given up because nothing came on
it, otherwise DISC_LOST.

The other connections to the peer, and the peer itself, are judged in `peer_table`. A probe that waits too
long fails over in the same way: its connection is closed.
"""

from __future__ import annotations

from typing import NamedTuple

from auth_diameter._core import InFlight, Question
from auth_diameter.decision import Cause
from auth_diameter.diameter.connection import DOWN, Connection

MOST_ATTEMPTS = 2  # a question whose connection breaks is asked once more, never twice


class FailOver(NamedTuple):
    """The questions of a closed connection, both lists in the order of deadlines.

    Attributes:
        again: those to be asked on another connection.
        ended: those that end without an answer.
        cause: the Cause of those that end.
    """

    again: list[Question]
    ended: list[Question]
    cause: Cause


def fail_over(connection: Connection, in_flight: InFlight, now: float) -> FailOver:
    """Removes the questions of a connection that is closed.

    Args:
        connection: the connection, in the state in which it was closed.
        in_flight: the questions under way.
        now: seconds, monotonic.
    """
    again: list[Question] = []
    ended: list[Question] = []
    for question in in_flight.take_back(connection):
        may_repeat = question.attempts < MOST_ATTEMPTS and question.deadline > now
        (again if may_repeat else ended).append(question)
    return FailOver(again, ended, Cause.DISC_TIMEOUT if connection.state is DOWN else Cause.DISC_LOST)
