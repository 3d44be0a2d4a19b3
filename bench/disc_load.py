"""Row 11: answers a second of our DISC, one process, that verifies for real against SQLite.

A load in C asks for challenges, computes right responses over the nonces that it got, and keeps 64
questions under way on 4 connections; every answer must be 2001, and DISC must have let in each as a new
one. Users are drawn at random: from a hot set of 10,000, and from all. The databases, one of 10,000
subscribers and one of a million, are made with `user import` in a temporary folder, or kept in `--keep` for
the next time. With --db a database server of that kind has its turns, with the same million of subscribers.
With --base an older version has its turns, too, with databases that it made itself: `pip
install --target FOLDER CHECKOUT[server]` brings it there. With --state the hot set is also asked of a DISC
that shares its state in that Redis or Valkey; `--state auto` starts a redis-server for it.
"""

from __future__ import annotations

import contextlib
import csv
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import md5
from pathlib import Path
from typing import Any

import common

REALM = "siphub.net"
HOT = 10_000
# Of each kind of database server: the least ratio of its rate at random to that of the base on SQLite
SERVERS = {"postgresql": 1.2, "mysql": 0.8, "redis": 1.2}
WITH_STATE = "with state"
_LET_IN = 'auth_diameter_disc_answers_total{outcome="authorized"}'
_CHALLENGED = 'auth_diameter_disc_answers_total{outcome="challenged"}'


def database(folder: Path, users: int, base: str | None = None) -> Path:
    """A database of so many subscribers, u0000000 with password p0000000 and so on, made where missing.

    Args:
        base: the installation that makes it; None: this one.
    """
    if base is not None:
        folder /= "base"
        folder.mkdir(exist_ok=True)
    path = folder / f"subscribers-{users}.sqlite"
    if path.exists():
        return path
    start = time.monotonic()
    rows = csv_of(folder, users)
    unfinished = path.with_suffix(".part")
    command = [*common.command_of(base), "user", "import", str(rows), "--db", str(unfinished)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"bench: user import failed: {done.stdout}{done.stderr}")
    for suffix in ("-wal", "-shm"):
        unfinished.with_name(unfinished.name + suffix).unlink(missing_ok=True)
    unfinished.rename(path)
    rows.unlink()
    print(f"made a database of {users:,} subscribers in {time.monotonic() - start:.0f} s", flush=True)
    return path


def csv_of(folder: Path, users: int) -> Path:
    """A CSV file of the same subscribers."""
    rows = folder / "subscribers.csv"
    with rows.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("username", "domain", "ha1", "ha1b"))
        for i in range(users):
            name, password = f"u{i:07d}", f"p{i:07d}"
            ha1 = md5(f"{name}:{REALM}:{password}".encode()).hexdigest()
            ha1b = md5(f"{name}@{REALM}:{REALM}:{password}".encode()).hexdigest()
            writer.writerow((name, REALM, ha1, ha1b))
    return rows


