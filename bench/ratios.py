"""Rows 1 to 5: how many times as fast as what a Python user has today.

The two sides take turns (A B A B …), each for some milliseconds, and the median of the ratios counts: so
whatever else the machine does disturbs both alike.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable
from timeit import Timer
from typing import Any

import common
from pairs import Pair, pairs


def calibrate(work: Callable[[], object], seconds: float) -> tuple[Timer, int]:
    """How many repetitions fill a turn."""
    timer = Timer(work)
    n = 1
    while (took := timer.timeit(n)) < seconds / 4:
        n *= 4
    return timer, max(1, round(n * seconds / took))


def measure(pair: Pair, turns: int, seconds: float) -> dict[str, Any]:
    ours, n_ours = calibrate(pair.ours, seconds)
    peer, n_peer = calibrate(pair.peer, seconds)
    gc.collect()
    gc.disable()  # as timeit does, for both sides
    times = [(ours.timeit(n_ours) / n_ours, peer.timeit(n_peer) / n_peer) for _ in range(turns)]
    gc.enable()
    ratios = sorted(theirs / our for our, theirs in times)
    return {
        "row": pair.row,
        "what": pair.what,
        "peer": pair.peer_name,
        "ours_us": statistics.median(our for our, _ in times) * 1e6,
        "peer_us": statistics.median(theirs for _, theirs in times) * 1e6,
        "ratio": statistics.median(ratios),
        "middle_half": [ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]],
        "target": pair.target,
    }


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--turns", type=int, default=41, help="of each side")
    parser.add_argument("--milliseconds", type=float, default=5.0, help="length of a turn")
    options = parser.parse_args()
    rows = [measure(pair, options.turns, options.milliseconds / 1000) for pair in pairs()]
    common.table(
        ("row", "what", "ours µs", "peer µs", "peer", "ratio", "target", ""),
        [
            (
                row["row"] or "–", row["what"], f"{row['ours_us']:.3f}", f"{row['peer_us']:.3f}", row["peer"],
                f"{row['ratio']:.1f}", f"≥ {row['target']}" if row["target"] else "–",
                common.verdict(row["ratio"], row["target"]) if row["target"] else "",
            )
            for row in rows
        ],
    )  # fmt: skip
    common.finish(options, {"ratios": rows})


if __name__ == "__main__":
    main()
