"""The breaker, without I/O: a DISC that takes questions and does not answer, and how it is probed."""

from __future__ import annotations

import pytest
from kit.pool import (
    A,
    B,
    answers,
    claim,
    closed,
    connected,
    expire,
    failed,
    new_pool,
    new_question,
    open_one,
    receive,
    submit,
    take,
    take_events,
    to_close,
)

from auth_diameter import Config, Message
from auth_diameter._core import Question
from auth_diameter.decision import Cause
from auth_diameter.diameter.connection import Connection
from auth_diameter.diameter.peer import Change
from auth_diameter.diameter.pool import Pool

# ------------------------------------------------------------------ a DISC that hangs


def test_a_connection_on_which_nothing_comes_back_is_closed():
    pool = new_pool(A, B)
    connection = connected(pool)
    late = submit(pool, 1.0)
    fresh = submit(pool, 2.9)
    assert expire(pool, 3.0) == [(late, Cause.DISC_TIMEOUT)]
    assert to_close(pool) == [connection]
    assert pool.submit(new_question(), 3.0) is None  # not on that one
    assert closed(pool, connection, 3.0) == []
    peer = claim(pool)
    assert peer.host == B[0]  # the other one first
    other = pool.opened(peer, object(), 0.0)
    assert fresh.connection is other


def test_a_connection_on_which_something_comes_back_is_kept():
    """The original DISC says nothing at all to some questions."""
    pool = new_pool()
    connection = connected(pool)
    submit(pool, 1.0)
    other = submit(pool, 1.1)
    asked = take(connection)
    assert [question for question, _ in receive(pool, connection, answers(asked[1:]))] == [other]
    assert len(expire(pool, 3.0)) == 1
    assert to_close(pool) == []


def half_answered(pool: Pool, size: int = 30) -> tuple[Connection, Question, list[Message]]:
    """A connection with three questions, one of which expired behind so many bytes of an answer."""
    connection = connected(pool)
    late = submit(pool, 1.0)
    submit(pool, 1.5)
    submit(pool, 1.5)
    asked = take(connection)
    assert receive(pool, connection, answers(asked[:1])[:size]) == []
    assert expire(pool, 3.0) == [(late, Cause.DISC_TIMEOUT)]
    return connection, late, asked


@pytest.mark.parametrize("size", [1, 30])
def test_no_new_question_behind_half_an_answer(size):
    # Were the other half never to come, all the answers behind it would be lost, one time limit each.
    pool = new_pool()
    connection, _, _ = half_answered(pool, size)
    assert to_close(pool) == []  # two others wait on it still
    fresh = new_question()
    assert pool.submit(fresh, 3.0) is None
    assert open_one(pool, 3.0) is fresh.connection
    assert len(expire(pool, 3.5)) == 2
    assert to_close(pool) == [connection]


def test_half_an_answer_that_nobody_waits_for():
    pool = new_pool()
    connection = connected(pool)
    submit(pool, 1.0)
    answer = answers(take(connection))
    assert len(receive(pool, connection, answer + answer[:30])) == 1
    assert not connection.is_live
    assert to_close(pool) == [connection]
    assert pool.submit(new_question(), 1.0) is None  # not on that one
    receive(pool, connection, answer[30:])  # twice the same answer, then; the driver closes it all the same
    assert not connection.is_live


def test_the_other_half_of_a_late_answer_makes_all_well_again():
    pool = new_pool()
    connection, _, asked = half_answered(pool)
    found = receive(pool, connection, answers(asked)[30:])
    assert len(found) == 2
    assert submit(pool, 3.0).connection is connection
    assert expire(pool, 3.6) == to_close(pool) == []


# ------------------------------------------------------------------ the breaker


def hanging(*peers, **settings) -> Pool:
    """A pool whose first DISC took questions at 1.0 and said nothing until 3.0."""
    pool = new_pool(*peers, **settings)
    connection = connected(pool)
    submit(pool, 1.0)
    submit(pool, 1.0)
    assert len(expire(pool, 3.0)) == 2
    assert to_close(pool) == [connection]
    closed(pool, connection, 3.0)
    return pool


