"""Each row of the table of faults, in its short form; `campaign.py` runs the long ones.

They mostly wait, so two are played at a time, each in a process of its own.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor

import faults.rows  # noqa: F401 - registers them
import pytest
from faults.report import ROWS, Finding, run_short
from faults.rows.process import FAKETIME
from faults.rows.store import has_namespaces

pytestmark = pytest.mark.faults

AT_A_TIME = 2


@pytest.fixture(scope="module")
def reports(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[tuple[list[Finding], list[str]]]]]:
    """The report of each row that was chosen, as soon as there is one."""
    chosen = [item for item in request.session.items if item.path == request.path]
    names = [item.callspec.params["name"] for item in chosen]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(AT_A_TIME, context, max_tasks_per_child=1) as executor:
        yield {name: executor.submit(run_short, name) for name in names}
        executor.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", ROWS)
def test_row(name: str, reports: dict[str, Future[tuple[list[Finding], list[str]]]]) -> None:
    if name == "clock-jumps" and FAKETIME is None:
        pytest.skip("no libfaketime")
    if name in ("disk-full", "disk-read-only") and not has_namespaces():
        pytest.skip("no mount namespaces for us on this machine")
    findings, broken = reports[name].result()
    assert findings
    assert not broken, "\n".join(map(str, findings))
