"""Clients used by many threads, across a fork, by tasks that are cancelled, until the very end."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from faults.load import KEY, LOOPBACK, SUBSCRIBERS, Entry, Record, Subscriber, note
from faults.proxy import FaultProxy, Faults
from faults.report import Report, row
from faults.world import World
from kit.places import TESTS
from kit.process import run_command

from auth_diameter import AsyncAuthDiameter, AuthDiameter
from auth_diameter.verifier.nonces import Nonces

_NONCES = Nonces(KEY)
_PATIENCE = 120.0  # seconds after which it hangs; the long forms take half a minute


def _entry(serial: int) -> tuple[Entry, bytes]:
    subscriber = Subscriber(serial % SUBSCRIBERS)
    request = subscriber.request(_NONCES, serial, (LOOPBACK, 5060), time.time())
    return Entry(serial, time.monotonic(), subscriber), request


@row(
    "threads-256",
    "256 threads on one client",
    "no deadlock; each gets the verdict on its own request; connections as configured",
    standard=True,
    calls=100,
)
def threads(world: World, report: Report, *, calls: int = 12) -> None:
    """They call as fast as they are answered, which is an overload: none may be refused for it here."""
    disc = world.disc()
    auth = AuthDiameter(world.config(disc.port, max_delay=None))

    def call_often(thread: int) -> list[Entry]:
        done = []
        for call in range(calls):
            entry, request = _entry(thread * calls + call)
            note(entry, auth.diameter_www_authorize(request, "$fd"))
            done.append(entry)
        return done

    start = time.monotonic()
    with auth, ThreadPoolExecutor(256) as executor:
        record = Record(
            entry for entries in executor.map(call_often, range(256), timeout=_PATIENCE) for entry in entries
        )
        stats = auth.stats()
    report.exactly("calls", len(record), 256 * calls)
    report.exactly("not answered as DISC says", len(record.bad), 0)
    report.at_most("connections", stats.connects, 64, "")
    report.note("calls a second", len(record) / (time.monotonic() - start))
    report.note("slowest", record.slowest(), "ms")


@row(
    "tasks-cancelled",
    "tasks cancelled at any moment, DISC slow and resetting connections",
    "those left get their own verdict; no stream is shared, nothing stays behind, no warning",
    standard=True,
    seconds=10.0,
)
def cancelled(world: World, report: Report, *, seconds: float = 2.0) -> None:
    """Half of all tasks are cancelled within the time that an answer takes."""
    disc = world.disc()
    proxy = world.enter(FaultProxy(disc.address))
    proxy.answers = Faults(jitter=0.02, overtake=True)
    record = Record()
    rng = random.Random(1)
    complaints: list[dict[str, object]] = []

    async def play() -> tuple[int, int]:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        count = 0
        async with AsyncAuthDiameter(world.config(proxy.port, who="asyncio")) as auth:

            async def ask(entry: Entry, request: bytes) -> None:
                note(entry, await auth.diameter_www_authorize(request, "$fd"))

            tasks = []
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                entry, request = _entry(len(tasks))
                task = asyncio.create_task(ask(entry, request))
                tasks.append(task)
                if rng.random() < 0.5:
                    asyncio.get_running_loop().call_later(rng.random() * 0.03, task.cancel)
                    count += 1
                else:
                    record.append(entry)
                if rng.random() < 0.01:
                    await asyncio.to_thread(proxy.reset)
                await asyncio.sleep(rng.random() * 0.004)
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0.1)  # for the answers that nobody waits for
            stats = auth.stats()  # of "cx" there are none
            return count, stats.under_way + stats.waiting

    count, left = asyncio.run(play())
    report.at_least("cancelled", count, 100)
    report.exactly("lost, of the others", record.lost, 0)
    report.exactly("with another's verdict", record.swapped, 0)
    report.note("answered as DISC says", len(record.good) / len(record), "%")
    report.exactly("questions left", left, 0)
    report.exactly("complaints of the loop", len(complaints), 0)


def _run(world: World, program: str, port: int) -> tuple[int, str, float]:
    """Exit status, what it said, and how long it took."""
    env = {"PYTHONPATH": str(TESTS)}
    start = time.monotonic()
    command = (sys.executable, "-W", "error", "-m", "faults.programs", program, port, world.application)
    done = run_command(*command, env=env, patience=_PATIENCE)
    return done.status, done.err + done.out, time.monotonic() - start


@row(
    "fork",
    "a client is used after a fork, by parent and eight children at once",
    "no stream is shared: each gets the verdict on its own requests; no warning",
    standard=True,
    times=20,
)
def fork(world: World, report: Report, *, times: int = 1) -> None:
    """Of threads; see `programs.fork`, also for what DISC refuses with standard Diameter."""
    disc = world.disc()
    for _ in range(times):
        status, said, _ = _run(world, "fork", disc.port)
        if (status, said) != (0, ""):
            break
    report.exactly("status and output", (status, said), (0, ""))


@row(
    "exit",
    "the interpreter exits while 100 calls wait for a DISC that hangs",
    "it ends at once, without a warning",
    standard=True,
    times=10,
)
def exits(world: World, report: Report, *, times: int = 1) -> None:
    """In threads, and in tasks of a loop."""
    disc = world.disc()
    disc.freeze()
    _, _, alone = _run(world, "nothing", disc.port)
    for program in ("exit_in_threads", "exit_in_tasks"):
        took = []
        for _ in range(times):
            status, said, seconds = _run(world, program, disc.port)
            took.append(seconds)
            if (status, said) != (0, ""):
                break
        report.exactly(f"{program}: status and output", (status, said), (0, ""))
        report.at_most(f"{program}: longer than a program that asks nobody", max(took) - alone, 1.0)
