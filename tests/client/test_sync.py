"""The driver for threads against a DISC on loopback that does what the test says.

Where a test measures time, it is the contract's: no call takes longer than its deadline.
"""

from __future__ import annotations

import gc
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from kit.disc import CHALLENGE_VALUE, answer_all, hang_up, judge, say_nothing
from kit.machine import PATIENCE, SLACK, wait_until
from kit.sip import FIRST, RIGHT, build_credentials, build_request
from kit.wire import build_answer

from auth_diameter import AuthDiameter, Cause, Config, DiscError, SipRequest
from auth_diameter.diameter import sync


def new_client(disc, **settings):
    settings = {"timeout": 5.0, "connect_timeout": 1.0, **disc.settings, **settings}
    return AuthDiameter(Config(**settings))


def ask(client, request=RIGHT):
    return client.diameter_www_authorize(request, "$fd")


# ------------------------------------------------------------------ the functions


def test_www(fake_disc):
    with new_client(fake_disc()) as client:
        decision = client.diameter_www_authorize(FIRST, "$fd")
        assert (decision.status, decision.return_code) == (401, -5)
        assert b"\r\nWWW-Authenticate: " + CHALLENGE_VALUE + b"\r\n" in decision.reply
        assert client.diameter_www_authorize(RIGHT, "$fd")


def test_proxy(fake_disc):
    request = build_request(extra=("Proxy-Authorization: " + build_credentials(),))
    with new_client(fake_disc()) as client:
        decision = client.diameter_proxy_authorize(FIRST, "$fd")
        assert (decision.status, decision.return_code) == (407, -5)
        assert b"\r\nProxy-Authenticate: " + CHALLENGE_VALUE + b"\r\n" in decision.reply
        assert client.diameter_proxy_authorize(request, "$fd")


def test_group(fake_disc):
    def only_voicemail(connection, questions):
        for question in questions:
            member = question.find(405) is None or bytes(question.find(405).data) == b"voicemail"
            connection.send(build_answer(question, 2001 if member else 4001))

    with new_client(fake_disc(only_voicemail)) as client:
        request = SipRequest(RIGHT)
        assert client.diameter_is_user_in(request, "Credentials", "voicemail").return_code == -4
        assert client.diameter_www_authorize(request, "")
        assert client.diameter_is_user_in(request, "Credentials", "voicemail").return_code == 1
        assert client.diameter_is_user_in(request, "From", "pstn").return_code == -1


def test_what_needs_no_disc_opens_no_connection(fake_disc):
    disc = fake_disc()
    with new_client(disc) as client:
        assert ask(client, build_request("ACK"))
        assert ask(client, build_request(from_=None)).status == 400
        assert ask(client, b"junk").status == 400
    assert disc.connections == []


def test_one_connection_serves_one_thread(fake_disc):
    disc = fake_disc()
    with new_client(disc) as client:
        for _ in range(50):
            assert ask(client)
    assert len(disc.connections) == 1


def test_it_does_so_where_a_single_question_may_fill_it(fake_disc):
    """With such large messages a connection has no room behind one question, until that has been sent."""
    disc = fake_disc()
    with new_client(disc, max_diameter_message=1 << 20, max_connections=1, timeout=PATIENCE) as client:
        for _ in range(5):
            assert ask(client)
    assert len(disc.connections) == 1


# ------------------------------------------------------------------ how answers come


def test_an_answer_in_single_bytes(fake_disc):
    def byte_by_byte(connection, questions):
        for question in questions:
            for byte in judge(question):
                connection.send(bytes([byte]))

    with new_client(fake_disc(byte_by_byte)) as client:
        assert ask(client)
        assert ask(client, FIRST).status == 401


def test_an_answer_among_others_in_one_segment(fake_disc):
    def crowd(connection, questions):
        for question in questions:
            stranger = build_answer(int.from_bytes(question.find(406).data, "big") ^ 1, 5003)
            connection.send(stranger + judge(question) + stranger)

    with new_client(fake_disc(crowd)) as client:
        assert all(ask(client) for _ in range(3))


