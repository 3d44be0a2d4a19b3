"""A host, its DISC and a telephone on loopback."""

import asyncio
import contextlib

import pytest
from kit.machine import PATIENCE
from kit.sip import DOMAIN, PASSWORD
from kit.uac import AsyncUac

import auth_diameter as ad
from auth_diameter.disc.listener import listen
from auth_diameter.disc.server import Disc
from auth_diameter.host.server import serve
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.sqlite import SqliteStore

try:
    import uvloop
except ModuleNotFoundError:  # an extra, and not for every platform
    uvloop = None


_NEEDS_UVLOOP = pytest.mark.skipif(not uvloop, reason="no uvloop")


@pytest.fixture(
    params=[
        "asyncio",
        pytest.param("uvloop", marks=_NEEDS_UVLOOP),
        pytest.param("local", marks=_NEEDS_UVLOOP),
    ]
)
def run(request, tmp_path):
    """Run `scenario(host, phone)` on an event loop, with a host and a telephone on loopback.

    The host asks a DISC; or, on uvloop, it has the users itself: the same tests play both.
    """
    local = request.param == "local"

    def play(scenario, route=None, address="127.0.0.1", disc_down=False, **settings):
        if local and disc_down:
            pytest.skip("there is no DISC")

        async def whole():
            async with contextlib.AsyncExitStack() as stack:
                db = str(tmp_path / "host.sqlite") if local else ":memory:"
                store = stack.enter_context(Accounts.create(db))
                store.add_user("alice", DOMAIN, PASSWORD)
                store.add_group("alice", DOMAIN, "voicemail")
                back_end = {"db": db}
                if not local:
                    listener = await listen(Disc(SqliteStore(store.database)), "127.0.0.1", 0)
                    stack.push_async_callback(listener.aclose)
                    if disc_down:
                        await listener.aclose()
                    back_end = {"peers": [listener.address]}
                config = ad.Config(**back_end, **{"timeout": PATIENCE, **settings})
                auth = await stack.enter_async_context(ad.AsyncAuthDiameter(config))
                host = await serve(auth, address, 0, route)
                stack.push_async_callback(host.aclose)
                phone = stack.enter_context(await AsyncUac.open(host.address, address))
                return await scenario(host, phone)

        factory = None if request.param == "asyncio" else uvloop.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(asyncio.wait_for(whole(), 2 * PATIENCE))

    play.local = local
    return play


@pytest.fixture
def script(tmp_path):
    """A route script of that text."""

    def write(text, name="route.py"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


class Counted(Disc):
    """A DISC that counts what it is asked, and answers when it may."""

    def __init__(self, store):
        super().__init__(store)
        self.asked = 0

    def begin(self, requests, now):
        requests = list(requests)
        self.asked += len(requests)
        return super().begin(requests, now)


@pytest.fixture
def counted(run, monkeypatch):
    """The DISC of `run`, which counts; without one there is nothing to count, and the test is not played."""
    if run.local:
        pytest.skip("there is no DISC")
    made = []
    monkeypatch.setitem(globals(), "Disc", lambda store: made.append(Counted(store)) or made[0])
    return made
