"""What workers know together: nonces, guesses, and that DISC fails."""

from __future__ import annotations

import re
import time

import pytest
from kit.kemi import ENGINES, TIME_LIMIT, assert_all_went_well, at, log_in_until_all_have_spoken, statuses_of
from kit.process import Server
from kit.uac import Uac

from auth_diameter.lab.uac import Reply

pytestmark = pytest.mark.peers


def test_a_challenge_of_one_worker_is_accepted_by_the_others(local, sipp, people, alice):
    assert_all_went_well(sipp("register.xml", to=local.address, user=people["member"], calls=500), 500)
    assert local.binding("alice")
    assert_all_went_well(sipp("invite.xml", to=local.address, user=people["member"], calls=100), 100)
    phone = alice(local)
    logins = [phone.log_in() for _ in range(20)]
    assert [statuses_of(login) for login in logins] == [[401, 200]] * 20
    assert any(challenged.header("Worker") != let_in.header("Worker") for challenged, let_in in logins)


def test_no_worker_accepts_a_replay(local, alice):
    """The same nonce with the same count is challenged again by each. A retransmission is let in."""
    phone = alice(local)
    challenged = phone.call()
    header = phone.answer(challenged)
    request = phone.request("REGISTER", header)
    assert [phone.ask(request).status for _ in range(8)] == [200] * 8
    replays = [
        phone.call("REGISTER", replayed) for _ in range(20) for replayed in (header, phone.answer(challenged))
    ]
    assert [(reply.status, reply.challenge().stale) for reply in replays] == [(401, True)] * 40
    assert len({reply.header("Worker") for reply in replays}) > 1


def guess_40_times(phone: Uac) -> tuple[list[Reply], float]:
    """Wrong passwords, one after the other, so that no worker gets them all; and how long it took."""
    challenged = phone.call()
    guesses = [phone.answer(challenged, nc=number, password=f"guess {number}") for number in range(1, 41)]
    started = time.monotonic()
    replies = [phone.call("REGISTER", guess) for guess in guesses]
    return replies, time.monotonic() - started


def test_guesses_count_over_all_workers_of_a_database(local, alice):
    """Then the right password is refused, too, from that address, by each worker; from another it is not."""
    phone = alice(local)
    challenged = phone.call()
    replies, _ = guess_40_times(phone)
    assert statuses_of(replies) == [403] * 40
    assert len({reply.header("Worker") for reply in replies}) > 1
    assert phone.call("REGISTER", phone.answer(challenged)).status == 403
    assert statuses_of(alice(local, "127.0.0.2").log_in()) == [401, 200]


def answers(disc: Server, outcome: str) -> int:
    """How often our DISC gave this answer."""
    found = re.search(rf'answers_total{{outcome="{outcome}"}} (\d+)', disc.metrics())
    assert found
    return int(found[1])


def test_guesses_count_over_all_workers_in_front_of_disc(engine, start_kamailio, disc_server, alice):
    """DISC is asked about five of them, and about one more for each second that has passed."""
    server = start_kamailio(ENGINES[engine], at(disc_server), children=4)
    phone = alice(server)
    replies, seconds = guess_40_times(phone)
    assert statuses_of(replies) == [403] * 40
    assert len({reply.header("Worker") for reply in replies}) > 1
    assert 5 <= answers(disc_server, "wrong_digest") <= 5 + seconds
    assert statuses_of(alice(server, "127.0.0.2").log_in()) == [401, 200]


# -- DISC fails ------------------------------------------------------------------------------------


def ask_at_once(phone: Uac, number: int) -> list[tuple[int, float]]:
    """Status and seconds of the replies to requests that are sent once, at once."""
    started = time.monotonic()
    for _ in range(number):
        phone.send(phone.request())
    return [(phone.receive().status, time.monotonic() - started) for _ in range(number)]


def wait_for_401(phone: Uac) -> float:
    """The seconds until a request is challenged again, not refused with 500."""
    started = time.monotonic()
    while (status := phone.call().status) != 401:
        assert status == 500
        time.sleep(0.01)
    return time.monotonic() - started


def test_disc_killed_is_500_at_once_and_back_is_in_use(engine, start_kamailio, disc_server, alice):
    """No worker waits for a time limit; after DISC's return they try within a second."""
    server = start_kamailio(ENGINES[engine], at(disc_server))
    phone = alice(server)
    assert statuses_of(phone.log_in()) == [401, 200]
    disc_server.kill()
    replies = ask_at_once(phone, 12)
    assert [status for status, _ in replies] == [500] * 12
    assert max(seconds for _, seconds in replies) < TIME_LIMIT
    disc_server.start()
    assert wait_for_401(phone) < TIME_LIMIT
    assert [statuses_of(phone.log_in()) for _ in range(10)] == [[401, 200]] * 10


def test_no_worker_waits_long_for_a_disc_that_hangs(engine, start_kamailio, disc_server, alice):
    """Two workers, twelve requests: one time limit for all, not one for each; then a probe now and then."""
    server = start_kamailio(ENGINES[engine], at(disc_server, timeout=TIME_LIMIT))
    phone = alice(server)
    assert [statuses_of(phone.log_in()) for _ in range(4)] == [[401, 200]] * 4
    disc_server.freeze()
    replies = ask_at_once(phone, 12)
    assert [status for status, _ in replies] == [500] * 12
    assert max(seconds for _, seconds in replies) < 2 * TIME_LIMIT
    for _ in range(10):
        ((status, seconds),) = ask_at_once(phone, 1)
        assert status == 500
        assert seconds < TIME_LIMIT / 2
        time.sleep(0.15)
    disc_server.thaw()
    assert wait_for_401(phone) < TIME_LIMIT
    assert [statuses_of(phone.log_in()) for _ in range(10)] == [[401, 200]] * 10
    assert [line for line in server.lines() if "does not answer" in line], server.err()


def test_workers_of_a_database_keep_their_settings_until_a_restart(local, subscribers, alice):
    """They count nonces and guesses together, which they could not if each opened it anew."""
    local.reload({"db": str(subscribers), "nonce_lifetime": 60.0})
    log_in_until_all_have_spoken(local, alice(local))
    assert set(local.lines()) == {
        "auth_diameter: configure: db: its settings change when Kamailio is restarted"
    }
