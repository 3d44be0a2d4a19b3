"""`ask` and `ask_user_in` of the client for threads: for servers with a loop that is not asyncio's."""

import logging
import queue
import threading
import time

import pytest
from kit.disc import say_nothing
from kit.forked import in_child
from kit.machine import PATIENCE
from kit.sip import FIRST, RIGHT, build_credentials, build_request
from kit.sync_client import new_client

from auth_diameter import AuthDiameter, Cause, Config, ConfigError, DiscError, SipRequest


class Loop:
    """What a program has that hands things over from other threads."""

    def __init__(self):
        self._found = queue.Queue()
        self.threads = set()

    def call_from_thread(self, decision):
        self.threads.add(threading.current_thread())
        self._found.put(decision)

    def next(self):
        return self._found.get(timeout=PATIENCE)


@pytest.fixture
def loop():
    return Loop()


@pytest.fixture
def client(fake_disc):
    with new_client(fake_disc()) as client:
        yield client


def test_the_decision_comes_in_another_thread(client, loop):
    request = SipRequest(RIGHT)
    client.ask(request, "$fd", loop.call_from_thread)
    assert loop.next().cause is Cause.AUTHORIZED
    assert threading.current_thread() not in loop.threads
    assert client.counts[Cause.AUTHORIZED] == 1
    client.ask_user_in(request, "Credentials", "voicemail", loop.call_from_thread)
    assert loop.next().cause is Cause.MEMBER


def test_a_challenge_of_a_proxy(client, loop):
    client.ask(FIRST, "$fd", loop.call_from_thread, proxy=True)
    decision = loop.next()
    assert (decision.status, decision.reason) == (407, "Proxy Authentication Required")
    right = build_request(extra=("Proxy-Authorization: " + build_credentials(),))
    client.ask(right, "$fd", loop.call_from_thread, proxy=True)
    assert loop.next()


def test_it_never_blocks(fake_disc, loop):
    """Whatever DISC does."""
    with new_client(fake_disc(say_nothing), timeout=0.5) as client:
        started = time.monotonic()
        for _ in range(100):
            client.ask(RIGHT, "$fd", loop.call_from_thread)
        client.ask_user_in(RIGHT, "From", "voicemail", loop.call_from_thread)
        assert time.monotonic() - started < 0.4
        causes = {loop.next().cause for _ in range(101)}
        assert causes <= {Cause.DISC_TIMEOUT, Cause.OVERLOADED}


def test_many_at_a_time(client, loop):
    for _ in range(500):
        client.ask(RIGHT, "$fd", loop.call_from_thread)
    assert {loop.next().cause for _ in range(500)} == {Cause.AUTHORIZED}


def test_one_after_another_are_never_too_many(fake_disc, loop):
    with new_client(fake_disc(), max_connections=1, max_waiting=1) as client:
        for _ in range(10):
            client.ask(RIGHT, "$fd", loop.call_from_thread)
            assert loop.next().cause is Cause.AUTHORIZED


def test_too_many_are_refused_at_once(fake_disc, loop):
    """503, and -1 of a group check, before `ask` returns."""
    disc = fake_disc(say_nothing)
    with new_client(disc, timeout=5.0, max_connections=1, max_waiting=1) as client:
        for _ in range(2):
            client.ask(RIGHT, "$fd", loop.call_from_thread)
        client.ask(RIGHT, "$fd", loop.call_from_thread)
        decision = loop.next()
        assert (decision.status, decision.cause) == (503, Cause.OVERLOADED)
        assert b"\r\nRetry-After: 2\r\n" in decision.reply
        assert loop.threads == {threading.current_thread()}
        client.ask_user_in(RIGHT, "From", "voicemail", loop.call_from_thread)
        assert loop.next().return_code == -1
        assert client.counts[Cause.OVERLOADED] == 1
        client.ask(b"no SIP", "$fd", loop.call_from_thread)
        assert loop.next().cause is Cause.MALFORMED_REQUEST


def test_bad_arguments_are_told_at_once(client, loop):
    with pytest.raises(ConfigError, match="nosuch"):
        client.ask(RIGHT, "$nosuch", loop.call_from_thread)
    with pytest.raises(ConfigError, match="who"):
        client.ask_user_in(RIGHT, "Contact", "voicemail", loop.call_from_thread)


