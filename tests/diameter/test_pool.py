"""The pool of connections, without I/O: time is what the test says it is."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.sip import build_request
from kit.wire import SIP_MSGID, build_answer

from auth_diameter import Avp, Config, Message, SipRequest
from auth_diameter._core import Question, authentication
from auth_diameter.decision import Cause
from auth_diameter.diameter.connection import Connection
from auth_diameter.diameter.events import Close, Finished, Open
from auth_diameter.diameter.peer import Change, Peer
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
    pool.stop()
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
    data = bytes(connection.outgoing)
    connection.outgoing.clear()
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
    for questions in (list(pool.pending.values()), list(pool.waiting)):
        deadlines = [question.deadline for question in questions]
        if deadlines != sorted(deadlines):
            return False
    return True


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
    assert (1 << 20) - (1 << 16) < len(connection.outgoing) <= 1 << 20
    assert claim(pool) is None
    sent = len(take(connection))
    assert len(pool.waiting) == 60 - sent
    pool.sent(connection, 0.0)
    assert len(connection.outgoing) <= 1 << 20
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


# ------------------------------------------------------------------ what is held


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
    assert not pool.pending
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
    other = submit(pool)
    other_connection = open_one(pool)
    del pool.pending[other.msgid]
    other.msgid = 0
    pool.pending[0] = other
    assert pool.abandon(new_question()) is False
    assert pool.pending == {0: other}
    assert other_connection.under_way == 1


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


# ------------------------------------------------------------------ overload


class Simulation:
    """A DISC of fixed capacity, a network, and callers; time is counted in steps of a millisecond."""

    def __init__(self, capacity: float, way: float = 0.0005, **settings) -> None:
        self.pool = new_pool(max_in_flight=100_000, max_waiting=100_000, **settings)
        self.capacity = capacity
        self.way = way  # seconds there, and back
        self.now = 0.0
        self.free_at = 0.0  # when DISC has done what it has
        self.due: list[tuple[float, Message]] = []  # answers on their way, in order
        self.took: list[float] = []
        self.refused = 0
        self.connection = connected(self.pool)

    def step(self, count: int) -> None:
        """A millisecond, at the beginning of which so many questions are asked."""
        for _ in range(count):
            if isinstance(self.pool.submit(new_question(), self.now), Cause):
                self.refused += 1
        for question in take(self.connection):
            self.pool.sent(self.connection, self.now)
            self.free_at = max(self.free_at, self.now + self.way) + 1 / self.capacity
            self.due.append((self.free_at + self.way, question))
        self.now += 0.001
        ready = [question for when, question in self.due if when <= self.now]
        if ready:
            del self.due[: len(ready)]
            found = self.pool.received(self.connection, answers(ready), self.now)
            self.took += [self.now - question.deadline + 2.0 for question, _ in found]
        expire(self.pool, self.now)

    def run(self, seconds: float, per_s: float) -> None:
        asked = 0
        for step in range(round(seconds * 1000)):
            count = int((step + 1) * per_s / 1000) - asked
            asked += count
            self.step(count)


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)]


@pytest.mark.parametrize("capacity", [300, 1000, 4000])
@pytest.mark.parametrize("way", [0.0005, 0.02], ids=["near", "far"])
def test_five_times_too_much(capacity, way):
    """What DISC can do is done, nobody waits for long, and the rest is refused at once."""
    simulation = Simulation(capacity, way)
    seconds = 4.0 if capacity < 4000 else 2.0
    simulation.run(seconds, 5 * capacity)
    assert len(simulation.took) >= 0.8 * capacity * seconds
    assert quantile(simulation.took, 0.99) <= 0.5
    stats = simulation.pool.stats()
    assert stats.refused_overload == simulation.refused > 3 * capacity * seconds
    assert stats.expired == 0


def test_without_a_limit_nearly_all_come_too_late():
    """That is what it is for."""
    simulation = Simulation(1000, max_delay=None)
    simulation.run(4.0, 5000)
    assert simulation.refused == 0
    assert quantile(simulation.took, 0.5) > 0.9
    assert simulation.pool.stats().expired > 3000


def test_a_disc_that_becomes_slower_and_fast_again():
    simulation = Simulation(4000)
    simulation.run(0.5, 2000)
    assert simulation.refused == 0
    simulation.capacity = 500
    simulation.run(2.0, 2000)
    assert simulation.refused > 2000
    simulation.took.clear()
    simulation.run(1.0, 2000)
    assert quantile(simulation.took, 0.99) <= 0.5
    simulation.capacity = 4000
    simulation.run(0.5, 2000)
    simulation.refused = 0
    simulation.run(1.0, 2000)
    assert simulation.refused == 0


@pytest.mark.parametrize("way", [0.0005, 0.02], ids=["near", "far"])
def test_a_burst_is_not_refused(way):
    """On an idle DISC, and on one that has been asked one question at a time, as at night."""
    simulation = Simulation(20_000, way)
    for _ in range(5):
        simulation.step(2000)
        simulation.run(0.3, 0)
        simulation.run(1.0, 10)
    simulation.run(3.0, 200)
    simulation.step(2000)
    simulation.run(0.3, 200)
    assert simulation.refused == 0


def test_an_overload_that_creeps_in_is_seen():
    simulation = Simulation(1000)
    simulation.run(10.0, 1030)
    assert simulation.refused > 0
    assert quantile(simulation.took, 1 - 1e-9) <= 0.3


def test_a_disc_that_becomes_slow_to_answer_but_not_overloaded():
    """One question takes it long, and many at a time as long: below a number of them none is refused."""
    simulation = Simulation(4000)
    simulation.run(1.0, 200)
    simulation.way = 0.15
    simulation.run(3.0, 200)
    assert simulation.refused == 0


def test_a_high_steady_load_is_not_refused():
    simulation = Simulation(4000, 0.02)
    simulation.run(2.0, 3800)
    assert simulation.refused == 0


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
        under_way = [*pool.pending.values(), *pool.waiting]
        assert is_in_order(pool)
        assert all(question.deadline > now for question in under_way)
        assert sum(connection.under_way for connection in pool.connections) == len(pool.pending)
        assert all(0 <= connection.under_way <= 3 for connection in pool.connections)
        assert len(pool.connections) + len(opening) <= 4
        assert set(sent) == set(pool.connections)
        room = [c for c in pool.connections if c.under_way < 3 and c.takes_questions]
        assert not (pool.waiting and room), "a question waits though a connection has room"
        hope = opening or pool.pending or any(not peer.in_doubt for peer in pool.peers)
        assert hope or not pool.waiting, "a question waits for nothing"
        assert pool.stats().asked == len(asked)
    ended += [question for question, _ in stop(pool)]
    assert len(ended) == len(asked) > 900
    assert set(ended) == asked
