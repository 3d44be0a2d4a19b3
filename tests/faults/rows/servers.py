"""DISC's database server: hangs, is killed, restarts, fails over, refuses, is slow, is read-only."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from faults.load import SUBSCRIBERS, Record, Subscriber
from faults.report import Report, row
from faults.rows.common import all_good, each, recovered_after, settle, whole
from faults.world import World
from kit.databases import DatabaseServer, MariaDb, PostgreSql
from kit.process import Server, run_ours

_CLIENTS = ("asyncio", "serve")
_DEADLINE = 1.0  # of --db-timeout
_BACK = 2.5  # seconds until all is good: the longest pause between two attempts, and one of them

Fault = Callable[[], contextlib.AbstractContextManager[object]]


_ALL = (PostgreSql, MariaDb)
_Kinds = tuple[type[DatabaseServer], ...]


def _installed(kinds: _Kinds) -> list[type[DatabaseServer]]:
    return [kind for kind in kinds if kind.missing() is None]


def _subscribers(folder: Path) -> Path:
    path = folder / "subscribers.csv"
    lines = ["username,domain,password"]
    for subscriber in map(Subscriber, range(SUBSCRIBERS)):
        password = "other" if subscriber.expected == 403 else "right"
        lines.append(f"{subscriber.name},{subscriber.domain},{password}")
    path.write_text("\n".join(lines) + "\n")
    return path


def _filled(world: World, kind: type[DatabaseServer]) -> tuple[DatabaseServer, str]:
    """A server with all subscribers, and the name of the database."""
    server = world.enter(kind())
    name = server.database()
    done = run_ours("user", "import", _subscribers(world.folder), "--db", server.url(name))
    assert done.status == 0, done.err
    return server, name


def _disc(world: World, url: str, *arguments: object) -> Server:
    return world.daemon("disc", "--db", url, "--nonce-key", world.key, *arguments)


def _play(
    world: World, report: Report, name: str, url: str, fault: Fault, seconds: float, *, goes_on: bool = False
) -> None:
    """Plays a fault on two DISC: with users at hand, all is as before; without, 500 until it is over.

    Args:
        goes_on: whether the database can be read meanwhile.
    """
    for what, arguments in (("at hand", ()), ("others", ("--stale-for", "0"))):
        disc = _disc(world, url, *arguments)
        loads = world.loads(disc.port, kinds=_CLIENTS)
        settle(loads, 4.0)  # until each subscriber has been looked up
        time.sleep(SUBSCRIBERS / 200)
        start = time.monotonic()
        with fault():
            time.sleep(seconds)
        end = time.monotonic()
        settle(loads, 5.0)
        records = whole(report, loads)
        _judge(report, f"{name}, {what}", records, start, end, all_as_before=goes_on or what == "at hand")
        disc.stop()


def _judge(
    report: Report, name: str, records: dict[str, Record], start: float, end: float, *, all_as_before: bool
) -> None:
    during = {client: record.between(start, end) for client, record in records.items()}
    if all_as_before:
        strays = [what for record in during.values() for what in record.strays]
        count = sum(len(record.bad) for record in during.values())
        report.none(f"{name}: not as before", count, ", ".join(strays))
        return
    statuses = {entry.status for record in during.values() for entry in record.bad}
    # 503: a client that has seen DISC take a second refuses what would wait as long.
    report.exactly(f"{name}: other than DISC's verdict, 500 and 503", statuses - {500, 503}, set())
    report.at_most(f"{name}: slowest", each(during, Record.slowest), _DEADLINE + 0.25)
    report.at_most(f"{name}: all good again after", each(records, recovered_after(end)), _BACK)


@row(
    "database-hangs",
    "PostgreSQL, MariaDB hang (SIGSTOP)",
    "users at hand go on; others get 5012, so 500, within --db-timeout (1 s), then at once; back ≤ 2.5 s",
    seconds=10.0,
    kinds=_ALL,
)
def hangs(world: World, report: Report, *, seconds: float = 2.0, kinds: _Kinds = (PostgreSql,)) -> None:
    """All processes of the server are stopped."""
    for kind in _installed(kinds):
        server, name = _filled(world, kind)
        _play(world, report, kind.__name__, server.url(name), partial(_frozen, server), seconds)
        server.end()


@contextlib.contextmanager
def _frozen(server: DatabaseServer) -> Iterator[None]:
    server.freeze()
    try:
        yield
    finally:
        server.thaw()


@row(
    "database-killed",
    "PostgreSQL, MariaDB killed, and started again",
    "the same",
    seconds=10.0,
    kinds=_ALL,
)
def killed(world: World, report: Report, *, seconds: float = 2.0, kinds: _Kinds = (MariaDb,)) -> None:
    """kill -9 to all its processes."""
    for kind in _installed(kinds):
        server, name = _filled(world, kind)
        _play(world, report, kind.__name__, server.url(name), partial(_gone, server), seconds)
        server.end()


@contextlib.contextmanager
def _gone(server: DatabaseServer) -> Iterator[None]:
    server.end()
    try:
        yield
    finally:
        server.start()


@row(
    "database-fails-over",
    "the first of two hosts in the URL is killed",
    "users at hand go on; others are looked up at the second one, ≤ 2.5 s",
    seconds=5.0,
    kinds=_ALL,
)
def fails_over(world: World, report: Report, *, seconds: float = 3.0, kinds: _Kinds = (PostgreSql,)) -> None:
    """Both have the same subscribers. The first one does not come back."""
    for kind in _installed(kinds):
        (first, name), (second, _) = _filled(world, kind), _filled(world, kind)
        url = first.url(name).replace(f":{first.port}/", f":{first.port},127.0.0.1:{second.port}/")
        for what, arguments in (("at hand", ()), ("others", ("--stale-for", "0"))):
            disc = _disc(world, url, *arguments)
            loads = world.loads(disc.port, kinds=_CLIENTS)
            settle(loads, 4.0)
            time.sleep(SUBSCRIBERS / 200)
            start = time.monotonic()
            first.end()
            time.sleep(seconds)
            settle(loads, 5.0)
            records = whole(report, loads)
            name_of = f"{kind.__name__}, {what}"
            if what == "at hand":
                all_good(report, records)
            else:
                report.at_most(
                    f"{name_of}: all good again after", each(records, recovered_after(start)), _BACK
                )
            disc.stop()
            first.start()
        first.end()
        second.end()


@row(
    "database-refuses",
    "PostgreSQL, MariaDB: the user may not connect any more, the table is gone",
    "the same",
    seconds=5.0,
    kinds=_ALL,
)
def refuses(world: World, report: Report, *, seconds: float = 1.5, kinds: _Kinds = (PostgreSql,)) -> None:
    """The connections that are open are ended, so that new ones are needed."""
    for kind in _installed(kinds):
        server, name = _filled(world, kind)
        postgresql = kind is PostgreSql
        away = (
            ("ALTER TABLE subscriber RENAME TO away", "ALTER TABLE away RENAME TO subscriber")
            if postgresql
            else ("RENAME TABLE subscriber TO away", "RENAME TABLE away TO subscriber")
        )
        faults = {
            "no connection": (
                ("ALTER ROLE ours CONNECTION LIMIT 0", "ALTER ROLE ours CONNECTION LIMIT -1")
                if postgresql
                else ("ALTER USER ours ACCOUNT LOCK", "ALTER USER ours ACCOUNT UNLOCK")
            ),
            "the table is gone": away,
        }
        for fault, (begin, over) in faults.items():
            of = partial(_altered, server, name, begin, over)
            _play(world, report, f"{kind.__name__}, {fault}", server.url(name), of, seconds)
        server.end()


@contextlib.contextmanager
def _altered(server: DatabaseServer, name: str, begin: str, over: str) -> Iterator[None]:
    server.run(begin, name)
    server.end_sessions()
    try:
        yield
    finally:
        server.run(over, name)


@row(
    "database-slow",
    "PostgreSQL, MariaDB: another session holds the table locked",
    "the same",
    seconds=5.0,
    kinds=_ALL,
)
def slow(world: World, report: Report, *, seconds: float = 2.0, kinds: _Kinds = (MariaDb,)) -> None:
    """As ALTER TABLE does."""
    for kind in _installed(kinds):
        server, name = _filled(world, kind)
        _play(
            world, report, kind.__name__, server.url(name), partial(_locked, server, name, seconds), seconds
        )
        server.end()


@contextlib.contextmanager
def _locked(server: DatabaseServer, name: str, seconds: float) -> Iterator[None]:
    if isinstance(server, PostgreSql):
        sql = f"BEGIN; LOCK TABLE subscriber IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep({seconds}); COMMIT"
    else:
        sql = f"LOCK TABLES subscriber WRITE; SELECT SLEEP({seconds}); UNLOCK TABLES"
    holder = threading.Thread(target=server.run, args=(sql, name))
    holder.start()
    try:
        yield
    finally:
        holder.join()


@row(
    "database-read-only",
    "PostgreSQL, MariaDB take no changes any more",
    "all goes on",
    seconds=3.0,
    kinds=_ALL,
)
def read_only(world: World, report: Report, *, seconds: float = 1.0, kinds: _Kinds = (MariaDb,)) -> None:
    """As a standby or a replica does."""
    for kind in _installed(kinds):
        server, name = _filled(world, kind)
        begin, over = (
            (
                f"ALTER DATABASE {name} SET default_transaction_read_only = on",
                f"BEGIN READ WRITE; ALTER DATABASE {name} RESET default_transaction_read_only; COMMIT",
            )
            if kind is PostgreSql
            else ("SET GLOBAL read_only = 1", "SET GLOBAL read_only = 0")
        )
        of = partial(_altered, server, name, begin, over)
        _play(world, report, kind.__name__, server.url(name), of, seconds, goes_on=True)
        server.end()