def test_an_answer_to_the_question_before(fake_disc):
    """It came too late; what was asked since gets its own."""
    disc = fake_disc()
    with new_client(disc, timeout=1.0) as client:
        until_let_through(client)
        disc.script = say_nothing
        before = len(disc.questions)
        assert ask(client).cause is Cause.DISC_TIMEOUT
        disc.wait_for(lambda: len(disc.questions) > before)
        late = judge(disc.questions[-1])

        def answer_late(connection, questions):
            connection.send(late + b"".join(build_answer(question, 5003) for question in questions))

        disc.script = answer_late
        assert ask(client).status == 403


@pytest.mark.parametrize(
    "garbage",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 64, b"\xff" * 64, b"\x01\x00\x00\x13" + b"\0" * 16],
    ids=["text", "zeros", "ones", "length 19"],
)
def test_garbage_instead_of_an_answer(garbage, fake_disc):
    disc = fake_disc(lambda connection, questions: connection.send(garbage))
    with new_client(disc) as client:
        decision = ask(client)
        assert (decision.status, decision.cause) == (503, Cause.DISC_LOST)
        assert len(disc.connections) == 2  # asked once more, not for ever
        disc.script = answer_all
        assert ask(client)


def test_garbage_behind_an_answer(fake_disc):
    disc = fake_disc(lambda connection, questions: connection.send(judge(questions[0]) + b"\0" * 20))
    with new_client(disc) as client:
        assert all(ask(client) for _ in range(3))
    assert len(disc.connections) == 3


def test_an_answer_that_cannot_be_used(fake_disc):
    disc = fake_disc(lambda connection, questions: connection.send(build_answer(questions[0], None)))
    with new_client(disc) as client:
        decision = ask(client)
        assert (decision.status, decision.cause) == (500, Cause.DISC_UNUSABLE)


# ------------------------------------------------------------------ a DISC in trouble


def test_disc_never_answers(fake_disc):
    disc = fake_disc()
    with new_client(disc, timeout=0.3) as client:
        until_let_through(client)
        disc.script = say_nothing
        decision, seconds = took(client)
        assert seconds < 0.3 + SLACK
        assert (decision.status, decision.cause) == (503, Cause.DISC_TIMEOUT)
        assert b"\r\nRetry-After: 2\r\n" in decision.reply


def test_disc_sends_an_answer_too_slowly(fake_disc):
    """The deadline is that of the whole answer, not of each byte."""
    stop = threading.Event()

    def drip(connection, questions):
        for byte in judge(questions[0]) * 100:
            if stop.wait(0.05):
                return
            connection.send(bytes([byte]))

    disc = fake_disc()
    with new_client(disc, timeout=0.4) as client:
        until_let_through(client)
        disc.script = drip
        decision, seconds = took(client)
        assert decision.cause is Cause.DISC_TIMEOUT
        assert seconds < 0.4 + SLACK
    stop.set()


def test_disc_closes_in_the_middle_of_an_answer(fake_disc):
    def half(connection, questions):
        connection.send(judge(questions[0])[:30])
        connection.close()

    disc = fake_disc(half)
    with new_client(disc) as client:
        assert ask(client).cause is Cause.DISC_LOST
        assert len(disc.questions) == 2
        disc.script = answer_all
        assert ask(client)


def test_a_question_whose_connection_breaks_is_asked_on_another(fake_disc):
    def only_the_second(connection, questions):
        if connection.index == 0:
            connection.close()
        else:
            answer_all(connection, questions)

    disc = fake_disc(only_the_second)
    with new_client(disc) as client:
        assert ask(client)
    assert len(disc.questions) == 2
    first, second = disc.questions
    assert first.hop_by_hop != second.hop_by_hop


def test_nobody_listens(free_port):
    """It is said at once, and not at the deadline."""
    config = Config(diameter_client_host="127.0.0.1", diameter_client_port=free_port, timeout=60.0)
    with AuthDiameter(config) as client:
        for _ in range(3):
            decision, seconds = took(client)
            assert (decision.status, decision.cause) == (503, Cause.DISC_UNREACHABLE)
            assert seconds < SLACK


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64 + ".example", "a..b", "\udcff"], ids=ascii)
def test_a_host_that_is_none(host):
    with AuthDiameter(Config(diameter_client_host=host)) as client:
        for _ in range(2):
            assert ask(client).cause is Cause.DISC_UNREACHABLE


