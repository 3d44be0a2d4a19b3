"""What strangers can take from DISC: the long version, with the figures; some 40 seconds.

    python tests/disc_flood.py [--idle 10000] [--slow 2000] [--seconds 5]

Each part prints what it measured and ends with status 1 when a limit was not kept. The suite plays parts of
it with smaller numbers.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kit.machine import PATIENCE
from kit.process import Server, run_ours
from kit.wire import AsyncConnection, aa_request

IDLE_MOST = 16.0  # KiB of one idle connection
GOOD_MOST = 1.0  # seconds in which a good question is answered whatever others do
QUESTION_TIME = 10.0  # seconds after which a question that does not come whole ends its connection
UNREAD_MOST = 8 << 10  # KiB that a peer that never reads may cost: buffers, and what malloc makes of them


async def seconds_to_answer(peer: AsyncConnection) -> float:
    """Of a good question."""
    began = time.monotonic()
    await peer.ask()
    return time.monotonic() - began


async def connect_all(server: Server, count: int) -> list[AsyncConnection]:
    """So many, some at a time, as DISC's backlog is bounded."""
    peers: list[AsyncConnection] = []
    while len(peers) < count:
        some = min(200, count - len(peers))
        peers += await asyncio.gather(*(AsyncConnection.open(server.address) for _ in range(some)))
    await peers[-1].ask()  # all before it are taken, then
    return peers


async def abort(*peers: AsyncConnection) -> None:
    """Ends them without ceremony."""
    for peer in peers:
        peer.writer.transport.abort()
    await asyncio.sleep(0)  # the loop closes the sockets in its next turn


async def idle(server: Server, count: int) -> float:
    """KiB in DISC for each of so many idle connections; a good question is asked on the last one."""
    warm = await connect_all(server, 50)
    before = server.resident_bytes()
    peers = await connect_all(server, count)
    each = (server.resident_bytes() - before) / count / 1024
    began = server.cpu_seconds(), time.monotonic()
    await asyncio.sleep(1.0)
    load = (server.cpu_seconds() - began[0]) / (time.monotonic() - began[1])
    took = await seconds_to_answer(peers[0])
    await abort(*warm, *peers)
    print(
        f"{count:,} idle connections: {each:.1f} KiB each, {load:.0%} CPU, an answer in {took * 1000:.1f} ms"
    )
    return each


async def slowloris(server: Server, count: int) -> float:
    """The longest time of a good question while so many connections send one byte a second of theirs."""
    peers = await connect_all(server, count)
    good = await AsyncConnection.open(server.address)
    data, began = aa_request(), time.monotonic()
    times: list[float] = []

    async def drip(peer: AsyncConnection) -> float:
        for byte in data:
            peer.writer.write(bytes([byte]))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    assert not await peer.reader.read(1), "an answer to half a question"
                    return time.monotonic() - began
        return time.monotonic() - began

    drips = asyncio.gather(*map(drip, peers))
    while not drips.done():
        times.append(await seconds_to_answer(good))
        await asyncio.sleep(0.02)
    closed = sorted(await drips)
    await abort(good, *peers)
    print(
        f"slowloris on {count:,} connections: {len(times)} good questions, the slowest in"
        f" {max(times) * 1000:.0f} ms; slow ones closed after {closed[0]:.1f} to {closed[-1]:.1f} s"
    )
    assert closed[-1] < QUESTION_TIME + 5
    return max(times)


async def flood(server: Server, seconds: float) -> list[float]:
    """The times of another source's questions, on new connections, amid a flood of connections."""
    script = (
        "import socket, sys, time\n"
        "end, kept, made = time.monotonic() + float(sys.argv[2]), [], 0\n"
        "while time.monotonic() < end:\n"
        "    try:\n"
        "        kept.append(socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5))\n"
        "        made += 1\n"
        "    except OSError: time.sleep(0.001)\n"
        "    if len(kept) > 19_000: kept = kept[5_000:]\n"
        "print(made)\n"
    )
    old = await AsyncConnection.open(server.address)
    before = server.cpu_seconds()
    attacker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(server.port), str(seconds), stdout=subprocess.PIPE
    )
    times: list[float] = []
    while attacker.returncode is None:
        began = time.monotonic()
        peer = await AsyncConnection.open(server.address, "127.0.0.2")
        await peer.ask()
        times += [time.monotonic() - began, await seconds_to_answer(old)]
        await peer.close()
        await asyncio.sleep(0.01)
    made = int((await attacker.communicate())[0])
    load = (server.cpu_seconds() - before) / seconds
    await old.close()
    print(
        f"{made:,} connections from one source in {seconds:.0f} s: {len(times)} good questions of another,"
        f" median {statistics.median(times) * 1000:.1f} ms, the slowest in {max(times) * 1000:.0f} ms;"
        f" DISC {load:.0%} CPU"
    )
    return times


async def never_reading(server: Server, seconds: float) -> int:
    """KiB by which DISC grew while peers asked and never read."""
    before = most = server.resident_bytes()
    data, closed = aa_request() * 500, 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        peer = await AsyncConnection.open(server.address)
        peer.writer.transport.pause_reading()
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    peer.writer.write(data)
                    await peer.writer.drain()
                    most = max(most, server.resident_bytes())
        except OSError:
            closed += 1
        await abort(peer)
    print(f"peers that never read: {closed} closed, DISC grew by {(most - before) // 1024:,} KiB at most")
    assert closed
    return (most - before) // 1024


async def main() -> int:
    """All parts; the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--idle", type=int, default=10_000)
    parser.add_argument("--slow", type=int, default=2_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    kept = []
    with tempfile.TemporaryDirectory() as folder:
        db = Path(folder) / "users.sqlite"
        added = run_ours(
            "user", "add", "alice@siphub.net", "--password-stdin", "--db", db, stdin=b"wonderland\n"
        )
        assert added.status == 0, added

        def disc() -> Server:
            return Server("disc", "--db", db)

        with disc() as server:
            kept.append(await idle(server, options.idle) <= IDLE_MOST)
        with disc() as server:
            kept.append(await slowloris(server, options.slow) <= GOOD_MOST)
        with disc() as server:
            kept.append(max(await flood(server, options.seconds)) <= GOOD_MOST)
        with disc() as server:
            kept.append(await never_reading(server, options.seconds) <= UNREAD_MOST)
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
