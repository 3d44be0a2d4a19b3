"""A client for asyncio, and what it is asked."""

from __future__ import annotations

import asyncio
import time

from kit.sip import RIGHT

from auth_diameter import AsyncAuthDiameter, Config


def new_client(disc, **settings):
    return AsyncAuthDiameter(Config(**{"timeout": 5.0, **disc.settings, **settings}))


def ask(client, request=RIGHT):
    return client.diameter_www_authorize(request, "$fd")


def ask_many(client, count, request=RIGHT):
    return asyncio.gather(*(ask(client, request) for _ in range(count)))


async def took(client, request=RIGHT):
    """A decision, and how long it took."""
    started = time.monotonic()
    decision = await ask(client, request)
    return decision, time.monotonic() - started
