"""The driver for threads, with many of them.

Where a test measures time, it is the contract's: no call takes longer than its deadline.
"""

from __future__ import annotations

import random
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from kit.disc import answer_all, judge, say_nothing
from kit.machine import PATIENCE, SLACK, wait_until
from kit.sip import FIRST, RIGHT, build_credentials, build_request
from kit.sync_client import ask, new_client, took, until_let_through

from auth_diameter import Cause


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
        assert not client._transport.pool.in_flight
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
        assert not client._transport.pool.in_flight
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
        assert not client._transport.pool.in_flight
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
