"""The UDP sockets of the host."""

import contextlib
import select
import socket

import pytest
from kit.machine import wait_until

import auth_diameter as ad
from auth_diameter.host.bind import bind
from auth_diameter.host.server import serve


def test_a_port_that_is_taken(run):
    async def scenario(host, phone):
        async with ad.AsyncAuthDiameter() as auth:
            with pytest.raises(OSError, match="in use"):
                await serve(auth, *host.address)

    run(scenario)


def test_closing_frees_the_port(run):
    async def scenario(host, phone):
        await host.aclose()
        async with ad.AsyncAuthDiameter() as auth:
            again = await serve(auth, *host.address)
            await again.aclose()

    run(scenario)


def test_bind_shares_one_port():
    sockets = bind("127.0.0.1", 0, 4)
    try:
        assert len({sock.getsockname() for sock in sockets}) == 1
        name = sockets[0].getsockname()
        with contextlib.ExitStack() as stack:
            for _ in range(64):
                sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                sock.sendto(b"x", name)
            wait_until(lambda: select.select(sockets, [], [], 0)[0] == sockets)
    finally:
        for sock in sockets:
            sock.close()