def test_looking_up_a_name_takes_no_longer_than_the_deadline(monkeypatch):
    """The C library looks up names without a limit; the caller has one."""
    go_on = threading.Event()

    def look_up(*args, **kwargs):
        go_on.wait(PATIENCE)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with AuthDiameter(Config(diameter_client_host="slow.example", timeout=0.3)) as client:
        decision, seconds = took(client)
        go_on.set()
        assert decision.cause is Cause.DISC_UNREACHABLE
        assert seconds < 0.3 + SLACK


def test_no_thread_can_be_started(fake_disc, monkeypatch):
    """A connection that cannot be opened is like a DISC that does not take it."""
    with new_client(fake_disc()) as client:
        with monkeypatch.context() as patch:

            def refuse(*args):
                raise RuntimeError("can't start new thread")

            patch.setattr(sync._thread, "start_new_thread", refuse)
            assert ask(client).cause is Cause.DISC_UNREACHABLE
        until_let_through(client)


def until_let_through(client):
    """Asks until DISC has been found, or found again, which takes a second."""
    deadline = time.monotonic() + PATIENCE
    while not (decision := ask(client)):
        assert decision.cause in (Cause.DISC_UNREACHABLE, Cause.DISC_TIMEOUT)
        assert time.monotonic() < deadline, "DISC is there and not found"


def test_disc_comes_up_later(fake_disc):
    disc = fake_disc()
    disc.stop()
    with new_client(disc) as client:
        assert ask(client).cause is Cause.DISC_UNREACHABLE
        disc.start()
        until_let_through(client)
        assert ask(client)


def test_no_question_is_lost_when_disc_restarts(fake_disc):
    """Many connections are broken then; a question must not be handed from one to the next."""
    everyone = threading.Barrier(8, timeout=PATIENCE)

    def all_at_once(connection, questions):
        everyone.wait()
        answer_all(connection, questions)

    disc = fake_disc(all_at_once)
    with new_client(disc) as client, ThreadPoolExecutor(8) as threads:
        assert all(threads.map(lambda _: ask(client), range(8)))
        assert len(disc.connections) == 8
        disc.stop()
        disc.script = answer_all
        disc.start()
        assert all(ask(client) for _ in range(20))
        assert len(disc.connections) == 9


def test_the_other_disc_takes_over(fake_disc):
    first, second = fake_disc(), fake_disc()
    peers = [("127.0.0.1", first.port), ("127.0.0.1", second.port)]
    with AuthDiameter(Config(peers=peers, timeout=5.0)) as client:
        assert ask(client)
        assert len(first.questions) + len(second.questions) == 1
        first.stop()
        assert all(ask(client) for _ in range(3))
        assert len(first.questions) + len(second.questions) == 4


def test_the_other_disc_takes_over_from_one_that_hangs(fake_disc):
    hanging, fine = fake_disc(say_nothing), fake_disc()
    peers = [("127.0.0.1", hanging.port), ("127.0.0.1", fine.port)]
    with AuthDiameter(Config(peers=peers, timeout=1.0)) as client:
        causes = []
        wait_until(lambda: causes.append(ask(client).cause) or hanging.questions)
        causes += [ask(client).cause for _ in range(8)]
        assert causes.count(Cause.DISC_TIMEOUT) == 1
        assert causes.count(Cause.AUTHORIZED) == len(causes) - 1


def test_disc_reads_nothing(fake_disc):
    """A question that went out half must not be followed by another on that connection."""
    questions_fit = threading.Event()

    def stall(connection, questions):
        connection.send(b"".join(judge(question) for question in questions))
        if not questions_fit.is_set():
            questions_fit.wait(PATIENCE)

    disc = fake_disc(stall)
    with new_client(disc, timeout=1.0) as client:
        assert ask(client)
        connection = client._transport.pool.connections[0]
        connection.transport.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        connection.outgoing += bytes(8_000_000)  # as if so much had been asked before
        assert ask(client).cause is Cause.DISC_TIMEOUT
        assert client._transport.pool.connections == []
        questions_fit.set()
        assert ask(client)