@contextlib.contextmanager
def databases(keep: Path | None) -> Iterator[Path]:
    """The folder that they are in."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="auth-diameter-bench-") as folder:
        yield Path(folder)


def disc(db: Path | str, base: str | None = None, *options: str | Path) -> common.Program:
    """Our DISC over that database; that of another installation, if one is named."""
    listen = ("--listen", f"{common.LOOPBACK}:0")
    return common.Program([*common.command_of(base), "disc", *listen, "--db", db, *common.COUNTING, *options])


@contextlib.contextmanager
def state_options(url: str | None, folder: Path) -> Iterator[tuple[str | Path, ...]]:
    """The options of a DISC whose state is there; of a redis-server of its own for `auto`."""
    key = folder / "nonce.key"
    key.write_bytes(b"the key of a benchmark, no secret")
    key.chmod(0o600)
    options = ("--nonce-key", key, "--state")
    if url != "auto":
        yield (*options, url or "")
        return
    path = folder / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            while not path.exists():
                time.sleep(0.01)
            yield (*options, f"unix://{path}")
        finally:
            server.terminate()


@contextlib.contextmanager
def servers(kinds: Sequence[str], rows: Callable[[], Path]) -> Iterator[dict[str, str]]:
    """The URLs of these kinds of database servers, by kind, each with all subscribers of a CSV file."""
    urls: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        for kind in kinds:
            if kind == "redis":
                from kit.redis_server import RedisServer

                url = stack.enter_context(RedisServer()).url
            else:
                from kit.databases import MariaDb, PostgreSql

                server = stack.enter_context(PostgreSql() if kind == "postgresql" else MariaDb())
                url = server.url(server.database())
            start = time.monotonic()
            command = [*common.OURS, "user", "import", str(rows()), "--db", url]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise SystemExit(f"bench: user import failed: {done.stdout}{done.stderr}")
            print(f"{kind}: imported in {time.monotonic() - start:.0f} s", flush=True)
            urls[kind] = url
        yield urls


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


Turns = dict[str, dict[str, list[dict[str, Any]]]]  # of each case and side


def report(found: Turns, hot: str, cold: str) -> None:
    """Prints the medians, and the rows of the table of targets."""
    common.table(
        ("subscribers", "DISC", "answers/s", "CPU µs each", "p50 µs", "p99 µs"),
        [
            (
                case, side,
                *(f"{common.median(runs, key):.{digits}f}"
                  for key, digits in (("per_s", 0), ("cpu_us", 2), ("p50_us", 0), ("p99_us", 0))),
            )
            for case, sides in found.items()
            for side, runs in sides.items()
        ],
    )  # fmt: skip
    rate = common.median(found[hot]["ours"], "per_s")
    rows = [("answers/s, hot", f"{rate:,.0f}", "≥ 600,000", common.verdict(rate, 600_000))]
    if "base" in found[hot]:
        cpu, more = ratio(found[hot], "cpu_us"), ratio(found[cold], "per_s")
        rows += [
            (
                "CPU a question, hot, to the base",
                f"{cpu:.2f}",
                "≤ 0.3",
                common.verdict(cpu, 0.3, at_most=True),
            ),
            ("answers/s, all at random, to the base", f"{more:.2f}", "≥ 1.8", common.verdict(more, 1.8)),
        ]
    print()
    common.table(("row 11", "here", "target", ""), rows)
    if WITH_STATE in found[hot]:
        kept = ratio(found[hot], "per_s", WITH_STATE, "ours")
        print()
        common.table(
            ("shared state", "here", "target", ""),
            [("answers/s, hot, to the same without", f"{kept:.2f}", "≥ 0.7", common.verdict(kept, 0.7))],
        )
    report_servers(found, hot, cold)
    if "base" not in found[hot]:
        print("\nskipped: the comparison with an older version, which --base names")


def report_servers(found: Turns, hot: str, cold: str) -> None:
    """Prints the table of targets of database servers."""
    rows: list[tuple[str, str, str, str]] = []
    for kind, least in SERVERS.items():
        if kind not in found[hot]:
            continue
        kept = ratio(found[hot], "per_s", kind, "ours")
        rows.append(
            (f"{kind}: answers/s, hot, to SQLite", f"{kept:.2f}", "≥ 0.95", common.verdict(kept, 0.95))
        )
        if "base" in found[cold]:
            rate, cpu = (ratio(found[cold], key, kind) for key in ("per_s", "cpu_us"))
            target = f"≥ {least}"
            rows.append(
                (
                    f"{kind}: answers/s, at random, to the base",
                    f"{rate:.2f}",
                    target,
                    common.verdict(rate, least),
                )
            )
            if kind == "postgresql":
                verdict = common.verdict(cpu, 0.65, at_most=True)
                rows.append(
                    (f"{kind}: CPU a question, at random, to the base", f"{cpu:.2f}", "≤ 0.65", verdict)
                )
    if rows:
        print()
        common.table(("database servers", "here", "target", ""), rows)


def ratio(sides: dict[str, list[dict[str, Any]]], key: str, of: str = "ours", to: str = "base") -> float:
    """The median of the ratios of turns of one side to another."""
    pairs = zip(sides[of], sides[to], strict=True)
    return statistics.median(ours[key] / theirs[key] for ours, theirs in pairs)


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--users", type=int, default=1_000_000, help="of the large database")
    parser.add_argument("--turns", type=int, default=3, help="of each case")
    parser.add_argument("--count", type=int, default=200_000, help="questions of a turn")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where to make, and find, the databases")
    parser.add_argument("--base", metavar="FOLDER", help="an older installation to compare with")
    parser.add_argument(
        "--db",
        action="append",
        choices=SERVERS,
        default=[],
        help="a database server to measure, too; repeatable",
    )
    parser.add_argument("--state", metavar="URL", help="shared state to measure the hot set with, or auto")
    options = parser.parse_args()
    hot, cold = f"{options.users:,}, {HOT:,} of them hot", f"{options.users:,}, all at random"
    cases = {f"{HOT:,}": (HOT, 0), hot: (options.users, HOT), cold: (options.users, 0)}
    sides = {"ours": None} | ({"base": options.base} if options.base else {})
    found: Turns = {case: {side: [] for side in sides} for case in cases}
    if options.state:
        found[hot][WITH_STATE] = []
    with (
        common.tools("discload") as folder,
        databases(options.keep) as where,
        state_options(options.state, folder) as shared,
        servers(options.db, lambda: csv_of(where, options.users)) as urls,
    ):
        for kind in urls:
            found[hot][kind], found[cold][kind] = [], []
        for base in sides.values():
            for users in (HOT, options.users):
                database(where, users, base)
        for _ in range(options.turns):
            for case, (users, of) in cases.items():
                for side in found[case]:
                    base = sides.get(side)
                    more = shared if side == WITH_STATE else ()
                    db = urls.get(side) or database(where, users, base)
                    with disc(db, base, *more) as program:
                        # Once over the hot users, so that they are where they are when DISC has run for long.
                        measure(folder, program, 5 * HOT, users, of or HOT)
                        found[case][side].append(measure(folder, program, options.count, users, of))
    report(found, hot, cold)
    common.finish(options, {"row": "11", "cases": found})


if __name__ == "__main__":
    main()
