"""Bad messages cost no memory. `memory.py`, run as a script, shows it over a million of them."""

from __future__ import annotations

import pytest
from hostile.memory import flood_client, flood_disc, flood_serve, own_bytes, watch
from hostile.processes import Watched, fill

WARMUP, COUNT = 3000, 6000
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
    with Watched("disc", "--listen", "127.0.0.1:0", "--db", database) as disc:
        assert growth(disc.resident_bytes, flood_disc(disc.address)) < LEAST
        disc.stop()


def test_serve(database):
    with (
        Watched("disc", "--listen", "127.0.0.1:0", "--db", database) as disc,
        Watched("serve", "--no-penalty", "--listen", "127.0.0.1:0", "--disc", disc.where) as serve,
    ):
        assert growth(serve.resident_bytes, flood_serve(serve.address)) < LEAST
        serve.stop()
        disc.stop()