# ------------------------------------------------------------------ many threads


def test_many_threads_share_one_client(fake_disc):
    def shuffled(connection, questions):
        for question in questions:
            answer = judge(question)
            cut = random.randrange(len(answer))
            connection.send(answer[:cut])
            connection.send(answer[cut:])

    disc = fake_disc(shuffled)
    wrong = []

    def work(number):
        for turn in range(25):
            name = f"user{number}x{turn}"
            with_credentials = turn % 2
            extra = ("Authorization: " + build_credentials(name),) if with_credentials else ()
            decision = ask(client, build_request(extra=extra))
            expected = (None, name) if with_credentials else (401, None)
            if (decision.status, decision.username) != expected:
                wrong.append(decision)

    with new_client(disc, max_connections=5) as client:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert len(disc.connections) <= 5
        assert len(disc.questions) == 500
        assert not client._transport.pool.pending
        assert not client._transport.pool.waiting
        assert all(connection.under_way == 0 for connection in client._transport.pool.connections)


def test_many_threads_while_disc_breaks_connections(fake_disc):
    """Whatever happens: each call returns in time, and at the end all is as it was."""

    def moody(connection, questions):
        mood = random.random()
        if mood < 0.1:
            connection.close()
        elif mood < 0.2:
            connection.send(b"\0" * 20)
        elif mood < 0.22:
            pass
        else:
            answer_all(connection, questions)

    disc = fake_disc(moody)
    causes = []

    def work():
        for _ in range(20):
            decision, seconds = took(client)
            causes.append(decision.cause)
            assert seconds < 1.0 + SLACK

    with new_client(disc, max_connections=4, timeout=1.0) as client:
        with ThreadPoolExecutor(12) as threads:
            for future in [threads.submit(work) for _ in range(12)]:
                future.result()
        assert len(causes) == 240
        possible = {Cause.AUTHORIZED, Cause.DISC_LOST, Cause.DISC_TIMEOUT, Cause.DISC_UNREACHABLE}
        assert set(causes) <= possible
        assert not client._transport.pool.pending
        assert not client._transport.pool.waiting
        disc.script = answer_all
        until_let_through(client)
        with ThreadPoolExecutor(12) as threads:
            assert all(threads.map(lambda _: ask(client), range(100)))
        wait_until(lambda: not any(peer.opening for peer in client._transport.pool.peers))
        assert all(connection.under_way == 0 for connection in client._transport.pool.connections)


def test_counts_are_exact(fake_disc):
    disc = fake_disc()
    with new_client(disc) as client, ThreadPoolExecutor(16) as threads:
        requests = [FIRST, RIGHT, b"junk", build_request("ACK")] * 100
        list(threads.map(lambda request: ask(client, request), requests))
        counts = {cause: count for cause, count in client.counts.items() if count}
        causes = (Cause.CHALLENGED, Cause.AUTHORIZED, Cause.MALFORMED_REQUEST, Cause.BYPASSED)
        assert counts == dict.fromkeys(causes, 100)
        stats = client.stats()
        assert (stats.asked, stats.answered, stats.under_way, stats.waiting) == (200, 200, 0, 0)
        wait_until(lambda: not client.stats().peers[0].opening)
        stats = client.stats()
        [peer] = stats.peers
        assert (peer.address, peer.state) == (f"127.0.0.1:{disc.port}", "up")
        assert peer.connections == stats.connects
        disc.wait_for(lambda: len(disc.connections) == stats.connects)


def test_what_expires_is_counted(fake_disc):
    disc = fake_disc()
    with new_client(disc, timeout=1.0) as client:
        assert ask(client)
        disc.script = say_nothing
        ask(client)
        assert client.stats().expired == client.counts[Cause.DISC_TIMEOUT] == 1


