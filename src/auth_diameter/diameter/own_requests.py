"""Requests of ours that are no questions: no call waits for their answers, and they are not sent twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from auth_diameter._core import Message
from auth_diameter.diameter.connection import Connection

_MOST: Final = 1000  # requests without an answer so far

Answered = Callable[[Message | None], None]


class _Request(NamedTuple):
    connection: Connection
    deadline: float
    answered: Answered


class OwnRequests:
    """Those that wait for an answer, in the order of their deadlines.

    Args:
        timeout: seconds that an answer may take.
    """

    __slots__ = ("_pending", "_timeout")

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._pending: dict[int, _Request] = {}  # by Hop-by-Hop Identifier

    @property
    def is_full(self) -> bool:
        """Whether none may be added."""
        return len(self._pending) >= _MOST

    def add(self, connection: Connection, message: Message, answered: Answered, now: float) -> float:
        """Adds a request that is sent on a connection.

        Args:
            connection: the connection.
            message: the request.
            answered: function of its answer; of None if none comes.
            now: seconds, monotonic.

        Returns:
            The deadline.
        """
        deadline = now + self._timeout
        self._pending[message.hop_by_hop] = _Request(connection, deadline, answered)
        return deadline

    def take(self, connection: Connection, message: Message) -> None:
        """Takes an answer that came on a connection; one to no request is dropped."""
        request = self._pending.get(message.hop_by_hop)
        if request is not None and request.connection is connection:
            del self._pending[message.hop_by_hop]
            request.answered(message)

    def lost(self, connection: Connection) -> None:
        """Ends the requests on a connection that is closed."""
        self._end([number for number, request in self._pending.items() if request.connection is connection])

    def expire(self, now: float) -> None:
        """Ends the requests whose deadline has passed."""
        self._end([number for number, request in self._pending.items() if request.deadline <= now])

    def _end(self, numbers: list[int]) -> None:
        for number in numbers:
            self._pending.pop(number).answered(None)
