"""The rows of the table of faults, and what was measured of each."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from faults.load import RATE
from faults.world import World

from auth_diameter.standard import APPLICATIONS

Value = float | Mapping[str, float]


class Verdict(enum.Enum):
    """Whether a limit was kept."""

    NONE = ""  # there is none
    KEPT = "ok"
    LATE = "ok, late machine"  # but for what the machine itself was late
    BROKEN = "BROKEN"


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure, and its limit as text."""

    what: str
    figure: str
    limit: str
    verdict: Verdict

    def __str__(self) -> str:
        return f"{self.what}: {self.figure}" + (f", must be {self.limit}" if self.limit else "")


class Report:
    """What came out of a row.

    A machine that has other things to do wakes up a program late, and there are three on the way of a
    request. So times may be longer by three times the `lateness` of the machine, and where nothing may be
    refused, as many may be as come in that time; the verdict says so.

    Args:
        lateness: gives the seconds by which the machine was late to wake up a thread, at worst.
    """

    def __init__(self, lateness: Callable[[], float]) -> None:
        self.findings: list[Finding] = []
        self._lateness = lateness

    def _add(self, what: str, figure: str, limit: str, *, kept: bool, late: bool = False) -> None:
        verdict = Verdict.KEPT if kept else Verdict.LATE if late else Verdict.BROKEN
        self.findings.append(Finding(what, figure, limit, verdict))

    def at_most(self, what: str, value: Value, limit: float, unit: str = "ms") -> None:
        """A figure with an upper limit, or one for each kind of client."""
        most = max(_values(value), default=0.0)
        late = unit == "ms" and most <= limit + 3 * self._lateness()
        self._add(what, _show(value, unit), f"≤ {_show(limit, unit)}", kept=most <= limit, late=late)

    def at_least(self, what: str, value: Value, limit: float, unit: str = "") -> None:
        """One with a lower limit."""
        kept = min(_values(value), default=limit) >= limit
        self._add(what, _show(value, unit), f"≥ {_show(limit, unit)}", kept=kept)

    def exactly(self, what: str, value: object, wanted: object) -> None:
        """One that must be this, and nothing else."""
        self._add(what, str(value), str(wanted), kept=value == wanted)

    def none(self, what: str, count: int, text: str = "") -> None:
        """A count of requests that must be 0.

        Args:
            text: what to show instead of it.
        """
        late = count <= 3 * self._lateness() * RATE
        self._add(what, text or str(count), "none" if text else "0", kept=count == 0, late=late)

    def note(self, what: str, value: Value, unit: str = "") -> None:
        """One without a limit."""
        self.findings.append(Finding(what, _show(value, unit), "", Verdict.NONE))

    @property
    def broken(self) -> list[str]:
        """The findings whose limit was not kept, as text."""
        return [str(finding) for finding in self.findings if finding.verdict is Verdict.BROKEN]


def _values(value: Value) -> list[float]:
    return list(value.values()) if isinstance(value, Mapping) else [value]


def _show(value: Value, unit: str) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_show(one, unit)}" for name, one in value.items())
    if unit == "ms":
        return f"{value * 1000:,.0f} ms" if value >= 0.01 else f"{value * 1000:.1f} ms"
    if unit == "s":
        return f"{value:.1f} s"
    if unit == "%":
        return f"{value * 100:.4g} %"
    return f"{value:,.4g} {unit}".rstrip() if isinstance(value, float) else f"{value:,} {unit}".rstrip()


Run = Callable[..., None]


@dataclass(frozen=True)
class Row:
    """A row of the table: a fault, what must happen, and the code that shows it.

    Attributes:
        applications: what may be spoken between clients and DISC.
        long: the arguments of the campaign; those of the tests are the defaults.
    """

    name: str
    fault: str
    must: str
    run_it: Run
    applications: Sequence[str]
    long: Mapping[str, Any]

    def run(self, application: str = "disc", *, long: bool = False) -> Report:
        """Plays the fault in a world of its own."""
        with World(application) as world:
            report = Report(world.lateness)
            self.run_it(world, report, **(self.long if long else {}))
            report.note("the machine was late by", world.lateness(), "ms")
        return report


ROWS: dict[str, Row] = {}


def row(name: str, fault: str, must: str, *, standard: bool = False, **long: Any) -> Callable[[Run], Run]:
    """Makes a function ``(world, report, **arguments)`` a row of the table.

    Args:
        standard: whether it concerns connections to DISC: then it is played with standard Diameter as well.
    """

    def register(run: Run) -> Run:
        applications = APPLICATIONS if standard else APPLICATIONS[:1]
        ROWS[name] = Row(name, fault, must, run, applications, MappingProxyType(long))
        return run

    return register


def run_short(name: str, application: str) -> tuple[list[Finding], list[str]]:
    """Plays a row in its short form, in this process: its findings, and those that are broken, as text."""
    import faults.rows  # noqa: F401 - registers them; they import this module

    report = ROWS[name].run(application)
    return report.findings, report.broken
