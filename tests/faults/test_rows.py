"""The rows of the table of faults, in their short forms; `campaign.py` runs the long ones.

One is played at a time, in a process of its own: what one row does to a small machine is no fault of another.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import faults.rows  # noqa: F401 - registers them
import pytest
from faults.report import ROWS, run_short
from faults.rows.process import FAKETIME
from faults.rows.store import has_namespaces

pytestmark = pytest.mark.campaign


#: With standard Diameter: the rows that say most, in fifty seconds. `campaign.py` plays all others.
STANDARD = [
    ("sip", "disc-killed-two"),
    ("sip", "disc-hangs"),
    ("sip", "answers-torn"),
    ("cx", "disc-killed-only"),
    ("cx", "answers-unusable"),
]


@pytest.mark.parametrize(
    ("application", "name"),
    [
        *(pytest.param("disc", name, id=name) for name in ROWS),
        *(pytest.param(*each, id="-".join(each)) for each in STANDARD),
    ],
)
def test_row(application: str, name: str) -> None:
    if name == "clock-jumps" and FAKETIME is None:
        pytest.skip("no libfaketime")
    if name in ("disk-full", "disk-read-only") and not has_namespaces():
        pytest.skip("no mount namespaces for us on this machine")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        findings, broken = executor.submit(run_short, name, application).result()
    assert findings
    assert not broken, "\n".join(map(str, findings))
