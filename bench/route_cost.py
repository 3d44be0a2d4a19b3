"""Row 15: what a request costs `serve` with a route script of one await, beside an older version.

    python bench/route_cost.py --base FOLDER

First in instructions outside of the kernel, as serve_cost.py counts them; then in CPU time, both versions
in turns (A B A B …), with 16 requests in flight. `pip install --target FOLDER CHECKOUT[server]` brings
the older version there.
"""

from __future__ import annotations

import statistics
from contextlib import ExitStack

import common
import end_to_end
import serve_cost

TARGET = 0.6
LOAD = end_to_end.Load("routes", serve_cost.ROUTE_WINDOW, 1)
ROUTE = ("--route", str(common.HERE / "data" / "await_route.py"))


def start(folder: str | None, disc: common.Stub, options: tuple[str, ...]) -> end_to_end.Start:
    """`serve` of an installation; None: this one."""
    command = [
        *common.command_of(folder), "serve", "--listen", f"{common.LOOPBACK}:0",
        "--disc", f"{common.LOOPBACK}:{disc.port}", *options,
    ]  # fmt: skip

    def begin(stack: ExitStack) -> common.Program:
        return stack.enter_context(common.Program(command))

    return begin


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--base", metavar="FOLDER", help="the older installation")
    parser.add_argument("--turns", type=int, default=5, help="of each version")
    parser.add_argument("--count", type=int, default=40_000, help="requests of a turn")
    options = parser.parse_args()
    sides: dict[str, tuple[str | None, tuple[str, ...]]] = {"route script": (None, ROUTE)}
    if options.base:
        sides["route script, base"] = (options.base, ROUTE)
    sides["default route"] = (None, ())
    with common.tools("sipload", "discstub") as tools:
        instructions = {
            name: serve_cost.cost(tools, serve_cost.Kind(name, more, window=serve_cost.ROUTE_WINDOW), folder)
            for name, (folder, more) in sides.items()
        }
        turns: dict[str, list[float]] = {name: [] for name in sides}
        with common.Stub(tools) as disc:
            for _ in range(options.turns):
                for name, (folder, more) in sides.items():
                    begin = start(folder, disc, more)
                    result = end_to_end.turn(begin, tools, disc, LOAD, options.count)
                    turns[name].append(result["cpu_us"])
    ratios = {
        name: statistics.median(
            ours / theirs for ours, theirs in zip(turns["route script"], cpu, strict=True)
        )
        for name, cpu in turns.items()
    }
    common.table(
        ("row 15", "instructions", "CPU µs a request", "CPU, ratio to it", "target", ""),
        [
            (
                name,
                "–" if (cost := instructions[name]) is None else f"{cost.instructions:,}",
                f"{statistics.median(cpu):.2f}",
                f"{ratios[name]:.2f}",
                *((f"≤ {TARGET}", common.verdict(ratios[name], TARGET, at_most=True))
                  if name == "route script, base" else ("", "")),
            )
            for name, cpu in turns.items()
        ],
    )  # fmt: skip
    if not options.base:
        print("\nskipped: the comparison with an older version, which --base names")
    counted = {name: cost and cost.instructions for name, cost in instructions.items()}
    common.finish(options, {"row": "15", "ratios": ratios, "instructions": counted, "cpu_us": turns})


if __name__ == "__main__":
    main()
