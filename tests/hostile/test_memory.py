"""Bad messages cost no memory. `memory.py`, run as a script, shows it over a million of them."""

from __future__ import annotations

import pytest
from hostile.memory import (
    HANGING,
    flood_client,
    flood_disc,
    flood_serve,
    own_bytes,
    peak_while_disc_hangs,
    watch,
)
from hostile.processes import fill, stop
from kit.process import Server

pytestmark = pytest.mark.campaign

WARMUP, COUNT = 3000, 6000
LARGE = 10_000  # requests while DISC hangs
MOST = 64  # MiB for them, of 600 that came
LEAST = 0.5  # MiB that would be 87 bytes lost for each message


@pytest.fixture
def database(tmp_path):
    return fill(tmp_path / "users.sqlite")


def growth(resident, flood):
    readings = watch(resident, flood, WARMUP, COUNT)
    return readings[-1] - readings[0]


def test_the_client():
    assert growth(own_bytes, flood_client()) < LEAST


def test_disc(database):
    with Server("disc", "--db", database) as disc:
        assert growth(disc.resident_bytes, flood_disc(disc.address)) < LEAST
        stop(disc)


def test_serve(database):
    with (
        Server("disc", "--db", database) as disc,
        Server("serve", "--no-penalty", "--disc", disc.where) as serve,
    ):
        assert growth(serve.resident_bytes, flood_serve(serve.address)) < LEAST
        stop(serve)
        stop(disc)


@pytest.mark.parametrize(
    ("where", "reads", "filled"),
    [pytest.param(*case, id=f"{case[0]}-{'reads' if case[1] else 'does not read'}") for case in HANGING],
)
def test_serve_while_disc_hangs(where, reads, filled):
    """Large requests wait for nothing: they are bounded by their bytes, and a small one is answered."""
    assert peak_while_disc_hangs(where, LARGE, reads=reads, filled=filled) <= MOST
