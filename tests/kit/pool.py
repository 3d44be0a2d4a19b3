"""A pool, without I/O: questions for it, its connections, and the events that it has for its driver."""

from __future__ import annotations

from kit.sip import build_request
from kit.wire import SIP_MSGID, build_answer

from auth_diameter import Config, Message, SipRequest
from auth_diameter._core import Question, authentication
from auth_diameter.decision import Cause
from auth_diameter.diameter.connection import Connection
from auth_diameter.diameter.events import Close, Finished, Open
from auth_diameter.diameter.peer import Peer
from auth_diameter.diameter.pool import Pool

A, B = ("10.0.0.1", 3000), ("10.0.0.2", 3001)
REQUEST = SipRequest(build_request())


def new_question() -> Question:
    return authentication(REQUEST, "siphub.net", None, False)


def new_pool(*peers, jitter=lambda: 1.0, **settings) -> Pool:
    return Pool(Config(peers=peers or [A], **settings), jitter=jitter)


def take_events(pool: Pool, kind: type) -> list:
    """The events of one kind that the driver would drain now."""
    found = [event for event in pool.events if type(event) is kind]
    pool.events[:] = [event for event in pool.events if type(event) is not kind]
    return found


def claim(pool: Pool) -> Peer | None:
    """The peer that the pool wants the next connection to, which the driver begins to open now."""
    opens = take_events(pool, Open)
    pool.events += opens[1:]
    return opens[0].peer if opens else None


def to_close(pool: Pool) -> list[Connection]:
    """The connections that the driver would close now."""
    return [event.connection for event in take_events(pool, Close)]


def closed(pool: Pool, connection: Connection, now: float) -> list[tuple[Question, Cause]]:
    """A connection is gone; the questions that ended by that."""
    pool.closed(connection, now)
    return take_events(pool, Finished)


def failed(pool: Pool, peer: Peer, now: float, why: str = "") -> list[tuple[Question, Cause]]:
    """A connection could not be opened; the questions that ended by that."""
    pool.failed(peer, now, why)
    return take_events(pool, Finished)


def expire(pool: Pool, now: float) -> list[tuple[Question, Cause]]:
    """Time has passed; the questions that ended by that."""
    pool.expire(now)
    return take_events(pool, Finished)


def stop(pool: Pool) -> list[tuple[Question, Cause]]:
    """No more; the questions that ended by that."""
    pool.stop(0.0)
    return take_events(pool, Finished)


def open_one(pool: Pool, now: float = 0.0) -> Connection:
    peer = claim(pool)
    assert peer is not None
    return pool.opened(peer, object(), now)


def receive(pool: Pool, connection: Connection, data: bytes, now: float = 0.0) -> list:
    return pool.received(connection, data, now)


def submit(pool: Pool, now: float = 0.0) -> Question:
    """A question that the pool takes on."""
    question = new_question()
    assert not isinstance(pool.submit(question, now), Cause)
    return question


def connected(pool: Pool, now: float = 0.0) -> Connection:
    """A connection that is open and has nothing to do."""
    submit(pool, now)
    connection = open_one(pool, now)
    assert receive(pool, connection, answers(take(connection)), now)
    return connection


def take(connection: Connection) -> list[Message]:
    """What the driver would send now."""
    data = connection.take_unsent()
    found = []
    while data:
        size = int.from_bytes(data[1:4], "big")
        found.append(Message.decode(data[:size]))
        data = data[size:]
    return found


def answers(questions: list[Message]) -> bytes:
    return b"".join(build_answer(question) for question in questions)


def msgids(messages: list[Message]) -> list[int]:
    return [int.from_bytes(message.find(SIP_MSGID).data, "big") for message in messages]


def is_in_order(pool: Pool) -> bool:
    for questions in (pool.in_flight.questions(), list(pool.waiting)):
        deadlines = [question.deadline for question in questions]
        if deadlines != sorted(deadlines):
            return False
    return True
