"""How the rates change with threads, connections, subscribers and message size; one plot of four.

There is no target for these. They show where a curve bends: the threads of `AuthDiameter`, with a DISC that
answers after 200 µs; the connections of SIP servers at our `disc`; its subscribers, all drawn at random; and
the bytes of a request through `serve`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

import common
import disc_load
import threads

import auth_diameter as ad

Point = tuple[int, float]
DELAY = 200  # µs


def of_threads(folder: Path, turns: int) -> list[Point]:
    data = common.request()
    points = []
    with common.Stub(folder, "-d", DELAY) as stub:
        config = ad.Config(diameter_client_host=common.LOOPBACK, diameter_client_port=stub.port)
        for n in (1, 2, 4, 8, 16, 32):
            with ad.AuthDiameter(config) as auth:

                def decide(auth: ad.AuthDiameter = auth) -> ad.Decision:
                    return auth.diameter_www_authorize(data, "$fd")

                threads.measure(decide, n, 50 * n)
                before = stub.asked()
                runs = [threads.measure(decide, n, 400 * n) for _ in range(turns)]
                common.check_asked(stub.asked() - before, turns * 400 * n)
            points.append((n, common.median(runs, "per_s")))
    return points


def of_connections(folder: Path, where: Path, turns: int) -> list[Point]:
    points = []
    with disc_load.disc(disc_load.database(where, disc_load.HOT)) as program:
        disc_load.measure(folder, program, 50_000, disc_load.HOT)
        for n in (1, 4, 16, 64, 256):
            window = max(64, n)
            runs = [
                disc_load.measure(folder, program, 40_000, disc_load.HOT, window=window, n=n)
                for _ in range(turns)
            ]
            points.append((n, common.median(runs, "per_s")))
    return points


def of_subscribers(folder: Path, where: Path, turns: int, most: int) -> list[Point]:
    points = []
    for users in (1_000, 10_000, 100_000, 1_000_000):
        if users > most:
            break
        with disc_load.disc(disc_load.database(where, users)) as program:
            disc_load.measure(folder, program, 30_000, users)
            runs = [disc_load.measure(folder, program, 40_000, users) for _ in range(turns)]
        points.append((users, common.median(runs, "per_s")))
    return points


def of_size(folder: Path, turns: int) -> list[Point]:
    points = []
    whole = common.REQUEST.read_bytes()
    with common.Stub(folder) as stub, common.serve(stub.port) as host:
        common.sipload(folder, host.port, stub, 5_000, 64)
        for extra in (0, 1_000, 2_000, 4_000, 8_000):
            # As proxies on the way do it: a Record-Route of some 60 bytes each.
            line = b"Record-Route: <sip:edge-%03d.siphub.net;transport=udp;lr>\r\n"
            added = b"".join(line % i for i in range(extra // len(line % 0)))
            template = folder / f"request-{extra}.sip"
            template.write_bytes(whole.replace(b"Max-Forwards:", added + b"Max-Forwards:"))
            size = len(common.request(template=template))
            runs = [common.sipload(folder, host.port, stub, 20_000, 64, template) for _ in range(turns)]
            points.append((size, statistics.median(run["per_s"] for run in runs)))
    return points


def plot(curves: dict[str, tuple[str, list[Point]]], path: Path) -> None:
    """Four panels, each from zero; written as SVG or PNG, as the file's name says."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    matplotlib.rcParams["svg.hashsalt"] = "auth-diameter"  # the same file for the same figures
    matplotlib.rcParams["svg.fonttype"] = "none"  # text as text
    figure, panels = plt.subplots(2, 2, figsize=(10, 7), constrained_layout=True)
    for panel, (title, (unit, points)) in zip(panels.flat, curves.items(), strict=True):
        panel.plot([x for x, _ in points], [y / 1000 for _, y in points], "o-", color="#1f5a99")
        panel.set(title=title, xlabel=unit, ylabel="1,000 requests a second", ylim=(0, None))
        if points[-1][0] > 16 * points[0][0]:
            panel.set_xscale("log", base=10 if points[-1][0] > 1000 else 2)
        panel.set_xticks([x for x, _ in points], [f"{x:,}" for x, _ in points])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--turns", type=int, default=3, help="of each point")
    parser.add_argument("--subscribers", type=int, default=1_000_000, help="of the largest database")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where to make, and find, the databases")
    parser.add_argument("--plot", type=Path, default=Path("scaling.svg"), metavar="FILE.svg|png")
    options = parser.parse_args()
    turns = options.turns
    curves: dict[str, tuple[str, list[Point]]] = {}
    with (
        common.tools("sipload", "discstub", "discload") as folder,
        disc_load.databases(options.keep) as where,
    ):
        measures: list[tuple[str, str, Callable[[], list[Point]]]] = [
            (f"AuthDiameter, DISC answers after {DELAY} µs", "threads", lambda: of_threads(folder, turns)),
            ("disc, 10,000 subscribers", "connections", lambda: of_connections(folder, where, turns)),
            ("disc, users drawn at random", "subscribers",
             lambda: of_subscribers(folder, where, turns, options.subscribers)),
            ("serve, 64 in flight", "bytes of a request", lambda: of_size(folder, turns)),
        ]  # fmt: skip
        for title, unit, measure in measures:
            curves[title] = (unit, measure())
            print(title)
            common.table((unit, "requests/s"), [(f"{x:,}", f"{y:.0f}") for x, y in curves[title][1]])
            print(flush=True)
    plot(curves, options.plot)
    print(f"plotted to {options.plot}")
    common.finish(options, {"curves": curves})


if __name__ == "__main__":
    main()
