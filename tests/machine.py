"""What this machine can do, and how long a test waits for it."""

import socket
import time

import pytest

PATIENCE = 30.0  # seconds after which a test gives up: none waits that long where all is well
SLACK = 5.0  # seconds that a machine with much else to do may take more; what is wrong takes still longer


def wait_until(what):
    """Until `what()` is true; what it is then."""
    deadline = time.monotonic() + PATIENCE
    while not (found := what()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.001)
    return found


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")
