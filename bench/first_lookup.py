"""The latency of a first lookup: one user who is not at hand, alone, in each kind of database server.

The servers are started on loopback, as for the tests. Each user is asked for once.
"""

from __future__ import annotations

import asyncio
import statistics
import time

import common
from kit.stores import DOMAIN, KINDS, end_servers, fresh

from auth_diameter.store.config import StoreConfig
from auth_diameter.store.opening import open_store
from auth_diameter.store.store import User
from auth_diameter.store.url import database_name

WARM_UP = 10  # lookups that do not count: they open the connection, and prepare the statement
PAUSE = 0.002  # seconds between two, so that each is alone


async def latencies(url: str, names: list[str]) -> list[float]:
    """Milliseconds of the lookup of each user."""
    store = await open_store(database_name(url), StoreConfig())
    found = []
    for name in names:
        key = User(name, DOMAIN, "MD5")
        began = time.perf_counter()
        value = (await store.fetch([key]))[key]
        found.append((time.perf_counter() - began) * 1000)
        if not value.known:
            raise SystemExit(f"bench: {name} was not found in {store.name}")
        await asyncio.sleep(PAUSE)
    store.close()
    return found[WARM_UP:]


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--count", type=int, default=400, help="lookups in each kind of server")
    options = parser.parse_args()
    names = [f"u{number}" for number in range(WARM_UP + options.count)]
    rows, figures = [], {}
    for kind in (*KINDS[1:], "Redis"):
        with fresh(kind) as database:
            database.add_all(dict.fromkeys(names, "secret"))
            took = asyncio.run(latencies(database.url, names))
        median, slow = statistics.median(took), statistics.quantiles(took, n=100)[-1]
        verdict = common.verdict(median, 1.0, at_most=True)
        rows.append((kind, f"{median:.2f}", f"{slow:.2f}", "≤ 1 ms", verdict))
        figures[kind] = {"median_ms": median, "p99_ms": slow}
    end_servers()
    common.table(("first lookup", "median ms", "p99 ms", "target of the median", ""), rows)
    common.finish(options, {"first_lookup": figures})


if __name__ == "__main__":
    main()
