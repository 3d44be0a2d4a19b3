"""bench/storm.py: the simulation of a registration storm, held to what can be known without it."""

import dataclasses
import importlib
import itertools
import json
import os
import shutil
import sys

import pytest
from kit.databases import PostgreSql
from kit.places import ROOT

BENCH = ROOT / "bench"


@pytest.fixture(scope="module")
def bench():
    """Imports a script of bench/ by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))
        yield importlib.import_module


@pytest.fixture(scope="module")
def model(bench):
    return bench("storm_model")


@pytest.fixture(scope="module")
def storm(bench):
    return bench("storm")


@pytest.fixture
def run(model):
    """Simulates: one telephone is one, all begin at once, nothing costs anything, nobody loses patience."""

    def simulate(**setup):
        free = {"weight": 1, "servers": 1, "within": 0.0, "link": 0.0, "t1": 1e3, "patience": 1e6}
        return model.Storm(model.Setup(**free | setup)).run()

    return simulate


@pytest.fixture
def busy(model, storm):
    """A storm as `storm.py` has it, smaller: what it is for a store and a number of DISC."""

    def simulate(kind="PostgreSQL", telephones=10_000, slower=100, **setup):
        costs = storm.store_costs(kind) | storm.front_costs("serve")
        costs = {name: slower * cost if isinstance(cost, float) else cost for name, cost in costs.items()}
        fixed = {"weight": 10, "store_wait": 0.0, "max_delay": 0.25, "telephones": telephones}
        return model.Storm(model.Setup(**costs | fixed | setup)).run()

    return simulate


def assert_nothing_is_lost(result):
    counts = result.counts
    ends = ("lost", "absorbed", "replied", "replied_again", "unanswered")
    assert counts["sent"] == sum(counts[end] for end in ends)
    assert counts["replied"] == sum(counts[status] for status in ("401", "200", "500", "503"))
    assert len(result.registered) * result.weight + result.given_up == counts["telephones"]
    assert result.registered == sorted(result.registered)


# --- what can be known without a simulation ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("costs", "each"),
    [
        ({"challenge": 0.0002, "verify": 0.0003}, 0.0005),
        ({"challenge": 0.0002, "verify": 0.0003, "lookup": 0.0004}, 0.0009),
        ({"request": 0.0004}, 0.0008),  # a SIP server takes two
        ({"store": 0.0008, "store_cores": 1}, 0.0008),
        ({"verify": 0.0001, "state_verify": 0.0003}, 0.0004),
    ],
    ids=["DISC", "DISC with its lookups", "SIP server", "store", "shared state in DISC"],
)
def test_without_retransmissions_the_time_is_work_by_rate(run, costs, each):
    """One part has all the work, and works all the time."""
    result = run(telephones=1000, max_delay=None, **costs)
    assert result.until(1.0) == pytest.approx(1000 * each)
    assert result.given_up == 0
    assert result.counts["sent"] == result.counts["replied"] == 2000
    assert_nothing_is_lost(result)


@pytest.mark.parametrize("cores", [1, 2, 4])
def test_cores_of_the_store_share_its_work(run, cores):
    # Four statements for one user each, then four for 256.
    result = run(telephones=1028, max_delay=None, store=0.0007, store_cores=cores)
    assert result.until(1.0) == pytest.approx(1028 * 0.0007 / cores)
    assert result.load("store") > 0.99


def test_several_disc_share_the_work(run):
    result = run(telephones=1000, discs=4, max_delay=None, challenge=0.0004, verify=0.0004)
    assert result.until(1.0) == pytest.approx(0.2)


def test_a_module_that_asks_one_disc_leaves_the_other_idle(run):
    result = run(telephones=1000, discs=2, all_discs=False, max_delay=None, challenge=0.0004, verify=0.0004)
    assert result.until(1.0) == pytest.approx(0.8)


def test_the_weight_changes_the_grain_alone(busy):
    fine, coarse = busy(weight=1, telephones=5000), busy(weight=10, telephones=5000)
    assert coarse.until(1.0) == pytest.approx(fine.until(1.0), rel=0.15)
    assert coarse.counts["401"] == fine.counts["401"] == 5000


def test_a_link_takes_its_time_four_times(run):
    assert run(telephones=1, link=0.25).until(1.0) == 1.0


# --- timers of the telephones ------------------------------------------------------------------------------


def test_a_request_without_a_reply_is_sent_eleven_times_in_32_seconds(run):
    """RFC 3261, 17.1.2.2: after T1 = 0.5 s, doubled up to 4 s, until 64*T1."""
    times = [0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    for sent, when in enumerate(times, 1):
        result = run(telephones=1, room=0, t1=0.5, patience=when)
        assert result.counts["sent"] == result.counts["lost"] == sent
    result = run(telephones=1, room=0, t1=0.5, patience=61.9)
    assert result.counts["sent"] == 11
    assert result.given_up == 1


def test_who_has_given_up_a_request_tries_again_half_a_minute_to_a_minute_later(run):
    """RFC 5626, 4.5: after the first failure from half to all of 60 s."""
    tries = [run(telephones=1, room=0, t1=0.5, patience=32 + 60, seed=seed) for seed in range(20)]
    assert all(result.counts["sent"] > 11 for result in tries)
    assert not any(
        run(telephones=1, room=0, t1=0.5, patience=32 + 29.9).counts["sent"] > 11 for _ in range(20)
    )


def test_a_503_is_obeyed_to_the_second(run):
    """DISC is too slow: 503 after 2 s; 7 s later it comes again."""
    for beginnings in (1, 2, 3):
        result = run(telephones=1, challenge=2.5, retry_after=7, patience=9 * beginnings - 0.1)
        assert result.counts["503"] == result.counts["questions"] == beginnings
        assert_nothing_is_lost(result)


def test_a_retransmission_is_no_second_question(run):
    """It is absorbed while DISC is asked, and gets the reply again after that."""
    result = run(telephones=1, challenge=1.0, verify=1.0, t1=0.5)
    assert result.counts["questions"] == 2
    assert result.counts["absorbed"] == 2  # one for each request, after 0.5 s; the next would be after 1.5 s
    late = run(telephones=1, challenge=0.3, link=0.3, t1=0.5)
    assert late.counts["questions"] == 2
    assert late.counts["replied_again"] == 2
    assert_nothing_is_lost(late)


def test_by_their_own_timers_telephones_come_one_after_the_other(run):
    """What was not due during the outage comes within `expires`, evenly; what was due comes earlier."""
    result = run(telephones=2000, outage=600.0, expires=3600.0, t1=0.5)
    assert result.given_up == 0
    assert result.until(1.0) < 3600.0
    evenly = sum(when > 1800 for when in result.registered)
    assert evenly == pytest.approx(2000 * 1200 / 3600, rel=0.1)


# --- limits ------------------------------------------------------------------------------------------------


def test_no_question_waits_much_longer_than_max_delay(busy):
    """The rest gets a 503; without the limit all wait, and time out."""
    limited, unlimited = busy(discs=2), busy(discs=2, max_delay=None)
    assert limited.counts["late"] < unlimited.counts["late"]
    assert limited.counts["503"] > 0
    assert limited.until(1.0) < unlimited.until(1.0)


def test_a_store_that_is_too_slow_is_an_error_and_not_silence(run, model):
    """A statement has a second; then every lookup fails for half a second."""
    result = run(telephones=20, store=2.0, patience=20.0)
    assert result.counts["failed"] == result.counts["500"] == 20
    assert result.counts["200"] == 0
    assert_nothing_is_lost(result)


def test_shared_state_that_is_late_does_not_keep_anybody_out(run, model):
    result = run(telephones=1000, max_delay=None, state=0.001)
    assert result.counts["alone"] == pytest.approx(950, abs=1)
    assert result.until(1.0) == pytest.approx(model.STATE_DEADLINE)


def test_a_user_who_comes_again_is_at_hand_unless_there_are_too_many(run):
    """The verdict comes too late, and is asked for again: the first lookup was not in vain."""
    again = {
        "telephones": 4,
        "store": 0.1,
        "store_cores": 1,
        "verify": 0.6,
        "retry_after": 1,
        "patience": 60.0,
    }
    assert run(**again).counts["lookups"] == 4
    assert run(**again).counts["questions"] > 8
    assert run(**again, at_hand=0).counts["lookups"] > 4


# --- storms ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("discs", [1, 3])
@pytest.mark.parametrize(
    "setup",
    [
        {},
        {"room": 200},
        {"max_delay": None},
        {"patience": 3.0},
        {"retry_after": 0},
        {"store": 0.02},
        {"servers": 1, "slower": 200},
        {"outage": 300.0, "expires": 900.0},
    ],
    ids=[
        "as it is",
        "small sockets",
        "no limit",
        "impatient",
        "no Retry-After",
        "slow store",
        "slow",
        "own timers",
    ],
)
def test_each_telephone_ends_and_no_request_is_lost(busy, setup, discs):
    for store in ("SQLite", "PostgreSQL, shared state"):
        result = busy(store, telephones=4000, discs=discs, **setup)
        assert_nothing_is_lost(result)
        if "patience" not in setup:
            assert result.given_up == result.counts["unanswered"] == 0


def test_the_same_seed_gives_the_same_result(busy):
    one, same, other = busy(seed=7), busy(seed=7), busy(seed=8)
    assert one == same
    assert one.registered != other.registered


def test_more_disc_never_make_it_slower(busy, storm):
    """Where the store is the limit, it stays as it was, but for what is drawn."""
    for store in storm.STORES:
        times = [busy(store, discs=n).until(0.5) for n in (1, 2, 5, 10, 20)]
        assert all(more <= 1.03 * fewer for fewer, more in itertools.pairwise(times)), (store, times)
        assert times[2] < times[0] / 2


# --- the script --------------------------------------------------------------------------------------------


def test_every_cost_has_a_source_that_is_there(storm):
    for name, cost in storm.COSTS.items():
        assert cost.amount > 0, name
        for word in cost.source.replace(":", " ").replace(",", " ").split():
            if word.endswith((".py", ".md")):
                assert (ROOT / word).exists(), (name, word)


def play(bench, monkeypatch, name, *options):
    monkeypatch.setattr(sys, "argv", [name, *map(str, options)])
    bench(name).main()


def test_the_table_has_a_row_for_each_storm(bench, storm, monkeypatch, capsys, tmp_path):
    file = tmp_path / "storm.json"
    play(bench, monkeypatch, "storm", "--telephones", 2000, "--weight", 20, "--discs", "1,2", "--json", file)
    lines = capsys.readouterr().out.splitlines()
    for discs in (1, 2):
        for store in storm.STORES:
            assert sum(line.split()[0] == str(discs) and f" {store}  " in line for line in lines if line) == 1
    found = json.loads(file.read_text())
    assert len(found["storms"]) == 2 * len(storm.STORES)
    assert found["costs"].keys() == storm.COSTS.keys()


def test_the_plot_is_a_picture(bench, storm, monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")
    file = tmp_path / "storm.png"
    play(bench, monkeypatch, "storm", "--telephones", 2000, "--weight", 20, "--discs", "1,2", "--plot", file)
    assert file.read_bytes().startswith(b"\x89PNG")


def test_kamailio_has_its_own_costs(model, storm):
    setup = model.Setup(**storm.front_costs("kamailio"), **storm.store_costs("SQLite"), telephones=20_000)
    serve = dataclasses.replace(setup, **storm.front_costs("serve"))
    one = {"servers": 1, "discs": 1}
    slow, fast = (model.Storm(dataclasses.replace(each, **one)).run() for each in (setup, serve))
    assert slow.until(0.5) > 2 * fast.until(0.5)


def test_a_small_storm_before_a_slow_database_lets_everybody_in(bench, monkeypatch, capsys, tmp_path):
    """Right digests, real DISC: each telephone is looked up."""
    if (why := PostgreSql.missing()) is not None:
        pytest.skip(why)
    if not (os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")):
        pytest.skip("no C compiler")
    file = tmp_path / "store.json"
    options = ("--telephones", 400, "--lookups", 4000, "--discs", "1,2", "--json", file)
    play(bench, monkeypatch, "storm_store", *options)
    figures = json.loads(file.read_text())["figures"]
    assert figures.keys() == {"1", "2"}
    for discs in figures.values():
        # The bytes of other statements count as well: the longer it takes, the more.
        assert discs["lookups a telephone"]["real"] > 0.9
    assert capsys.readouterr().out.count("given up: 0 and 0") == 2


def test_a_small_storm_for_real_asks_disc_what_the_model_says(bench, monkeypatch, capsys, tmp_path):
    if not (os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")):
        pytest.skip("no C compiler")
    file = tmp_path / "check.json"
    play(bench, monkeypatch, "storm_check", "--telephones", 200, "--capacity", 2000, "--json", file)
    figures = json.loads(file.read_text())["figures"]
    asked = figures["questions to DISC a telephone"]
    assert asked["real"] == asked["model"] == 2
    assert "given up: 0 and 0" in capsys.readouterr().out
