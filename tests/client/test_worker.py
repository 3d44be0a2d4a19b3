"""The client for worker processes: one question at a time in each, and no thread of its own.

What several processes know together is in test_workers.py.
"""

import signal
import socket
import struct
import threading
import time

import pytest
from kit.disc import CHALLENGE_VALUE, answer_all, hang_up, judge, say_nothing
from kit.machine import PATIENCE, SLACK
from kit.sip import FIRST, RIGHT, build_credentials, build_request
from kit.wire import build_answer
from kit.worker import SOURCE, ask, calm, new_worker, refuse, slow

from auth_diameter import Cause, Config, ConfigError, DiscError, SipRequest
from auth_diameter.client.worker import Common, WorkerAuthDiameter


@pytest.fixture(params=[ask, calm], ids=["Python asks", "compiled code asks"])
def warm(request):
    """A function that asks a worker, so that its next question is asked by one of both."""
    return request.param


@pytest.fixture
def worker(fake_disc):
    """A worker whose connection is calm."""
    with new_worker(fake_disc(), timeout=0.5) as worker:
        calm(worker)
        yield worker


# ------------------------------------------------------------------ the functions


def test_right_credentials(fake_disc):
    disc = fake_disc()
    with new_worker(disc) as worker:
        request = SipRequest(RIGHT, SOURCE)
        for _ in range(3):
            decision = worker.diameter_www_authorize(request, "$fd")
            assert (decision.cause, decision.username, decision.realm) == (
                Cause.AUTHORIZED,
                "alice",
                "siphub.net",
            )
        assert request.authorized is not None
        assert worker.counts[Cause.AUTHORIZED] == 3
        assert len(disc.questions) == 3
        assert len(disc.connections) == 1


def test_a_question_that_compiled_code_has_left_is_the_one_that_is_asked(worker):
    """With its attempt: the request is not judged anew."""
    request = SipRequest(RIGHT, SOURCE)
    worker._compiled.calm_until = 0.0
    question = worker._path.decide(request, "$fd", False)
    assert worker.go_on(question, request, "$fd", proxy=False).cause is Cause.AUTHORIZED
    assert question.attempts == 1


def test_a_function_of_a_proxy_goes_on_as_such(worker):
    """The realm of a REGISTER is the domain of From then, not that of To (RFC 3261, 22.3)."""
    request = SipRequest(build_request(extra=('Proxy-Authorization: Digest username="x',)), SOURCE)
    assert worker.go_on(None, request, "$fd", proxy=True).cause is Cause.MALFORMED_CREDENTIALS
    assert worker.go_on(None, request, "$fd", proxy=False).status == 401


def test_bytes_instead_of_a_request(worker):
    assert worker.diameter_www_authorize(RIGHT, "$fd")


def test_a_challenge(worker):
    decision = ask(worker, FIRST)
    assert (decision.status, decision.return_code, decision.reason) == (401, -5, "Unauthorized")
    assert decision.headers == (("WWW-Authenticate", CHALLENGE_VALUE.decode()),)
    assert worker.counts[Cause.CHALLENGED] == 1


def test_proxy(worker):
    right = build_request(extra=("Proxy-Authorization: " + build_credentials(),))
    assert worker.diameter_proxy_authorize(SipRequest(FIRST), "$fd").status == 407
    assert worker.diameter_proxy_authorize(SipRequest(right), "$fd")


def test_a_group_check_of_credentials_that_were_right(worker):
    request = SipRequest(RIGHT, SOURCE)
    assert worker.diameter_is_user_in(request, "Credentials", "voicemail").return_code == -4
    assert worker.diameter_www_authorize(request, "$fd")
    assert worker.diameter_is_user_in(request, "Credentials", "voicemail").return_code == 1
    assert worker.counts[Cause.MEMBER] == 1


def test_credentials_that_compiled_code_found_right_hold(worker):
    request = SipRequest(RIGHT, SOURCE)
    assert worker.diameter_www_authorize(request, "$fd")
    assert worker.diameter_is_user_in(request, "Credentials", "voicemail").return_code == 1


def test_disc_is_told_the_source(fake_disc):
    """With `tell_source`, whoever asks."""
    disc = fake_disc()
    with new_worker(disc, tell_source=True) as worker:
        calm(worker)
        assert ask(worker)
    assert {question.find(31).data for question in disc.questions} == {b"192.0.2.7"}


