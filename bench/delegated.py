"""Row 20: credentials that are verified in the SIP server with delegated HA1, beside the local back end.

A DISC delegates HA1 with its challenges (RFC 4740, 6.3), so the client asks nobody about the credentials. The
other side has the same subscribers in a database, as in row 13. The requests are those of row 13: as bytes,
each nonce used eight times, no request twice. DISC must have been asked for the challenges alone. The sides
take turns, with asyncio and with a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import disc_load
import local
import uvloop
from kit.machine import unused_tcp_port

import auth_diameter as ad
from auth_diameter.store.accounts import Accounts

NAMES = ("sip1.example.net", "sip2.example.net")  # a peer accepts one connection of each
_AT_LEAST = {"asyncio": 1.0, "threads": 1.0}


class Telephones(local.Telephones):
    """The same for a client on an event loop."""

    def __init__(self, auth: ad.AsyncAuthDiameter, runner: asyncio.Runner) -> None:
        super().__init__(auth)
        self._runner = runner

    def _decide(self, data: bytes) -> ad.Decision:
        decision: ad.Decision = self._runner.run(self._auth.diameter_www_authorize(data, "$fd"))
        return decision


async def one_by_one(auth: ad.AsyncAuthDiameter, requests: list[bytes]) -> int:
    """Decides all, one after the other; how many are let in."""
    let_in = 0
    for data in requests:
        let_in += (await auth.diameter_www_authorize(data, "$fd")).authorized
    return let_in


Side = tuple[local.Telephones, Callable[[list[Any]], int], Any]


def sides(
    stack: contextlib.ExitStack, runner: asyncio.Runner, first: ad.Config, second: ad.Config
) -> dict[str, Side]:
    """For each kind of client: what makes its requests, what decides them, and itself."""

    async def opened() -> ad.AsyncAuthDiameter:
        return await ad.AsyncAuthDiameter(first).__aenter__()

    on_loop = runner.run(opened())
    stack.callback(lambda: runner.run(on_loop.aclose()))
    in_thread = stack.enter_context(ad.AuthDiameter(second))
    return {
        "asyncio": (
            Telephones(on_loop, runner),
            lambda requests: runner.run(one_by_one(on_loop, requests)),
            on_loop,
        ),
        "threads": (
            local.Telephones(in_thread),
            lambda requests: local.one_by_one(in_thread, requests),
            in_thread,
        ),
    }


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--turns", type=int, default=9, help="of each side")
    parser.add_argument("--count", type=int, default=256 * 64, help="decisions of a turn")
    options = parser.parse_args()
    port = unused_tcp_port()
    spoken = ("--diameter", f"{common.LOOPBACK}:{port}", "--origin-host", "disc.siphub.net")
    peers = ("--origin-realm", local.REALM, "--tell-ha1", NAMES[0], "--tell-ha1", NAMES[1])
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="auth-diameter-bench-"))
        db = Path(folder) / "users.sqlite"
        with Accounts.open(str(db), writable=True) as accounts:
            for user in range(local.USERS):
                accounts.add_user(f"u{user:07d}", local.REALM, f"p{user:07d}")
        stack.enter_context(disc_load.disc(db, None, *spoken, *peers))
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        database = sides(stack, runner, ad.Config(db=str(db)), ad.Config(db=str(db)))
        servers = [(common.LOOPBACK, port)]
        asking = [ad.Config(application="sip", origin_host=name, peers=servers) for name in NAMES]
        delegated = sides(stack, runner, *asking)
        found: dict[str, dict[str, list[float]]] = {
            kind: {"delegated": [], "local back end": []} for kind in database
        }
        for turn in range(options.turns + 1):
            for kind, of in found.items():
                for name, clients in (("delegated", delegated), ("local back end", database)):
                    phones, decide, client = clients[kind]
                    work = phones.requests(options.count)
                    before = client.stats().asked
                    took = local.timed(decide, work)
                    if client.stats().asked != before:
                        raise SystemExit("bench: DISC was asked about what was to be verified here")
                    if turn:  # the first is a warm-up
                        of[name].append(took / options.count)
    report(options, found)


def report(options: Any, found: dict[str, dict[str, list[float]]]) -> None:
    rows, ratios = [], {}
    for kind, of in found.items():
        pairs = zip(of["delegated"], of["local back end"], strict=True)
        ratios[kind] = ratio = statistics.median(theirs / ours for ours, theirs in pairs)
        times = [f"{statistics.median(of[name]):.0f}" for name in of]
        target = _AT_LEAST[kind]
        rows.append([kind, *times, f"{ratio:.2f}", f"≥ {target:g}", common.verdict(ratio, target)])
    common.table(
        ("row 20", "delegated, ns", "local back end, ns", "rate of the first to the second", "target", ""),
        rows,
    )
    common.finish(options, {"row": "20", "ratios": ratios, "nanoseconds": found})


if __name__ == "__main__":
    main()
