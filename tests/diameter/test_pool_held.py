"""The questions that the pool holds until earlier ones have ended, without I/O."""

from __future__ import annotations

from kit.pool import (
    answers,
    connected,
    expire,
    is_in_order,
    msgids,
    new_pool,
    new_question,
    receive,
    stop,
    submit,
    take,
)

from auth_diameter._core import Question
from auth_diameter.decision import Cause
from auth_diameter.diameter.connection import Connection
from auth_diameter.diameter.pool import Pool


def hold(pool: Pool, now: float = 0.0) -> Question:
    """A question that the pool keeps until it is released."""
    question = new_question()
    assert pool.hold(question, now) is None
    return question


def test_what_is_held_is_asked_when_it_is_released_with_the_deadline_that_it_had():
    """It is the next to expire, though others were asked before it."""
    pool = new_pool()
    connection = connected(pool)
    held = hold(pool, 0.0)
    assert take(connection) == []
    younger = submit(pool, 1.0)
    assert pool.release([held], 1.5) == [(held, connection)]
    assert msgids(take(connection)) == [younger.msgid, held.msgid]
    assert is_in_order(pool)
    assert pool.deadline() == 2.0
    assert expire(pool, 2.0) == [(held, Cause.DISC_TIMEOUT)]
    assert pool.deadline() == 3.0


def test_what_is_released_waits_in_front_of_what_came_later():
    pool = new_pool(max_in_flight=1, max_connections=1)
    connection = connected(pool)
    submit(pool, 0.5)
    held = hold(pool, 0.6)
    younger = submit(pool, 0.7)
    assert pool.release([held], 0.8) == [(held, None)]
    assert list(pool.waiting) == [held, younger]
    receive(pool, connection, answers(take(connection)), 0.9)
    assert msgids(take(connection)) == [held.msgid]


def test_what_is_held_expires_as_well():
    pool = new_pool()
    connected(pool)
    held = hold(pool, 1.0)
    submit(pool, 1.1)
    assert pool.deadline() == 3.0
    assert expire(pool, 2.9) == []
    assert expire(pool, 3.0) == [(held, Cause.DISC_TIMEOUT)]
    assert pool.stats().expired == 1
    assert pool.deadline() == 3.1


def test_what_is_dropped_neither_expires_nor_is_it_lost():
    pool = new_pool()
    connected(pool)
    pool.drop(hold(pool))
    assert pool.deadline() is None
    assert expire(pool, 9.0) == []
    assert stop(pool) == []


def test_as_many_are_held_as_may_wait():
    pool = new_pool(max_waiting=3)
    connected(pool)
    for _ in range(3):
        hold(pool)
    assert pool.hold(new_question(), 0.0) is Cause.OVERLOADED
    assert pool.stats().refused_overload == 1
    assert isinstance(pool.submit(new_question(), 0.0), Connection), "who is not held is asked"


def test_none_is_held_where_disc_has_too_much_to_do():
    pool = new_pool(max_waiting=1)
    submit(pool)
    assert pool.is_full()
    assert pool.hold(new_question(), 0.0) is Cause.OVERLOADED


def test_what_is_held_is_lost_when_the_pool_stops():
    pool = new_pool()
    connected(pool)
    held = hold(pool)
    assert stop(pool) == [(held, Cause.DISC_LOST)]
    assert stop(pool) == []
    assert pool.stats().lost == 1
