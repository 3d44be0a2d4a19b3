"""Row 11: answers a second of our DISC, one process, that verifies for real against SQLite.

A load in C asks for challenges, computes right responses over the nonces that it got, and keeps 64
questions under way on 4 connections; every answer must be 2001, and DISC must have let in each as a new one.
Users are drawn at random: from a hot set of 10,000, and from all. The databases, one of 10,000 subscribers
and one of a million, are made with `user import` in a temporary folder, or kept in `--keep` for the next
time.
"""

from __future__ import annotations

import contextlib
import csv
import subprocess
import tempfile
import time
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path
from typing import Any

import common

REALM = "siphub.net"
HOT = 10_000
_LET_IN = 'auth_diameter_disc_answers_total{outcome="authorized"}'
_CHALLENGED = 'auth_diameter_disc_answers_total{outcome="challenged"}'


def database(folder: Path, users: int) -> Path:
    """A database of so many subscribers, u0000000 with password p0000000 and so on, made where missing."""
    path = folder / f"subscribers-{users}.sqlite"
    if path.exists():
        return path
    start = time.monotonic()
    rows = folder / "subscribers.csv"
    with rows.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("username", "domain", "ha1", "ha1b"))
        for i in range(users):
            name, password = f"u{i:07d}", f"p{i:07d}"
            ha1 = md5(f"{name}:{REALM}:{password}".encode()).hexdigest()
            ha1b = md5(f"{name}@{REALM}:{REALM}:{password}".encode()).hexdigest()
            writer.writerow((name, REALM, ha1, ha1b))
    unfinished = path.with_suffix(".part")
    command = [*common.OURS, "user", "import", str(rows), "--db", str(unfinished)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"bench: user import failed: {done.stdout}{done.stderr}")
    for suffix in ("-wal", "-shm"):
        unfinished.with_name(unfinished.name + suffix).unlink(missing_ok=True)
    unfinished.rename(path)
    rows.unlink()
    print(f"made a database of {users:,} subscribers in {time.monotonic() - start:.0f} s", flush=True)
    return path


@contextlib.contextmanager
def databases(keep: Path | None) -> Iterator[Path]:
    """The folder that they are in."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="auth-diameter-bench-") as folder:
        yield Path(folder)


def disc(db: Path) -> common.Program:
    """Our DISC over that database."""
    listen = ("--listen", f"{common.LOOPBACK}:0")
    return common.Program([*common.OURS, "disc", *listen, "--db", db, *common.COUNTING])


def measure(
    folder: Path,
    program: common.Program,
    count: int,
    users: int,
    hot: int = 0,
    window: int = 64,
    n: int = 4,
    nonces: int = 256,
) -> dict[str, Any]:
    """One load; `hot` 0: all users. `n` connections.

    DISC must have let in each question for the first time: none as a retransmission, which costs less.
    """
    counted = program.counters()
    before = program.cpu_seconds()
    load = ("-n", count, "-w", window, "-c", n, "-m", nonces, "-s", time.time_ns() % 10**6)
    result = common.run_json(
        folder / "discload", *load, "-u", users, "-h", hot, common.LOOPBACK, program.port
    )
    result["cpu_us"] = (program.cpu_seconds() - before) / count * 1e6
    counted = program.counters() - counted
    outcomes = {name: n for name, n in counted.items() if name.startswith("auth_diameter_disc_answers_total")}
    let_in = outcomes.get(_LET_IN, 0)
    if let_in != count or sum(outcomes.values()) != count + outcomes.get(_CHALLENGED, 0):
        raise SystemExit(f"bench: {count:,} questions were to be let in, but DISC counted {outcomes}")
    return result


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--users", type=int, default=1_000_000, help="of the large database")
    parser.add_argument("--turns", type=int, default=3, help="of each case")
    parser.add_argument("--count", type=int, default=200_000, help="questions of a turn")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where to make, and find, the databases")
    options = parser.parse_args()
    cases = {
        f"{HOT:,} subscribers": (HOT, 0),
        f"{options.users:,} subscribers, {HOT:,} of them hot": (options.users, HOT),
        f"{options.users:,} subscribers, all at random": (options.users, 0),
    }
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in cases}
    with common.tools("discload") as folder, databases(options.keep) as where:
        for users in (HOT, options.users):
            database(where, users)
        for _ in range(options.turns):
            for name, (users, hot) in cases.items():
                with disc(database(where, users)) as program:
                    # Once over the hot users, so that they are where they are when DISC has run for long.
                    measure(folder, program, 5 * HOT, users, hot or HOT)
                    found[name].append(measure(folder, program, options.count, users, hot))
    small, hot, cold = ([common.median(runs, "per_s")] for runs in found.values())
    targets = {0: "", 1: "≥ 100,000/s, ≥ 0.9 × the first", 2: "≥ 40,000/s"}
    met = {0: "", 1: hot[0] >= 100_000 and hot[0] >= 0.9 * small[0], 2: cold[0] >= 40_000}
    common.table(
        ("row 11", "answers/s", "CPU µs each", "p50 µs", "p99 µs", "ratio to first", "target", ""),
        [
            (
                name,
                *(f"{common.median(runs, key):.{digits}f}"
                  for key, digits in (("per_s", 0), ("cpu_us", 2), ("p50_us", 0), ("p99_us", 0))),
                f"{common.median(runs, 'per_s') / small[0]:.2f}",
                targets[i],
                {"": "", True: "met", False: "not met"}[met[i]],
            )
            for i, (name, runs) in enumerate(found.items())
        ],
    )  # fmt: skip
    common.finish(options, {"row": "11", "cases": found})


if __name__ == "__main__":
    main()
