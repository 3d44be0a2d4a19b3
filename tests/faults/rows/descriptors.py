"""Strangers hold all descriptors of DISC. `tests/disc_flood.py` measures what else they can take."""

from __future__ import annotations

import contextlib
import resource
import socket
import time

from faults.load import Record, wait_until
from faults.report import Report, row
from faults.rows.common import all_good, each, settle, whole
from faults.world import World

_LIMIT = 128  # descriptors of DISC
_STRANGERS = 400  # connections
_OTHER = "127.0.0.2"  # where strangers come from
_SAID = "cannot accept new connections"


@row(
    "no-descriptors",
    "no file descriptors left in DISC",
    "open connections go on, accepting does not spin, and goes on when there are some again",
    standard=True,
    seconds=10.0,
)
def no_descriptors(world: World, report: Report, *, seconds: float = 2.0) -> None:
    """A DISC that may have 128 of them, and 400 connections of strangers that say nothing.

    It leaves some free of those that it has at its start, so it is told later that there are fewer.
    """
    disc = world.disc()
    resource.prlimit(disc.pid, resource.RLIMIT_NOFILE, (_LIMIT, _LIMIT))
    loads = world.loads(disc.port, kinds=("asyncio", "serve"))
    settle(loads)
    used, start = disc.cpu_seconds(), time.monotonic()
    time.sleep(0.5)
    before = (disc.cpu_seconds() - used) / (time.monotonic() - start)
    with contextlib.ExitStack() as stack:
        for _ in range(_STRANGERS):
            sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            sock.bind((_OTHER, 0))
            sock.setblocking(False)
            sock.connect_ex(disc.address)
        time.sleep(0.2)
        used, start = disc.cpu_seconds(), time.monotonic()
        time.sleep(seconds)
        during = (disc.cpu_seconds() - used) / (time.monotonic() - start)
    closed = time.monotonic()
    # New clients get in again.
    loads += world.loads(disc.port, kinds=("threads",))
    wait_until(lambda: bool(loads[-1].record.good), 5.0)
    again = time.monotonic() - closed
    settle(loads)
    records = whole(report, loads)
    served = {name: records[name] for name in ("asyncio", "serve")}
    all_good(report, served)
    report.at_most("slowest", each(served, Record.slowest), 0.250)
    report.exactly("DISC says that there are none", _SAID in disc.output(), True)
    report.note("CPU of DISC before", before, "%")
    report.at_most("CPU of DISC without descriptors", during, before + 0.10, "%")
    report.at_most("a new client is served after", again, 2.0)
