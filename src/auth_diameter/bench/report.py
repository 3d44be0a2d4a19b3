"""Prints the tables of results."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDTH = 500  # characters; lines are not wrapped here, a terminal does that itself


def verdict(ratio: float, target: float, *, at_most: bool = False) -> str:
    """``met`` or ``not met``.

    Args:
        ratio: what was measured.
        target: the bound.
        at_most: whether the target is an upper bound; else it is a lower one.
    """
    met = ratio <= target if at_most else ratio >= target
    return "met" if met else "not met"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints aligned columns; a column of numbers is aligned to the right."""
    found = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    cells = [[str(cell) for cell in row] for row in rows]
    for index, name in enumerate(header):
        numbers = all(row[index][:1].isdigit() or row[index] in ("", "–") for row in cells)
        found.add_column(Text(name), justify="right" if numbers else "left", no_wrap=True)
    for row in cells:
        found.add_row(*map(Text, row))
    console = Console(width=_WIDTH, highlight=False, color_system=None)
    with console.capture() as printed:
        console.print(found)
    print("\n".join(line.rstrip() for line in printed.get().splitlines()))
