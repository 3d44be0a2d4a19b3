"""What all rows judge: nothing is lost, and who took how long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from faults.load import Load, Record, wait_until
from faults.report import Report

_SOON = 1.0  # seconds after a fault in which requests are those around it


def whole(report: Report, loads: Iterable[Load], *, swaps: bool = True) -> dict[str, Record]:
    """Ends the loads: no request is lost, answered twice or with another's verdict. The records, by name.

    Args:
        swaps: whether that is so; without, DISC's answers were changed, and only nobody may be let in.
    """
    records = {load.name: load.stop() for load in loads}
    report.note("requests", sum(map(len, records.values())))
    report.exactly("lost", sum(record.lost for record in records.values()), 0)
    report.exactly("answered twice", sum(record.twice for record in records.values()), 0)
    if swaps:
        report.exactly("with another's verdict", sum(record.swapped for record in records.values()), 0)
    report.exactly("let in without right", sum(record.let_in for record in records.values()), 0)
    return records


def all_good(report: Report, records: dict[str, Record]) -> None:
    """Every request has the answer that DISC's verdict leads to."""
    strays = [
        f"{name} {count} × {what}"
        for name, record in records.items()
        for what, count in record.strays.items()
    ]
    count = sum(len(record.bad) for record in records.values())
    report.none("not answered as DISC says", count, ", ".join(strays) or "none")


def each(records: dict[str, Record], measure: Callable[[Record], float]) -> dict[str, float]:
    """A figure for each kind of client."""
    return {name: measure(record) for name, record in records.items()}


def settle(loads: Iterable[Load], seconds: float = 2.5) -> None:
    """Until all is good again, and has been for a while; for so long at most."""
    wait_until(lambda: all(_steady(load.record) for load in loads), seconds)


def _steady(record: Record) -> bool:
    # The last tenth of a second may yet be under way.
    latest = record.between(time.monotonic() - 0.5, time.monotonic() - 0.1)
    return len(latest) > 0 and not latest.bad


def recovered_after(start: float, end: float = float("inf")) -> Callable[[Record], float]:
    """Seconds from the start to the last request that did not get the answer of DISC's verdict.

    Args:
        end: when the next fault began.
    """

    def measure(record: Record) -> float:
        bad = record.between(start, end).bad
        return bad[-1].due - start if bad else 0.0

    return measure


def slowest_around(times: list[float]) -> Callable[[Record], float]:
    """The longest time of a request that was due within a second of one of these."""
    return lambda record: max(record.between(at - 0.1, at + _SOON).slowest() for at in times)