def test_too_many_callers(fake_disc):
    release = threading.Event()

    def slow(connection, questions):
        release.wait(PATIENCE)
        answer_all(connection, questions)

    disc = fake_disc(slow)
    with (
        new_client(disc, max_connections=1, max_waiting=2, timeout=PATIENCE) as client,
        ThreadPoolExecutor(8) as threads,
    ):
        futures = [threads.submit(ask, client)]
        disc.wait_for(lambda: disc.questions)
        futures += [threads.submit(ask, client) for _ in range(7)]
        wait_until(lambda: sum(future.done() for future in futures) == 5)
        release.set()
        causes = [future.result().cause for future in futures]
    assert causes.count(Cause.OVERLOADED) == 5
    assert causes.count(Cause.AUTHORIZED) == 3


@pytest.mark.usefixtures("ctrl_c_is_heeded")
def test_an_interrupt_leaves_nothing_behind(fake_disc):
    """KeyboardInterrupt while the main thread reads: half an answer must not meet the next call."""
    main = threading.get_ident()

    def interrupt(connection, questions):
        connection.send(judge(questions[0])[:30])
        signal.pthread_kill(main, signal.SIGINT)

    disc = fake_disc(interrupt)
    with new_client(disc) as client:
        with pytest.raises(KeyboardInterrupt):
            ask(client)
        assert not client._transport.pool.pending
        assert client._transport.pool.connections == []
        disc.script = answer_all
        assert ask(client)


def test_signals_do_not_move_the_deadline(fake_disc):
    """Each one interrupts the system call, whose limit must not begin again (as with SIGPROF or SIGCHLD)."""
    disc = fake_disc()
    old = signal.signal(signal.SIGALRM, lambda number, frame: None)
    end = threading.Timer(PATIENCE, signal.setitimer, (signal.ITIMER_REAL, 0))
    end.start()
    try:
        with new_client(disc, timeout=0.4) as client:
            until_let_through(client)
            disc.script = say_nothing
            signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
            decision, seconds = took(client)
            assert decision.cause is Cause.DISC_TIMEOUT
            assert seconds < 0.4 + SLACK
    finally:
        end.cancel()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


# ------------------------------------------------------------------ fail-over and breaker


def took(client, request=RIGHT):
    """A decision, and how long it took."""
    started = time.monotonic()
    decision = ask(client, request)
    return decision, time.monotonic() - started


def test_a_disc_that_hangs_costs_one_deadline_and_then_next_to_nothing(fake_disc, caplog):
    disc = fake_disc()
    with new_client(disc, timeout=1.0) as client, ThreadPoolExecutor(8) as threads:
        assert ask(client)
        disc.script = say_nothing
        first = list(threads.map(lambda _: ask(client), range(8)))
        assert {decision.cause for decision in first} == {Cause.DISC_TIMEOUT}
        refused, began = client.stats().refused_down, time.monotonic()
        assert {ask(client).cause for _ in range(50)} == {Cause.DISC_TIMEOUT}
        tries = 1 + time.monotonic() - began
        assert client.stats().refused_down - refused >= 50 - tries  # at once
        disc.script = answer_all
        deadline = time.monotonic() + 2.0 + SLACK
        while not ask(client):
            assert time.monotonic() < deadline, "DISC answers again and was not found"
            time.sleep(0.005)
        assert all(ask(client) for _ in range(10))
    assert [record.getMessage().partition(" ")[2] for record in caplog.records] == [
        f"127.0.0.1:{disc.port} does not answer; asking it once a second",
        f"127.0.0.1:{disc.port} is up",
    ]


def until_each_was_asked(client, *discs):
    """Their connections open in any order; as long as one has none, the others are asked instead."""
    wait_until(lambda: ask(client) and all(disc.questions for disc in discs))


def test_threads_that_wait_for_one_that_hangs_are_served_by_another(fake_disc):
    """When the first of them has waited long enough, the others need not."""
    hanging, fine = fake_disc(), fake_disc()
    peers = [("127.0.0.1", hanging.port), ("127.0.0.1", fine.port)]
    with AuthDiameter(Config(peers=peers, timeout=2.0)) as client, ThreadPoolExecutor(8) as threads:
        until_each_was_asked(client, hanging, fine)
        hanging.script = say_nothing
        before = len(hanging.questions)
        early = threads.submit(ask, client), threads.submit(ask, client)
        hanging.wait_for(lambda: len(hanging.questions) > before)
        time.sleep(1.5)  # so that they have much more time left than the early ones
        late = [threads.submit(ask, client) for _ in range(6)]
        assert sorted(bool(future.result()) for future in early) == [False, True]
        assert all(future.result() for future in late)


