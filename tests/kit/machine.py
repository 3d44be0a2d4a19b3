"""What this machine can do, and how long a test waits for it."""

import asyncio
import contextlib
import random
import socket
import time
from pathlib import Path

import pytest

PATIENCE = 30.0  # seconds after which a test gives up: none waits that long where all is well
SLACK = 5.0  # seconds that a machine with much else to do may take more; what is wrong takes still longer


def wait_until(what):
    """Waits until `what()` is true; returns what it is then."""
    deadline = time.monotonic() + PATIENCE
    while not (found := what()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.001)
    return found


async def until(what):
    """The same as `wait_until`, while the loop goes on."""
    async with asyncio.timeout(PATIENCE):
        while not (found := what()):
            await asyncio.sleep(0.001)
    return found


def unused_tcp_port() -> int:
    """A port for a program that is to listen on it again after another start."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def unused_udp_port():
    """A port for a program that cannot choose one: below those that the kernel chooses from."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])

    def try_one():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            port = random.randrange(first // 2, first)
            with contextlib.suppress(OSError):
                sock.bind(("127.0.0.1", port))
                return port

    return wait_until(try_one)


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")
