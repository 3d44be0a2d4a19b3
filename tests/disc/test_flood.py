"""What strangers can take from a running DISC: `disc_flood.py` with smaller numbers."""

import asyncio
import statistics

import disc_flood
import pytest
from kit.process import Server

from auth_diameter.store.accounts import Accounts

pytestmark = pytest.mark.campaign


@pytest.fixture
def server(tmp_path):
    path = tmp_path / "users.sqlite"
    with Accounts.create(path) as store:
        store.add_user("alice", "siphub.net", "wonderland")
    with Server("disc", "--db", path) as started:
        yield started


def test_an_idle_connection_takes_at_most_16_kib(server):
    assert asyncio.run(disc_flood.idle(server, 400)) <= disc_flood.IDLE_MOST


def test_a_flood_of_connections_from_one_source_does_not_hold_up_another(server):
    """In the median, for the machine may hold up a single question as well."""
    assert statistics.median(asyncio.run(disc_flood.flood(server, 1.0))) <= disc_flood.GOOD_MOST


def test_peers_that_never_read_take_a_bounded_amount_of_memory(server):
    assert asyncio.run(disc_flood.never_reading(server, 1.0)) <= disc_flood.UNREAD_MOST
