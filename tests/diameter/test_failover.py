"""Fail-over, without I/O: connections that break, and peers that cannot be connected to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.pool import (
    A,
    B,
    answers,
    claim,
    closed,
    failed,
    is_in_order,
    msgids,
    new_pool,
    new_question,
    open_one,
    receive,
    stop,
    submit,
    take,
    take_events,
)

from auth_diameter.decision import Cause
from auth_diameter.diameter.events import Open

# ------------------------------------------------------------------ connections that break


def test_a_question_whose_connection_breaks_is_asked_once_more_and_never_twice():
    pool = new_pool()
    question = submit(pool)
    first = open_one(pool)
    old = question.msgid
    assert closed(pool, first, 0.5) == []
    assert not first.is_live, "a thread that just reads it puts it to no more use"
    second = open_one(pool, 0.5)
    assert msgids(take(second)) == [question.msgid] != [old]
    assert question.deadline == 2.0  # of the first time
    assert closed(pool, second, 0.6) == [(question, Cause.DISC_LOST)]
    assert claim(pool) is None
    assert closed(pool, second, 0.7) == []  # told twice


def test_a_disc_that_broke_a_connection_gets_another_one_when_it_is_trusted_again():
    """Else the other would do all the work from then on, and its end would find no connection open."""
    pool = new_pool(A, B)
    submit(pool)
    first, other = open_one(pool), open_one(pool)
    assert claim(pool) is None
    assert closed(pool, first, 0.5) == []  # its question goes to the other at once
    assert len(take(other)) == 1
    pool.tend(0.5)
    assert claim(pool) is None  # it may be about to end
    assert 0.5 < pool.due < 1.0
    pool.tend(pool.due)
    assert claim(pool) is first.peer


def test_an_answer_to_the_first_attempt_comes_too_late():
    pool = new_pool()
    submit(pool)
    first = open_one(pool)
    asked = take(first)
    closed(pool, first, 0.5)
    second = open_one(pool, 0.5)
    assert receive(pool, second, answers(asked)) == []
    assert len(receive(pool, second, answers(take(second)))) == 1


def test_a_question_at_its_deadline_is_not_asked_again():
    pool = new_pool()
    question = submit(pool, 0.0)
    connection = open_one(pool)
    assert closed(pool, connection, 2.0) == [(question, Cause.DISC_LOST)]


def test_another_connection_takes_over():
    pool = new_pool(A, B, max_in_flight=2)
    questions = [submit(pool, now) for now in (0.0, 0.1, 0.2)]
    first, second = open_one(pool, 0.2), open_one(pool, 0.2)
    newer = submit(pool, 0.3)
    assert newer.connection is second
    receive(pool, second, answers(take(second)[:1]))
    assert closed(pool, first, 0.5) == []
    assert msgids(take(second)) == [questions[0].msgid]
    assert list(pool.waiting) == [questions[1]]
    assert is_in_order(pool)
    assert pool.deadline() == 2.0


def test_all_are_lost_when_the_pool_stops():
    pool = new_pool(max_in_flight=1)
    questions = [submit(pool), submit(pool)]
    open_one(pool)
    assert stop(pool) == [(question, Cause.DISC_LOST) for question in questions]
    assert pool.deadline() is None
    assert stop(pool) == []
    stats = pool.stats()
    assert (stats.lost, stats.asked) == (2, 2)


# ------------------------------------------------------------------ peers that fail


def test_a_peer_that_fails_rests_longer_each_time_up_to_a_second():
    pool = new_pool(jitter=lambda: 1.0)
    now = 0.0
    rests = []
    for _ in range(8):
        question = submit(pool, now)
        peer = claim(pool)
        assert failed(pool, peer, now) == [(question, Cause.DISC_UNREACHABLE)]
        assert pool.submit(new_question(), now) is Cause.DISC_UNREACHABLE
        assert claim(pool) is None
        rests.append(peer.rest_until - now)
        now = peer.rest_until
    assert rests == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0])


@given(jitter=st.floats(0.0, 1.0), failures=st.integers(0, 5000))
def test_jitter_spreads_the_clients_of_a_peer(jitter, failures):
    pool = new_pool(jitter=lambda: jitter)
    submit(pool)
    peer = claim(pool)
    peer.failures = failures
    failed(pool, peer, 0.0)
    longest = min(1.0, 0.05 * 2 ** min(failures, 10))
    assert longest / 2 <= peer.rest_until <= longest


def test_the_next_peer_is_tried_when_one_fails():
    pool = new_pool(A, B)
    submit(pool)
    first = claim(pool)
    assert first.host == A[0]
    assert failed(pool, first, 0.0) == []
    second = claim(pool)
    assert second.host == B[0]
    assert len(take(pool.opened(second, object(), 0.0))) == 1


def test_hope_ends_with_the_last_peer():
    pool = new_pool(A, B, max_in_flight=1)
    questions = [submit(pool), submit(pool)]
    first, second = claim(pool), claim(pool)
    assert failed(pool, first, 0.0) == []  # the other is still on the way
    assert failed(pool, second, 0.0) == [(q, Cause.DISC_UNREACHABLE) for q in questions]


def test_hope_ends_with_the_first_of_many_attempts_on_the_only_peer():
    """A DISC behind a firewall that drops: threads open a connection each, and none waits for the others'."""
    pool = new_pool(A, max_in_flight=1)
    questions = [submit(pool), submit(pool)]
    first, second = claim(pool), claim(pool)
    assert failed(pool, first, 1.0) == [(q, Cause.DISC_UNREACHABLE) for q in questions]
    assert failed(pool, second, 1.1) == []


def test_a_peer_that_failed_gets_one_connection_until_it_says_something():
    """One question finds out whether it is back; the others go elsewhere or wait for the outcome."""
    pool = new_pool(A, B, max_in_flight=1)
    submit(pool)
    broken = claim(pool)
    failed(pool, broken, 0.0)
    opened = []
    for _ in range(4):
        submit(pool, 1.0)
    while (peer := claim(pool)) is not None:
        opened.append(pool.opened(peer, object(), 1.0))
    assert [connection.peer.host for connection in opened].count(A[0]) == 1
    probe = next(connection for connection in opened if connection.peer is broken)
    for _ in range(4):
        submit(pool, 1.0)
    assert A[0] not in {event.peer.host for event in take_events(pool, Open)}
    receive(pool, probe, answers(take(probe)))
    assert broken.state == "up"
    for _ in range(4):
        submit(pool, 1.0)
    assert claim(pool).host == A[0]


def test_the_last_connection_goes_to_a_peer_that_works():
    """One in doubt has fewer connections, and still is no place for a question that waits."""
    pool = new_pool(A, B, max_in_flight=1, max_connections=2)
    submit(pool)
    broken = claim(pool)
    failed(pool, broken, 0.0)
    open_one(pool)
    submit(pool, 1.0)
    assert broken.rest_until < 1.0
    assert claim(pool).host == B[0]
    assert claim(pool) is None
