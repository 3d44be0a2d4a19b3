"""Row 14: a SIP server that verifies digests itself; `serve --db` beside Kamailio's module auth.

`auth-diameter serve --db` (one process, users in SQLite) and Kamailio with `pv_www_authenticate` (two
workers, HA1 in a hash table in memory) stand in turn (A B A B …) under a load of many users with right
credentials: each asks for a challenge, answers it, and uses the nonce eight times with a nonce count that
grows. Kamailio has two turns, with its default allocator and with its fastest. A responder in C, which
verifies nothing, has its turns as well. Before its first load each server must let in right credentials,
and must refuse wrong ones and those that come twice. After each load it must have counted as many replies
as came.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import common
import disc_load
import servers
from kit.uac import Uac

OURS, KAMAILIO, TLSF, CANNED = "ours", "Kamailio", "Kamailio, tlsf", "canned C"
WINDOW = 64
TARGETS = [(KAMAILIO, 0.2), (CANNED, 1.4)]

Counts = dict[str, int]  # replies that a server has sent so far, by status


class Side(NamedTuple):
    """A server.

    Attributes:
        start: starts it.
        count: function of the running server that says what it has replied so far; None: it does not count,
            nor verify.
    """

    start: Callable[[ExitStack], common.Program]
    count: Callable[[common.Program], Counts] | None


def has_db() -> bool:
    """Whether `serve` has a local back end."""
    told = subprocess.run([*common.OURS, "serve", "--help"], capture_output=True, text=True, check=True)
    return "--db " in told.stdout


def counted_by_kamailio(program: common.Program) -> Counts:
    """Kamailio's own statistics, which its configuration tells in the reply to an OPTIONS."""
    with Uac((common.LOOPBACK, program.port)) as probe:
        ok, unauthorized = map(int, (probe.call("OPTIONS").header("X-Replied") or "").split())
    return {"200": ok, "401": unauthorized}


def counted_by_us(program: common.Program) -> Counts:
    """Our decisions as replies; a request that was taken for a retransmission has none."""
    counters = program.counters()
    name = 'auth_diameter_decisions_total{cause="%s"}'
    return {"200": counters[name % "authorized"], "401": counters[name % "challenged"]}


def check_verifies(program: common.Program) -> None:
    """Ends the script where the server lets in what it must not, or refuses what is right."""
    with Uac((common.LOOPBACK, program.port), name="u0000000", password="p0000000") as phone:
        challenged = phone.call()
        right = [phone.call("REGISTER", phone.answer(challenged, nc=nc)).status for nc in (1, 2)]
        again = phone.call("REGISTER", phone.answer(challenged, nc=2)).status
        wrong = phone.call("REGISTER", phone.answer(challenged, nc=3, password="p0000001")).status
    if challenged.status != 401 or right != [200, 200] or 200 in (again, wrong):
        raise SystemExit(
            f"bench: without credentials {challenged.status}, with right ones {right}, with a nonce count "
            f"that comes twice {again}, with a wrong password {wrong}: the server does not verify as it must"
        )


def check_counted(program: common.Program, side: Side, runs: list[dict[str, Any]]) -> None:
    """Ends the script where the server has not counted what the loads, and the check before them, got.

    Kamailio's figures are some seconds old, and each of its workers has its own of them.
    """
    assert side.count is not None
    let_in, challenged, resent = (sum(run[key] for run in runs) for key in ("let_in", "challenged", "resent"))
    let_in += 2  # by the check, which got three other replies
    deadline = time.monotonic() + 10
    while (counted := side.count(program))["200"] < let_in and time.monotonic() < deadline:
        time.sleep(0.02)
    common.check_asked(counted["200"], let_in, resent)
    common.check_asked(counted["401"], challenged, resent + 3)


def load(folder: Path, program: common.Program, count: int, users: int) -> dict[str, Any]:
    """One load, all of whose replies must be right."""
    cpu = program.cpu_seconds()
    result = common.run_json(
        *(folder / "digestload", "-b", f"{common.LOOPBACK}:{common.unused_udp_port()}"),
        *("-n", count, "-w", WINDOW, "-u", users),
        *(common.LOOPBACK, program.port, common.HERE / "data" / "digest.sip"),
    )
    result["cpu_us"] = (program.cpu_seconds() - cpu) / count * 1e6
    return result


def turn(folder: Path, side: Side, count: int, users: int) -> dict[str, Any]:
    """One server from start to end: checked, warmed up, then loaded."""
    with ExitStack() as stack:
        program = side.start(stack)
        if side.count is not None:
            check_verifies(program)
        runs = [load(folder, program, n, users) for n in (4 * users, count)]
        if side.count is not None:
            check_counted(program, side, runs)
    return runs[-1]


def sides_of(folder: Path, where: Path, users: int) -> dict[str, Side]:
    """The servers that are here."""
    sides = {}
    if has_db():
        command = [
            *common.OURS, "serve", "--listen", f"{common.LOOPBACK}:0",
            "--db", disc_load.database(where, users), *common.COUNTING,
        ]  # fmt: skip
        sides[OURS] = Side(lambda stack: stack.enter_context(common.Program(command)), counted_by_us)
    if servers.kamailio_path() is not None:
        config = ("kamailio-db.cfg", "-A", f"USERS={users}")
        sides[KAMAILIO] = Side(lambda stack: servers.kamailio(stack, *config), counted_by_kamailio)
        sides[TLSF] = Side(lambda stack: servers.kamailio(stack, *config, *servers.TLSF), counted_by_kamailio)
    sides[CANNED] = Side(lambda stack: servers.canned(stack, folder, "-c"), None)
    return sides


def report(found: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    """Prints the medians, and the rows of the table of targets; the ratios."""
    common.table(
        ("row 14", "requests/s", "CPU µs a request", "p50 µs", "challenges", "let in", "resent"),
        [
            (
                side,
                *(f"{common.median(runs, key):.{digits}f}"
                  for key, digits in (("per_s", 0), ("cpu_us", 2), ("p50_us", 0))),
                *(f"{sum(run[key] for run in runs):,}" for key in ("challenged", "let_in", "resent")),
            )
            for side, runs in found.items()
        ],
    )  # fmt: skip
    if OURS not in found:
        return {}
    ratios = {
        base: statistics.median(
            ours["cpu_us"] / theirs["cpu_us"] for ours, theirs in zip(found[OURS], runs, strict=True)
        )
        for base, runs in found.items()
    }
    print()
    common.table(
        ("row 14", "ratio", "target", ""),
        [
            (
                f"CPU a request, to {base}", f"{ratios[base]:.2f}", f"≤ {target}",
                common.verdict(ratios[base], target, at_most=True),
            )
            for base, target in TARGETS
            if base in ratios
        ],
    )  # fmt: skip
    return ratios


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--turns", type=int, default=5, help="of each server")
    parser.add_argument("--count", type=int, default=60_000, help="requests of a turn")
    parser.add_argument("--users", type=int, default=1_000, help="subscribers, all of whom register")
    options = parser.parse_args()
    with common.tools("digestload", "canned") as folder, disc_load.databases(None) as where:
        sides = sides_of(folder, where, options.users)
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
        for _ in range(options.turns):
            for name, side in sides.items():
                found[name].append(turn(folder, side, options.count, options.users))
    ratios = report(found)
    if OURS not in found:
        print("\nskipped: ours, for `auth-diameter serve` of this version has no --db")
    if KAMAILIO not in found:
        print(f"\n{servers.SKIPPED}")
    common.finish(options, {"row": "14", "ratios": ratios, "turns": found})


if __name__ == "__main__":
    main()