@pytest.mark.parametrize("wrong", ["text", None, 5, ["x"]])
def test_what_is_no_request(client, loop, wrong):
    with pytest.raises(TypeError):
        client.ask(wrong, "$fd", loop.call_from_thread)
    with pytest.raises(TypeError):
        client.ask_user_in(wrong, "From", "voicemail", loop.call_from_thread)


def test_standard_diameter_has_no_groups(loop):
    config = Config(application="sip", origin_host="a.siphub.net", origin_realm="siphub.net")
    with AuthDiameter(config) as client, pytest.raises(ConfigError, match="no groups"):
        client.ask_user_in(RIGHT, "From", "voicemail", loop.call_from_thread)


def test_a_buffer_may_change_meanwhile(client, loop):
    buffer = bytearray(RIGHT)
    client.ask(buffer, "$fd", loop.call_from_thread)
    buffer[:] = bytes(len(buffer))
    assert loop.next()


def test_what_goes_wrong_inside_is_a_decision(client, loop, monkeypatch, caplog):
    """500, and a line: whoever asked waits for it."""

    def fail(*arguments):
        raise RuntimeError("inside")

    monkeypatch.setattr(client._transport, "ask", fail)
    with caplog.at_level(logging.ERROR, "auth_diameter.client"):
        client.ask(RIGHT, "$fd", loop.call_from_thread)
        assert loop.next().cause is Cause.DISC_REFUSED
        client.ask_user_in(RIGHT, "From", "voicemail", loop.call_from_thread)
        assert loop.next().return_code == -1
    assert [record.message for record in caplog.records] == ["a question failed"] * 2


def test_no_thread_can_be_started(client, loop, monkeypatch):
    """503, once, though the work was queued."""

    def fail(self):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        client.ask(RIGHT, "$fd", loop.call_from_thread)
        assert loop.next().cause is Cause.OVERLOADED
    client.ask(FIRST, "$fd", loop.call_from_thread)
    assert loop.next().cause is Cause.CHALLENGED
    client.ask(RIGHT, "$fd", loop.call_from_thread)
    assert loop.next().cause is Cause.AUTHORIZED


def test_a_callback_that_raises(client, loop, caplog):
    """It is logged; the thread goes on."""

    def fail(decision):
        raise RuntimeError("in the callback")

    with caplog.at_level(logging.ERROR, "auth_diameter.client"):
        for _ in range(3):
            client.ask(RIGHT, "$fd", fail)
        client.ask(RIGHT, "$fd", loop.call_from_thread)
        assert loop.next()
        client.close()
    deadline = time.monotonic() + PATIENCE
    while len(caplog.records) < 3:
        assert time.monotonic() < deadline
    assert {record.message for record in caplog.records} == {"the callback of a decision failed"}


def test_a_closed_client_asks_no_more(client, loop):
    client.close()
    with pytest.raises(DiscError, match="closed"):
        client.ask(RIGHT, "$fd", loop.call_from_thread)
    with pytest.raises(DiscError, match="closed"):
        client.ask_user_in(RIGHT, "From", "voicemail", loop.call_from_thread)


def test_those_that_wait_at_the_close_have_a_decision(fake_disc, loop):
    disc = fake_disc(say_nothing)
    with new_client(disc, timeout=2 * PATIENCE, max_connections=1) as client:
        for _ in range(3):
            client.ask(RIGHT, "$fd", loop.call_from_thread)
        client.ask_user_in(RIGHT, "From", "voicemail", loop.call_from_thread)
    assert {loop.next().cause for _ in range(4)} == {Cause.DISC_LOST}


def test_a_forked_child_asks_as_well(client, loop):
    """With threads of its own."""
    client.ask(RIGHT, "$fd", loop.call_from_thread)
    loop.next()

    def ask():
        client.ask(RIGHT, "$fd", loop.call_from_thread)
        return loop.next().cause.name

    assert in_child(ask) == "AUTHORIZED"


def test_with_a_database(db, loop):
    """Whose lookups may block as well."""
    with AuthDiameter(Config(db=str(db))) as client:
        client.ask(FIRST, "$fd", loop.call_from_thread)
        assert loop.next().status == 401