def test_an_ack_is_let_through_unasked(worker):
    before = worker.stats()
    assert ask(worker, build_request("ACK")).cause is Cause.BYPASSED
    assert worker.stats() == before


def test_a_request_that_is_too_large_for_a_question(fake_disc):
    with new_worker(fake_disc(), max_diameter_message=256) as worker:
        assert ask(worker).cause is Cause.TOO_LARGE


def test_guesses_are_refused_unseen(fake_disc):
    """Five wrong ones; then nobody is asked."""

    disc = fake_disc(refuse)
    with new_worker(disc) as worker:
        causes = [ask(worker).cause for _ in range(8)]
        assert causes == [Cause.FORBIDDEN] * 5 + [Cause.PENALIZED] * 3
        assert len(disc.questions) == 5
        assert worker.counts[Cause.PENALIZED] == 3


def test_a_slow_verdict_on_a_guess_counts(fake_disc):
    """Compiled code waits 50 ms; then Python goes on with the question and its attempt."""
    with new_worker(fake_disc(slow(refuse, 0.1))) as worker:
        assert [ask(worker).cause for _ in range(7)] == [Cause.FORBIDDEN] * 5 + [Cause.PENALIZED] * 2


@pytest.mark.parametrize("script", [hang_up, say_nothing])
def test_an_attempt_ends_without_an_answer(fake_disc, script):
    disc = fake_disc()
    with new_worker(disc, timeout=0.3) as worker:
        assert [ask(worker, FIRST).status for _ in range(3)] == [401] * 3
        disc.script = script
        assert not ask(worker)
        assert len(worker._common.penalties) == 0


def test_an_attempt_ends_with_an_answer_that_is_stale(fake_disc):
    ahead = [0.0]

    def late(connection, questions):
        ahead[0] = 10.0
        answer_all(connection, questions)

    disc = fake_disc()
    config = Config(peers=[disc.address], timeout=0.3)
    with WorkerAuthDiameter(config, Common(), lambda: time.monotonic() + ahead[0]) as worker:
        assert [ask(worker, FIRST).status for _ in range(3)] == [401] * 3
        disc.script = late
        assert ask(worker).cause is Cause.DISC_TIMEOUT
        assert len(worker._common.penalties) == 0


def test_an_attempt_ends_when_it_is_interrupted(fake_disc):
    def stop(number, frame):
        raise KeyboardInterrupt

    def interrupt(connection, questions):
        time.sleep(0.2)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    disc = fake_disc()
    before = signal.signal(signal.SIGUSR1, stop)
    try:
        with new_worker(disc) as worker:
            assert [ask(worker, FIRST).status for _ in range(3)] == [401] * 3
            disc.script = interrupt
            with pytest.raises(KeyboardInterrupt):
                ask(worker)
            assert len(worker._common.penalties) == 0
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_logins_leave_no_place_taken(fake_disc):
    """Or each sixth would wait for the verdicts on those before it."""
    with new_worker(fake_disc()) as worker:
        for _ in range(60):
            assert ask(worker)
        known = len(worker._common.penalties)
        started = time.monotonic()
        assert ask(worker)
        assert time.monotonic() - started < 0.1
        assert known <= 2, "alice, and her source"


@pytest.mark.parametrize("application", ["sip", "cx"])
def test_standard_diameter_is_refused(application):
    """Its watchdog wants an answer while a worker waits for SIP."""
    config = Config(
        application=application,
        destination_realm="siphub.net",
        origin_host="sip.siphub.net",
        origin_realm="siphub.net",
    )
    with pytest.raises(ConfigError, match="auth-diameter disc --db cx://HOST"):
        WorkerAuthDiameter(config, Common())


def test_a_closed_client(worker):
    worker.close()
    with pytest.raises(DiscError, match="closed"):
        ask(worker)


# ------------------------------------------------------------------ no thread


def test_no_thread_runs_but_that_of_the_lookup(fake_disc):
    """`localhost` is a name; it is looked up when the client is made, before the fork."""
    disc = fake_disc()
    with new_worker(disc, peers=[("localhost", disc.port)]) as worker:
        running = set(threading.enumerate())
        for _ in range(3):
            assert ask(worker)
        mine = {one.name for one in set(threading.enumerate()) - running if "_serve" not in one.name}
        assert mine == set()


# ------------------------------------------------------------------ DISC in trouble


