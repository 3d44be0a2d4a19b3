"""The steady load sees what it is there to see: what is lost, answered twice, or meant for somebody else."""

from __future__ import annotations

import time

import pytest
from faults.load import PATIENCE, AsyncLoad, Load, Record, ThreadsLoad, UdpLoad, wait_until
from faults.proxy import FaultProxy
from faults.spoken import CLIENTS
from faults.world import World
from kit.disc import FakeDisc, hang_up, say_nothing
from kit.uas import EasySipServer
from kit.wire import RESPONSE, build_answer

from auth_diameter import Config

RATE = 400.0
SECONDS = 0.4


def play(load: Load) -> Record:
    with load:
        time.sleep(SECONDS)
        return load.stop()


@pytest.fixture(params=[ThreadsLoad, AsyncLoad])
def load(request):
    """A function that makes a load on a DISC."""

    def make(disc: FakeDisc, **settings) -> Load:
        config = Config(**{"timeout": PATIENCE, "max_delay": None, **disc.settings, **settings})
        return request.param(config, rate=RATE)

    return make


def test_a_disc_that_knows_them_gets_it_right():
    """All three kinds of client, and the real DISC: each request gets the verdict on its subscriber."""
    with World() as world:
        loads = world.loads(world.disc().port, kinds=("threads", "asyncio"), settings={"max_delay": None})
        loads += world.loads(world.disc().port, kinds=("serve",))
        time.sleep(SECONDS)
        for load in loads:
            record = load.stop()
            assert len(record) >= 40
            assert (record.lost, record.twice, record.swapped, len(record.bad)) == (0, 0, 0, 0)
            assert {entry.status for entry in record} == {200, 401, 403}
            assert 0 < record.slowest(0.5) <= record.slowest()


@pytest.mark.parametrize("application", ["sip", "cx"])
@pytest.mark.parametrize("kind", CLIENTS)
def test_with_standard_diameter_each_request_is_asked_about(application, kind):
    """With "cx" the client makes the challenges by itself; HA1 of each other request is asked for."""
    with World(application) as world:
        proxy = world.enter(FaultProxy(world.disc().address))
        [load] = world.loads(proxy.port, kinds=(kind,))
        time.sleep(SECONDS)
        record = load.stop()
        assert (record.lost, record.twice, record.swapped, len(record.bad)) == (0, 0, 0, 0)
        assert {entry.status for entry in record} == {200, 401, 403}
        capabilities = 1
        assert proxy.asked == len(world.asking(record)) + capabilities


def test_a_verdict_on_somebody_else_shows(fake_disc, load):
    """This DISC lets in whoever has credentials, and challenges all for one realm."""
    record = play(load(fake_disc()))
    assert record.lost == 0
    # One of four has a wrong password, one of four must be challenged for a realm of its own.
    assert record.swapped == pytest.approx(len(record) / 2, abs=4)
    assert record.swapped == len(record.bad)
    assert record.let_in == pytest.approx(len(record) / 4, abs=2)


def test_a_challenge_for_the_realm_of_another_shows(fake_disc, load):
    def challenge(connection, questions):
        for question in questions:
            if question.find(RESPONSE) is None:
                other = b'Digest realm="d99.example", nonce="1"'
                connection.send(build_answer(question, 4001, challenge=other))

    record = play(load(fake_disc(challenge), timeout=1.0))
    assert record.with_status(401) == []
    assert record.swapped == len(record.with_status(0)) > 0


def test_a_fault_of_disc_is_no_swapped_verdict(fake_disc, load):
    record = play(load(fake_disc(hang_up), timeout=0.5))
    assert record.lost == 0
    assert record.swapped == 0
    assert record.good == []
    assert set(record.strays) <= {"503 DISC_LOST", "503 DISC_UNREACHABLE", "503 DISC_TIMEOUT"}


def test_time_counts_from_when_a_request_was_due(fake_disc, load):
    """Calls that are held up do not hold up those that are due, nor the clock."""
    record = play(load(fake_disc(say_nothing), timeout=0.3))
    assert len(record) >= 40
    assert record.bad[0].took >= 0.3


@pytest.mark.parametrize("times", [0, 1, 2])
def test_what_is_lost_or_answered_twice_shows(times):
    with EasySipServer(times) as server, UdpLoad(server.port, rate=RATE) as load:
        time.sleep(SECONDS)
        record = load.stop(PATIENCE if times else 0.0)
        assert record.lost == (len(record) if times == 0 else 0)
        assert wait_until(lambda: record.twice == (len(record) if times == 2 else 0))
    assert record.strays["none"] == record.lost