def test_one_that_hangs_costs_nothing_while_there_is_another(fake_disc):
    """The question that tries it is asked elsewhere, soon enough, though no other thread asks."""
    hanging, fine = fake_disc(), fake_disc()
    peers = [("127.0.0.1", hanging.port), ("127.0.0.1", fine.port)]
    with AuthDiameter(Config(peers=peers, timeout=2.0)) as client:
        until_each_was_asked(client, hanging, fine)
        hanging.script = say_nothing
        tries = len(hanging.questions) + 1
        assert [bool(ask(client)) for _ in range(4)].count(False) == 1
        hanging.wait_for(lambda: len(hanging.questions) == tries)
        began = time.monotonic()
        while len(hanging.questions) == tries or time.monotonic() < began + 1.6:
            assert time.monotonic() < began + PATIENCE, "it was never tried again"
            assert ask(client)
            time.sleep(0.01)
        assert len(hanging.questions) - tries <= 1 + time.monotonic() - began


def crowd(client, count, until):
    """So many threads that ask as long as `until` is not set: all decisions, and the longest time."""
    decisions = []
    longest = [0.0]

    def work():
        while not until.is_set():
            decision, seconds = took(client)
            decisions.append(decision)
            longest[0] = max(longest[0], seconds)
            time.sleep(0.05)

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, decisions, longest


def test_256_threads_lose_nothing_when_one_of_two_disc_is_killed(fake_disc):
    first, second = fake_disc(), fake_disc()
    peers = [("127.0.0.1", first.port), ("127.0.0.1", second.port)]
    end = threading.Event()
    with AuthDiameter(Config(peers=peers, timeout=PATIENCE)) as client:
        threads, decisions, longest = crowd(client, 256, end)
        first.wait_for(lambda: len(first.questions) > 300)
        first.stop()
        enough = len(decisions) + 500
        wait_until(lambda: len(decisions) > enough)
        end.set()
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        assert longest[0] < 0.25 + SLACK
        assert {decision.cause for decision in decisions} == {Cause.AUTHORIZED}
        stats = client.stats()
        assert stats.asked == stats.answered == len(decisions) == client.counts[Cause.AUTHORIZED]
        assert (stats.lost, stats.expired, stats.waiting, stats.under_way) == (0, 0, 0, 0)


def test_256_threads_when_both_disc_are_killed_and_come_back(fake_disc):
    discs = [fake_disc(), fake_disc()]
    peers = [("127.0.0.1", disc.port) for disc in discs]
    end = threading.Event()
    with AuthDiameter(Config(peers=peers, timeout=5.0)) as client:
        threads, decisions, longest = crowd(client, 256, end)
        discs[0].wait_for(lambda: len(discs[0].questions) > 100)
        for disc in discs:
            disc.stop()
        wait_until(lambda: not decisions[-1])
        for disc in discs:
            disc.start()
        back = time.monotonic()
        while not decisions[-1]:
            assert time.monotonic() - back < 2.0 + SLACK
            time.sleep(0.001)
        end.set()
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        causes = {decision.cause for decision in decisions}
        assert causes <= {Cause.AUTHORIZED, Cause.DISC_UNREACHABLE, Cause.DISC_LOST}
        assert longest[0] < 5.0 + SLACK  # nobody waits beyond the time limit


