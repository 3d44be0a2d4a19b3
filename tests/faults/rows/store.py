"""DISC's database: locked, replaced, damaged, without room, and written by a program that is killed."""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from faults.load import Load, Record, make_database
from faults.report import Report, row
from faults.rows.common import all_good, each, recovered_after, settle, whole
from faults.world import World
from kit.process import OURS, Done, Program, run_command

_KINDS = ("asyncio", "serve")
_PRIVATE = ["unshare", "--map-root-user", "--mount"]  # a command in a mount namespace of its own


def has_namespaces() -> bool:
    """Whether this machine lets us make a mount namespace."""
    try:
        return subprocess.run([*_PRIVATE, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


Times = tuple[float, float, float]  # when a fault began, when it ended, when all was good again


def _judge(report: Report, loads: list[Load], times: dict[str, list[Times]]) -> None:
    """Each fault of these: an answer for every request, DISC's verdict or 500; and all good soon after it."""
    records = whole(report, loads)
    for fault, all_times in times.items():
        during = {
            name: Record(entry for start, end, _ in all_times for entry in record.between(start, end))
            for name, record in records.items()
        }
        statuses = {entry.status for record in during.values() for entry in record.bad}
        report.exactly(f"{fault}: other than DISC's verdict and 500", statuses - {500}, set())
        report.note(f"{fault}: answered as DISC says", each(during, lambda r: len(r.good) / len(r)), "%")
        report.at_most(f"{fault}: slowest", each(during, Record.slowest), 2.25)
        back = each(records, partial(_slowest_recovery, all_times))
        report.at_most(f"{fault}: all good again after", back, 2.0)


def _slowest_recovery(times: list[Times], record: Record) -> float:
    return max(recovered_after(end, good)(record) for _, end, good in times)


@contextlib.contextmanager
def _locked(path: object, *, mode: str) -> Iterator[None]:
    """Another program that writes and does not come to an end, or one that wants the file for itself."""
    connection = sqlite3.connect(str(path), timeout=5, isolation_level=None)
    try:
        connection.execute(f"BEGIN {mode}")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


@row(
    "store-locked",
    "SQLite locked: by a writer in WAL; exclusively, in a file with a rollback journal",
    "reads go on beside a writer; else 5012, which is 500, not silence",
    seconds=10.0,
)
def locked(world: World, report: Report, *, seconds: float = 1.0) -> None:
    """One DISC for each file. The second one's cache is emptied by a change right before it is locked."""
    disc = world.disc()
    loads = world.loads(disc.port, kinds=_KINDS)
    settle(loads)
    with _locked(world.db, mode="IMMEDIATE"):
        time.sleep(seconds)
    records = whole(report, loads)
    all_good(report, records)
    report.at_most("slowest beside a writer", each(records, Record.slowest), 0.250)
    disc.stop()

    with contextlib.closing(sqlite3.connect(world.db)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    disc.start()
    loads = world.loads(disc.port, kinds=_KINDS)
    settle(loads)
    with contextlib.closing(sqlite3.connect(world.db)) as connection:
        connection.execute("UPDATE subscriber SET password = ''")
        connection.commit()
    start = time.monotonic()
    with _locked(world.db, mode="EXCLUSIVE"):
        time.sleep(seconds)
    end = time.monotonic()
    settle(loads)
    _judge(report, loads, {"locked exclusively": [(start, end, time.monotonic())]})


@row(
    "store-damaged",
    "the database is damaged, is gone, is replaced",
    "a failure is an answer, 500; all good ≤ 2 s after a whole file is in its place",
    times=3,
)
def damaged(world: World, report: Report, *, times: int = 1) -> None:
    """A file takes the place of the database, with another one's inode; the last one is whole."""
    disc = world.disc()
    loads = world.loads(disc.port, kinds=_KINDS)
    settle(loads)
    whole_file = world.folder / "whole.sqlite"
    make_database(whole_file)
    rng = random.Random(1)

    def replace(data: bytes | None) -> None:
        for suffix in ("-wal", "-shm"):
            world.db.with_name(world.db.name + suffix).unlink(missing_ok=True)
        if data is None:
            world.db.unlink()
            return
        part = world.folder / "part"
        part.write_bytes(data)
        part.replace(world.db)

    found: dict[str, list[Times]] = {}
    data = whole_file.read_bytes()
    torn = bytearray(data)
    for at in range(4096, len(torn)):  # all but the header and the schema
        torn[at] = rng.randrange(256)
    faults = {
        "damaged pages": bytes(torn),
        "half the file": data[: len(data) // 2],
        "empty": b"",
        "gone": None,
    }
    for fault, contents in [*faults.items()] * times:
        start = time.monotonic()
        replace(contents)
        time.sleep(0.8)
        end = time.monotonic()
        replace(data)
        settle(loads)
        found.setdefault(fault, []).append((start, end, time.monotonic()))
    _judge(report, loads, found)


class _Disk:
    """A tmpfs of 1 MiB with a database on it, in a mount namespace of its own, where alone `path` is seen."""

    def __init__(self, world: World) -> None:
        self.path = world.folder / "disk"
        self.path.mkdir()
        self.db = self.path / world.db.name
        holder = subprocess.Popen([*_PRIVATE, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        world.enter(holder)
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write(b"ready\n")  # comes back when the namespace is there
        holder.stdin.flush()
        holder.stdout.readline()
        self.inside = ["nsenter", "--user", "--mount", "--preserve-credentials", "--target", str(holder.pid)]
        self.run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", self.path, must=True)
        self.run("cp", world.db, self.path, must=True)

    def run(self, *command: object, stdin: bytes = b"", must: bool = False) -> Done:
        """Plays a command there, to its end.

        Args:
            must: whether it has to succeed.
        """
        done = run_command(*self.inside, *command, stdin=stdin)
        assert done.status == 0 or not must, done
        return done

    def add_user(self) -> Done:
        account = ("new@d00.example", "--password-stdin", "--db", self.db)
        return self.run(*OURS, "user", "add", *account, stdin=b"secret\n")


def _says_why(report: Report, added: Done, why: str) -> None:
    said = added.err.strip()
    report.exactly("user add: exit status", added.status, 2)
    report.exactly("user add: lines", len(said.splitlines()), 1)
    report.exactly("user add: names the cause", why in said.removeprefix("auth-diameter").lower(), True)


@row(
    "disk-full",
    "no room left on the disk of the database",
    "DISC goes on; `user add` says so in one line; the database is whole",
)
def disk_full(world: World, report: Report) -> None:
    """Filled to the last byte."""
    disk = _Disk(world)
    disc = world.daemon("disc", "--db", disk.db, "--nonce-key", world.key, prefix=disk.inside)
    loads = world.loads(disc.port, kinds=_KINDS)
    settle(loads)
    disk.run("dd", "if=/dev/zero", f"of={disk.path}/filler", "bs=4k")
    added = disk.add_user()
    time.sleep(0.7)
    records = whole(report, loads)
    all_good(report, records)
    _says_why(report, added, "full")
    disk.run("rm", disk.path / "filler")
    report.exactly("user add, when there is room again", disk.add_user().status, 0)
    disc.stop()
    kept = world.folder / "kept.sqlite"
    disk.run("cp", disk.db, kept, must=True)
    report.exactly("integrity_check", _integrity(kept), "ok")


@row(
    "disk-read-only",
    "the disk of the database is read-only",
    "DISC starts and answers; `user add` says so in one line; a change when it can be written again is seen",
)
def disk_read_only(world: World, report: Report) -> None:
    """Without a place for the files that SQLite keeps beside a database in WAL mode."""
    disk = _Disk(world)
    disk.run("mount", "-o", "remount,ro", disk.path, must=True)
    disc = world.daemon("disc", "--db", disk.db, "--nonce-key", world.key, prefix=disk.inside)
    loads = world.loads(disc.port, kinds=_KINDS)
    settle(loads)
    time.sleep(0.7)
    _says_why(report, disk.add_user(), "medium")
    disk.run("mount", "-o", "remount,rw", disk.path, must=True)
    report.exactly("user add, when it can be written", disk.add_user().status, 0)
    time.sleep(1.2)
    records = whole(report, loads)
    all_good(report, records)
    report.exactly("DISC ends with status", disc.stop().status, 0)


def _integrity(path: object) -> str:
    with contextlib.closing(sqlite3.connect(str(path))) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


@row(
    "import-killed",
    "kill -9 during `user import`",
    "`PRAGMA integrity_check` ok; rows whole; the next import completes it; reads go on",
    times=100,
)
def import_killed(world: World, report: Report, *, times: int = 5, count: int = 5_000) -> None:
    """At a moment that moves through the import; DISC reads the same file all the time."""
    source = world.folder / "users.csv"
    source.write_text("username,domain,password\n" + "".join(f"n{n},new.example,x\n" for n in range(count)))
    command = [*OURS, "user", "import", str(source), "--replace", "--db", str(world.db)]
    disc = world.disc()
    loads = world.loads(disc.port, kinds=_KINDS)
    settle(loads)
    took = min(_time_of(command, world.db) for _ in range(2))
    killed = whole_rows = intact = 0
    partial = set()
    for number in range(times):
        _remove_the_new(world.db)
        with Program(*command) as program:
            time.sleep(took * (number + 0.5) / times)
            program.kill()
            killed += program.wait().status == -signal.SIGKILL
        intact += _integrity(world.db) == "ok"
        with contextlib.closing(sqlite3.connect(world.db)) as connection:
            rows = connection.execute(
                "SELECT ha1, ha1b FROM subscriber WHERE domain = 'new.example'"
            ).fetchall()
        whole_rows += all(len(ha1) == len(ha1b) == 32 for ha1, ha1b in rows)
        partial.add(len(rows))
    assert run_command(*command).status == 0
    with contextlib.closing(sqlite3.connect(world.db)) as connection:
        [(left,)] = connection.execute("SELECT count(*) FROM subscriber WHERE domain = 'new.example'")
    records = whole(report, loads)
    all_good(report, records)
    report.at_least("killed in time", killed, times // 2)
    report.exactly("integrity_check ok", intact, times)
    report.exactly("all rows whole", whole_rows, times)
    report.note("different numbers of users left by a kill", len(partial))
    report.exactly("users after the next import", left, count)
    report.at_most("slowest request meanwhile", each(records, Record.slowest), 1.0)


def _remove_the_new(db: Path) -> None:
    with contextlib.closing(sqlite3.connect(db)) as connection:
        connection.execute("DELETE FROM subscriber WHERE domain = 'new.example'")
        connection.commit()


def _time_of(command: list[object], db: Path) -> float:
    _remove_the_new(db)
    start = time.monotonic()
    assert run_command(*command).status == 0
    return time.monotonic() - start
