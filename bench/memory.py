"""Row 12: resident memory of `serve`, with DISC and with `--db`, and of `disc`, under many requests.

Each is warmed up first, then loaded in ten parts; growth is the last reading less that after the warm-up. In
the warm-up `serve` fills its memory of retransmissions, 48 MiB of replies and an index of 10 MiB, which takes
130,000 requests: each is a new one, and each reply has some 400 bytes. `disc` remembers each nonce that came
back, in 400 bytes, so there are few; `serve --db` gets many, and remembers 32,768 of them. A long run:
--count 5000000.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import common
import disc_load
import serve_db

PARTS = 10
MIB = 1 << 20
USERS = 10_000
NONCES = 16  # of each part
REMEMBERED = 32_768  # nonces, of `serve --db`; those of a second must fit, or new ones are refused, too
ACTIVE = 1_000  # of its users, each with one nonce at a time


def watch(program: common.Program, load: Callable[[int], object], warmup: int, count: int) -> list[float]:
    """MiB after the warm-up and after each part."""
    load(warmup)
    readings = [program.resident_bytes() / MIB]
    for _ in range(PARTS):
        load(count // PARTS)
        readings.append(program.resident_bytes() / MIB)
    return readings


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--count", type=int, default=200_000, help="requests after the warm-up")
    parser.add_argument("--warmup", type=int, default=500_000, help="requests before the first reading")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    with (
        common.tools("sipload", "discstub", "discload", "digestload") as folder,
        disc_load.databases(None) as where,
    ):
        with common.Stub(folder) as stub, common.serve(stub.port) as host:
            results["serve"] = watch(
                host,
                lambda count: common.sipload(folder, host.port, stub, count, 64),
                options.warmup,
                options.count,
            )
        database = disc_load.database(where, USERS)
        command = [
            *common.OURS, "serve", "--listen", f"{common.LOOPBACK}:0", "--db", database,
            "--max-nonces", str(REMEMBERED),
        ]  # fmt: skip
        with common.Program(command) as server:
            results["serve --db"] = watch(
                server,
                lambda count: serve_db.load(folder, server, count, ACTIVE),
                options.warmup,
                options.count,
            )
        with disc_load.disc(database) as disc:
            results["disc"] = watch(
                disc,
                lambda count: disc_load.measure(folder, disc, count, USERS, nonces=NONCES),
                options.warmup,
                options.count,
            )
    common.table(
        ("row 12", "requests", "MiB after warm-up", "MiB at the end", "growth MiB", "target", ""),
        [
            (
                name, f"{options.count:,}", f"{mib[0]:.2f}", f"{mib[-1]:.2f}",
                f"{mib[-1] - mib[0]:.2f}", "< 1",
                common.verdict(mib[-1] - mib[0], 1, at_most=True),
            )
            for name, mib in results.items()
        ],
    )  # fmt: skip
    common.finish(options, {"row": "12", "count": options.count, "mib": results})


if __name__ == "__main__":
    main()
