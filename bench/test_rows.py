"""pytest bench --benchmark-only: rows of the table in README.md; the group's name says which."""

import pytest

from auth_diameter.bench.pairs import Pair, pairs

# So many calls in a round that the clock's own time does not count.
pytestmark = pytest.mark.benchmark(min_time=0.001, max_time=0.5)


@pytest.mark.parametrize("side", ["ours", "peer"])
@pytest.mark.parametrize("pair", pairs(), ids=lambda pair: pair.what)
def test_row(benchmark, pair: Pair, side: str):
    benchmark.group = f"{pair.row} {pair.what}".strip()
    benchmark.extra_info.update(row=pair.row, peer=pair.peer_name, target=pair.target)
    work = pair.ours if side == "ours" else pair.peer
    if work is None:
        pytest.skip(f"{pair.peer_name} is not installed")
    benchmark(work)
