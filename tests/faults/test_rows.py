"""Each row of the table of faults, in its short form; `campaign.py` runs the long ones."""

from __future__ import annotations

import faults.rows  # noqa: F401 - registers them
import pytest
from faults.report import ROWS, Row
from faults.rows.process import FAKETIME
from faults.rows.store import has_namespaces

# Rows with a limit that is not kept yet, and what is missing.
_AWAITED = {
    "fork": "nothing is done at a fork",
    "black-hole-only": "the first of many connects that fails ends the wait of all",
    "disc-hangs": "a breaker",
    "disc-killed-two": "the second attempt goes to the other DISC, not to the one that is dying",
}


@pytest.mark.faults
@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_row(row: Row) -> None:
    if row.name == "clock-jumps" and FAKETIME is None:
        pytest.skip("no libfaketime")
    if row.name == "disk-full" and not has_namespaces():
        pytest.skip("no mount namespaces for us on this machine")
    report = row.run()
    assert report.findings
    if report.broken and row.name in _AWAITED:
        pytest.xfail(_AWAITED[row.name])
    assert not report.broken, "\n".join(map(str, report.findings))
