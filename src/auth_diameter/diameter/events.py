"""What the pool tells its driver to do: the driver drains these events after each call.

::

    Open(peer)                    open a connection; then call `Pool.opened` or `Pool.failed`
    Close(connection)             close it; then call `Pool.closed`
    Send(connection, questions)   send what is in `Connection.outgoing`
    Finished(question, cause)     tell the caller that the question has no answer
    Change(…)                     write to the log that a peer changed its state

A capabilities exchange, a watchdog and a farewell (RFC 6733, 5.3 to 5.5) need no event of their own: their
messages go out by `Send` as questions do, and a farewell ends with `Close`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from auth_diameter._core import Question
from auth_diameter.decision import Cause
from auth_diameter.diameter.connection import Connection
from auth_diameter.diameter.peer import Change, Peer


class Open(NamedTuple):
    """A connection to `peer` is needed. It counts as on its way from here on."""

    peer: Peer


class Close(NamedTuple):
    """`connection` is of no use any more. It takes no question from here on."""

    connection: Connection


class Send(NamedTuple):
    """There are bytes in the `outgoing` of `connection`.

    Attributes:
        questions: those that waited and were written there just now, in order.
    """

    connection: Connection
    questions: Sequence[Question] = ()


class Finished(NamedTuple):
    """`question` has ended without an answer.

    Attributes:
        cause: why.
    """

    question: Question
    cause: Cause


PoolEvent: TypeAlias = Open | Close | Send | Finished | Change
