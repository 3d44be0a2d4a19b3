"""pytest bench --benchmark-only: rows of the table in README.md; the group's name says which."""

import pytest

from auth_diameter.bench.pairs import Pair, sip

PAIRS = sip()
# So many calls in a round that the clock's own time does not count.
pytestmark = pytest.mark.benchmark(min_time=0.001, max_time=0.5)


@pytest.mark.parametrize("side", ["ours", "peer"])
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.what)
def test_sip(benchmark, pair: Pair, side: str):
    benchmark.group = f"{pair.row} {pair.what}".strip()
    benchmark.extra_info.update(row=pair.row, peer=pair.peer_name, target=pair.target)
    benchmark(pair.ours if side == "ours" else pair.peer)
