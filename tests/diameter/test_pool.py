"""The pool of connections, without I/O: time is what the test says it is."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.pool import (
    A,
    B,
    answers,
    claim,
    closed,
    connected,
    expire,
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
    to_close,
)
from kit.sip import build_request
from kit.wire import SIP_MSGID, build_answer

from auth_diameter import Avp, Config, Message, SipRequest
from auth_diameter._core import Question, authentication, restart_msgids
from auth_diameter.decision import Cause
from auth_diameter.diameter.connection import Connection
from auth_diameter.diameter.pool import Pool


def test_an_answer_beyond_the_configured_size_ends_the_connection():
    pool = Pool(Config(diameter_client_host="a", max_diameter_message=256))
    submit(pool)
    connection = open_one(pool)
    (question,) = take(connection)
    assert receive(pool, connection, build_answer(question, more=(Avp(281, b"e" * 256),))) == []
    assert str(connection.fault) == "Message Length 320 is above the limit of 256 (at byte 1)"


# ------------------------------------------------------------------ asking


def test_the_first_question_waits_for_a_connection_that_it_makes_wanted():
    pool = new_pool()
    assert claim(pool) is None
    question = new_question()
    assert pool.submit(question, 0.0) is None
    peer = claim(pool)
    assert repr(peer) == "10.0.0.1:3000"
    assert claim(pool) is None  # one is enough
    connection = pool.opened(peer, "transport", 0.0)
    assert connection.transport == "transport"
    assert msgids(take(connection)) == [question.msgid]
    assert pool.deadline() == 2.0


def test_an_open_connection_is_asked_at_once():
    pool = new_pool()
    connection = connected(pool)
    question = new_question()
    assert pool.submit(question, 1.0) is connection
    assert question.connection is connection
    assert pool.deadline() == 3.0
    assert claim(pool) is None


def test_the_connection_with_the_fewest_questions_is_asked():
    pool = new_pool(max_in_flight=2)
    for _ in range(3):
        submit(pool)
    first, second = open_one(pool), open_one(pool)
    assert (first.under_way, second.under_way) == (2, 1)
    assert pool.submit(new_question(), 0.0) is second
    receive(pool, first, answers(take(first)))
    assert pool.submit(new_question(), 0.0) is first


def test_ids_are_unique_in_the_process():
    first, second = new_pool(), new_pool()
    questions = [submit(pool) for _ in range(50) for pool in (first, second)]
    open_one(first)
    open_one(second)
    assert len({question.msgid for question in questions}) == 100
    assert all(0 <= question.msgid <= 0xFFFFFFFF for question in questions)


def test_a_paused_connection_gets_no_questions_until_it_goes_on():
    """Nor is another one opened: a DISC that does not read would not read that one either."""
    pool = new_pool()
    connection = connected(pool)
    pool.pause(connection)
    assert pool.submit(new_question(), 0.0) is Cause.OVERLOADED
    assert claim(pool) is None
    pool.resume(connection, 0.0)
    question = submit(pool)
    assert msgids(take(connection)) == [question.msgid]


def test_the_other_disc_is_asked_while_one_does_not_read():
    pool = new_pool(A, B)
    submit(pool)
    first, second = open_one(pool), open_one(pool)
    pool.pause(first)
    assert all(pool.submit(new_question(), 0.0) is second for _ in range(3))
    pool.pause(second)
    assert pool.submit(new_question(), 0.0) is Cause.OVERLOADED
    assert pool.stats().refused_overload == 1


def test_a_connection_has_a_mebibyte_to_send_at_most():
    """What is more waits until the driver has sent that, which it does in this turn of its loop."""
    big = SipRequest(build_request(request_uri=f"sip:{'b' * 40_000}@h"))
    pool = new_pool(max_connections=1)
    connection = connected(pool)
    for _ in range(60):
        assert not isinstance(pool.submit(authentication(big, "h", None, False), 0.0), Cause)
    assert (1 << 20) - (1 << 16) < connection.unsent <= 1 << 20
    assert claim(pool) is None
    sent = len(take(connection))
    assert len(pool.waiting) == 60 - sent
    pool.sent(connection, 0.0)
    assert connection.unsent <= 1 << 20
    sent += len(take(connection))
    pool.sent(connection, 0.0)
    assert sent + len(take(connection)) == 60


# ------------------------------------------------------------------ how many connections


def test_more_connections_are_wanted_when_all_are_full():
    pool = new_pool(max_in_flight=2, max_connections=3)
    for _ in range(10):
        submit(pool)
    opened = [open_one(pool) for _ in range(3)]
    assert claim(pool) is None  # not more than max_connections
    assert [connection.under_way for connection in opened] == [2, 2, 2]
    assert len(pool.waiting) == 4


def test_several_disc_share_the_connections():
    pool = new_pool(A, B, max_in_flight=1)
    for _ in range(4):
        submit(pool)
    hosts = [open_one(pool).peer.host for _ in range(4)]
    assert hosts == [A[0], B[0], A[0], B[0]]


def test_the_driver_may_want_fewer_questions_on_a_connection():
    """The original DISC, and a thread that reads its own answer, take one at a time."""
    pool = Pool(Config(peers=[A], max_in_flight=1000), max_in_flight=1)
    submit(pool)
    connection = open_one(pool)
    submit(pool)
    assert connection.under_way == 1
    assert len(pool.waiting) == 1


@pytest.mark.parametrize("end", ["answer", "expiry", "another connection's answer"])
def test_what_waits_goes_out_in_order_as_soon_as_there_is_room(end):
    pool = new_pool(max_in_flight=1, max_connections=2)
    submit(pool, 0.0)
    submit(pool, 0.5)
    first, second = open_one(pool, 1.1), open_one(pool, 1.1)
    waiting = [submit(pool, 1.2), submit(pool, 1.5)]
    asked = take(first)
    if end == "answer":
        receive(pool, first, answers(asked))
    elif end == "expiry":
        assert [cause for _, cause in expire(pool, 2.0)] == [Cause.DISC_TIMEOUT]
        assert first.is_live  # its question had waited: it is not known how long DISC had
    else:
        receive(pool, second, answers(asked))  # the original DISC may do that after a reconnect
    assert msgids(take(first)) == [waiting[0].msgid]
    assert list(pool.waiting) == [waiting[1]]


def test_the_queue_has_a_bound():
    pool = new_pool(max_waiting=3)
    for _ in range(3):
        submit(pool)
    assert pool.submit(new_question(), 0.0) is Cause.OVERLOADED
    connection = open_one(pool)
    assert connection.under_way == 3
    assert pool.submit(new_question(), 0.0) is connection


# ------------------------------------------------------------------ answers


@given(order=st.permutations(range(8)), cuts=st.lists(st.integers(0, 500), max_size=12))
def test_answers_are_matched_in_any_order_and_any_pieces(order, cuts):
    pool = new_pool()
    questions = [submit(pool) for _ in order]
    connection = open_one(pool)
    asked = take(connection)
    data = answers([asked[index] for index in order])
    found = []
    places = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    for start, end in pairwise(places):
        found += receive(pool, connection, data[start:end])
    assert [question for question, _ in found] == [questions[index] for index in order]
    assert connection.under_way == 0
    assert not pool.in_flight
    assert pool.deadline() is None


def test_late_doubled_and_unknown_answers_are_dropped():
    pool = new_pool()
    submit(pool, 0.0)
    connection = open_one(pool)
    late = take(connection)
    receive(pool, connection, build_answer(12345))  # unknown, but a sign of life
    assert [cause for _, cause in expire(pool, 2.0)] == [Cause.DISC_TIMEOUT]
    assert receive(pool, connection, answers(late)) == []
    question = submit(pool, 2.0)
    data = answers(take(connection))
    assert [found for found, _ in receive(pool, connection, data + data)] == [question]
    assert connection.under_way == 0
    stats = pool.stats()
    assert (stats.late, stats.unknown) == (1, 2)
    assert (stats.asked, stats.expired, stats.answered) == (2, 1, 1)


def test_a_late_answer_may_come_after_its_question_was_asked_again():
    pool = new_pool()
    submit(pool)
    first = open_one(pool)
    asked = take(first)
    closed(pool, first, 0.5)
    second = open_one(pool, 0.5)
    assert receive(pool, second, answers(asked)) == []
    assert len(receive(pool, second, answers(take(second)))) == 1
    stats = pool.stats()
    assert (stats.asked, stats.asked_again, stats.answered, stats.late) == (1, 1, 1, 1)
    assert (stats.connects, stats.connections_lost) == (2, 1)


def test_how_many_late_answers_are_remembered_is_bounded():
    pool = new_pool(max_in_flight=20_000)
    connection = connected(pool)
    asked = []
    for _ in range(12_000):
        submit(pool)
        asked += take(connection)
    assert len(expire(pool, 2.0)) == 12_000
    assert receive(pool, connection, answers([asked[0], asked[-1]])) == []
    assert (pool.stats().late, pool.stats().unknown) == (1, 1)


def test_stats_of_a_client_that_did_nothing():
    stats = new_pool(A, B).stats()
    assert (stats.asked, stats.under_way, stats.waiting) == (0, 0, 0)
    assert [peer.address for peer in stats.peers] == ["10.0.0.1:3000", "10.0.0.2:3001"]
    assert {peer.state for peer in stats.peers} == {"new"}


def test_stats_of_each_disc():
    pool = new_pool(A, B, max_in_flight=1)
    for _ in range(2):
        submit(pool)
    first = open_one(pool)
    receive(pool, first, answers(take(first)))
    failed(pool, claim(pool), 0.0)
    up, down = pool.stats().peers
    assert (up.state, up.connections, up.opening, up.under_way) == ("up", 1, 0, 1)
    assert (down.state, down.connections, down.opening, down.under_way) == ("down", 0, 0, 0)
    assert pool.stats().connect_failures == 1


def test_a_request_of_disc_is_no_answer():
    pool = new_pool()
    submit(pool)
    connection = open_one(pool)
    asked = take(connection)
    assert receive(pool, connection, asked[0].encode()) == []
    assert connection.under_way == 1
    assert len(receive(pool, connection, answers(asked))) == 1


def test_an_answer_without_sip_msgid_goes_by_hop_by_hop():
    pool = new_pool()
    question = submit(pool)
    connection = open_one(pool)
    message = Message.decode(build_answer(take(connection)[0]))
    bare = Message(
        265,
        [avp for avp in message.avps if avp.code != SIP_MSGID],
        application_id=1,
        flags=0,
        hop_by_hop=message.hop_by_hop,
    )
    assert [found for found, _ in receive(pool, connection, bare.encode())] == [question]


def test_garbage_ends_the_connection_but_not_the_answers_before_it():
    pool = new_pool()
    submit(pool)
    connection = open_one(pool)
    found = receive(pool, connection, answers(take(connection)) + b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert len(found) == 1
    assert connection.fault is not None
    assert receive(pool, connection, b"more") == []


def test_a_question_that_garbage_ends_is_lost_and_not_late():
    """DISC_TIMEOUT is for a connection on which nothing came; here DISC did say something."""
    pool = new_pool()
    question = submit(pool)
    closed(pool, open_one(pool), 0.5)
    second = open_one(pool, 0.5)
    assert receive(pool, second, b"HTTP/1.1 400 Bad Request\r\n\r\n", 0.6) == []
    assert to_close(pool) == [second]
    assert closed(pool, second, 0.7) == [(question, Cause.DISC_LOST)]
    stats = pool.stats()
    assert (stats.lost, stats.expired) == (1, 0)


def test_what_waits_is_not_written_to_a_connection_that_is_to_be_closed():
    """That would be one of its two attempts."""
    pool = new_pool(max_in_flight=1, max_connections=1)
    submit(pool)
    connection = open_one(pool)
    waiting = submit(pool)
    assert (
        len(receive(pool, connection, answers(take(connection)) + b"HTTP/1.1 400 Bad Request\r\n\r\n")) == 1
    )
    assert to_close(pool) == [connection]
    assert list(pool.waiting) == [waiting]
    assert waiting.attempts == 0


# ------------------------------------------------------------------ time


def test_questions_expire_at_their_deadline_and_not_before():
    pool = new_pool()
    first = submit(pool, 0.0)
    second = submit(pool, 0.5)
    connection = open_one(pool, 0.5)
    assert pool.deadline() == 2.0
    assert expire(pool, 1.999) == []
    assert expire(pool, 2.0) == [(first, Cause.DISC_TIMEOUT)]
    assert connection.under_way == 1
    assert pool.deadline() == 2.5
    assert expire(pool, 9.0) == [(second, Cause.DISC_TIMEOUT)]
    assert connection.under_way == 0
    assert pool.deadline() is None


def test_questions_that_wait_expire_as_well():
    pool = new_pool()
    question = submit(pool, 0.0)
    claim(pool)  # a connection is on the way and never arrives
    assert pool.deadline() == 2.0
    assert expire(pool, 2.0) == [(question, Cause.DISC_UNREACHABLE)]
    assert not pool.waiting


@pytest.mark.parametrize("connections", [0, 1])
def test_a_driver_that_waits_for_one_question_tells_that_it_expired(connections):
    """A thread sees to its own question: why it has no answer depends on whether there is a connection."""
    pool = new_pool(max_in_flight=1, max_connections=1)
    asked = [submit(pool) for _ in range(connections)]
    for _ in asked:
        open_one(pool)
    waiting = submit(pool)
    cause = Cause.DISC_TIMEOUT if connections else Cause.DISC_UNREACHABLE
    assert pool.expire_one(waiting, 2.0) is cause
    assert not pool.waiting
    for question in asked:
        assert pool.expire_one(question, 2.0) is Cause.DISC_TIMEOUT
    stats = pool.stats()
    assert (stats.expired, stats.asked) == (1 + connections, 1 + connections)


def test_a_question_that_nobody_wants_any_more_makes_room():
    pool = new_pool(max_in_flight=1)
    asked, waiting = submit(pool), submit(pool)
    connection = open_one(pool)
    assert pool.abandon(waiting) is False
    assert not pool.waiting
    assert pool.abandon(asked) is True
    assert connection.under_way == 0
    assert pool.abandon(asked) is False
    assert receive(pool, connection, answers(take(connection))) == []
    stats = pool.stats()
    assert (stats.abandoned, stats.late, stats.asked) == (2, 1, 2)


def test_a_question_that_was_never_asked_takes_no_other_away():
    """Its id is still 0, which may be another's."""
    pool = new_pool()
    restart_msgids(0)
    other = submit(pool)
    other_connection = open_one(pool)
    assert other.msgid == 0
    assert pool.abandon(new_question()) is False
    assert pool.in_flight.questions() == [other]
    assert other_connection.under_way == 1