def test_a_reset_in_the_middle_of_our_question(fake_disc):
    """The whole of it is asked again elsewhere."""
    half_read, fine = socket.create_server(("127.0.0.1", 0)), fake_disc()
    half_read.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    big = build_request(
        extra=("Authorization: " + build_credentials(cnonce="c" * 200),), request_uri=f"sip:{'b' * 60_000}@h"
    )

    def reset():
        sock, _ = half_read.accept()
        half_read.close()
        sock.recv(100)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()

    thread = threading.Thread(target=reset)
    thread.start()
    peers = [half_read.getsockname()[:2], ("127.0.0.1", fine.port)]
    with half_read, AuthDiameter(Config(peers=peers, timeout=5.0)) as client:
        wait_until(lambda: ask(client, big) and not thread.is_alive())
        assert ask(client, big)
        assert client.stats().asked_again == 1
        assert client.stats().connections_lost == 1


def test_a_peer_that_reads_a_byte_now_and_then_does_not_move_the_deadline(fake_disc):
    stop = threading.Event()

    def nibble(connection, questions):
        connection.send(b"".join(judge(question) for question in questions))
        while not stop.wait(0.05):
            connection.sock.recv(2048)

    disc = fake_disc(nibble)
    with new_client(disc, timeout=1.0) as client:
        assert ask(client)
        connection = client._transport.pool.connections[0]
        connection.transport.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        connection.outgoing += bytes(8_000_000)
        decision, seconds = took(client)
        stop.set()
        assert decision.cause is Cause.DISC_TIMEOUT
        assert seconds < 1.0 + SLACK


# ------------------------------------------------------------------ other processes


def program(code, disc, tests, timeout=PATIENCE):
    """The command of a Python program of its own, in which a warning is an error."""
    prologue = f"""
import logging, os, signal, socket, sys, threading, time
sys.path.insert(0, {str(tests)!r})
import auth_diameter as ad
from kit.sip import RIGHT
logging.getLogger("auth_diameter").addHandler(logging.NullHandler())
config = ad.Config(diameter_client_host="127.0.0.1", diameter_client_port={disc.port}, timeout={timeout})
"""
    return [sys.executable, "-X", "dev", "-W", "error", "-c", prologue + code]


def run_program(code, disc, tests, **settings):
    """What it wrote."""
    command = program(code, disc, tests, **settings)
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_a_forked_child_has_connections_of_its_own(fake_disc, request):
    disc = fake_disc()
    code = """
auth = ad.AuthDiameter(config)
assert auth.diameter_www_authorize(RIGHT, "$fd")
child = os.fork()
good = all(auth.diameter_www_authorize(RIGHT, "$fd") for _ in range(50))
if not child:
    os._exit(0 if good and auth.stats().connects == 1 else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert good and auth.diameter_www_authorize(RIGHT, "$fd")
assert auth.stats().connects == 1
auth.close()
"""
    run_program(code, disc, request.path.parents[1])
    assert len(disc.connections) == 2
    ids = [question.hop_by_hop for question in disc.questions]
    assert len(set(ids)) == len(ids) == 102


def test_a_question_imports_no_module(fake_disc, request):
    """A child that was forked during an import in another thread would wait for that thread for ever."""
    code = """
imports = []
class Finder:
    def find_spec(name, path, target=None):
        imports.append(name)
sys.meta_path.insert(0, Finder)
with ad.AuthDiameter(config) as auth:
    assert auth.diameter_www_authorize(RIGHT, "$fd")
assert not imports, imports
"""
    run_program(code, fake_disc(), request.path.parents[1])


def test_a_fork_while_other_threads_ask(fake_disc, request):
    """They hold any lock at that moment, and are not there in the child."""
    code = """
auth = ad.AuthDiameter(config)
end = threading.Event()
def ask():
    while not end.is_set():
        assert auth.diameter_www_authorize(RIGHT, "$fd")
threads = [threading.Thread(target=ask) for _ in range(4)]
for thread in threads:
    thread.start()
for _ in range(10):
    child = os.fork()
    if not child:
        signal.alarm(30)
        os._exit(0 if all(auth.diameter_www_authorize(RIGHT, "$fd") for _ in range(3)) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
end.set()
for thread in threads:
    thread.join()
auth.close()
"""
    run_program(code, fake_disc(), request.path.parents[1])


