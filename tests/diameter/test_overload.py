"""The limit on the questions under way, without I/O: load on a DISC that is simulated."""

from __future__ import annotations

import pytest
from kit.pool import answers, connected, expire, new_pool, new_question, take

from auth_diameter import Message
from auth_diameter.decision import Cause


class Simulation:
    """A DISC of fixed capacity, a network, and callers; time is counted in steps of a millisecond."""

    def __init__(self, capacity: float, way: float = 0.0005, **settings) -> None:
        self.pool = new_pool(max_in_flight=100_000, max_waiting=100_000, **settings)
        self.capacity = capacity
        self.way = way  # seconds there, and back
        self.now = 0.0
        self.free_at = 0.0  # when DISC has done what it has
        self.due: list[tuple[float, Message]] = []  # answers on their way, in order
        self.took: list[float] = []
        self.refused = 0
        self.connection = connected(self.pool)

    def step(self, count: int) -> None:
        """A millisecond, at the beginning of which so many questions are asked."""
        for _ in range(count):
            if isinstance(self.pool.submit(new_question(), self.now), Cause):
                self.refused += 1
        for question in take(self.connection):
            self.pool.sent(self.connection, self.now)
            self.free_at = max(self.free_at, self.now + self.way) + 1 / self.capacity
            self.due.append((self.free_at + self.way, question))
        self.now += 0.001
        ready = [question for when, question in self.due if when <= self.now]
        if ready:
            del self.due[: len(ready)]
            found = self.pool.received(self.connection, answers(ready), self.now)
            self.took += [self.now - question.deadline + 2.0 for question, _ in found]
        expire(self.pool, self.now)

    def run(self, seconds: float, per_s: float) -> None:
        asked = 0
        for step in range(round(seconds * 1000)):
            count = int((step + 1) * per_s / 1000) - asked
            asked += count
            self.step(count)


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)]


@pytest.mark.parametrize("capacity", [300, 1000, 4000])
@pytest.mark.parametrize("way", [0.0005, 0.02], ids=["near", "far"])
def test_five_times_too_much(capacity, way):
    """What DISC can do is done, nobody waits for long, and the rest is refused at once."""
    simulation = Simulation(capacity, way)
    seconds = 4.0 if capacity < 4000 else 2.0
    simulation.run(seconds, 5 * capacity)
    assert len(simulation.took) >= 0.8 * capacity * seconds
    assert quantile(simulation.took, 0.99) <= 0.5
    stats = simulation.pool.stats()
    assert stats.refused_overload == simulation.refused > 3 * capacity * seconds
    assert stats.expired == 0


def test_without_a_limit_nearly_all_come_too_late():
    """That is what it is for."""
    simulation = Simulation(1000, max_delay=None)
    simulation.run(4.0, 5000)
    assert simulation.refused == 0
    assert quantile(simulation.took, 0.5) > 0.9
    assert simulation.pool.stats().expired > 3000


def test_a_disc_that_becomes_slower_and_fast_again():
    simulation = Simulation(4000)
    simulation.run(0.5, 2000)
    assert simulation.refused == 0
    simulation.capacity = 500
    simulation.run(2.0, 2000)
    assert simulation.refused > 2000
    simulation.took.clear()
    simulation.run(1.0, 2000)
    assert quantile(simulation.took, 0.99) <= 0.5
    simulation.capacity = 4000
    simulation.run(0.5, 2000)
    simulation.refused = 0
    simulation.run(1.0, 2000)
    assert simulation.refused == 0


@pytest.mark.parametrize("way", [0.0005, 0.02], ids=["near", "far"])
def test_a_burst_is_not_refused(way):
    """On an idle DISC, and on one that has been asked one question at a time, as at night."""
    simulation = Simulation(20_000, way)
    for _ in range(5):
        simulation.step(2000)
        simulation.run(0.3, 0)
        simulation.run(1.0, 10)
    simulation.run(3.0, 200)
    simulation.step(2000)
    simulation.run(0.3, 200)
    assert simulation.refused == 0


def test_an_overload_that_creeps_in_is_seen():
    simulation = Simulation(1000)
    simulation.run(10.0, 1030)
    assert simulation.refused > 0
    assert quantile(simulation.took, 1 - 1e-9) <= 0.3


def test_a_disc_that_becomes_slow_to_answer_but_not_overloaded():
    """One question takes it long, and many at a time as long: below a number of them none is refused."""
    simulation = Simulation(4000)
    simulation.run(1.0, 200)
    simulation.way = 0.15
    simulation.run(3.0, 200)
    assert simulation.refused == 0


def test_a_high_steady_load_is_not_refused():
    simulation = Simulation(4000, 0.02)
    simulation.run(2.0, 3800)
    assert simulation.refused == 0
