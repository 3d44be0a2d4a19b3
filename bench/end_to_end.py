"""Rows 6 to 8: a whole request, SIP/UDP in, DISC asked over TCP, reply out; ours beside Kamailio.

`auth-diameter serve` (one process) and Kamailio with its own C module auth_diameter (two workers) stand in
turn (A B A B …) between the same load and the same stub of a DISC, which verifies nothing. Both run the same
route: REGISTER is challenged in the realm $fd, 200 for what is let through. CPU time is that of all processes
of the server under test, from /proc. Every request is a new one, and the stub must have been asked once for
each reply. Kamailio is started anew for each turn, because its module leaks.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import common
from kit.uac import Uac

WINDOWS = (64, 1)


def kamailio_path() -> str | None:
    """Where Kamailio is; Debian keeps servers where a plain user's PATH does not look."""
    return shutil.which("kamailio") or shutil.which("kamailio", path="/usr/sbin:/usr/local/sbin")


def kamailio(disc_port: int, stack: ExitStack) -> common.Program:
    """Kamailio, up and answering; ended and cleaned up with `stack`."""
    path = kamailio_path()
    assert path is not None
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="auth-diameter-bench-"))
    port = common.unused_udp_port()
    config = common.HERE / "data" / "kamailio.cfg"
    command = [
        path, "-f", config, "-DD", "-E", "-m", "64", "-M", "64", "-P", f"{folder}/pid", "-w", folder,
        "-Y", folder, "-l", f"udp:{common.LOOPBACK}:{port}", "-A", f"DISC_PORT={disc_port}",
    ]  # fmt: skip
    program = stack.enter_context(common.Program(command, wait=False))
    program.port = port
    with Uac((common.LOOPBACK, port)) as probe:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and program.process.poll() is None:
            probe.send(probe.request("OPTIONS"))
            if (probe.receive_bytes(0.1) or b"").startswith(b"SIP/2.0 200 "):
                return program
    raise SystemExit(f"bench: Kamailio did not come up:\n{program.output()}")


def ours(disc_port: int, stack: ExitStack) -> common.Program:
    return stack.enter_context(common.serve(disc_port))


Start = Callable[[int, ExitStack], common.Program]


def turn(start: Start, folder: Path, disc: common.Stub, counts: dict[int, int]) -> dict[int, dict[str, Any]]:
    """One server from start to end: warmed up, then loaded with each window."""
    results = {}
    with ExitStack() as stack:
        server = start(disc.port, stack)
        common.sipload(folder, server.port, disc, 2000, 64)
        for window, count in counts.items():
            before = server.cpu_seconds()
            result = common.sipload(folder, server.port, disc, count, window)
            result["cpu_us"] = (server.cpu_seconds() - before) / count * 1e6
            results[window] = result
    return results


Turns = dict[str, list[dict[int, dict[str, Any]]]]


def alternate(folder: Path, disc: common.Stub, turns: int, counts: dict[int, int], seconds: float) -> Turns:
    """A B A B …, up to so many turns, and none begun after so many seconds."""
    servers: dict[str, Start] = {"ours": ours}
    if kamailio_path() is not None:
        servers["Kamailio"] = kamailio
    found: Turns = {name: [] for name in servers}
    end = time.monotonic() + seconds
    for _ in range(turns):
        for name, start in servers.items():
            found[name].append(turn(start, folder, disc, counts))
        if time.monotonic() > end:
            break
    return found


Medians = dict[int, dict[str, float]]  # of each window


def medians_of(runs: list[dict[int, dict[str, Any]]]) -> Medians:
    return {
        window: {
            key: common.median([one[window] for one in runs], key)
            for key in ("per_s", "cpu_us", "p50_us", "p99_us")
        }
        for window in runs[0]
    }


def report(found: Turns) -> list[dict[str, Any]]:
    """Prints the runs' medians, and the rows of the table of targets."""
    medians = {name: medians_of(runs) for name, runs in found.items()}
    print(f"medians of {len(found['ours'])} turns")
    common.table(
        ("window", "server", "requests/s", "CPU µs a request", "p50 µs", "p99 µs", "resent"),
        [
            (
                window, name, f"{m[window]['per_s']:.0f}", f"{m[window]['cpu_us']:.1f}",
                f"{m[window]['p50_us']:.0f}", f"{m[window]['p99_us']:.0f}",
                sum(run[window]["resent"] for run in found[name]),
            )
            for window in WINDOWS
            for name, m in medians.items()
        ],
    )  # fmt: skip
    print()
    if "Kamailio" not in medians:
        print("skipped: the comparison, for Kamailio is not installed (Debian: kamailio)")
        return []
    return compare(medians["ours"], medians["Kamailio"])


def compare(us: Medians, them: Medians) -> list[dict[str, Any]]:
    """Prints and returns the rows of the table of targets."""
    rows = [
        ("6", "CPU a request, window 64", us[64]["cpu_us"] / them[64]["cpu_us"], 0.2, True),
        ("7", "requests a second, window 64", us[64]["per_s"] / them[64]["per_s"], 4, False),
        ("8", "median latency, window 1", us[1]["p50_us"] / them[1]["p50_us"], 1.1, True),
    ]
    common.table(
        ("row", "what", "ratio to Kamailio", "target", ""),
        [
            (
                row,
                what,
                f"{ratio:.3f}",
                f"{'≤' if at_most else '≥'} {target}",
                common.verdict(ratio, target, at_most=at_most),
            )
            for row, what, ratio, target, at_most in rows
        ],
    )
    return [
        {"row": row, "what": what, "ratio": ratio, "target": target} for row, what, ratio, target, _ in rows
    ]


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--turns", type=int, default=5, help="of each server")
    parser.add_argument("--count", type=int, default=60_000, help="requests of a turn with window 64")
    parser.add_argument("--alone", type=int, default=5_000, help="requests of a turn with window 1")
    parser.add_argument("--seconds", type=float, default=70, help="no turn is begun after this time")
    options = parser.parse_args()
    with common.tools("sipload", "discstub") as folder, common.Stub(folder) as disc:
        counts = {64: options.count, 1: options.alone}
        found = alternate(folder, disc, options.turns, counts, options.seconds)
    rows = report(found)
    common.finish(options, {"rows": rows, "turns": found})


if __name__ == "__main__":
    main()
