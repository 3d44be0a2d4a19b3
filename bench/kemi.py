"""Row 21: the adapter for Kamailio beside its C module, in the same Kamailio: CPU a request, and memory.

Kamailio stands in turn (A B C A B C …) with the C module auth_diameter, with `python_exec` in the same
configuration, and with a KEMI script. Each has Kamailio's default allocator and its fastest, and the same
load before it; behind it is the same stub of a DISC, which verifies nothing. The route is that of
end_to_end.py: a REGISTER with credentials is asked about once, and gets 200. Every request is a new one, and
the stub must have been asked once for each reply. CPU time is that of all processes of Kamailio. `--memory N`
measures instead what the workers' memory grows by in N requests.
"""

from __future__ import annotations

import os
import re
import statistics
import sysconfig
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import common
import end_to_end
import servers

SCRIPT = common.HERE / "data" / "kamailio_script.py"
C, EXEC, KEMI = "C module", "python_exec", "KEMI"
TARGETS = {("tlsf", EXEC): 1.0, ("tlsf", KEMI): 1.0}
MIB = 1 << 20
PARTS = 10
MOST_OF_C = 200_000  # requests of the C module, which leaks: with more it is out of memory

Start = Callable[[ExitStack], common.Program]


def with_script(disc: common.Stub, config: str, *options: str) -> Start:
    """Kamailio with our adapter, which asks `disc`."""

    def start(stack: ExitStack) -> common.Program:
        os.environ["DISC_PORT"] = str(disc.port)
        os.environ["SITE_PACKAGES"] = sysconfig.get_path("purelib")
        return servers.kamailio(stack, config, "-A", f'SCRIPT="{SCRIPT}"', *options)

    return start


def sides(disc: common.Stub, *options: str) -> dict[str, Start]:
    """Each side by its name."""
    return {
        C: end_to_end.kamailio(disc, *options),
        EXEC: with_script(disc, "kamailio-python.cfg", *options),
        KEMI: with_script(disc, "kamailio-kemi.cfg", *options),
    }


ALLOCATORS = {"default": (), "tlsf": servers.TLSF}


def cost(folder: Path, disc: common.Stub, turns: int, count: int, seconds: float) -> list[dict[str, Any]]:
    """CPU and rate of each side, by turns; the ratio is the median of those of the turns."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    end = time.monotonic() + seconds
    for _ in range(turns):
        for allocator, options in ALLOCATORS.items():
            for side, start in sides(disc, *options).items():
                run = end_to_end.turn(start, folder, disc, end_to_end.PROXY, count)
                found.setdefault((allocator, side), []).append(run)
        if time.monotonic() > end:
            break
    rows = []
    for (allocator, side), runs in found.items():
        base = found[allocator, C]
        ratio = statistics.median(
            ours["cpu_us"] / theirs["cpu_us"] for ours, theirs in zip(runs, base, strict=True)
        )
        rows.append(
            {
                "allocator": allocator, "side": side, "per_s": common.median(runs, "per_s"),
                "cpu_us": common.median(runs, "cpu_us"), "ratio": ratio, "turns": runs,
            }
        )  # fmt: skip
    print(f"medians of {len(runs)} turns of {count:,} requests, 2 workers, 64 in flight")
    common.table(
        ("allocator", "", "requests/s", "CPU µs a request", "ratio", "target", ""),
        [
            (
                row["allocator"], row["side"], f"{row['per_s']:.0f}", f"{row['cpu_us']:.1f}",
                f"{row['ratio']:.2f}",
                *(
                    (f"≤ {target}", common.verdict(row["ratio"], target, at_most=True))
                    if (target := TARGETS.get((row["allocator"], row["side"]))) is not None
                    else ("", "")
                ),
            )
            for row in rows
        ],
    )  # fmt: skip
    return rows


def private_bytes(pid: int) -> int:
    """Memory of a process that no other one has."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return 1024 * sum(int(number) for number in re.findall(r"^Private_\w+: +(\d+) kB", text, re.MULTILINE))


def memory(folder: Path, disc: common.Stub, count: int) -> list[dict[str, Any]]:
    """MiB of the worker that has most, after a warm-up and after each part."""
    rows = []
    for side, start in sides(disc, *servers.TLSF).items():
        with ExitStack() as stack:
            server = start(stack)
            readings = []
            done = min(count, MOST_OF_C) if side == C else count
            for part in range(PARTS + 1):
                size = done // PARTS if part else 20_000
                common.sipload(folder, server.port, disc, size, 64)
                readings.append(max(private_bytes(pid) for pid in server.pids()) / MIB)
        rows.append({"side": side, "count": done, "readings": readings})
    print("private MiB of the largest worker, after 20,000 requests and after more (-X tlsf)")
    common.table(
        ("", "requests more", "first", "last", "growth"),
        [
            (row["side"], f"{row['count']:,}", *(f"{mib:.1f}" for mib in (first, last, last - first)))
            for row in rows
            for first, last in [(row["readings"][0], row["readings"][-1])]
        ],
    )
    return rows


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--turns", type=int, default=5, help="of each side")
    parser.add_argument("--count", type=int, default=40_000, help="requests of a turn")
    parser.add_argument("--seconds", type=float, default=300, help="no turn is begun after this time")
    parser.add_argument(
        "--memory", type=int, default=0, metavar="N", help="measure memory over N requests instead"
    )
    options = parser.parse_args()
    if servers.kamailio_path() is None:
        raise SystemExit(servers.SKIPPED)
    with common.tools("sipload", "discstub") as folder, common.Stub(folder) as disc:
        if options.memory:
            result = {"memory": memory(folder, disc, options.memory)}
        else:
            result = {"rows": cost(folder, disc, options.turns, options.count, options.seconds)}
    common.finish(options, result)


if __name__ == "__main__":
    main()