def try_again(pool: Pool, now: float) -> Question | Cause:
    """A question, and what a driver does about it; the Cause where it was refused."""
    question = new_question()
    where = pool.submit(question, now)
    if pool.due <= now:
        pool.tend(now)
    for connection in to_close(pool):
        closed(pool, connection, now)
    while (peer := claim(pool)) is not None:
        pool.opened(peer, object(), now)
    return where if isinstance(where, Cause) else question


def test_a_disc_that_hangs_costs_one_deadline_and_then_nothing():
    pool = hanging()
    assert [try_again(pool, 3.0 + 0.01 * n) for n in range(99)] == [Cause.DISC_TIMEOUT] * 99
    assert [(change.address, change.state) for change in take_events(pool, Change)] == [
        ("10.0.0.1:3000", "up"),
        ("10.0.0.1:3000", "silent"),
    ]
    assert pool.stats().refused_down == 99


def test_what_was_under_way_when_the_breaker_opened_has_failed_as_well():
    pool = new_pool()
    connection = connected(pool)
    first, second = submit(pool, 1.0), submit(pool, 2.5)
    assert expire(pool, 3.0) == [(first, Cause.DISC_TIMEOUT)]
    assert closed(pool, connection, 3.0) == [(second, Cause.DISC_TIMEOUT)]


def test_a_single_question_without_an_answer_may_be_to_blame_itself():
    """One comes in its place at once; while that is under way, and after it, the breaker is open."""
    pool = new_pool()
    connection = connected(pool)
    submit(pool, 1.0)
    expire(pool, 3.0)
    closed(pool, connection, 3.0)
    assert isinstance(try_again(pool, 3.0), Question)
    assert try_again(pool, 3.01) is Cause.DISC_TIMEOUT
    receive(pool, pool.connections[0], answers(take(pool.connections[0])), 3.02)
    assert isinstance(try_again(pool, 3.03), Question)


def test_one_question_a_second_probes_a_disc_that_hangs():
    pool = hanging()
    taken = []
    for step in range(401):  # a hundred a second, from 3.0 to 7.0
        now = 3.0 + step / 100
        if not isinstance(try_again(pool, now), Cause):
            taken.append(now)
        expire(pool, now)
    assert taken == pytest.approx([4.0, 5.0, 6.0, 7.0], abs=0.1)


def test_the_only_connection_that_may_be_open_has_room_for_the_next_that_finds_out():
    """The first that found out has no answer yet; that is no reason to refuse the next, a second later."""
    pool = new_pool(max_connections=1)
    submit(pool)
    peer = claim(pool)
    failed(pool, peer, 0.0)
    first = try_again(pool, peer.rest_until)
    assert isinstance(first, Question)
    connection = first.connection
    assert pool.connections == [connection]
    assert isinstance(try_again(pool, peer.rest_until - 0.01), Cause)
    second = try_again(pool, peer.rest_until)
    assert isinstance(second, Question)
    assert second.connection is connection


def test_the_first_byte_closes_the_breaker():
    pool = hanging()
    assert isinstance(try_again(pool, 4.0), Question)
    assert try_again(pool, 4.01) is Cause.DISC_TIMEOUT
    [connection] = pool.connections
    assert receive(pool, connection, answers(take(connection))[:1], 4.02) == []
    assert all(isinstance(try_again(pool, 4.02), Question) for _ in range(100))
    assert [change.state for change in take_events(pool, Change)] == ["up", "silent", "up"]


def test_a_late_answer_closes_the_breaker_as_well():
    pool = new_pool()
    connection = connected(pool)
    submit(pool, 1.0)
    submit(pool, 1.0)
    late = answers(take(connection))
    expire(pool, 3.0)
    assert isinstance(pool.submit(new_question(), 3.0), Cause)
    receive(pool, connection, late, 3.1)
    assert pool.stats().peers[0].state == "up"


def test_garbage_does_not_close_it():
    pool = hanging()
    assert isinstance(try_again(pool, 4.0), Question)
    [connection] = pool.connections
    receive(pool, connection, b"HTTP/1.1 400 Bad Request\r\n\r\n", 4.1)
    assert not connection.is_live
    closed(pool, connection, 4.1)
    assert isinstance(try_again(pool, 4.1), Cause)


