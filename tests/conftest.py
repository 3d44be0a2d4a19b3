"""Fixtures of several test modules."""

from __future__ import annotations

import logging
import socket

import pytest
from canaries import Net
from fake_disc import FakeDisc, Script, answer_all


@pytest.fixture(autouse=True)
def _no_secret_in_the_log():
    """Whatever a test is about: no log record of it holds a secret."""
    net = Net()
    logging.getLogger().addHandler(net)
    yield
    logging.getLogger().removeHandler(net)
    assert net.caught == []


@pytest.fixture
def fake_disc():
    """A function that starts a FakeDisc with a script; all are stopped after the test."""
    started = []

    def start(script: Script = answer_all) -> FakeDisc:
        disc = FakeDisc(script).start()
        started.append(disc)
        return disc

    yield start
    for disc in started:
        disc.stop()


@pytest.fixture
def free_port():
    """A TCP port of loopback where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]
