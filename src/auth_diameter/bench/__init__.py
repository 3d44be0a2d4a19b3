"""``auth-diameter bench``: measures this machine, and compares with what a Python user has today.

The scripts in the source's bench/ measure more, on the same work.
"""

from __future__ import annotations

from collections.abc import Callable

from auth_diameter.bench import loopback, pairs
from auth_diameter.bench.standard import standard

HEADER = ("row", "what", "here", "others", "ratio", "target")
_GET_PEERS = "pip install 'auth-diameter[bench]'"
_TURN = 0.005  # seconds of one timing of a side
_WINDOWS = (64, 1)

Row = tuple[str, str, str, str, str, str]


def run(seconds: float, progress: Callable[[str, float], object]) -> list[Row]:
    """Runs all measurements; returns the rows of the table below `HEADER`.

    Args:
        seconds: how long to measure in all, not counting the start of processes.
        progress: function of the name of the next step, and of the share that is done, from 0 to 1.

    Raises:
        Error: a side gives a wrong result, or a process does not start or answer.
    """
    rows: list[Row] = []
    work = [pair for pair in (*pairs.pairs(), *standard()) if pair.target is not None]
    share = seconds / 2 / len(work)
    turns = max(3, int(share / 2 / _TURN))
    for done, pair in enumerate(work):
        progress(pair.what, done / len(work) / 2)
        got = pairs.measure(pair, turns, min(_TURN, share / 2 / turns))
        compared = (_GET_PEERS, "–") if got["ratio"] is None else (
            f"{_time(got['peer_us'])} {pair.peer_name}", f"{got['ratio']:.1f} ×"
        )  # fmt: skip
        rows.append((pair.row, pair.what, _time(got["ours_us"]), *compared, f"≥ {pair.target:g} ×"))
    progress("disc and serve", 0.5)
    with loopback.running() as service:
        service.measure(_WINDOWS[0], seconds / 20)  # a warm-up
        for done, window in enumerate(_WINDOWS, 1):
            progress(f"{window} requests in flight", 0.5 + done / 6)
            rows += _rows(service.measure(window, seconds / 5))
    progress("", 1.0)
    return rows


def _rows(got: loopback.Measured) -> list[Row]:
    def row(what: str, here: str) -> Row:
        return ("–", what, here, "–", "–", "–")

    each = 1e6 / got.replies
    in_flight = f"{got.window} request{'s' if got.window > 1 else ''} in flight"
    rows = [
        row(f"loopback, {in_flight}: latency, median", _time(got.latency(0.5) * 1e6)),
        row("  99 of 100 are below", _time(got.latency(0.99) * 1e6)),
    ]
    if got.window == 1:
        return rows
    return [
        row(f"loopback, {in_flight}: requests a second", f"{got.replies / got.took:,.0f}"),
        row("  CPU a request: serve", _time(got.host_cpu * each)),
        row("  CPU a request: disc", _time(got.disc_cpu * each)),
        row("  CPU a request: the load", _time(got.load_cpu * each)),
        row("  what set the limit", got.limit()),
        row("  latency, median", rows[0][2]),
        rows[1],
    ]


def _time(microseconds: float) -> str:
    value, unit = (microseconds, "µs") if microseconds < 1000 else (microseconds / 1000, "ms")
    return f"{value:#.3g}".rstrip(".") + f" {unit}"  # three digits
