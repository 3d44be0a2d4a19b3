"""The pool of connections, without I/O: time is what the test says it is."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from fake_disc import SIP_MSGID, build_answer, build_request
from hypothesis import given
from hypothesis import strategies as st

from auth_diameter import Avp, Config, Message, SipRequest
from auth_diameter._core import Question, authentication
from auth_diameter.authorize import Cause
from auth_diameter.pool import Connection, Pool

A, B = ("10.0.0.1", 3000), ("10.0.0.2", 3001)
REQUEST = SipRequest(build_request())


def new_question() -> Question:
    return authentication(REQUEST, "siphub.net", None, False)


def new_pool(*peers, jitter=lambda: 1.0, **settings) -> Pool:
    return Pool(Config(peers=peers or [A], **settings), jitter=jitter)


def open_one(pool: Pool, now: float = 0.0) -> Connection:
    peer = pool.wanted(now)
    assert peer is not None
    return pool.opened(peer, object())


def submit(pool: Pool, now: float = 0.0) -> Question:
    """A question that the pool takes on."""
    question = new_question()
    assert not isinstance(pool.submit(question, now), Cause)
    return question


def connected(pool: Pool, now: float = 0.0) -> Connection:
    """A connection that is open and has nothing to do."""
    submit(pool, now)
    connection = open_one(pool, now)
    assert pool.received(connection, answers(take(connection)))
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
    assert pool.received(connection, build_answer(question, more=(Avp(281, b"e" * 256),))) == []
    assert str(connection.fault) == "Diameter message above 256 bytes (at byte 0)"


# ------------------------------------------------------------------ asking


def test_the_first_question_waits_for_a_connection_that_it_makes_wanted():
    pool = new_pool()
    assert pool.wanted(0.0) is None
    question = new_question()
    assert pool.submit(question, 0.0) is None
    peer = pool.wanted(0.0)
    assert repr(peer) == "10.0.0.1:3000"
    assert pool.wanted(0.0) is None  # one is enough
    connection = pool.opened(peer, "transport")
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
    assert pool.wanted(1.0) is None


def test_the_connection_with_the_fewest_questions_is_asked():
    pool = new_pool(max_in_flight=2)
    for _ in range(3):
        submit(pool)
    first, second = open_one(pool), open_one(pool)
    assert (first.under_way, second.under_way) == (2, 1)
    assert pool.submit(new_question(), 0.0) is second
    pool.received(first, answers(take(first)))
    assert pool.submit(new_question(), 0.0) is first


def test_ids_are_unique_in_the_process():
    first, second = new_pool(), new_pool()
    questions = [submit(pool) for _ in range(50) for pool in (first, second)]
    open_one(first)
    open_one(second)
    assert len({question.msgid for question in questions}) == 100
    assert all(0 <= question.msgid <= 0xFFFFFFFF for question in questions)


def test_a_paused_connection_gets_no_questions_until_it_goes_on():
    pool = new_pool(max_connections=1)
    connection = connected(pool)
    connection.paused = True
    question = new_question()
    assert pool.submit(question, 0.0) is None
    assert not pool.fill(connection)
    connection.paused = False
    assert pool.fill(connection)
    assert msgids(take(connection)) == [question.msgid]


# ------------------------------------------------------------------ how many connections


def test_more_connections_are_wanted_when_all_are_full():
    pool = new_pool(max_in_flight=2, max_connections=3)
    for _ in range(10):
        submit(pool)
    opened = [open_one(pool) for _ in range(3)]
    assert pool.wanted(0.0) is None  # not more than max_connections
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
    first, second = open_one(pool, 0.5), open_one(pool, 0.5)
    waiting = [submit(pool, 1.0), submit(pool, 1.5)]
    asked = take(first)
    if end == "answer":
        pool.received(first, answers(asked))
    elif end == "expiry":
        assert [cause for _, cause in pool.expire(2.0)] == [Cause.DISC_TIMEOUT]
        assert first.silent is False  # its question had waited: it is not known how long DISC had
    else:
        pool.received(second, answers(asked))  # the original DISC may do that after a reconnect
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
        found += pool.received(connection, data[start:end])
    assert [question for question, _ in found] == [questions[index] for index in order]
    assert connection.under_way == 0
    assert not pool.pending
    assert pool.deadline() is None


def test_late_doubled_and_unknown_answers_are_dropped():
    pool = new_pool()
    submit(pool, 0.0)
    connection = open_one(pool)
    late = take(connection)
    pool.received(connection, build_answer(12345))  # unknown, but a sign of life
    assert [cause for _, cause in pool.expire(2.0)] == [Cause.DISC_TIMEOUT]
    assert pool.received(connection, answers(late)) == []
    question = submit(pool, 2.0)
    data = answers(take(connection))
    assert [found for found, _ in pool.received(connection, data + data)] == [question]
    assert connection.under_way == 0
    stats = pool.stats()
    assert (stats.late, stats.unknown) == (1, 2)
    assert (stats.asked, stats.expired, stats.answered) == (2, 1, 1)


def test_a_late_answer_may_come_after_its_question_was_asked_again():
    pool = new_pool()
    submit(pool)
    first = open_one(pool)
    asked = take(first)
    pool.closed(first, 0.5)
    second = open_one(pool, 0.5)
    assert pool.received(second, answers(asked)) == []
    assert len(pool.received(second, answers(take(second)))) == 1
    stats = pool.stats()
    assert (stats.asked, stats.asked_again, stats.answered, stats.late) == (1, 1, 1, 1)
    assert (stats.connects, stats.connections_lost) == (2, 1)


def test_how_many_late_answers_are_remembered_is_bounded():
    pool = new_pool(max_in_flight=20_000, max_waiting=20_000)
    for _ in range(12_000):
        submit(pool)
    connection = open_one(pool)
    asked = take(connection)
    assert len(pool.expire(2.0)) == 12_000
    assert pool.received(connection, answers([asked[0], asked[-1]])) == []
    assert (pool.stats().late, pool.stats().unknown) == (1, 1)


def test_stats_of_a_client_that_did_nothing():
    stats = new_pool(A, B).stats()
    assert (stats.asked, stats.under_way, stats.waiting) == (0, 0, 0)
    assert [peer.address for peer in stats.peers] == ["10.0.0.1:3000", "10.0.0.2:3001"]
    assert {peer.state for peer in stats.peers} == {"new"}


def test_stats_of_each_disc():
    pool = new_pool(A, B, max_in_flight=1)
    for _ in range(4):
        submit(pool)
    first = open_one(pool)
    pool.received(first, answers(take(first)))
    pool.failed(pool.wanted(0.0), 0.0)
    up, down = pool.stats().peers
    assert (up.state, up.connections, up.opening, up.under_way) == ("up", 1, 0, 1)
    assert (down.state, down.connections, down.opening, down.under_way) == ("down", 0, 0, 0)
    assert pool.stats().connect_failures == 1


def test_a_request_of_disc_is_no_answer():
    pool = new_pool()
    submit(pool)
    connection = open_one(pool)
    asked = take(connection)
    assert pool.received(connection, asked[0].encode()) == []
    assert connection.under_way == 1
    assert len(pool.received(connection, answers(asked))) == 1


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
    assert [found for found, _ in pool.received(connection, bare.encode())] == [question]


def test_garbage_ends_the_connection_but_not_the_answers_before_it():
    pool = new_pool()
    submit(pool)
    connection = open_one(pool)
    found = pool.received(connection, answers(take(connection)) + b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert len(found) == 1
    assert connection.fault is not None
    assert pool.received(connection, b"more") == []


# ------------------------------------------------------------------ time


def test_questions_expire_at_their_deadline_and_not_before():
    pool = new_pool()
    first = submit(pool, 0.0)
    second = submit(pool, 0.5)
    connection = open_one(pool, 0.5)
    assert pool.deadline() == 2.0
    assert pool.expire(1.999) == []
    assert pool.expire(2.0) == [(first, Cause.DISC_TIMEOUT)]
    assert connection.under_way == 1
    assert pool.deadline() == 2.5
    assert pool.expire(9.0) == [(second, Cause.DISC_TIMEOUT)]
    assert connection.under_way == 0
    assert pool.deadline() is None


def test_questions_that_wait_expire_as_well():
    pool = new_pool()
    question = submit(pool, 0.0)
    pool.wanted(0.0)  # a connection is on the way and never arrives
    assert pool.deadline() == 2.0
    assert pool.expire(2.0) == [(question, Cause.DISC_UNREACHABLE)]
    assert not pool.waiting


def test_a_question_that_nobody_wants_any_more_makes_room():
    pool = new_pool(max_in_flight=1)
    asked, waiting = submit(pool), submit(pool)
    connection = open_one(pool)
    assert pool.abandon(waiting) is False
    assert not pool.waiting
    assert pool.abandon(asked) is True
    assert connection.under_way == 0
    assert pool.abandon(asked) is False
    assert pool.received(connection, answers(take(connection))) == []


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
    assert pool.closed(first, 0.5) == []
    second = open_one(pool, 0.5)
    assert msgids(take(second)) == [question.msgid] != [old]
    assert question.deadline == 2.0  # of the first time
    assert pool.closed(second, 0.6) == [(question, Cause.DISC_LOST)]
    assert pool.wanted(0.6) is None
    assert pool.closed(second, 0.7) == []  # told twice


def test_an_answer_to_the_first_attempt_comes_too_late():
    pool = new_pool()
    submit(pool)
    first = open_one(pool)
    asked = take(first)
    pool.closed(first, 0.5)
    second = open_one(pool, 0.5)
    assert pool.received(second, answers(asked)) == []
    assert len(pool.received(second, answers(take(second)))) == 1


def test_a_question_at_its_deadline_is_not_asked_again():
    pool = new_pool()
    question = submit(pool, 0.0)
    connection = open_one(pool)
    assert pool.closed(connection, 2.0) == [(question, Cause.DISC_LOST)]


def test_another_connection_takes_over():
    pool = new_pool(A, B, max_in_flight=2)
    questions = [submit(pool, now) for now in (0.0, 0.1, 0.2)]
    first, second = open_one(pool, 0.2), open_one(pool, 0.2)
    newer = submit(pool, 0.3)
    assert newer.connection is second
    pool.received(second, answers(take(second)[:1]))
    assert pool.closed(first, 0.5) == []
    assert msgids(take(second)) == [questions[0].msgid]
    assert list(pool.waiting) == [questions[1]]
    assert is_in_order(pool)
    assert pool.deadline() == 2.0


def test_all_are_lost_when_the_pool_stops():
    pool = new_pool(max_in_flight=1)
    questions = [submit(pool), submit(pool)]
    open_one(pool)
    assert pool.stop() == [(question, Cause.DISC_LOST) for question in questions]
    assert pool.deadline() is None
    assert pool.stop() == []


# ------------------------------------------------------------------ peers that fail


def test_a_peer_that_fails_rests_longer_each_time_up_to_a_second():
    pool = new_pool(jitter=lambda: 1.0)
    now = 0.0
    rests = []
    for _ in range(8):
        question = submit(pool, now)
        peer = pool.wanted(now)
        assert pool.failed(peer, now) == [(question, Cause.DISC_UNREACHABLE)]
        assert pool.submit(new_question(), now) is Cause.DISC_UNREACHABLE
        assert pool.wanted(now) is None
        rests.append(peer.rest_until - now)
        now = peer.rest_until
    assert rests == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0])


@given(jitter=st.floats(0.0, 1.0), failures=st.integers(0, 5000))
def test_jitter_spreads_the_clients_of_a_peer(jitter, failures):
    pool = new_pool(jitter=lambda: jitter)
    submit(pool)
    peer = pool.wanted(0.0)
    peer.failures = failures
    pool.failed(peer, 0.0)
    longest = min(1.0, 0.05 * 2 ** min(failures, 10))
    assert longest / 2 <= peer.rest_until <= longest


def test_the_next_peer_is_tried_when_one_fails():
    pool = new_pool(A, B)
    submit(pool)
    first = pool.wanted(0.0)
    assert first.host == A[0]
    assert pool.failed(first, 0.0) == []
    second = pool.wanted(0.0)
    assert second.host == B[0]
    assert len(take(pool.opened(second, object()))) == 1


def test_hope_ends_with_the_last_peer():
    pool = new_pool(A, B, max_in_flight=1)
    questions = [submit(pool), submit(pool)]
    first, second = pool.wanted(0.0), pool.wanted(0.0)
    assert pool.failed(first, 0.0) == []  # the other is still on the way
    assert pool.failed(second, 0.0) == [(q, Cause.DISC_UNREACHABLE) for q in questions]


def test_a_peer_that_failed_gets_one_connection_until_it_says_something():
    """One question finds out whether it is back; the others go elsewhere or wait for the outcome."""
    pool = new_pool(A, B, max_in_flight=1)
    submit(pool)
    broken = pool.wanted(0.0)
    pool.failed(broken, 0.0)
    opened = []
    for _ in range(4):
        submit(pool, 1.0)
    while (peer := pool.wanted(1.0)) is not None:
        opened.append(pool.opened(peer, object()))
    assert [connection.peer.host for connection in opened].count(A[0]) == 1
    probe = next(connection for connection in opened if connection.peer is broken)
    for _ in range(4):
        submit(pool, 1.0)
    pool.received(probe, answers(take(probe)))
    assert broken.failures == 0
    for _ in range(4):
        submit(pool, 1.0)
    assert pool.wanted(1.0).host == A[0]


# ------------------------------------------------------------------ a DISC that hangs


def test_a_connection_on_which_nothing_comes_back_is_closed():
    pool = new_pool(A, B)
    connection = connected(pool)
    late = submit(pool, 1.0)
    fresh = submit(pool, 2.9)
    assert pool.expire(3.0) == [(late, Cause.DISC_TIMEOUT)]
    assert pool.spent() == [connection]
    assert pool.submit(new_question(), 3.0) is None  # not on that one
    assert pool.closed(connection, 3.0) == []
    peer = pool.wanted(3.0)
    assert peer.host == B[0]  # the other one first
    other = pool.opened(peer, object())
    assert fresh.connection is other


def test_a_connection_on_which_something_comes_back_is_kept():
    """The original DISC says nothing at all to some questions."""
    pool = new_pool()
    connection = connected(pool)
    submit(pool, 1.0)
    other = submit(pool, 1.1)
    asked = take(connection)
    assert [question for question, _ in pool.received(connection, answers(asked[1:]))] == [other]
    assert len(pool.expire(3.0)) == 1
    assert pool.spent() == []


def half_answered(pool: Pool) -> tuple[Connection, Question, list[Message]]:
    """A connection with three questions, one of which expired behind the half of an answer."""
    connection = connected(pool)
    late = submit(pool, 1.0)
    submit(pool, 1.5)
    submit(pool, 1.5)
    asked = take(connection)
    assert pool.received(connection, answers(asked[:1])[:30]) == []
    assert pool.expire(3.0) == [(late, Cause.DISC_TIMEOUT)]
    return connection, late, asked


def test_no_new_question_behind_half_an_answer():
    # Were the other half never to come, all the answers behind it would be lost, one time limit each.
    pool = new_pool()
    connection, _, _ = half_answered(pool)
    assert pool.spent() == []  # two others wait on it still
    fresh = new_question()
    assert pool.submit(fresh, 3.0) is None
    assert open_one(pool, 3.0) is fresh.connection
    assert len(pool.expire(3.5)) == 2
    assert pool.spent() == [connection]


def test_half_an_answer_that_nobody_waits_for():
    pool = new_pool()
    connection = connected(pool)
    submit(pool, 1.0)
    answer = answers(take(connection))
    assert len(pool.received(connection, answer + answer[:30])) == 1
    assert connection.is_spent
    assert pool.spent() == [connection]
    assert pool.submit(new_question(), 1.0) is None  # not on that one
    pool.received(connection, answer[30:])  # twice the same answer, then
    assert not connection.is_spent


def test_the_other_half_of_a_late_answer_makes_all_well_again():
    pool = new_pool()
    connection, _, asked = half_answered(pool)
    found = pool.received(connection, answers(asked)[30:])
    assert len(found) == 2
    assert submit(pool, 3.0).connection is connection
    assert pool.expire(3.6) == pool.spent() == []


def test_a_single_disc_that_hangs_is_asked_on_a_new_connection_at_once():
    pool = new_pool()
    connection = connected(pool)
    submit(pool, 1.0)
    pool.expire(3.0)
    pool.closed(connection, 3.0)
    submit(pool, 3.0)
    assert pool.wanted(3.0) is not None


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
            found = pool.received(connection, answers(questions[:count]))
            sent[connection] = questions[count:]
            ended += [question for question, _ in found]
        elif event < 0.9 and opening:
            peer = opening.pop(chance.randrange(len(opening)))
            if chance.random() < 0.7:
                sent[pool.opened(peer, object())] = []
            else:
                ended += [question for question, _ in pool.failed(peer, now)]
        elif event < 0.93 and sent:
            connection = chance.choice(list(sent))
            del sent[connection]
            ended += [question for question, _ in pool.closed(connection, now)]
        # What a driver does after each event.
        deadline = pool.deadline()
        if deadline is not None and deadline <= now:
            ended += [question for question, _ in pool.expire(now)]
            for connection in pool.spent():
                del sent[connection]
                ended += [question for question, _ in pool.closed(connection, now)]
        while (peer := pool.wanted(now)) is not None:
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
        room = [c for c in pool.connections if c.under_way < 3 and not c.silent]
        assert not (pool.waiting and room), "a question waits though a connection has room"
        assert pool.stats().asked == len(asked)
    ended += [question for question, _ in pool.stop()]
    assert len(ended) == len(asked) > 900
    assert set(ended) == asked
