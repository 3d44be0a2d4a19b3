"""Threads whose client asks an HSS: nobody waits for the question of another thread."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

import pytest
from kit.dialect import DIGEST, sip
from kit.hss import Hss, running
from kit.machine import PATIENCE, wait_until

import auth_diameter as ad
from auth_diameter.diameter.base import avp_named
from auth_diameter.diameter.cx import PUSH_PROFILE

REALM = "siphub.net"


def test_threads_ask_at_the_same_time_and_all_end_when_the_client_is_closed() -> None:
    with running(Hss) as hss, ThreadPoolExecutor(2) as threads:
        hss.answers = False
        config = ad.Config(db=f"cx://127.0.0.1:{hss.port}", origin_host="scscf.h.test", db_timeout=PATIENCE)
        auth = ad.AuthDiameter(config)
        requests = [sip(credentials=DIGEST.format(user)) for user in ("alice", "bob")]
        calls = [threads.submit(auth.diameter_www_authorize, request, REALM) for request in requests]
        wait_until(lambda: len(hss.asked) == 2)
        auth.close()
        assert [call.result().status for call in calls] == [500, 500]
        with pytest.raises(ad.DiscError):
            auth.diameter_www_authorize(requests[0], REALM)


def test_threads_wait_for_their_own_user_alone() -> None:
    """An HSS that does not answer about one user holds up nobody else."""
    with running(Hss) as hss, ThreadPoolExecutor(1) as threads:
        hss.passwords["bob", REALM] = "secret"
        hss.unanswered = {"alice"}
        config = ad.Config(db=f"cx://127.0.0.1:{hss.port}", origin_host="scscf.h.test", db_timeout=PATIENCE)
        with ad.AuthDiameter(config) as auth:
            waiting = threads.submit(
                auth.diameter_www_authorize, sip(credentials=DIGEST.format("alice")), REALM
            )
            wait_until(lambda: hss.asked)
            decision = auth.diameter_www_authorize(sip(credentials=DIGEST.format("bob")), REALM)
            assert decision.status == 403
            assert not waiting.done()
        assert waiting.result().status == 500


def test_a_handler_of_the_log_that_calls_the_client(caplog: pytest.LogCaptureFixture) -> None:
    """It may be called on the loop, which cannot wait for itself: such a call gets 500 at once."""
    causes: list[int | None] = []
    with running(Hss) as hss:
        hss.passwords["alice", REALM] = "secret"
        config = ad.Config(db=f"cx://127.0.0.1:{hss.port}", origin_host="scscf.h.test")
        with ad.AuthDiameter(config) as auth:

            class Handler(logging.Handler):
                def emit(self, record: logging.LogRecord) -> None:
                    request = sip(credentials=DIGEST.format("bob"))
                    causes.append(auth.diameter_www_authorize(request, REALM).status)

            handler = Handler()
            log = logging.getLogger("auth_diameter.disc.database")
            log.addHandler(handler)
            caplog.set_level(logging.INFO, "auth_diameter")
            try:
                auth.diameter_www_authorize(sip(credentials=DIGEST.format("alice")), REALM)
                hss.ask(PUSH_PROFILE, avp_named("User-Name", "alice"))
            finally:
                log.removeHandler(handler)
    assert causes == [500]
