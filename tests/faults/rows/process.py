"""What happens to the processes: stopped, told to end, a clock that jumps."""

from __future__ import annotations

import time
from pathlib import Path

from faults.load import Record, wait_until
from faults.proxy import FaultProxy, Faults
from faults.report import Report, row
from faults.rows.common import all_good, each, recovered_after, settle, whole
from faults.world import World

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
_HOUR = 3600


@row(
    "clock-jumps",
    "the clock jumps by an hour, back and forth, of DISC and of the SIP host",
    "deadlines do not move: no 503, nothing slower; right passwords are let in on the new challenge",
    times=5,
)
def clock_jumps(world: World, report: Report, *, times: int = 1) -> None:
    """Both run under Debian's faketime; telephones answer the challenges of the new time."""
    offset = world.folder / "offset"

    def move(seconds: int) -> None:
        part = offset.with_suffix(".part")
        part.write_text(f"{seconds:+d}s\n")
        part.replace(offset)

    move(0)
    env = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    disc = world.disc(env=env)
    loads = world.loads(disc.port, kinds=("serve",), env=env)
    settle(loads)
    jumps = []
    for seconds in [_HOUR, 0, -_HOUR, 0] * times:
        move(seconds)
        for load in loads:
            load.clock_offset = seconds
        jumps.append(time.monotonic())
        time.sleep(0.6)
    # Those in whose nonce the old time is are challenged anew, and that is no verdict on another.
    records = whole(report, loads, swaps=False)
    statuses = {entry.status for record in records.values() for entry in record.bad}
    report.exactly("other than DISC's verdict", statuses - {401}, set())
    report.at_most("slowest", each(records, Record.slowest), 0.250)
    anew = [entry.due for record in records.values() for entry in record.bad]
    latest = max((due - max(jump for jump in jumps if jump <= due + 0.1) for due in anew), default=0.0)
    report.note("challenged anew", len(anew))
    report.at_most("challenged anew, after a jump for", latest, 0.5)


@row(
    "serve-stopped",
    "SIGSTOP of the SIP host",
    "when it goes on, no answer is another's, none comes twice; all good ≤ 2 s",
    seconds=60.0,
)
def serve_stopped(world: World, report: Report, *, seconds: float = 2.5) -> None:
    """It is stopped for longer than its deadline. What its kernel has no room for is lost, as UDP loses."""
    disc = world.disc()
    loads = world.loads(disc.port, kinds=("serve",))
    serve = world.daemons[-1]
    settle(loads)
    stopped = time.monotonic()
    serve.freeze()
    time.sleep(seconds)
    serve.thaw()
    went_on = time.monotonic()
    settle(loads)
    record = loads[0].stop()
    report.note("requests", len(record))
    report.exactly("answered twice", record.twice, 0)
    report.exactly("with another's verdict", record.swapped, 0)
    report.note("lost of those sent meanwhile", record.between(stopped, went_on).lost)
    # Until it has read what there is, there is no room for more.
    others = record.between(0, stopped).lost + record.between(went_on + 0.5).lost
    report.exactly("lost of those before, and from half a second after on", others, 0)
    report.at_most("all good again after", recovered_after(went_on)(record), 2.0)


@row(
    "serve-sigterm",
    "SIGTERM of the SIP host under load",
    "what it has taken is answered, ends ≤ 2 s with status 0",
    times=10,
)
def serve_sigterm(world: World, report: Report, *, times: int = 2) -> None:
    """DISC answers after 100 ms, so that requests are under way at that time."""
    proxy = world.enter(FaultProxy(world.disc().address))
    proxy.answers = Faults(delay=0.1)
    lost = total = under_way = 0
    took, statuses = [], set()
    for _ in range(times):
        [load] = world.loads(proxy.port, kinds=("serve",))
        time.sleep(0.5)
        record = Record(load.record[:-1])  # all have been sent, but for the one behind them maybe
        told = time.monotonic()
        statuses.add(world.daemons[-1].stop().status)
        took.append(time.monotonic() - told)
        load.stop(0.0)
        wait_until(lambda record=record: not record.lost)
        total += len(record)
        lost += record.lost
        under_way += sum(entry.took > told - entry.due for entry in record)
    report.exactly("exit status", statuses, {0})
    report.note("requests before", total)
    report.at_least("under way at SIGTERM", under_way, 1)
    report.exactly("lost", lost, 0)
    report.at_most("ends after", max(took), 2.0)


@row(
    "disc-sigterm",
    "SIGTERM of DISC under load, a second one configured",
    "every request gets its verdict; ends ≤ 2 s with status 0",
    standard=True,
    times=8,
)
def disc_sigterm(world: World, report: Report, *, times: int = 1) -> None:
    """One, then, when it is back, the other."""
    disc, other = world.disc(), world.disc()
    loads = world.loads(disc.port, other.port)
    settle(loads)
    took, statuses = [], set()
    for _ in range(times):
        if took:
            time.sleep(2.0)  # until all clients have found that the other one is back
        told = time.monotonic()
        statuses.add(disc.stop().status)
        took.append(time.monotonic() - told)
        time.sleep(0.5)
        disc.start()
        disc, other = other, disc
    records = whole(report, loads)
    all_good(report, records)
    report.exactly("exit status", statuses, {0})
    report.at_most("ends after", max(took), 2.0)
    report.at_most("slowest", each(records, Record.slowest), 0.250)
