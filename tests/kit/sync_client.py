"""A client for threads, and what it is asked."""

from __future__ import annotations

import threading
import time

from kit.machine import PATIENCE
from kit.sip import RIGHT

from auth_diameter import AuthDiameter, Cause, Config


def new_client(disc, **settings):
    settings = {"timeout": 5.0, "connect_timeout": 1.0, **disc.settings, **settings}
    return AuthDiameter(Config(**settings))


def ask(client, request=RIGHT):
    return client.diameter_www_authorize(request, "$fd")


def until_let_through(client):
    """Asks until DISC has been found, or found again, which takes a second."""
    deadline = time.monotonic() + PATIENCE
    while not (decision := ask(client)):
        assert decision.cause in (Cause.DISC_UNREACHABLE, Cause.DISC_TIMEOUT)
        assert time.monotonic() < deadline, "DISC is there and not found"


def took(client, request=RIGHT):
    """A decision, and how long it took."""
    started = time.monotonic()
    decision = ask(client, request)
    return decision, time.monotonic() - started


def crowd(client, count, until):
    """So many threads that ask as long as `until` is not set: all decisions, and the longest time."""
    decisions = []
    longest = [0.0]

    def work():
        while not until.is_set():
            decision, seconds = took(client)
            decisions.append(decision)
            longest[0] = max(longest[0], seconds)
            time.sleep(0.05)

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, decisions, longest
