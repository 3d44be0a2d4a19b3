#!/usr/bin/env python3
"""The rows of docs/reliability.md in their long forms: what happened, the limit, and the figure measured.

    python tests/faults/campaign.py [--application disc|sip|cx] [--short] [--out FILE] [ROW ...]

With "sip" and "cx", clients and DISC speak standard Diameter, and the rows are those on connections.
Exits with 1 where a limit is broken. All traffic stays on loopback, and each row ends by itself.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import faults.rows
from faults.report import ROWS, Report

from auth_diameter.standard import APPLICATIONS


class Output:
    """What is printed, and kept in a file as well."""

    def __init__(self, path: str | None) -> None:
        self._file = Path(path).open("w", encoding="utf-8") if path else None  # noqa: SIM115 - until the end

    def __call__(self, text: str) -> None:
        """Prints lines."""
        for file in (sys.stdout, self._file):
            if file is not None:
                print(text, file=file, flush=True)


def show(report: Report) -> str:
    """The findings as an aligned table."""
    lines = [(one.what, one.figure, one.limit, one.verdict.value) for one in report.findings]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  " + "  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description="Plays faults and measures what becomes of requests.")
    parser.add_argument("--application", choices=APPLICATIONS, default="disc", help="what is spoken")
    parser.add_argument("--short", action="store_true", help="the forms that the tests run")
    parser.add_argument("--list", action="store_true", help="the names of all rows, and no more")
    parser.add_argument("--out", metavar="FILE", help="keep in this file what is printed")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="names of rows; without any: all of them")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.rows if name not in ROWS]:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")
    spoken = arguments.application
    of_spoken = [name for name, row in ROWS.items() if spoken in row.applications]
    if others := [name for name in arguments.rows if name not in of_spoken]:
        parser.error(f"not with {spoken}: {', '.join(others)}")
    names = arguments.rows or of_spoken
    if arguments.list:
        print("\n".join(names))
        return 0
    logging.disable()  # the clients here would tell each change of a DISC
    out = Output(arguments.out)
    broken: list[str] = []
    forms = f"{'short' if arguments.short else 'long'} forms with {spoken}"
    out(f"{time.strftime('%Y-%m-%d')}, {forms}; {_machine()}")
    for number, name in enumerate(names, 1):
        row = ROWS[name]
        out(f"\n[{number}/{len(names)}] {name}: {row.fault}\n  must: {row.must}")
        start = time.monotonic()
        try:
            report = row.run(spoken, long=not arguments.short)
        except Exception as error:  # noqa: BLE001 - the other rows are played all the same
            broken.append(f"{name}: {error!r}")
            out(f"  BROKEN: {error!r}")
            continue
        out(show(report))
        out(f"  took {time.monotonic() - start:.0f} s")
        broken += [f"{name}: {finding}" for finding in report.broken]
    out(f"\n{len(names)} rows, {len(broken)} limits broken")
    for line in broken:
        out(f"  {line}")
    return 1 if broken else 0


def _machine() -> str:
    load = os.getloadavg()[0]
    system = platform.uname()
    return (
        f"{len(os.sched_getaffinity(0))} cores with load {load:.1f} from elsewhere at the start,"
        f" {system.system} {system.release.partition('-')[0]}, CPython {platform.python_version()}"
    )


if __name__ == "__main__":
    faults.rows  # noqa: B018 - imported for what it registers
    sys.exit(main())
