"""`serve` in an overload: five times more requests than DISC can answer, for a minute.

DISC answers so many questions a second and no more. First its peak is measured, with as many requests under
way as it takes; then requests come at five times that rate, each when it is due. Goodput is what is not
answered 503.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import common

TIMES = 5


def open_loop(folder: Path, port: int, disc: common.Stub, rate: float, count: int) -> dict[str, Any]:
    """What became of `count` requests at that rate; DISC must have been asked for each that got 200."""
    before = disc.asked()
    where = f"{common.LOOPBACK}:{common.unused_udp_port()}"
    command = [folder / "sipload", "-b", where, "-n", count, "-r", rate, common.LOOPBACK, port]
    result = common.run_json(*command, common.REQUEST, lossy=True)
    # It answered some too late, and still does.
    let_in, others = result["statuses"].get("200", 0), count - result["statuses"].get("200", 0)
    common.check_asked(disc.asked() - before, let_in, others)
    return result


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the overload lasts")
    parser.add_argument("--capacity", type=float, default=2000.0, help="questions a second that DISC answers")
    options = parser.parse_args()
    with (
        common.tools("sipload", "discstub") as folder,
        common.Stub(folder, "-c", options.capacity) as disc,
        common.serve(disc.port) as host,
    ):
        peak = common.sipload(folder, host.port, disc, int(5 * options.capacity), 64)["per_s"]
        rate = TIMES * peak
        result = open_loop(folder, host.port, disc, rate, int(rate * options.seconds))
    statuses = result["statuses"]
    share = statuses.get("200", 0) / options.seconds / peak
    p99, refused_p99 = result["p99_us"] / 1000, result["refused_p99_us"] / 1000
    rows = [
        ("goodput, of the peak", f"{share:.2f}", "≥ 0.80", common.verdict(share, 0.8, at_most=False)),
        ("p99 of the accepted, ms", f"{p99:.0f}", "≤ 500", common.verdict(p99, 500, at_most=True)),
        ("p99 of the refused, ms", f"{refused_p99:.0f}", "", ""),
        ("without a reply", str(int(rate * options.seconds) - result["replies"]), "", ""),
    ]
    print(f"DISC answers {peak:.0f} a second, {rate:.0f} come for {options.seconds:.0f} s: {statuses}")
    common.table(("what", "here", "target", ""), rows)
    common.finish(options, {"peak": peak, "rate": rate, "overload": result})


if __name__ == "__main__":
    main()
