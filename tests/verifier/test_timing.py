"""The time of DISC's answer does not tell whether a user exists: `disc_timing.py` with fewer samples."""

import statistics

import disc_timing
import pytest

pytestmark = pytest.mark.campaign

USERS, SAMPLES, RUNS = 20_000, 1500, 5


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return disc_timing.make_database(tmp_path_factory.mktemp("timing") / "users.sqlite", USERS)


@pytest.mark.parametrize("case", disc_timing.CASES, ids=lambda case: case.name)
def test_an_unknown_user_takes_as_long_as_a_wrong_password(path, case):
    """The median of several runs counts, for other programs on the machine can spoil one."""

    def typical(make):
        return statistics.median(
            abs(disc_timing.t_of(path, case, make, USERS, SAMPLES, seed)) for seed in range(RUNS)
        )

    assert typical(disc_timing.MEASURED) < disc_timing.LEAK
    assert typical(case.leaking) > disc_timing.LEAK  # else the test is blind
