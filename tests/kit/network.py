"""A network of its own for a test: ports and addresses that nobody else has, and no way out (Linux, root).

Sockets of the calling thread are in it, and so are threads and programs that the thread starts. It is gone
when the last of them is.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ADDRESS = "198.51.100.1"  # one that is not loopback (RFC 5737)

_CLONE_NEWNET = 0x40000000  # unshare(2)
_LISTEN = "0A"  # the state of a socket
_SETUP = (
    "link set lo up",
    "link add here type veth peer name there",
    f"address add {ADDRESS}/24 dev here",
    "link set here up",
    "link set there up",
)


class NoNetworkError(Exception):
    """This user may not have one."""


def listening() -> set[int]:
    """The TCP ports on which somebody listens, in the network of this thread (IPv4; proc(5): net/tcp)."""
    _, *lines = Path("/proc/thread-self/net/tcp").read_text().splitlines()
    rows = [line.split() for line in lines]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == _LISTEN}


@contextmanager
def own_network() -> Iterator[None]:
    """Moves this thread into a new network, with 127.0.0.1 and `ADDRESS`, and back again at the end.

    Raises:
        NoNetworkError: the system does not allow it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(_CLONE_NEWNET) != 0:
            raise NoNetworkError(f"no network namespace: {os.strerror(ctypes.get_errno())}; it takes root")
        try:
            for words in _SETUP:
                done = subprocess.run(["ip", *words.split()], capture_output=True, text=True, check=False)
                if done.returncode != 0:
                    raise NoNetworkError(f"ip {words}: {done.stderr.strip()}")
            yield
        finally:
            assert libc.setns(before, _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
    finally:
        os.close(before)
