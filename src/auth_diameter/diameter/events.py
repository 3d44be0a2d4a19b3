"""The events with which the pool tells its driver what to do; the driver drains them after each call.

::

    Open(peer)                    open a connection; then call `Pool.opened` or `Pool.failed`
    Close(connection)             close it; then call `Pool.closed`
    Send(connection, questions)   send what `Connection.take_unsent` returns
    Finished(question, cause)     tell the caller that the question has no answer
    Change(…)                     write to the log that a peer changed its state

A capabilities exchange, a watchdog and a disconnect (RFC 6733, 5.3 to 5.5) would need no further event: their
messages would go out by `Send` as questions do, and a disconnect would end with `Close`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from auth_diameter._core import Question
from auth_diameter.decision import Cause
from auth_diameter.diameter.connection import Connection
from auth_diameter.diameter.peer import Change, Peer


class Open(NamedTuple):
    """A connection to `peer` is needed; it counts as opening from here on.

    Attributes:
        peer: the peer to connect to.
    """

    peer: Peer


class Close(NamedTuple):
    """A connection is to be closed; it takes no question from here on.

    Attributes:
        connection: the connection.
    """

    connection: Connection


class Send(NamedTuple):
    """There are bytes to be sent on a connection.

    Attributes:
        connection: its `take_unsent` returns the bytes.
        questions: those that had waited and were written just now, in order.
    """

    connection: Connection
    questions: Sequence[Question] = ()


class Finished(NamedTuple):
    """A question has ended without an answer.

    Attributes:
        question: the question.
        cause: why it has no answer.
    """

    question: Question
    cause: Cause


PoolEvent: TypeAlias = Open | Close | Send | Finished | Change
