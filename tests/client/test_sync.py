"""The driver for threads against a DISC on loopback that does what the test says.

Where a test measures time, it is the contract's: no call takes longer than its deadline.
"""

from __future__ import annotations

import gc
import socket
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from kit.disc import CHALLENGE_VALUE, answer_all, hang_up, judge, say_nothing
from kit.machine import PATIENCE, wait_until
from kit.sip import FIRST, RIGHT, build_credentials, build_request
from kit.sync_client import ask, new_client, until_let_through
from kit.wire import build_answer

from auth_diameter import Cause, DiscError, SipRequest
from auth_diameter.diameter import sync

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
        wait_until(lambda: len(client._transport.pool.in_flight) + len(client._transport.pool.waiting) == 4)
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
        sync.limit_time(sock, seconds)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            assert any(sock.getsockopt(socket.SOL_SOCKET, option, 16))
