"""Threads that share the connections of standard Diameter, and handlers of the log that their loop calls."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from kit.hss import SipServer, running
from kit.machine import wait_until
from kit.sip import DOMAIN, PASSWORD, build_credentials, build_request
from kit.uac import Account

import auth_diameter as ad
from auth_diameter import Cause

LOOP = "auth-diameter-peers"


@pytest.fixture
def client() -> Iterator[ad.AuthDiameter]:
    with running(SipServer) as server:
        server.passwords["alice", DOMAIN] = PASSWORD
        peers = [("127.0.0.1", server.port)]
        with ad.AuthDiameter(ad.Config(application="sip", origin_host="sip.h.test", peers=peers)) as auth:
            yield auth


@contextmanager
def first_line_of_the_loop(act: Callable[[], object]) -> Iterator[None]:
    """Has a handler of the log act when the loop logs its first line: that the peer is up."""

    class Handler(logging.Handler):
        acted = False

        def emit(self, record: logging.LogRecord) -> None:
            if threading.current_thread().name == LOOP and not self.acted:
                self.acted = True
                act()

    log, handler = logging.getLogger("auth_diameter.pool"), Handler()
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)
    assert handler.acted


def challenge(client: ad.AuthDiameter) -> ad.Decision:
    return client.diameter_www_authorize(Account().request("REGISTER"), "")


def test_a_question_of_a_handler_of_the_log_ends_at_once(client: ad.AuthDiameter) -> None:
    """On the loop it would wait for itself, and hold up the questions of all threads meanwhile."""
    found: list[Cause] = []
    begun = time.monotonic()
    with first_line_of_the_loop(lambda: found.append(challenge(client).cause)):
        assert challenge(client).status == 401
    assert found == [Cause.DISC_LOST]
    assert time.monotonic() - begun < client.config.timeout


def test_questions_of_a_handler_of_the_log_end_at_once(client: ad.AuthDiameter) -> None:
    requests = [Account().request("REGISTER"), Account().request("REGISTER")]
    found: list[Cause] = []

    def ask() -> None:
        found.extend(each.cause for each in client.diameter_www_authorize_many(requests, ""))

    with first_line_of_the_loop(ask):
        assert challenge(client).status == 401
    assert found == [Cause.DISC_LOST] * 2


def test_a_question_of_a_handler_of_the_log_does_not_wait_for_its_turn(client: ad.AuthDiameter) -> None:
    """It would be held until another question of the same user has ended, of which the loop is told."""
    request = build_request(extra=("Authorization: " + build_credentials("alice"),))
    found: list[Cause] = []

    def decide(count: int) -> list[Cause]:
        requests = [ad.SipRequest(request, ("192.0.2.1", 5060)) for _ in range(count)]
        return [each.cause for each in client.diameter_www_authorize_many(requests, "")]

    with first_line_of_the_loop(lambda: found.extend(decide(1))):
        assert Cause.DISC_TIMEOUT not in decide(20)
    assert found == [Cause.DISC_LOST]


def test_a_handler_of_the_log_closes_the_client(client: ad.AuthDiameter) -> None:
    """The peers are left after it has returned."""
    took: list[float] = []

    def close() -> None:
        begun = time.monotonic()
        client.close()
        took.append(time.monotonic() - begun)

    with first_line_of_the_loop(close):
        assert challenge(client).cause is Cause.DISC_LOST
    assert took[0] < 1.0
    wait_until(lambda: LOOP not in [thread.name for thread in threading.enumerate()])
