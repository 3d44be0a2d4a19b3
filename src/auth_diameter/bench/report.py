"""Tables of results."""

from __future__ import annotations

from collections.abc import Sequence


def verdict(ratio: float, target: float, *, at_most: bool = False) -> str:
    """``met`` or by how much not."""
    met = ratio <= target if at_most else ratio >= target
    return "met" if met else "not met"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints aligned columns; a column of nothing but numbers goes to the right."""
    lines = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    right = [
        all(line[i][:1].isdigit() or line[i] in ("", "–") for line in lines[1:]) for i in range(len(header))
    ]
    for n, line in enumerate(lines):
        cells = (
            cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(line, widths, right, strict=True)
        )
        print("  ".join(cells).rstrip())
        if n == 0:
            print("  ".join("-" * width for width in widths))