def test_a_byte_on_another_connection_keeps_the_breaker_closed():
    """The original DISC says nothing at all to some questions; such a one proves nothing."""
    pool = new_pool(max_in_flight=1)
    submit(pool, 0.0)
    submit(pool, 0.0)
    first, second = open_one(pool), open_one(pool)
    receive(pool, second, answers(take(second)), 1.0)
    expire(pool, 2.0)
    assert to_close(pool) == [first]
    assert closed(pool, first, 2.0) == []
    assert isinstance(pool.submit(new_question(), 2.0), Connection)


def test_with_another_disc_questions_go_there_at_once():
    pool = hanging(A, B)
    for now in (3.0, 3.1, 3.2):
        question = try_again(pool, now)
        assert question.connection.peer.host == B[0]


def probing() -> tuple[Pool, Question, Connection]:
    """A silent, B fine; at 4.0 one question tries A."""
    pool = hanging(A, B)
    healthy = try_again(pool, 3.0).connection
    receive(pool, healthy, answers(take(healthy)), 3.0)
    try_again(pool, 4.0)  # makes the connection
    probe = try_again(pool, 4.0)
    assert probe.connection.peer.host == A[0]
    for now in (4.0, 4.1, 4.2):
        assert try_again(pool, now).connection is healthy
    return pool, probe, healthy


def test_the_one_that_probes_is_asked_elsewhere_before_it_is_late():
    """So that a DISC that hangs costs no request as long as there is another."""
    pool, probe, healthy = probing()
    assert isinstance(try_again(pool, 4.26), Question)
    assert probe.connection is healthy
    assert probe.attempts == 2
    assert pool.deadline() == 6.0


def test_the_one_that_probes_may_find_all_well():
    pool, probe, healthy = probing()
    connection = probe.connection
    assert [found for found, _ in receive(pool, connection, answers(take(connection)), 4.2)] == [probe]
    assert {try_again(pool, 4.3).connection for _ in range(8)} == {connection, healthy}


def test_a_black_hole_takes_one_question_with_it_each_time():
    """While a connection is on the way to a DISC in doubt nobody else waits for it."""
    pool = new_pool()
    question = submit(pool, 0.0)
    peer = claim(pool)
    assert failed(pool, peer, 1.0) == [(question, Cause.DISC_UNREACHABLE)]
    assert pool.submit(new_question(), 1.01) is Cause.DISC_UNREACHABLE
    probe = submit(pool, 1.1)
    assert claim(pool) is peer
    for now in (1.1, 1.5, 2.05):
        assert pool.submit(new_question(), now) is Cause.DISC_UNREACHABLE
        assert claim(pool) is None
    assert failed(pool, peer, 2.1) == [(probe, Cause.DISC_UNREACHABLE)]


def test_a_connection_too_many_takes_no_good_one_along():
    """A DISC that refuses the fifth connection is not down, and gets no sixth for a while."""
    pool = new_pool(max_in_flight=1)
    connection = connected(pool)
    submit(pool, 1.0)
    submit(pool, 1.0)
    assert failed(pool, claim(pool), 1.0) == []
    assert claim(pool) is None
    assert len(receive(pool, connection, answers(take(connection)), 1.02)) == 1
    assert len(take(connection)) == 1  # the one that waited
    assert pool.stats().peers[0].state == "up"


def a_minute_of(up: float, down: float) -> tuple[int, float]:
    """A DISC that is up and down for so many seconds in turns, and 200 questions a second.

    How often the client connected, and the share of the questions that was answered.
    """
    questions_per_s = 200
    pool = Pool(Config(peers=[A]), jitter=lambda: 0.5)
    now = 0.0
    attempts = 0
    while now < 60.0:
        now += 1 / questions_per_s
        is_up = now % (up + down) < up
        if not is_up:
            for connection in list(pool.connections):
                closed(pool, connection, now)
        pool.submit(new_question(), now)
        if pool.due <= now:
            pool.tend(now)
        while (peer := claim(pool)) is not None:
            attempts += 1
            if is_up:
                pool.opened(peer, object(), now)
            else:
                failed(pool, peer, now, "connection refused")
        for connection in pool.connections:
            receive(pool, connection, answers(take(connection)), now)
    return attempts, pool.stats().answered / pool.stats().asked


@pytest.mark.parametrize(("up", "down", "share"), [(0.05, 0.05, 0.04), (0.5, 0.5, 0.2), (2.0, 2.0, 0.35)])
def test_one_that_flaps_is_damped(up, down, share):
    """Without a memory of its failures it were twenty attempts in each second that it is away."""
    attempts, answered = a_minute_of(up, down)
    assert attempts < 180
    assert answered > share


