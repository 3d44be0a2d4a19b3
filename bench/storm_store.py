"""A small real storm before a slow database: what more DISC do then, beside `storm.py`'s model.

`serve`, real DISC and PostgreSQL. What the database answers goes through a proxy with a fixed rate of bytes,
over all connections; so there are that many lookups a second, however many DISC there are. The telephones are
those of `storm_check.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path
from typing import Self

import common
import storm
import storm_check
import storm_costs
from kit.databases import PASSWORD, PostgreSql
from storm_model import Setup, Storm

CALIBRATION = 2_000  # lookups


class Proxy(threading.Thread):
    """A proxy of TCP, on loopback, for the block; answers pass one after the other, at a fixed rate.

    Args:
        to: the port of the server.
        rate: bytes a second.

    Attributes:
        port: where it listens.
        passed: bytes of answers so far.
    """

    def __init__(self, to: int, rate: float) -> None:
        super().__init__(daemon=True)
        self._to = to
        self._rate = rate
        self._free_at = 0.0
        self._ready = threading.Event()
        self.port = 0
        self.passed = 0

    def __enter__(self) -> Self:
        self.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self.join()

    def run(self) -> None:
        """Serves until the end of the block."""
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connected, common.LOOPBACK, 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._ended.wait()
        server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, questions = await asyncio.open_connection(common.LOOPBACK, self._to)
        await asyncio.gather(self._copy(reader, questions), self._copy(answers, writer, slow=True))

    async def _copy(
        self, source: asyncio.StreamReader, to: asyncio.StreamWriter, *, slow: bool = False
    ) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while data := await source.read(16384):
                if slow:
                    self.passed += len(data)
                    self._free_at = max(self._free_at, loop.time()) + len(data) / self._rate
                    await asyncio.sleep(self._free_at - loop.time())
                to.write(data)
        to.close()


def disc(url: str, key: Path) -> common.Program:
    """A DISC with that database, whose challenges the others accept."""
    options = ("--db", url, "--nonce-key", key)
    return common.Program([*common.OURS, "disc", "--listen", f"{common.LOOPBACK}:0", *options])


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--telephones", type=int, default=12_000)
    parser.add_argument("--lookups", type=float, default=1_200.0, help="a second, of the database")
    parser.add_argument("--discs", type=storm.whole_numbers, default="1,8", metavar="N,…")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if (why := PostgreSql.missing()) is not None:
        raise SystemExit(f"bench: {why}")
    count = options.telephones
    figures = {}
    with (
        common.tools("discload") as folder,
        PostgreSql() as server,
        storm_costs.environment({"AUTH_DIAMETER_DB_PASSWORD": PASSWORD}),
    ):
        url = server.url(server.database(), password=False)
        rows, key = folder / "subscribers.csv", folder / "nonce.key"
        storm_costs.write_users(rows, count)
        storm_costs.import_users(rows, storm_costs.Side(("--db", url), {}, list))
        key.write_bytes(b"the key of a benchmark, no secret")
        key.chmod(0o600)

        def through(proxy: Proxy) -> str:
            return url.replace(f":{server.port}/", f":{proxy.port}/")

        with Proxy(server.port, 1e9) as fast, disc(through(fast), key) as program:
            before = fast.passed
            load = ("-n", CALIBRATION, "-w", 256, "-u", count, common.LOOPBACK, program.port)
            common.run_json(folder / "discload", *load)
            different = count * (1 - (1 - 1 / count) ** CALIBRATION)
            each = (fast.passed - before) / different
        for n in options.discs:
            with contextlib.ExitStack() as stack:
                proxy = stack.enter_context(Proxy(server.port, each * options.lookups))
                discs = [stack.enter_context(disc(through(proxy), key)) for _ in range(n)]
                where = ",".join(f"{common.LOOPBACK}:{program.port}" for program in discs)
                command = ("serve", "--listen", f"{common.LOOPBACK}:0", "--disc", where, "--no-penalty")
                host = stack.enter_context(common.Program([*common.OURS, *command]))
                before = proxy.passed
                phones = storm_check.Telephones(host.port, count, options.seed)
                phones.run()
                looked_up = (proxy.passed - before) / each / count
            costs = storm.store_costs("PostgreSQL") | storm.front_costs("serve")
            costs |= {"store": 1 / options.lookups, "store_cores": 1}
            setup = Setup(
                telephones=count, weight=1, servers=1, link=0.0, discs=n, seed=options.seed, **costs
            )
            model = Storm(setup).run()
            print(f"{n} DISC, {count:,} telephones, {options.lookups:,.0f} lookups a second")
            lookups = ("lookups a telephone", looked_up, model.counts["lookups"] / count)
            figures[str(n)] = storm_check.report(phones, count, model, [lookups])
    common.finish(options, {"figures": figures})


if __name__ == "__main__":
    main()