# ------------------------------------------------------------------ anything, in any order


@pytest.mark.parametrize("seed", range(20))
def test_every_question_ends_once_and_deadlines_stay_in_order(seed):
    """Random events: no question is lost, ended twice, or overstays; and the counts add up."""
    chance = random.Random(seed)
    pool = new_pool(
        A, B, jitter=chance.random, max_in_flight=3, max_connections=4, max_waiting=10, timeout=1.0
    )
    now = 0.0
    sent: dict[Connection, list[Message]] = {}
    asked: set[Question] = set()
    ended: list[Question] = []
    opening = []
    for _ in range(2000):
        now += chance.random() * 0.02
        event = chance.random()
        if event < 0.5:
            question = new_question()
            asked.add(question)
            if isinstance(pool.submit(question, now), Cause):
                ended.append(question)
        elif event < 0.75 and sent:
            connection = chance.choice(list(sent))
            questions = sent[connection]
            chance.shuffle(questions)
            count = chance.randint(0, len(questions))
            found = receive(pool, connection, answers(questions[:count]), now)
            sent[connection] = questions[count:]
            ended += [question for question, _ in found]
        elif event < 0.9 and opening:
            peer = opening.pop(chance.randrange(len(opening)))
            if chance.random() < 0.7:
                sent[pool.opened(peer, object(), now)] = []
            else:
                ended += [question for question, _ in failed(pool, peer, now)]
        elif event < 0.93 and sent:
            connection = chance.choice(list(sent))
            del sent[connection]
            ended += [question for question, _ in closed(pool, connection, now)]
        # What a driver does after each event.
        deadline = pool.deadline()
        if deadline is not None and deadline <= now:
            ended += [question for question, _ in expire(pool, now)]
        if pool.due <= now:
            pool.tend(now)
        while connections := to_close(pool):
            for connection in connections:
                del sent[connection]
                ended += [question for question, _ in closed(pool, connection, now)]
        while (peer := claim(pool)) is not None:
            opening.append(peer)
        for connection in sent:
            sent[connection] += take(connection)
        under_way = [*pool.in_flight.questions(), *pool.waiting]
        assert is_in_order(pool)
        assert all(question.deadline > now for question in under_way)
        assert sum(connection.under_way for connection in pool.connections) == len(pool.in_flight)
        assert all(0 <= connection.under_way <= 3 for connection in pool.connections)
        assert len(pool.connections) + len(opening) <= 4
        assert set(sent) == set(pool.connections)
        room = [c for c in pool.connections if c.under_way < 3 and c.takes_questions]
        assert not (pool.waiting and room), "a question waits though a connection has room"
        hope = opening or pool.in_flight or any(not peer.in_doubt for peer in pool.peers)
        assert hope or not pool.waiting, "a question waits for nothing"
        assert pool.stats().asked == len(asked)
    ended += [question for question, _ in stop(pool)]
    assert len(ended) == len(asked) > 900
    assert set(ended) == asked


def test_nobody_writes_a_question_after_the_end():
    """The path of a SIP server asks without `submit`, as long as the connections are not closed."""
    pool = new_pool()
    connected(pool)
    stop(pool)
    assert pool.in_flight.ready_wires
    assert pool.in_flight.submit(new_question(), 0.0) is None
