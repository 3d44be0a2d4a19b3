"""DISC is killed, hangs, restarts, is not there."""

from __future__ import annotations

import time

from faults.load import Record
from faults.proxy import FaultProxy
from faults.report import Report, row
from faults.rows.common import all_good, each, recovered_after, settle, slowest_around, whole
from faults.world import World

from auth_diameter import Config


@row(
    "disc-killed-two",
    "DISC killed, a second one configured",
    "the next request by the second ≤ 250 ms; those in flight asked again once; none lost or answered twice",
    standard=True,
    kills=10,
)
def killed_with_a_second(world: World, report: Report, *, kills: int = 2) -> None:
    """Kill -9 of one, then, when it is back, of the other."""
    victim, other = world.disc(), world.disc()
    loads = world.loads(victim.port, other.port)
    time.sleep(0.5)
    killed = []
    for _ in range(kills):
        if killed:
            time.sleep(2.0)  # until all clients have found that the other one is back
        killed.append(time.monotonic())
        victim.kill()
        time.sleep(0.7)
        victim.start()
        victim, other = other, victim
    settle(loads)
    records = whole(report, loads)
    all_good(report, records)
    again = {load.name: stats.asked_again for load in loads if (stats := load.stats()) is not None}
    report.note("questions asked again", again)
    report.at_most("slowest around a kill", each(records, slowest_around(killed)), 0.250)


def _outage(record: Record, start: float, end: float) -> Record:
    """Those due between the first refusal, from which on the client knows, and the end of the fault."""
    refused = [entry.answers[0].at for entry in record.between(start, end).bad if entry.answers]
    return record.between(min(refused, default=end), end)


@row(
    "disc-killed-only",
    "DISC killed, the only one",
    "503 ≤ 50 ms after detection; back to 100 % ≤ 2 s after it returns",
    standard=True,
    outages=5,
    seconds=5.0,
)
def killed_alone(world: World, report: Report, *, outages: int = 1, seconds: float = 1.0) -> None:
    """Kill -9, nobody for a while, and the same DISC again."""
    disc = world.disc()
    loads = world.loads(disc.port)
    time.sleep(0.5)
    times = []
    for _ in range(outages):
        killed = time.monotonic()
        disc.kill()
        time.sleep(seconds)
        returned = time.monotonic()
        disc.start()
        up = time.monotonic()
        settle(loads)
        times.append((killed, returned, up, time.monotonic()))
    records = whole(report, loads)
    outage = {
        name: Record(e for killed, returned, _, _ in times for e in _outage(record, killed, returned))
        for name, record in records.items()
    }
    refused = sum(len(record.with_status(world.unavailable)) for record in outage.values())
    report.at_least("refused meanwhile", refused, 1)
    report.at_most(f"slowest {world.unavailable}", each(outage, Record.slowest), 0.050)
    back = each(records, lambda r: max(recovered_after(up, good)(r) for _, _, up, good in times))
    report.at_most("all good again after", back, 2.0)


@row(
    "disc-hangs",
    "DISC hangs (SIGSTOP)",
    "one deadline, then a breaker: 503 ≤ 10 ms; probe once a second; back ≤ 2 s after it goes on",
    standard=True,
    seconds=20.0,
)
def hangs(world: World, report: Report, *, seconds: float = 3.0) -> None:
    """It is stopped, and its kernel takes connections and questions as before. A proxy counts them."""
    disc = world.disc()
    proxy = world.enter(FaultProxy(disc.address))
    loads = world.loads(proxy.port)
    time.sleep(0.5)
    stopped = time.monotonic()
    disc.freeze()
    # The first expire after one deadline, and those that went out until then after another one.
    time.sleep(2 * Config().timeout + 0.2)
    asked, start = proxy.asked, time.monotonic()
    time.sleep(seconds)
    asked, end = proxy.asked - asked, time.monotonic()
    disc.thaw()
    settle(loads)
    records = whole(report, loads)
    during = {name: world.asking(record.between(start, end)) for name, record in records.items()}
    status = world.unavailable
    first = each(records, lambda r: r.between(stopped).with_status(status)[0].took)
    report.at_most(f"until the first {status}", first, 2.2)
    report.at_most(f"{status}, median", each(during, lambda record: record.slowest(0.5)), 0.010)
    report.at_most(f"{status}, 99 of 100", each(during, lambda record: record.slowest(0.985)), 0.010)
    report.at_most("probes a second and client", asked / (end - start) / len(loads), 1.5, "")
    report.at_most("all good again after", each(records, recovered_after(end)), 2.0)


@row(
    "disc-down-at-start",
    "all DISC down at start",
    "starts, answers 503, recovers alone within 2 s",
    standard=True,
)
def down_at_start(world: World, report: Report) -> None:
    """Two ports where nobody listens; then somebody does on one of them."""
    disc, other = world.disc(), world.disc()
    disc.kill()
    other.kill()
    loads = world.loads(disc.port, other.port)
    start = time.monotonic()
    time.sleep(1.0)
    other.start()
    up = time.monotonic()
    settle(loads)
    records = whole(report, loads)
    down = {name: world.asking(record.between(start, up - 0.3)) for name, record in records.items()}
    status = world.unavailable
    report.exactly("answers meanwhile", {e.status for record in down.values() for e in record}, {status})
    report.at_most(f"slowest {status}", each(down, Record.slowest), 0.050)
    report.at_most("all good again after", each(records, recovered_after(up)), 2.0)


@row(
    "disc-flapping",
    "DISC flaps: there for 0.4 s, gone for 0.3 s",
    "no request lost, connection attempts damped, recovers alone within 2 s",
    standard=True,
    seconds=60.0,
)
def flapping(world: World, report: Report, *, seconds: float = 4.0) -> None:
    """A proxy resets all connections and refuses new ones, again and again."""
    disc = world.disc()
    proxy = world.enter(FaultProxy(disc.address))
    loads = world.loads(proxy.port)
    time.sleep(0.5)
    accepted, start = proxy.accepted, time.monotonic()
    while time.monotonic() < start + seconds:
        proxy.refuse()
        proxy.reset()
        time.sleep(0.3)
        proxy.listen()
        time.sleep(0.4)
    end, accepted = time.monotonic(), proxy.accepted - accepted
    settle(loads)
    records = whole(report, loads)
    while_flapping = {name: world.asking(record.between(start, end)) for name, record in records.items()}
    report.note("answered by DISC", each(while_flapping, lambda r: len(r.good) / len(r)), "%")
    report.at_most("slowest", each(while_flapping, Record.slowest), 2.2)
    report.at_most("connections a second and client", accepted / (end - start) / len(loads), 20.0, "")
    report.at_most("all good again after", each(records, recovered_after(end)), 2.0)
