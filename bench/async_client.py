"""Row 9: decisions a second of `AsyncAuthDiameter` in one process, 64 in flight, no SIP socket.

Each decision begins with the bytes of a request and ends with a Decision; DISC is the stub, and must have
been asked for each: a client remembers no request, so 1,000 of them in turn are as good as new ones. The
rate is set beside that of Kamailio with two workers, SIP socket included, from the same run. Once with
`await` in 64 tasks, once with `ask` and callbacks, as `serve` does it, and once with
`diameter_www_authorize_many` in two tasks, each with 32 requests at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import common
import end_to_end
import servers
import uvloop

import auth_diameter as ad

IN_FLIGHT = 64
Work = Callable[[ad.AsyncAuthDiameter, list[bytes], int], Awaitable[None]]


async def awaiting(auth: ad.AsyncAuthDiameter, requests: list[bytes], count: int) -> None:
    async def caller(share: int) -> None:
        for i in range(share):
            decision = await auth.diameter_www_authorize(requests[i % len(requests)], "$fd")
            assert decision, decision

    await asyncio.gather(*(caller(count // IN_FLIGHT) for _ in range(IN_FLIGHT)))


async def calling_back(auth: ad.AsyncAuthDiameter, requests: list[bytes], count: int) -> None:
    done = asyncio.get_running_loop().create_future()
    left = to_ask = count

    def ask() -> None:
        nonlocal to_ask
        to_ask -= 1
        auth.ask(requests[to_ask % len(requests)], "$fd", answered)

    def answered(decision: ad.Decision) -> None:
        nonlocal left
        assert decision, decision
        left -= 1
        if to_ask:
            ask()
        elif not left:
            done.set_result(None)

    for _ in range(IN_FLIGHT):
        ask()
    await done


async def many(auth: ad.AsyncAuthDiameter, requests: list[bytes], count: int) -> None:
    half = IN_FLIGHT // 2

    async def caller(share: int) -> None:
        for begun in range(0, share, half):
            first = begun % (len(requests) - half)
            decisions = await auth.diameter_www_authorize_many(requests[first : first + half], "$fd")
            assert len(decisions) == half
            assert all(decisions), decisions

    await asyncio.gather(caller(count // 2), caller(count // 2))


async def measure(work: Work, disc: common.Stub, count: int, **settings: Any) -> dict[str, Any]:
    requests = [common.request(serial) for serial in range(1000)]
    config = ad.Config(peers=[(common.LOOPBACK, disc.port)], **settings)
    async with ad.AsyncAuthDiameter(config) as auth:
        await work(auth, requests, IN_FLIGHT * 30)
        before = disc.asked()
        start, cpu = time.perf_counter(), time.process_time()
        await work(auth, requests, count)
        took, cpu = time.perf_counter() - start, time.process_time() - cpu
        common.check_asked(disc.asked() - before, count)
    return {"per_s": count / took, "cpu_us": cpu / count * 1e6}


def beside_the_dialect(options: Any) -> None:
    """Row 18: RFC 4740 beside the dialect, in turns, with the same stub."""
    count = options.count // IN_FLIGHT * IN_FLIGHT
    spoken: dict[str, dict[str, Any]] = {
        "dialect": {},
        "RFC 4740": {"application": "sip", "origin_host": "sip.example.net"},
    }
    works: dict[str, Work] = {
        "await, 64 tasks": awaiting,
        "ask and callbacks": calling_back,
        "_many, 2 × 32": many,
    }
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    with common.tools("discstub") as folder, common.Stub(folder) as disc:
        for _ in range(options.turns):
            for name, work in works.items():
                for what, settings in spoken.items():
                    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                        got = runner.run(measure(work, disc, count, **settings))
                    runs.setdefault((name, what), []).append(got)
    rows = []
    for name in works:
        rates = {what: common.median(runs[name, what], "per_s") for what in spoken}
        ratio = rates["RFC 4740"] / rates["dialect"]
        rows.append(
            [name, f"{rates['dialect']:.0f}", f"{rates['RFC 4740']:.0f}", f"{ratio:.2f}", "≥ 0.8",
             common.verdict(ratio, 0.8)]
        )  # fmt: skip
    common.table(("row 18", "dialect/s", "RFC 4740/s", "ratio", "target", ""), rows)
    common.finish(options, {"row": "18", "runs": {" ".join(key): value for key, value in runs.items()}})


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--turns", type=int, default=3, help="of each side")
    parser.add_argument("--count", type=int, default=128_000, help="decisions of a turn")
    parser.add_argument("--sip", action="store_true", help="standard Diameter beside the dialect, row 18")
    options = parser.parse_args()
    if options.sip:
        beside_the_dialect(options)
        return
    count = options.count // IN_FLIGHT * IN_FLIGHT
    ours: dict[str, tuple[Work, float, list[dict[str, Any]]]] = {
        "await, 64 tasks": (awaiting, 11, []),
        "ask and callbacks": (calling_back, 13, []),
    }
    if hasattr(ad.AsyncAuthDiameter, "diameter_www_authorize_many"):
        ours["_many, 2 × 32"] = many, 16, []
    peer = []
    with common.tools("sipload", "discstub") as folder, common.Stub(folder) as disc:
        for _ in range(options.turns):
            for work, _, runs in ours.values():
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    runner.run(measure(work, disc, count))
                    runs.append(runner.run(measure(work, disc, count)))
            if servers.kamailio_path() is not None:
                start = end_to_end.kamailio(disc)
                peer.append(end_to_end.turn(start, folder, disc, end_to_end.PROXY, 40_000))
    base = common.median(peer, "per_s") if peer else None
    rows = []
    for name, (_, target, runs) in ours.items():
        rate = common.median(runs, "per_s")
        row = [name, f"{rate:.0f}", f"{common.median(runs, 'cpu_us'):.1f}"]
        compared = ["–", "", ""]
        if base is not None:
            compared = [f"{rate / base:.2f}", f"≥ {target:g}", common.verdict(rate / base, target)]
        rows.append([*row, *compared])
    if base is not None:
        rows.append(["Kamailio", f"{base:.0f}", f"{common.median(peer, 'cpu_us'):.1f}", "1.00", "", ""])
    common.table(("row 9", "decisions/s", "CPU µs each", "ratio to Kamailio", "target", ""), rows)
    if many not in [work for work, *_ in ours.values()]:
        print("\nskipped: _many, which this version's AsyncAuthDiameter does not have")
    if base is None:
        print(f"\n{servers.SKIPPED}")
    found = {name: runs for name, (*_, runs) in ours.items()}
    common.finish(options, {"row": "9", "ours": found, "kamailio": peer})


if __name__ == "__main__":
    main()
