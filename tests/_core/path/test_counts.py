"""The decisions of a client, counted by cause."""

from __future__ import annotations

import pytest

from auth_diameter._core import Decisions
from auth_diameter.decision import Cause


def test_each_cause_has_a_count_from_the_start() -> None:
    """A metric whose label appears only later has no rate at first."""
    assert Decisions().as_dict() == dict.fromkeys(Cause, 0)


def test_each_is_counted_on_its_own() -> None:
    decisions = Decisions()
    for number, cause in enumerate(Cause):
        for _ in range(number):
            decisions.add(cause)
    assert list(decisions.as_dict().values()) == list(range(len(Cause)))


def test_what_is_no_cause_is_refused() -> None:
    decisions = Decisions()
    for other in ("FORBIDDEN", 0, None):
        with pytest.raises(KeyError):
            decisions.add(other)  # type: ignore[arg-type]
    assert set(decisions.as_dict().values()) == {0}


def test_the_numbers_are_those_of_now() -> None:
    decisions = Decisions()
    before = decisions.as_dict()
    decisions.add(Cause.FORBIDDEN)
    assert (before[Cause.FORBIDDEN], decisions.as_dict()[Cause.FORBIDDEN]) == (0, 1)
