"""A registration storm: 1,000,000 telephones register again after an outage, at 1 to 100 DISC.

A simulation with measured costs: how long it lasts, who waits, how much is refused, and what the store has to
do. The same seed gives the same result. `storm_model.py` is the model, `storm_costs.py` measures the costs
below on this machine, and `storm_check.py` plays a small storm for real beside the model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import common
from storm_model import Result, Setup, Storm


class Cost(NamedTuple):
    """What was measured.

    Attributes:
        amount: µs of one core, where the source does not say otherwise.
        source: the command that measures it, and the row of its output, or where it is written down.
    """

    amount: float
    source: str


# All costs of the model, of one core of the machine of bench/README.md. To update them, run the commands.
COSTS = {
    # A SIP server.
    "serve: a request": Cost(10.78, "bench/end_to_end.py, 64 addresses, ours: CPU a request"),
    "serve: a retransmission": Cost(4.6, "the same × 5,863/13,696 instructions of bench/serve_cost.py"),
    "serve: datagrams that wait": Cost(6_680, "number; docs/reliability.md, host stopped: 12,128 − 5,448"),
    "Kamailio: a request": Cost(87.6, "bench/end_to_end.py, 64 addresses: 11,420 requests/s of two workers"),
    "Kamailio: datagrams that wait": Cost(417, "number; that of serve × 256 KiB / 4 MiB, its buffer to ours"),
    # DISC.
    "DISC: a challenge": Cost(0.57, "bench/storm_costs.py, SQLite: challenge"),
    "DISC: verified, user at hand": Cost(1.28, "bench/storm_costs.py, SQLite: at hand"),
    "DISC: lookup in SQLite": Cost(18.88, "bench/storm_costs.py, SQLite: lookup: DISC"),
    "DISC: lookup in PostgreSQL": Cost(15.69, "the same, PostgreSQL"),
    "DISC: lookup in MariaDB": Cost(15.02, "the same, MariaDB"),
    "DISC: sharing its state": Cost(1.22, "bench/storm_costs.py, at hand: SQLite, shared state − SQLite"),
    # The servers beside DISC.
    "PostgreSQL: a lookup": Cost(10.70, "bench/storm_costs.py, PostgreSQL: lookup: server"),
    "PostgreSQL: a lookup takes": Cost(341.8, "bench/storm_costs.py, PostgreSQL: lookup alone takes; time"),
    "MariaDB: a lookup": Cost(11.21, "as PostgreSQL"),
    "MariaDB: a lookup takes": Cost(298.4, "as PostgreSQL; time"),
    "Redis: a verified question": Cost(3.13, "bench/storm_costs.py, SQLite, shared state: lookup: server"),
    "Redis: a question takes": Cost(113.5, "bench/storm_costs.py, question alone: shared − without; time"),
}  # fmt: skip

DISCS = (1, 2, 5, 10, 20, 50, 100)
SHARES = (0.5, 0.99, 1.0)
STORES = ("SQLite", "PostgreSQL", "MariaDB", "PostgreSQL, shared state")


def seconds(name: str) -> float:
    """A cost."""
    return COSTS[name].amount * 1e-6


def store_costs(store: str) -> dict[str, Any]:
    """What a DISC with that kind of store costs; fields of `Setup`."""
    kind, _, shared = store.partition(", ")
    found = {
        "challenge": seconds("DISC: a challenge"),
        "verify": seconds("DISC: verified, user at hand"),
        "lookup": seconds(f"DISC: lookup in {kind}"),
    }
    if kind != "SQLite":
        found["store"] = seconds(f"{kind}: a lookup")
        found["store_wait"] = seconds(f"{kind}: a lookup takes")
    if shared:
        found["state_verify"] = seconds("DISC: sharing its state")
        found["state"] = seconds("Redis: a verified question")
        found["state_wait"] = seconds("Redis: a question takes")
    return found


def front_costs(front: str) -> dict[str, Any]:
    """What a SIP server costs, and how it asks; fields of `Setup`."""
    if front == "serve":
        return {
            "request": seconds("serve: a request"),
            "repeat": seconds("serve: a retransmission"),
            "room": int(COSTS["serve: datagrams that wait"].amount),
        }
    # It takes each datagram for a new request, asks one DISC, and refuses nothing.
    cost = seconds("Kamailio: a request")
    room = int(COSTS["Kamailio: datagrams that wait"].amount)
    return {"request": cost, "repeat": cost, "room": room, "max_delay": None, "all_discs": False}


HEADER = (
    "DISC", "store", *(f"{share:.0%} after, s" for share in SHARES), "longest wait for DISC, s",
    "refused, 503", "requests a telephone", "lost", "DISC works", "store works", "state late",
)  # fmt: skip


def row(discs: int, store: str, result: Result) -> list[str]:
    """A line of the table."""
    counts = result.counts
    found = [result.until(share) for share in SHARES]
    return [
        str(discs),
        store,
        *("–" if until is None else f"{until:.1f}" for until in found),
        f"{result.longest['DISC']:.2f}",
        f"{counts['503'] / max(1, counts['replied']):.0%}",
        f"{counts['sent'] / counts['telephones']:.1f}",
        f"{counts['lost'] / max(1, counts['sent']):.1%}",
        f"{result.load('DISC'):.0%}",
        f"{result.load('store'):.0%}" if "SQLite" not in store else "–",
        f"{counts['alone'] / max(1, counts['200']):.0%}" if "shared" in store else "–",
    ]


def summary(result: Result) -> dict[str, Any]:
    """Every figure but the time of each telephone."""
    return {
        "until": {str(share): result.until(share) for share in SHARES},
        "given_up": result.given_up,
        "counts": dict(result.counts),
        "longest": result.longest,
        "load": {part: result.load(part) for part in result.busy},
    }


Results = dict[tuple[int, str], Result]


def simulate(base: Setup, discs: Sequence[int], stores: Sequence[str]) -> Results:
    """One storm for each number of DISC and each store."""
    return {
        (n, store): Storm(dataclasses.replace(base, discs=n, **store_costs(store))).run()
        for n in discs
        for store in stores
    }


def plot(results: Results, discs: Sequence[int], stores: Sequence[str], path: Path) -> None:
    """Four panels: until when, the course of it, what is refused, and which part is the limit."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    colours = dict(zip(stores, ("#1f5a99", "#c4621a", "#3a8a4d", "#8a4d9e"), strict=False))
    marks = dict(zip(stores, "os^D", strict=False))
    lead = "PostgreSQL" if "PostgreSQL" in stores else stores[0]
    figure, ((until, course), (refused, loads)) = plt.subplots(2, 2, figsize=(11, 8), constrained_layout=True)
    for store in stores:
        style = {"color": colours[store], "marker": marks[store], "label": store}
        until.plot(discs, [results[n, store].until(0.99) for n in discs], **style)
        counts = [results[n, store].counts for n in discs]
        refused.plot(discs, [100 * c["503"] / max(1, c["replied"]) for c in counts], **style)
    until.set(title="99 of 100 are registered after", ylabel="seconds")
    refused.set(title="Replies that are 503", ylabel="%")
    shades = ("#12324f", "#1f5a99", "#5b8fc4", "#a9c6e3")
    for n, shade in zip([n for n in discs if n <= 10], shades, strict=False):
        result = results[n, lead]
        share = [
            100 * (i + 1) * result.weight / result.counts["telephones"] for i in range(len(result.registered))
        ]
        course.plot(result.registered, share, color=shade, label=f"{n} DISC")
    course.set(
        title=f"Who is registered, {lead}", xlabel="seconds after the outage", ylabel="%", ylim=(0, 102)
    )
    for part, colour in {"SIP server": "#777777", "DISC": "#1f5a99", "store": "#c4621a"}.items():
        loads.plot(discs, [100 * results[n, lead].load(part) for n in discs], "o-", color=colour, label=part)
    loads.set(title=f"How much of its time each part works, {lead}", ylabel="%", ylim=(0, 102))
    for panel in (until, refused, loads):
        panel.set_xscale("log")
        panel.set_xlabel("DISC")
        panel.set_xticks(discs, map(str, discs))
        panel.minorticks_off()
        panel.set_ylim(bottom=0)
    for panel in (until, course, refused, loads):
        panel.grid(alpha=0.3)
        panel.legend()
    figure.savefig(path, dpi=90, metadata={"Date": None} if path.suffix == ".svg" else {"Software": None})
    plt.close(figure)


