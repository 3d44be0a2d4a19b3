#!/usr/bin/env python3
"""The rows of docs/reliability.md in their long forms: what happened, the limit, and the figure measured.

    python tests/faults/campaign.py [--short] [ROW ...]

Exits with 1 where a limit is broken. All traffic stays on loopback, and each row ends by itself.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import faults.rows
from faults.report import ROWS, Report

_MARKS = {True: "ok", False: "BROKEN", None: ""}


def show(report: Report) -> None:
    """The findings as an aligned table."""
    lines = [(one.what, one.figure, one.limit, _MARKS[one.kept]) for one in report.findings]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print(" ", "  ".join(map(str.ljust, line, widths)).rstrip(), flush=True)


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description="Plays faults and measures what becomes of requests.")
    parser.add_argument("--short", action="store_true", help="the forms that the tests run")
    parser.add_argument("--list", action="store_true", help="the names of all rows, and no more")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="names of rows; without any: all of them")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.rows if name not in ROWS]:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")
    names = arguments.rows or list(ROWS)
    if arguments.list:
        print("\n".join(names))
        return 0
    broken: list[str] = []
    for number, name in enumerate(names, 1):
        row = ROWS[name]
        print(f"\n[{number}/{len(names)}] {name}: {row.fault}\n  must: {row.must}", flush=True)
        start = time.monotonic()
        report = row.run(long=not arguments.short)
        show(report)
        print(f"  took {time.monotonic() - start:.0f} s")
        broken += [f"{name}: {finding}" for finding in report.broken]
    print(f"\n{len(names)} rows, {len(broken)} limits broken")
    for line in broken:
        print(f"  {line}")
    return 1 if broken else 0


if __name__ == "__main__":
    faults.rows  # noqa: B018 - imported for what it registers
    sys.exit(main())
