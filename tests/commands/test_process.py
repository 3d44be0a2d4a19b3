"""The process of a server: its loop and its addresses."""

import asyncio
import gc
import socket
import warnings

import pytest
from kit.process import Server, assert_one_line

from auth_diameter.commands.process import run_loop


def test_without_uvloop_the_servers_run_on_asyncio(db, tmp_path):
    (tmp_path / "uvloop.py").write_text("raise ModuleNotFoundError('No module named uvloop')\n")
    with Server("disc", "--db", db, env={"PYTHONPATH": str(tmp_path)}) as server:
        assert server.stop().status == 0


def test_control_c_before_the_loop_runs_warns_of_nothing(monkeypatch):
    """Python warns of a coroutine that was never awaited, in two lines on stderr."""

    def interrupted(**_):
        raise KeyboardInterrupt

    async def work():
        return 0

    monkeypatch.setattr(asyncio, "Runner", interrupted)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(KeyboardInterrupt):
            run_loop(work())
        gc.collect()
    assert not warned


def test_a_port_that_is_taken(cli, db):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        assert_one_line(cli("disc", "--db", db, "--listen", listen), f"{listen} is in use", "--listen")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        assert_one_line(cli("serve", "--listen", listen), f"{listen} is in use", "--listen")


@pytest.mark.parametrize(
    ("listen", "what"),
    [
        ("192.0.2.1:0", "assign requested address"),
        ("nowhere.invalid:0", "cannot listen on nowhere.invalid:0"),
    ],
)
def test_an_address_that_cannot_be_listened_on(cli, db, listen, what):
    """192.0.2.0/24 is for documentation (RFC 5737), .invalid is never a name (RFC 6761)."""
    assert_one_line(cli("disc", "--db", db, "--listen", listen), listen, what)
    assert_one_line(cli("serve", "--listen", listen), listen, what)
