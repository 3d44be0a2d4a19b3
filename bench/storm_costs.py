"""The costs that `storm.py` needs: what a question costs DISC, its store and its shared state.

For each kind of store a DISC of its own stands under `discload`, with all the store's users drawn at random.
These loads follow each other: questions without credentials (a challenge); right credentials while DISC knows
no user (each is looked up); the same with a few users that it knows; and of both, one question at a time, for
the time that a lookup takes. CPU time is that of the scheduler, so other load on the machine changes it
little. Servers of databases are started in temporary folders, with Kamailio's tables; what is not installed
is left out, with a message.
"""

from __future__ import annotations

import contextlib
import csv
import os
import shutil
import statistics
import subprocess
from collections.abc import Callable, Iterator, Sequence
from hashlib import md5
from pathlib import Path
from typing import Any, NamedTuple

import common
from disc_load import REALM
from kit.databases import PASSWORD, DatabaseServer, MariaDb, PostgreSql
from kit.redis_server import PROGRAMS, RedisServer

from auth_diameter.bench.programs import cpu_seconds

HOT = 1_000  # users that DISC knows in the load that needs no lookup
WINDOW = 1_024  # questions under way in a storm: far more than one read brings
LONE = 1_000  # questions of a load with one at a time


class Side(NamedTuple):
    """A DISC under load.

    Attributes:
        options: its store, and where it shares its state.
        environment: of its command.
        beside: the processes of the server that it uses.
    """

    options: Sequence[str | Path]
    environment: dict[str, str]
    beside: Callable[[], list[int]]


