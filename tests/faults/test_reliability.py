"""docs/reliability.md is true: every row is in its table, and every command in it is there."""

from __future__ import annotations

import re

import faults.rows  # noqa: F401 - registers them
import pytest
from faults.report import ROWS
from kit.places import ROOT

TEXT = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")


def test_every_row_of_the_campaign_is_in_the_table_and_none_else():
    named = re.findall(r"^\|.*\| `campaign ([a-z0-9-]+)` \|$", TEXT, re.MULTILINE)
    assert sorted(named) == sorted(ROWS)


def test_every_row_with_standard_diameter_is_in_the_table_for_that():
    named = re.findall(r"^\| [^|]+ \| [^|]+ \| [^|]+ \| `standard ([a-z0-9-]+)` \|$", TEXT, re.MULTILINE)
    assert sorted(named) == sorted(name for name, row in ROWS.items() if "sip" in row.applications)


def test_every_limit_of_a_row_is_what_the_row_says():
    for row in ROWS.values():
        assert f"| {row.fault} | {row.must} |" in TEXT, row.name


def test_files_that_it_names_are_there():
    for name in re.findall(r"(?:python |pytest |\]\(\.\./)((?:tests|fuzz|bench)/[\w/.]+)", TEXT):
        assert (ROOT / name).exists(), name


def kept(name: str) -> dict[str, str]:
    """What a campaign printed, by row."""
    text = (ROOT / "tests" / "faults" / "results" / name).read_text("utf-8")
    rows = re.split(r"^\[\d+/\d+\] ", text, flags=re.MULTILINE)[1:]
    return {row.partition(":")[0]: row for row in rows}


def test_every_row_has_a_run_that_is_kept_and_breaks_no_limit():
    rows = kept("campaign.txt")
    assert rows.keys() == ROWS.keys()
    assert not any("BROKEN" in text for text in rows.values())


@pytest.mark.parametrize(("application", "column"), [("sip", 1), ("cx", 2)])
def test_so_has_every_row_with_standard_diameter_and_a_limit_that_is_broken_is_told(application, column):
    rows = kept(f"{application}.txt")
    assert rows.keys() == {name for name, row in ROWS.items() if application in row.applications}
    for name, text in rows.items():
        [line] = re.findall(rf"^.*`standard {name}` \|$", TEXT, re.MULTILINE)
        assert ("limit not kept" in line.split(" | ")[column]) == ("BROKEN" in text), name
