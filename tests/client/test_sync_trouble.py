"""The driver for threads and a DISC in trouble: down, silent, slow or wrong.

Where a test measures time, it is the contract's: no call takes longer than its deadline.
"""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from kit.disc import answer_all, judge, say_nothing
from kit.machine import PATIENCE, SLACK, wait_until
from kit.sync_client import ask, new_client, took, until_let_through

from auth_diameter import AuthDiameter, Cause, Config
from auth_diameter.diameter import sync


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
        connection.append(bytes(8_000_000))  # as if so much had been asked before
        assert ask(client).cause is Cause.DISC_TIMEOUT
        assert client._transport.pool.connections == []
        questions_fit.set()
        assert ask(client)