def write_users(path: Path, users: int) -> None:
    """A file for `user import`: users u0000000 and so on, as `discload` knows them."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("username", "domain", "ha1"))
        for i in range(users):
            name = f"u{i:07d}"
            writer.writerow((name, REALM, md5(f"{name}:{REALM}:p{i:07d}".encode()).hexdigest()))


def import_users(rows: Path, side: Side) -> None:
    """Puts them into the store of a side, whose first two words name it."""
    done = subprocess.run(
        [*common.OURS, "user", "import", str(rows), *map(str, side.options[:2])],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **side.environment},
    )
    if done.returncode != 0:
        raise SystemExit(f"bench: user import failed: {done.stdout}{done.stderr}")


class Load:
    """The loads on one side.

    Args:
        folder: where `discload` is.
        users: how many the store has.
    """

    def __init__(self, folder: Path, users: int) -> None:
        self._folder = folder
        self._users = users
        self._seed = 0

    def run(self, disc: common.Program, side: Side, count: int, *, hot: int = 0, window: int = WINDOW,
            credentials: bool = True) -> dict[str, float]:  # fmt: skip
        """One load; what a question cost DISC and the server beside it, in µs, and took in the median."""
        self._seed += 1
        n = min(4, window)
        options = ["-n", count, "-w", window, "-c", n, "-u", self._users, "-h", hot, "-s", self._seed]
        before = disc.cpu_seconds(), cpu_seconds(side.beside())
        got = common.run_json(
            self._folder / "discload", *options, *(() if credentials else ("-x",)), common.LOOPBACK, disc.port
        )
        after = disc.cpu_seconds(), cpu_seconds(side.beside())
        cpu, beside = ((b - a) / count * 1e6 for a, b in zip(before, after, strict=True))
        return {"cpu_us": cpu, "beside_us": beside, "p50_us": got["p50_us"], "per_s": got["per_s"]}

    def measure(self, side: Side, count: int) -> dict[str, Any]:
        """All loads, on a DISC that has just been started."""
        command = [*common.OURS, "disc", "--listen", f"{common.LOOPBACK}:0", *side.options]
        with environment(side.environment), common.Program(command) as disc:
            self.run(disc, side, 2_000, hot=HOT, credentials=False)  # to warm up: no user is looked up
            challenge = self.run(disc, side, count, hot=HOT, credentials=False)
            lone_lookup = self.run(disc, side, LONE, window=1)
            lookup = self.run(disc, side, count)
            self.run(disc, side, 5 * HOT, hot=HOT)
            hot = self.run(disc, side, count, hot=HOT)
            lone_hot = self.run(disc, side, LONE, hot=HOT, window=1)
        # Of users drawn at random some come twice, and those are at hand the second time.
        drawn = count + LONE
        missed = self._users * (1 - (1 - 1 / self._users) ** drawn) / drawn
        return {
            "challenge_us": challenge["cpu_us"],
            "at_hand_us": hot["cpu_us"],
            "lookup_us": (lookup["cpu_us"] - hot["cpu_us"]) / missed,
            "store_us": lookup["beside_us"] / missed,
            "beside_us": hot["beside_us"],
            "wait_us": lone_lookup["p50_us"] - lone_hot["p50_us"],
            "lone_us": lone_hot["p50_us"],
            "loads": {"challenge": challenge, "lookup": lookup, "at hand": hot},
        }


@contextlib.contextmanager
def environment(more: dict[str, str]) -> Iterator[None]:
    """What `common.Program` hands on to its program."""
    before = dict(os.environ)
    os.environ.update(more)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def sqlite(folder: Path) -> Side:
    """A file; nothing runs beside DISC."""
    return Side(("--db", folder / "subscribers.sqlite"), {}, list)


def server(kind: type[DatabaseServer], stack: contextlib.ExitStack) -> Side | str:
    """A database server of its own; or why there is none."""
    if (why := kind.missing()) is not None:
        return why
    program = stack.enter_context(kind())
    url = program.url(program.database(), password=False)
    return Side(("--db", url), {"AUTH_DIAMETER_DB_PASSWORD": PASSWORD}, program._all)


def redis_server(stack: contextlib.ExitStack) -> RedisServer | str:
    """A Redis of its own; or why there is none."""
    if not any(map(shutil.which, PROGRAMS)):
        return f"{' or '.join(PROGRAMS)} is not installed"
    return stack.enter_context(RedisServer())


def make_side(name: str, folder: Path, stack: contextlib.ExitStack) -> Side | str:
    """The side of that name, with no users; or why it cannot be here."""
    if name == "SQLite":
        return sqlite(folder)
    if name in ("PostgreSQL", "MariaDB"):
        return server(PostgreSql if name == "PostgreSQL" else MariaDb, stack)
    redis = redis_server(stack)
    if isinstance(redis, str):
        return redis
    if name == "Redis":
        return Side(("--db", redis.url), {}, lambda: [redis.process.pid])
    key = folder / "nonce.key"
    key.write_bytes(b"the key of a benchmark, no secret")
    key.chmod(0o600)
    shared = folder / "shared"
    shared.mkdir()
    options = (*sqlite(shared).options, "--nonce-key", key, "--state", redis.url)
    return Side(options, {}, lambda: [redis.process.pid])


SIDES = ("SQLite", "PostgreSQL", "MariaDB", "Redis", "SQLite, shared state")


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--users", type=int, default=200_000, help="of each store")
    parser.add_argument("--count", type=int, default=50_000, help="questions of a load")
    parser.add_argument("--turns", type=int, default=3, help="of each side")
    parser.add_argument(
        "--sides", type=lambda text: text.split(";"), default=";".join(SIDES), metavar="NAME;…"
    )
    options = parser.parse_args()
    sides: dict[str, Side] = {}
    with common.tools("discload") as folder, contextlib.ExitStack() as stack:
        rows = folder / "subscribers.csv"
        write_users(rows, options.users)
        for name in options.sides:
            side = make_side(name, folder, stack)
            if isinstance(side, str):
                print(f"skipped: {name}: {side}")
            else:
                import_users(rows, side)
                sides[name] = side
        load = Load(folder, options.users)
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
        for _ in range(options.turns):
            for name, side in sides.items():
                found[name].append(load.measure(side, options.count))
    keys = ("challenge_us", "at_hand_us", "lookup_us", "store_us", "beside_us", "wait_us", "lone_us")
    common.table(
        ("store", "challenge", "at hand", "lookup: DISC", "lookup: server", "at hand: server",
         "lookup alone takes", "a question alone takes"),
        [(name, *(f"{statistics.median(run[key] for run in runs):.2f}" for key in keys))
         for name, runs in found.items()],
    )  # fmt: skip
    print("µs: CPU time of a question or of a lookup, and in the last two columns time in the median")
    common.finish(options, {"sides": found})


if __name__ == "__main__":
    main()
