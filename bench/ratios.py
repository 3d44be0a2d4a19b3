"""Rows 1 to 5, 16 and 17: how many times as fast as what a Python user has today.

The two sides take turns (A B A B …), each for some milliseconds, and the median of the ratios counts: so
whatever else the machine does disturbs both alike.
"""

from __future__ import annotations

import common

from auth_diameter.bench.pairs import measure, pairs
from auth_diameter.bench.standard import standard


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--turns", type=int, default=41, help="of each side")
    parser.add_argument("--milliseconds", type=float, default=5.0, help="length of a turn")
    options = parser.parse_args()
    rows = [measure(pair, options.turns, options.milliseconds / 1000) for pair in (*pairs(), *standard())]
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
