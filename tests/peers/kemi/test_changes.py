"""What changes while Kamailio runs: the script, the settings, its processes, the module that judges."""

from __future__ import annotations

import itertools
import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from kit.kemi import ENGINES, FOLDER, assert_all_went_well, at, log_in_until_all_have_spoken, statuses_of
from kit.machine import PATIENCE, wait_until
from kit.process import living

pytestmark = pytest.mark.peers


def test_no_call_fails_while_the_script_is_reloaded(engine, start_kamailio, disc_server, in_background):
    """`app_python.reload`, again and again."""
    server = start_kamailio(ENGINES[engine], at(disc_server))
    with in_background(server) as calls:
        for _ in range(10):
            server.reload()
            time.sleep(0.05)
    assert_all_went_well(calls.result(), 1000)
    assert server.lines() == []


def test_no_call_fails_while_the_settings_change(engine, start_kamailio, disc_server, sipp, people):
    """Kamailio loads the script before any call of python_exec: between two about the same request, too.

    Then the second still knows the credentials that the first has found right.
    """
    settings = at(disc_server)
    server = start_kamailio(ENGINES[engine], settings)
    with ThreadPoolExecutor(1) as pool:
        calls = pool.submit(sipp, "invite.xml", to=server.address, user=people["member"], calls=600)
        for number in itertools.count():
            if calls.done():
                break
            server.reload({**settings, "timeout": PATIENCE + number % 2})
            time.sleep(0.02)
    assert_all_went_well(calls.result(), 600)
    assert server.lines() == []


def test_settings_apply_after_a_reload(
    engine, start_kamailio, start_ours, subscribers, tmp_path, in_background, alice
):
    """The script is given another DISC with the same nonce key. The first loses all connections."""
    key = tmp_path / "nonce.key"
    key.write_bytes(os.urandom(32))
    options = ("--db", subscribers, "--nonce-key", key, "--metrics", "0")
    first, second = (start_ours("disc", *options) for _ in range(2))
    server = start_kamailio(ENGINES[engine], at(first))
    with in_background(server) as calls:
        server.reload(at(second))
        wait_until(lambda: "auth_diameter_disc_connections 0.0" in first.metrics())
        first.stop()
    assert_all_went_well(calls.result(), 1000)
    assert server.lines() == []
    second.kill()
    assert alice(server).call().status == 500


def test_a_reload_with_a_wrong_setting_changes_nothing(engine, start_kamailio, disc_server, alice):
    """Each worker says so once, and goes on with the settings before."""
    server = start_kamailio(ENGINES[engine], at(disc_server))
    server.reload({"diameter_client_hots": "127.0.0.1"})
    log_in_until_all_have_spoken(server, alice(server))
    assert set(server.lines()) == {
        "auth_diameter: configure: unknown setting 'diameter_client_hots'; is it 'diameter_client_host'?"
    }


def test_phones_go_on_after_a_restart(engine, start_kamailio, disc_server, in_background):
    """All workers are new, and what was sent meanwhile, the phones send again.

    If the reply is lost that a worker was about to send, this is a replay for DISC: it is challenged anew,
    with stale=true, which is a failed call for sipp, and none for a phone.
    """
    server = start_kamailio(ENGINES[engine], at(disc_server))
    with in_background(server) as calls:
        before = server.workers()
        assert server.stop().status == 0
        server.start()
        assert not set(before) & set(server.workers())
    assert calls.result().failed <= len(before), calls.result().report
    assert calls.result().successful + calls.result().failed == 1000
    assert server.lines() == []


def test_kamailio_ends_when_a_worker_is_killed(engine, start_kamailio, disc_server, alice):
    """All its processes end: its own rule. Nothing of ours is in the way of that, or of its next start."""
    server = start_kamailio(ENGINES[engine], at(disc_server))
    assert statuses_of(alice(server).log_in()) == [401, 200]
    worker, *others = server.workers()
    os.kill(worker, signal.SIGKILL)
    assert server.wait().status == 1
    assert not set(others) & set(living())
    server.start()
    assert statuses_of(alice(server).log_in()) == [401, 200]


def test_a_running_kamailio_goes_from_the_c_module_to_the_adapter_and_back(
    start_kamailio, disc_server, in_background, alice
):
    """By one command, while phones register. The one accepts what the other has challenged."""
    server = start_kamailio(FOLDER / "both.cfg", at(disc_server), defines={"DISC_PORT": disc_server.port})

    def judges():
        return [reply.header("Judge") for reply in alice(server).log_in()]

    def let_in(judge):
        return int(re.search(r"value: (\d+)", server.rpc("pv.shvGet", f"by_{judge}"))[1])

    def wait_for_more_than(calls, judge):
        wait_until(lambda: let_in(judge) > calls)

    with in_background(server) as calls:
        for number, now, before in (
            (1, "adapter", "module"),
            (0, "module", "adapter"),
            (1, "adapter", "module"),
        ):
            assert judges() == [before] * 2
            phone = alice(server)
            challenged = phone.call()
            server.rpc("pv.shvSet", "adapter", "int", number)
            answered = phone.call("REGISTER", phone.answer(challenged))
            assert (challenged.header("Judge"), answered.header("Judge")) == (before, now)
            assert answered.status == 200
            wait_for_more_than(let_in(now) + 50, now)
    assert_all_went_well(calls.result(), 1000)
    assert server.lines() == []
