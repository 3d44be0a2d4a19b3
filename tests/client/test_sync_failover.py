"""The driver for threads and several DISC: fail-over and breaker.

Where a test measures time, it is the contract's: no call takes longer than its deadline.
"""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from kit.disc import answer_all, judge, say_nothing
from kit.machine import PATIENCE, SLACK, wait_until
from kit.sip import build_credentials, build_request
from kit.sync_client import ask, crowd, new_client, took

from auth_diameter import AuthDiameter, Cause, Config


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
    # Both sides are in this process: on a busy machine, each of 256 threads waits long for its turn.
    with AuthDiameter(Config(peers=peers, timeout=20.0)) as client:
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
        assert longest[0] < 20.0 + SLACK  # nobody waits beyond the time limit


def test_a_thread_that_waits_for_a_disc_that_rests_is_asked_once_it_has_rested(fake_disc):
    """Though nobody else asks meanwhile: all threads may wait as this one does."""
    with new_client(fake_disc(), timeout=10.0) as client:
        (peer,) = client._transport.pool.peers
        peer.rest_until = time.monotonic() + 0.3
        decision, seconds = took(client)
        assert decision.cause is Cause.AUTHORIZED
        assert 0.3 <= seconds < 5.0


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
        connection.append(bytes(8_000_000))
        decision, seconds = took(client)
        stop.set()
        assert decision.cause is Cause.DISC_TIMEOUT
        assert seconds < 1.0 + SLACK
