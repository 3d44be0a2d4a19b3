"""The rows of the table of faults, and what was measured of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from faults.load import RATE
from faults.world import World

Value = float | Mapping[str, float]


def _silence() -> float:
    return 0.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure, its limit as text, and whether it is kept; None: there is none."""

    what: str
    figure: str
    limit: str
    kept: bool | None

    def __str__(self) -> str:
        return f"{self.what}: {self.figure}" + (f", must be {self.limit}" if self.limit else "")


@dataclass
class Report:
    """What came out of a row.

    :ivar noise: gives the seconds by which this machine was late to wake up a thread; see `at_most`.
    """

    findings: list[Finding] = field(default_factory=list)
    noise: Callable[[], float] = field(default=_silence, repr=False)

    def _add(self, what: str, figure: str, limit: str, kept: bool | None) -> None:
        self.findings.append(Finding(what, figure, limit, kept))

    def at_most(self, what: str, value: Value, limit: float, unit: str = "ms") -> None:
        """A figure with an upper limit, or one for each kind of client.

        A time may be longer by what the machine itself was late, at each of the three programs on its way.
        """
        late = 3 * self.noise() if unit == "ms" else 0.0
        kept = max(_values(value), default=0.0) <= limit + late
        self._add(what, _show(value, unit), f"≤ {_show(limit, unit)}", kept)

    def at_least(self, what: str, value: Value, limit: float, unit: str = "") -> None:
        """One with a lower limit."""
        kept = min(_values(value), default=limit) >= limit
        self._add(what, _show(value, unit), f"≥ {_show(limit, unit)}", kept)

    def exactly(self, what: str, value: object, wanted: object) -> None:
        """One that must be this, and nothing else."""
        self._add(what, str(value), str(wanted), value == wanted)

    def none(self, what: str, count: int, text: str = "") -> None:
        """A count of requests that must be 0, but for those that came while the machine itself was late.

        :param text: what to show instead of the count.
        """
        late = 3 * self.noise() * RATE
        self._add(what, text or str(count), "0" if not text else "none", count <= late)

    def note(self, what: str, value: Value, unit: str = "") -> None:
        """One without a limit."""
        self._add(what, _show(value, unit), "", None)

    @property
    def broken(self) -> list[str]:
        """The findings whose limit was not kept, as text."""
        return [str(finding) for finding in self.findings if finding.kept is False]


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

    :ivar long: the arguments of the campaign; those of the tests are the defaults.
    """

    name: str
    fault: str
    must: str
    run_it: Run
    long: Mapping[str, Any]

    def run(self, *, long: bool = False, noise: bool = False) -> Report:
        """Plays the fault in a world of its own.

        :param noise: whether the machine's own lateness is allowed for.
        """
        with World() as world:
            report = Report(noise=world.lateness if noise else _silence)
            self.run_it(world, report, **(self.long if long else {}))
            report.note("this machine was late by", world.lateness(), "ms")
        report.noise = _silence
        return report


ROWS: dict[str, Row] = {}


def row(name: str, fault: str, must: str, **long: Any) -> Callable[[Run], Run]:
    """Makes a function ``(world, report, **arguments)`` a row of the table."""

    def register(run: Run) -> Run:
        ROWS[name] = Row(name, fault, must, run, MappingProxyType(long))
        return run

    return register


def run_short(name: str) -> Report:
    """Plays a row in its short form, in this process, on a machine that has other things to do as well."""
    import faults.rows  # noqa: F401 - registers them; they import this module

    return ROWS[name].run(noise=True)