def test_disc_is_not_there(fake_disc):
    disc = fake_disc()
    disc.stop()
    with new_worker(disc) as worker:
        assert ask(worker).cause is Cause.DISC_UNREACHABLE
        assert ask(worker).cause is Cause.DISC_UNREACHABLE


def test_disc_comes_back(fake_disc):
    disc = fake_disc()
    with new_worker(disc) as worker:
        assert ask(worker)
        disc.stop()
        assert not ask(worker)
        disc.start()
        deadline = time.monotonic() + PATIENCE
        while not ask(worker):
            assert time.monotonic() < deadline


def test_disc_closes_a_connection_that_was_idle(fake_disc):
    """The question is asked again on a new one: it was not answered."""
    disc = fake_disc()
    with new_worker(disc) as worker:
        assert ask(worker)
        disc.connections[0].close()
        assert ask(worker)
        assert len(disc.connections) == 2


def test_disc_hangs_up_at_each_question(fake_disc, warm):
    disc = fake_disc()
    with new_worker(disc) as worker:
        warm(worker)
        disc.script = hang_up
        assert ask(worker).cause is Cause.DISC_LOST


def test_an_answer_in_pieces(fake_disc, warm):
    def in_pieces(connection, questions):
        answer = judge(questions[0])
        for piece in (answer[:1], answer[1:30], answer[30:]):
            connection.send(piece)
            time.sleep(0.02)

    disc = fake_disc()
    with new_worker(disc) as worker:
        warm(worker)
        disc.script = in_pieces
        for _ in range(3):
            assert ask(worker)
        assert len(disc.connections) == 1


def test_half_an_answer_and_then_the_end(fake_disc, warm):
    def half(connection, questions):
        connection.send(judge(questions[0])[:30])
        connection.close()

    disc = fake_disc()
    with new_worker(disc) as worker:
        warm(worker)
        disc.script = half
        assert ask(worker).cause is Cause.DISC_LOST


def test_what_is_no_diameter(fake_disc, warm):
    """The connection is given up; the next question has a new one."""
    disc = fake_disc()
    with new_worker(disc) as worker:
        warm(worker)
        disc.script = lambda connection, questions: connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        assert ask(worker).cause is Cause.DISC_LOST
        disc.script = answer_all
        assert ask(worker)


def test_garbage_behind_an_answer(fake_disc, warm):
    """The answer counts. The connection does not any more."""
    disc = fake_disc()
    with new_worker(disc) as worker:
        warm(worker)
        disc.script = lambda connection, questions: connection.send(judge(questions[0]) + b"garbage, garbage")
        assert ask(worker)
        disc.script = answer_all
        assert ask(worker)
        assert len(disc.connections) == 2


def test_part_of_another_answer_behind_an_answer(fake_disc, warm):
    """The rest may come; until then no question is asked on that connection."""
    disc = fake_disc()
    with new_worker(disc) as worker:
        warm(worker)
        disc.script = lambda connection, questions: connection.send(
            judge(questions[0]) + judge(questions[0])[:40]
        )
        assert ask(worker)
        disc.script = answer_all
        assert ask(worker)


def test_the_answer_to_another_question_is_passed_over(fake_disc, warm):
    def other_first(connection, questions):
        connection.send(build_answer(1, 2001) + judge(questions[0]))

    disc = fake_disc()
    with new_worker(disc) as worker:
        warm(worker)
        disc.script = other_first
        assert ask(worker)


def test_disc_never_answers(fake_disc, warm):
    """503 after the time limit; with one DISC the next question is a probe, which waits 250 ms."""
    disc = fake_disc()
    with new_worker(disc, timeout=0.5) as worker:
        warm(worker)
        disc.script = say_nothing
        took = []
        for _ in range(4):
            started = time.monotonic()
            decision = ask(worker)
            took.append(time.monotonic() - started)
            assert (decision.cause, decision.status) == (Cause.DISC_TIMEOUT, 503)
        assert 0.4 < took[0] < 0.5 + SLACK
        assert 0.2 < took[1] < 0.25 + SLACK
        assert max(took[2:]) < 0.2, "they are refused at once"