def whole_numbers(text: str) -> list[int]:
    """1,2,5."""
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--telephones", type=int, default=1_000_000)
    parser.add_argument(
        "--weight", type=int, default=100, help="telephones that do the same at the same time"
    )
    parser.add_argument("--arrival", choices=("at-once", "own-timers"), default="at-once",
                        help="all within --within, or each when its own timers say so")  # fmt: skip
    parser.add_argument("--within", type=float, default=1.0, help="seconds, with at-once")
    parser.add_argument("--outage", type=float, default=600.0, help="seconds that it lasted, with own-timers")
    parser.add_argument("--front", choices=("serve", "kamailio"), default="serve", help="the SIP servers")
    parser.add_argument("--servers", type=int, default=20, help="how many of them")
    parser.add_argument("--discs", type=whole_numbers, default=",".join(map(str, DISCS)), metavar="N,…")
    parser.add_argument(
        "--stores", type=lambda text: text.split(";"), default=";".join(STORES), metavar="NAME;…"
    )
    parser.add_argument("--store-cores", type=int, default=4, help="of a database server")
    parser.add_argument("--retry-after", type=float, default=2.0, help="seconds in a 503")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plot", type=Path, metavar="FILE.png|svg")
    options = parser.parse_args()
    base = Setup(
        telephones=options.telephones,
        weight=options.weight,
        within=options.within,
        outage=options.outage if options.arrival == "own-timers" else None,
        servers=options.servers,
        store_cores=options.store_cores,
        retry_after=options.retry_after,
        seed=options.seed,
        patience=4 * 3600.0,
        **front_costs(options.front),
    )
    if unknown := set(options.stores) - set(STORES):
        raise SystemExit(f"bench: no such store: {', '.join(sorted(unknown))}")
    results = simulate(base, options.discs, options.stores)
    print(
        f"{options.telephones:,} telephones, {options.arrival}; {options.servers} × {options.front}; "
        f"Retry-After {options.retry_after:g} s; seed {options.seed}"
    )
    common.table(HEADER, [row(n, store, result) for (n, store), result in results.items()])
    given_up = max(result.given_up for result in results.values())
    failed = max(result.counts["failed"] for result in results.values())
    print(f"given up: {given_up:,} at most; lookups that failed: {failed:,} at most")
    if options.plot:
        plot(results, options.discs, options.stores, options.plot)
        print(f"plotted to {options.plot}")
    common.finish(
        options,
        {
            "setup": dataclasses.asdict(base),
            "costs": {name: cost._asdict() for name, cost in COSTS.items()},
            "storms": [
                {"discs": n, "store": store, **summary(result)} for (n, store), result in results.items()
            ],
        },
    )


if __name__ == "__main__":
    main()
