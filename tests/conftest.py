"""Fixtures of several test modules."""

from __future__ import annotations

import socket

import pytest
from fake_disc import FakeDisc, Script, answer_all


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