def test_a_late_answer_closes_the_breaker(fake_disc, warm):
    """That of the first probe comes while nobody waits for it; the next question finds it."""
    disc = fake_disc()
    kept = []
    with new_worker(disc, timeout=1.0) as worker:
        warm(worker)
        disc.script = lambda connection, questions: kept.append((connection, questions))
        assert not ask(worker)
        assert not ask(worker), "the probe"
        connection, questions = kept[-1]
        disc.script = answer_all
        answer_all(connection, questions)
        time.sleep(0.05)
        assert ask(worker), "without a rest"
        assert worker.stats().peers[0].state == "up"
        assert worker.stats().late == 1


def test_a_probe_that_is_never_answered_gives_its_connection_up(fake_disc, warm):
    """The network may have lost it, so another probe has a new one."""
    disc = fake_disc()
    with new_worker(disc, timeout=0.3) as worker:
        warm(worker)
        disc.script = say_nothing
        assert not ask(worker)
        assert not ask(worker)
        connections = len(disc.connections)
        time.sleep(1.1)
        assert not ask(worker)
        assert len(disc.connections) == connections + 1


def probed(disc, worker):
    """A DISC hangs: a question was in vain, and the next one was a probe, whose connection this is."""
    disc.script = say_nothing
    assert not ask(worker)
    assert not ask(worker), "the probe"
    [connection] = worker._worker.pool.connections
    return connection


def test_what_is_left_after_a_probe(fake_disc):
    """Its connection has the usual limit again, and is given up after the time limit, or when it ends."""
    disc = fake_disc()
    with new_worker(disc, timeout=1.0) as worker:
        calm(worker)
        probe = probed(disc, worker)
        limit = probe.transport.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16)
        seconds, microseconds = struct.unpack("@ll", limit)
        assert seconds + microseconds / 1e6 < 0.1
        time.sleep(1.1)
        assert not ask(worker)
        assert probe not in worker._worker.pool.connections


def test_the_end_of_a_probed_connection_is_seen(fake_disc):
    disc = fake_disc()
    with new_worker(disc, timeout=1.0) as worker:
        calm(worker)
        probed(disc, worker)
        disc.connections[-1].close()
        time.sleep(0.05)
        assert not ask(worker)
        assert worker.stats().peers[0].connections == 0


def test_the_rest_of_a_peer_is_told(fake_disc):
    """The other workers know when the next probe may be sent."""
    disc = fake_disc()
    disc.stop()
    with new_worker(disc) as worker:
        assert not ask(worker)
        _, rest_until = worker._common.breakers.look(worker._worker.places[0])
        assert rest_until == worker._worker.pool.peers[0].rest_until


def test_close_while_a_connection_is_opened(silent_listener):
    worker = new_worker(peers=[silent_listener], timeout=0.2)
    assert not ask(worker)
    [connecting] = [one.sock for one in worker._worker._connecting]
    worker.close()
    assert connecting.fileno() == -1


def test_a_disc_that_comes_back_gets_questions_while_the_other_one_works(fake_disc):
    first, second = fake_disc(), fake_disc()
    second.stop()
    with new_worker(first, second) as worker:
        assert all(ask(worker) for _ in range(4))
        second.start()
        until = time.monotonic() + PATIENCE
        while not second.questions:
            assert ask(worker)
            assert time.monotonic() < until
            time.sleep(0.02)


def test_another_disc_takes_over(fake_disc):
    """The one that hangs costs one time limit; then all questions go to the other one."""
    first, second = fake_disc(), fake_disc()
    with new_worker(first, second, timeout=0.5) as worker:
        for _ in range(4):
            assert ask(worker)
        first.script = say_nothing
        causes = [ask(worker).cause for _ in range(10)]
        assert causes.count(Cause.DISC_TIMEOUT) <= 1
        assert set(causes) <= {Cause.DISC_TIMEOUT, Cause.AUTHORIZED}
        assert causes[-3:] == [Cause.AUTHORIZED] * 3


def test_a_signal_whose_handler_raises(fake_disc):
    """The question is given up; the next one has a connection of its own."""

    def interrupt(connection, questions):
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    def stop(number, frame):
        raise KeyboardInterrupt

    disc = fake_disc()
    before = signal.signal(signal.SIGUSR1, stop)
    try:
        with new_worker(disc) as worker:
            assert ask(worker)
            disc.script = interrupt
            with pytest.raises(KeyboardInterrupt):
                ask(worker)
            disc.script = answer_all
            assert ask(worker)
            assert len(disc.connections) == 2
    finally:
        signal.signal(signal.SIGUSR1, before)
