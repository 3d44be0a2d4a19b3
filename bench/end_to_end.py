"""Rows 6 to 8: a whole request, SIP/UDP in, DISC asked over TCP, reply out; beside Kamailio.

`auth-diameter serve` (one process) and Kamailio with its own C module auth_diameter (two workers) stand in
turn (A B A B …) between the same load and the same stub of a DISC, which verifies nothing. Both run the
same route: REGISTER is challenged in the realm $fd, 200 for what is let through. Kamailio has two turns,
with its default allocator and with its fastest. A responder in C, which asks nobody, has its turns as well,
as no server can cost less. CPU time is that of all processes of the server under test. Every request is a
new one, and the stub must have been asked once for each reply. Each server is started anew for each turn,
because Kamailio's module leaks.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import common
import servers

OURS, KAMAILIO, TLSF, CANNED, JOINED = (
    "ours", "Kamailio", "Kamailio, tlsf", "canned C", "canned C, UDP_SEGMENT",
)  # fmt: skip
_WARM_UP = 2000  # requests


class Load(NamedTuple):
    """A load.

    Attributes:
        name: what it is like.
        window: requests under way.
        sources: sockets that they come from, each with an address and port of its own.
    """

    name: str
    window: int
    sources: int


PROXY = Load("one address", 64, 1)
PROXIES = Load("4 addresses", 64, 4)
PHONES = Load("64 addresses", 64, 64)
ALONE = Load("one in flight", 1, 1)


class Row(NamedTuple):
    """A row of the table of targets.

    Attributes:
        row: its number.
        what: what is measured.
        load: the load it is measured with.
        key: name of the figure.
        base: the side that ours is compared with.
        target: the bound of the ratio.
        at_most: whether it is an upper bound.
    """

    row: str
    what: str
    load: Load
    key: str
    base: str
    target: float
    at_most: bool = True


ROWS = [
    *(
        Row(row, "CPU a request", load, "cpu_us", base, target)
        for row, load in (("6", PROXY), ("6b", PROXIES), ("6c", PHONES))
        for base, target in ((KAMAILIO, 0.14), (TLSF, 0.2), (CANNED, 1.5))
    ),
    Row("6a", "CPU a request, replies joined", PROXY, "cpu_us", KAMAILIO, 0.10),
    Row("7", "requests a second", PROXY, "per_s", KAMAILIO, 5, at_most=False),
    Row("8", "median latency", ALONE, "p50_us", KAMAILIO, 0.95),
]

Start = Callable[[ExitStack], common.Program]


def kamailio(disc: common.Stub, *options: str) -> Start:
    """Kamailio that asks `disc`."""
    return lambda stack: servers.kamailio(stack, "kamailio.cfg", "-A", f"DISC_PORT={disc.port}", *options)


def turn(start: Start, folder: Path, disc: common.Stub | None, load: Load, count: int) -> dict[str, Any]:
    """One server from start to end: warmed up, then loaded.

    Args:
        disc: the stub that it asks; None: it asks nobody.
    """
    with ExitStack() as stack:
        server = start(stack)
        common.sipload(folder, server.port, disc, _WARM_UP, load.window, sources=load.sources)
        before = server.cpu_seconds()
        result = common.sipload(folder, server.port, disc, count, load.window, sources=load.sources)
        result["cpu_us"] = (server.cpu_seconds() - before) / count * 1e6
    return result


Turns = dict[str, dict[str, list[dict[str, Any]]]]  # of each load and side


def alternate(folder: Path, disc: common.Stub, turns: int, counts: dict[Load, int], seconds: float) -> Turns:
    """A B C A B C …, up to so many turns, and none begun after so many seconds."""
    sides: dict[str, tuple[Start, common.Stub | None]] = {
        OURS: (lambda stack: stack.enter_context(common.serve(disc.port)), disc),
    }
    if servers.kamailio_path() is not None:
        sides[KAMAILIO] = kamailio(disc), disc
        sides[TLSF] = kamailio(disc, *servers.TLSF), disc
    sides[CANNED] = (lambda stack: servers.canned(stack, folder)), None
    sides[JOINED] = (lambda stack: servers.canned(stack, folder, "-g")), None
    found: Turns = {load.name: {side: [] for side in sides} for load in counts}
    end = time.monotonic() + seconds
    for _ in range(turns):
        for load, count in counts.items():
            for side, (start, asked) in sides.items():
                found[load.name][side].append(turn(start, folder, asked, load, count))
        if time.monotonic() > end:
            break
    return found


def ratio(found: Turns, load: Load, key: str, base: str) -> float:
    """The median of the ratios of turns, ours to the base."""
    sides = found[load.name]
    return statistics.median(
        ours[key] / theirs[key] for ours, theirs in zip(sides[OURS], sides[base], strict=True)
    )


def report(found: Turns) -> list[dict[str, Any]]:
    """Prints the medians, and the rows of the table of targets."""
    print(f"medians of {len(found[PROXY.name][OURS])} turns")
    common.table(
        ("load", "server", "requests/s", "CPU µs a request", "p50 µs", "p99 µs", "resent"),
        [
            (
                load, side,
                *(f"{common.median(runs, key):.{digits}f}"
                  for key, digits in (("per_s", 0), ("cpu_us", 2), ("p50_us", 0), ("p99_us", 0))),
                sum(run["resent"] for run in runs),
            )
            for load, sides in found.items()
            for side, runs in sides.items()
        ],
    )  # fmt: skip
    print()
    rows = [(row, ratio(found, row.load, row.key, row.base)) for row in ROWS if row.base in found[PROXY.name]]
    common.table(
        ("row", "what", "load", "beside", "ratio", "target", ""),
        [
            (
                row.row, row.what, row.load.name, row.base, f"{value:.3f}",
                f"{'≤' if row.at_most else '≥'} {row.target}",
                common.verdict(value, row.target, at_most=row.at_most),
            )
            for row, value in rows
        ],
    )  # fmt: skip
    if KAMAILIO not in found[PROXY.name]:
        print(f"\n{servers.SKIPPED}")
    return [{**row._asdict(), "load": row.load.name, "ratio": value} for row, value in rows]


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--turns", type=int, default=5, help="of each server and load")
    parser.add_argument("--count", type=int, default=40_000, help="requests of a turn, 64 in flight")
    parser.add_argument("--alone", type=int, default=5_000, help="requests of a turn, one in flight")
    parser.add_argument("--seconds", type=float, default=300, help="no turn is begun after this time")
    options = parser.parse_args()
    counts = {PROXY: options.count, PROXIES: options.count, PHONES: options.count, ALONE: options.alone}
    with common.tools("sipload", "discstub", "canned") as folder, common.Stub(folder) as disc:
        found = alternate(folder, disc, options.turns, counts, options.seconds)
    rows = report(found)
    common.finish(options, {"rows": rows, "turns": found})


if __name__ == "__main__":
    main()