@pytest.mark.parametrize("daemon", [True, False])
def test_the_program_ends_while_calls_wait(daemon, fake_disc, request):
    """Daemon threads are left where they are; the others have their time limit at most."""
    code = f"""
auth = ad.AuthDiameter(config)
for _ in range(8):
    threading.Thread(target=auth.diameter_www_authorize, args=(RIGHT, "$fd"), daemon={daemon}).start()
while (stats := auth.stats()).asked < 8 or stats.waiting:
    time.sleep(0.001)
print("end")
"""
    disc = fake_disc(say_nothing)
    assert run_program(code, disc, request.path.parents[1], timeout=1.0) == ["end"]


def test_a_process_that_was_stopped_takes_no_stale_answer(fake_disc, request):
    """The answer came while it was stopped, and its time limit passed."""
    asked = threading.Event()
    go_on = threading.Event()

    def slow(connection, questions):
        asked.set()
        if go_on.wait(PATIENCE):
            answer_all(connection, questions)

    disc = fake_disc(slow)
    code = """
auth = ad.AuthDiameter(config)
print(auth.diameter_www_authorize(RIGHT, "$fd").cause.name)
print(auth.diameter_www_authorize(RIGHT, "$fd").cause.name)
auth.close()
"""
    command = program(code, disc, request.path.parents[1], timeout=2.0)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert asked.wait(PATIENCE)
        child.send_signal(signal.SIGSTOP)
        go_on.set()
        time.sleep(2.2)
        child.send_signal(signal.SIGCONT)
        output, _ = child.communicate(timeout=PATIENCE)
    assert output.split() == ["DISC_TIMEOUT", "AUTHORIZED"]


# ------------------------------------------------------------------ its end


def test_a_closed_client_is_the_callers_mistake(fake_disc):
    client = new_client(fake_disc())
    assert ask(client)
    client.close()
    client.close()
    with pytest.raises(DiscError, match="closed"):
        ask(client)


@pytest.mark.parametrize("connections", [1, 64], ids=["some without a connection", "each with one"])
def test_close_ends_the_calls_that_wait(connections, fake_disc):
    disc = fake_disc(say_nothing)
    client = new_client(disc, timeout=2 * PATIENCE, max_connections=connections)
    with ThreadPoolExecutor(4) as threads:
        futures = [threads.submit(ask, client) for _ in range(4)]
        disc.wait_for(lambda: len(disc.questions) == min(4, connections))
        wait_until(lambda: len(client._transport.pool.pending) + len(client._transport.pool.waiting) == 4)
        client.close()
        for future in futures:
            decision = future.result(timeout=PATIENCE)
            assert (decision.status, decision.cause) == (503, Cause.DISC_LOST)
    assert client._transport.pool.connections == []


def test_close_while_a_connection_is_on_its_way(fake_disc, monkeypatch):
    """It may arrive after the end, and is closed then."""
    disc = fake_disc()
    on_its_way, arrive = threading.Event(), threading.Event()
    made = []
    connect = sync._connected

    def slow(*args):
        on_its_way.set()
        arrive.wait(PATIENCE)
        made.append(connect(*args))
        return made[0]

    monkeypatch.setattr(sync, "_connected", slow)
    client = new_client(disc, timeout=2 * PATIENCE)
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(ask, client)
        on_its_way.wait(PATIENCE)
        client.close()
        assert future.result(timeout=PATIENCE).cause is Cause.DISC_LOST
    arrive.set()
    wait_until(lambda: made and made[0].fileno() == -1)  # the connection that came too late is closed


def test_no_socket_is_left_open(fake_disc):
    disc = fake_disc()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for script in (answer_all, say_nothing, hang_up):
            disc.script = script
            with new_client(disc, timeout=0.2) as client, ThreadPoolExecutor(4) as threads:
                list(threads.map(lambda _, client=client: ask(client), range(8)))
            assert client._transport.pool.connections == []
        del client
        gc.collect()
    assert [warning for warning in caught if warning.category is ResourceWarning] == []


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-9])
def test_where_no_time_is_left_the_kernel_has_the_shortest_limit_and_not_none(seconds):
    """Zero means to the kernel: for ever."""
    with socket.socket() as sock:
        sync._limit(sock, seconds)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            assert any(sock.getsockopt(socket.SOL_SOCKET, option, 16))
