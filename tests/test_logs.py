"""Log lines that a stranger can cause at will."""

import logging

import pytest

from auth_diameter.logs import Sparing


@pytest.fixture
def sparing():
    return Sparing(logging.getLogger("auth_diameter.test"))


def test_one_line_a_second_of_each_kind_and_the_next_counts_the_others(sparing, caplog):
    for tick in range(25):
        sparing.warning("refused", tick / 10, "refused %s", tick)
    assert [record.getMessage() for record in caplog.records] == [
        "refused 0",
        "refused 10 (and 9 more before)",
        "refused 20 (and 9 more before)",
    ]


def test_a_kind_does_not_silence_another(sparing, caplog):
    sparing.warning("refused", 0.0, "refused")
    sparing.warning("slow", 0.1, "slow")
    sparing.warning("refused", 0.2, "refused")
    assert [record.getMessage() for record in caplog.records] == ["refused", "slow"]


def test_a_quiet_kind_starts_afresh(sparing, caplog):
    for now in (0.0, 60.0):
        sparing.warning("slow", now, "slow")
    assert [record.getMessage() for record in caplog.records] == ["slow", "slow"]
