"""DISC cannot be reached, or only half: resets, nobody reads, listens or is there, no such name."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import Any
from unittest import mock

from faults.load import LOOPBACK, AsyncLoad, Load, Record, ThreadsLoad
from faults.proxy import FaultProxy, Faults, black_hole
from faults.report import Report, row
from faults.rows.common import all_good, each, recovered_after, settle, whole
from faults.world import World

from auth_diameter import AsyncAuthDiameter, Cause, Config
from auth_diameter.lab.uac import make_request


@row(
    "reset-mid-write",
    "the connection is reset in the middle of a question",
    "the whole question again, elsewhere: every request gets its verdict",
    standard=True,
    seconds=10.0,
)
def reset_in_the_middle(world: World, report: Report, *, seconds: float = 2.0) -> None:
    """Every connection to one of two DISC ends with a RST after 1,500 bytes, in the middle of a question."""
    disc, other = world.disc(), world.disc()
    proxy = world.enter(FaultProxy(disc.address))
    loads = world.loads(proxy.port, other.port)
    settle(loads)
    proxy.questions = Faults(cut_at=1500, cut_with_reset=True)
    before = proxy.accepted
    time.sleep(seconds)
    proxy.questions = Faults()
    records = whole(report, loads)
    all_good(report, records)
    report.at_least("connections made anew", proxy.accepted - before, 1)
    report.at_most("slowest", each(records, Record.slowest), 0.250)


@row(
    "never-reads",
    "a DISC that takes connections and never reads",
    "one deadline, then 503; what is not sent stays ≤ 1 MiB a connection",
    standard=True,
    seconds=10.0,
)
def never_reads(world: World, report: Report, *, seconds: float = 2.0) -> None:
    """2,000 requests a second for `serve`, more than the kernels' buffers take.

    `serve` keeps each reply for those who ask again, so it grows while DISC answers as well: by how much, the
    same time before the fault says.
    """
    disc = world.disc()
    proxy = world.enter(FaultProxy(disc.address))
    loads = world.loads(proxy.port, kinds=("serve",), rate=2000.0)
    serve = world.daemons[-1]
    settle(loads)
    start = serve.resident_bytes()
    time.sleep(seconds)
    before = most = serve.resident_bytes()
    proxy.questions = Faults(reading=False)
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        time.sleep(0.05)
        most = max(most, serve.resident_bytes())
    end = time.monotonic()
    proxy.questions = Faults()
    settle(loads)
    records = whole(report, loads)
    report.at_most("slowest", each(records, Record.slowest), 2.25)
    report.note("growth of serve before", (before - start) / 2**20, "MiB")
    # 4,000 requests wait for the deadline, with 4 KiB each; what is to be sent is 1 MiB at most.
    report.at_most("growth of serve beyond that", (most - before - (before - start)) / 2**20, 17.0, "MiB")
    report.at_most("all good again after", each(records, recovered_after(end)), 2.0)
    if world.application == "cx":
        return  # its questions have a limit in bytes of their own; the pool's is that of "sip"
    unsent, causes = asyncio.run(_ask_much_at_once(world, proxy))
    report.at_most("unsent of 4,000 questions of 8 KiB", unsent / 2**20, 1.0, "MiB")
    # What the proxy was about to read is answered.
    allowed = {Cause.DISC_TIMEOUT, Cause.OVERLOADED, Cause.CHALLENGED}
    report.exactly("decided otherwise", causes - allowed, set())


async def _ask_much_at_once(world: World, proxy: FaultProxy) -> tuple[int, set[Cause]]:
    """Bytes that a connection keeps at most of what is asked, more than the kernels' buffers take."""
    request = make_request("REGISTER", "sip:d00.example", f"{'u' * 8192}@d00.example")
    most = 0
    config = world.config(proxy.port, who="asyncio", max_in_flight=4000, timeout=1.0)
    async with AsyncAuthDiameter(config) as auth:
        await auth.connect()
        proxy.questions = Faults(reading=False)
        tasks = [asyncio.create_task(auth.diameter_www_authorize(request, "$fd")) for _ in range(4000)]
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0.01)
            for connection in auth._transport.pool.connections:
                kept = connection.unsent + connection.transport.get_write_buffer_size()
                most = max(most, kept)
        return most, {task.result().cause for task in tasks}


@row(
    "refused-two",
    "connects are refused by one of two DISC",
    "every request gets its verdict from the other, ≤ 250 ms",
    standard=True,
    seconds=10.0,
)
def refused_by_one(world: World, report: Report, *, seconds: float = 1.0) -> None:
    """Nobody listens on the first."""
    disc, other = world.disc(), world.disc()
    disc.kill()
    loads = world.loads(disc.port, other.port)
    time.sleep(seconds)
    records = whole(report, loads)
    all_good(report, records)
    report.at_most("slowest", each(records, Record.slowest), 0.250)


@row(
    "black-hole-two",
    "one of two DISC is a black hole: no answer to a SYN",
    "connect deadline 1 s, for the requests that meet it; then the other alone",
    standard=True,
    seconds=10.0,
)
def black_hole_and_another(world: World, report: Report, *, seconds: float = 3.0) -> None:
    """The hole is the first of two, and so the first that is tried."""
    disc = world.disc()
    hole = world.enter(black_hole())
    loads = world.loads(hole, disc.port)
    start = time.monotonic()
    time.sleep(seconds)
    records = whole(report, loads)
    all_good(report, records)
    report.at_most("slowest", each(records, Record.slowest), 1.25)
    later = {name: record.between(start + 1.5) for name, record in records.items()}
    report.at_most("slowest, after 1.5 s", each(later, Record.slowest), 0.250)


@row(
    "black-hole-only",
    "the only DISC is a black hole",
    "503 within the connect deadline of 1 s; later ones at once",
    standard=True,
    seconds=10.0,
)
def black_hole_alone(world: World, report: Report, *, seconds: float = 2.5) -> None:
    """Nothing else is there."""
    loads = world.loads(world.enter(black_hole()))
    time.sleep(seconds)
    records = whole(report, loads)
    asked = {name: world.asking(record) for name, record in records.items()}
    status = world.unavailable
    report.exactly("answers", {e.status for record in asked.values() for e in record}, {status})
    report.at_most(f"slowest {status}", each(asked, Record.slowest), 1.1)


@row(
    "resolver",
    "a name that does not resolve, and one whose resolver hangs, before a DISC that works",
    "every request gets its verdict; looking up is off the hot path",
    seconds=10.0,
)
def names(world: World, report: Report, *, seconds: float = 2.5) -> None:
    """The three are peers of one client; `getaddrinfo` is a fake that fails, or hangs until the end."""
    disc = world.disc()
    over = threading.Event()
    real = socket.getaddrinfo

    def fake(host: Any, *arguments: Any, **options: Any) -> Any:
        if host == "hangs.example":
            over.wait(60)
        if str(host).endswith(".example"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, *arguments, **options)

    config = Config(peers=[("hangs.example", 3000), ("unknown.example", 3000), (LOOPBACK, disc.port)])
    with mock.patch("socket.getaddrinfo", fake):
        loads: list[Load] = [world.enter(ThreadsLoad(config)), world.enter(AsyncLoad(config))]
        time.sleep(seconds)
        records = whole(report, loads)
        over.set()
    all_good(report, records)
    report.at_most("slowest", each(records, Record.slowest), 1.25)
    steady = {name: record[len(record) // 2 :] for name, record in records.items()}
    report.at_most(
        "slowest of the second half", each({n: Record(r) for n, r in steady.items()}, Record.slowest), 0.050
    )
