"""A DISC that listens, for the tests of its listener."""

import asyncio

import pytest
from disc.streams import REALM
from kit.machine import PATIENCE

from auth_diameter.disc.config import ListenerConfig
from auth_diameter.disc.listener import listen
from auth_diameter.disc.server import Disc
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.sqlite import SqliteStore

try:
    import uvloop
except ModuleNotFoundError:  # an extra, and not for every platform
    uvloop = None


@pytest.fixture
def disc():
    with Accounts.open(":memory:", writable=True) as store:
        store.add_user("alice", REALM, "wonderland")
        yield Disc(SqliteStore(store.database))


@pytest.fixture(
    params=["asyncio", pytest.param("uvloop", marks=pytest.mark.skipif(not uvloop, reason="no uvloop"))]
)
def on_loop(request):
    """Runs a coroutine on an event loop of each kind."""

    def play(work):
        factory = uvloop.new_event_loop if request.param == "uvloop" else None
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(work)

    return play


@pytest.fixture
def run(on_loop, disc):
    """Runs `scenario(listener)` on an event loop, against a DISC that listens on a free port."""

    def play(scenario, host="127.0.0.1", **limits):
        async def whole():
            listener = await listen(disc, host, 0, ListenerConfig(**limits))
            try:
                return await scenario(listener)
            finally:
                await asyncio.wait_for(listener.aclose(), PATIENCE)

        return on_loop(whole())

    return play