def test_one_that_hangs_up_on_every_question_is_damped():
    pool = new_pool()
    attempts = 0
    for step in range(2000):  # 200 a second, for ten seconds
        now = step / 200
        pool.submit(new_question(), now)
        if pool.due <= now:
            pool.tend(now)
        while (peer := claim(pool)) is not None:
            attempts += 1
            closed(pool, pool.opened(peer, object(), now), now)
    assert attempts < 25
    assert pool.stats().peers[0].state == "down"


def test_it_is_found_within_two_seconds_of_its_return():
    pool = new_pool(jitter=lambda: 1.0)
    now = 0.0
    while now < 30.0:
        now += 0.005
        pool.submit(new_question(), now)
        while (peer := claim(pool)) is not None:
            failed(pool, peer, now)
    returned = now
    while not pool.connections:
        now += 0.005
        pool.submit(new_question(), now)
        while (peer := claim(pool)) is not None:
            pool.opened(peer, object(), now)
    assert now - returned < 1.1
    assert len(take(pool.connections[0])) == 1


def test_the_connections_of_one_disc_fall_together():
    """One broke with a question on it: the others may be dead as well, and the second try is the last."""
    pool = new_pool(A, B, max_in_flight=2)
    for _ in range(8):
        submit(pool)
    opened = [open_one(pool) for _ in range(4)]
    of_a = [connection for connection in opened if connection.peer.host == A[0]]
    for connection in opened:
        receive(pool, connection, answers(take(connection)), 0.1)
    asked = [submit(pool, 0.2) for _ in range(4)]
    again = [question for question in asked if question.connection is of_a[0]]
    closed(pool, of_a[0], 0.3)
    assert again
    assert all(question.connection.peer.host == B[0] for question in again)
    question = submit(pool, 0.3)
    assert question.connection is not of_a[1]
    # A byte tells that it lives.
    receive(pool, of_a[1], answers(take(of_a[1])), 0.4)  # and not just before it dies as well
    assert of_a[1] in {submit(pool, 0.4).connection for _ in range(8)}


def test_several_disc_are_all_connected_from_the_start():
    pool = new_pool(A, B)
    submit(pool)
    assert {open_one(pool).peer.host for _ in range(2)} == {A[0], B[0]}
    assert claim(pool) is None


def test_questions_are_shared_by_several_disc():
    pool = new_pool(A, B)
    submit(pool)
    first, second = open_one(pool), open_one(pool)
    receive(pool, first, answers(take(first)))
    hosts = [submit(pool).connection.peer.host for _ in range(10)]
    assert hosts.count(A[0]) == 5
    assert abs(first.under_way - second.under_way) <= 1


def test_of_several_disc_the_one_that_lags_behind_gets_no_more_until_the_other_has_as_many():
    pool = new_pool(A, B)
    submit(pool)
    first, second = open_one(pool), open_one(pool)
    for _ in range(9):
        submit(pool)
    assert (first.under_way, second.under_way) == (5, 5)
    receive(pool, second, answers(take(second)))
    assert [submit(pool).connection for _ in range(5)] == [second] * 5


# ------------------------------------------------------------------ what is due


@pytest.mark.parametrize(("rest", "suspect"), [(10.5, 0.0), (10.5, 11.0)])
def test_who_waits_while_every_peer_rests_is_asked_once_one_has_rested(rest, suspect):
    """A peer that hung up rests, even if it is up. There may be no connection, and nobody else who asks."""
    pool = new_pool(A, B)
    for peer in pool.peers:
        peer.rest_until, peer.suspect_until = rest, suspect
    assert pool.submit(new_question(), 10.0) is None
    assert claim(pool) is None
    assert pool.due == rest
    pool.tend(rest)
    assert claim(pool) is not None


def test_who_waits_while_the_only_peer_left_is_suspect_is_asked_afterwards():
    pool = new_pool(A, B)
    first, second = pool.peers
    first.suspect_until, second.rest_until = 11.0, 12.0
    assert pool.submit(new_question(), 10.0) is None
    assert claim(pool) is None
    assert pool.due == 11.0
    pool.tend(11.0)
    assert claim(pool) is first
