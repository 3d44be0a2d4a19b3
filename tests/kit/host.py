"""A SIP/UDP host of this process, for asyncio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from kit.disc import FakeDisc
from kit.machine import PATIENCE
from kit.uac import AsyncUac

import auth_diameter as ad
from auth_diameter.host.route import Route
from auth_diameter.host.server import Host, serve


async def with_disc(
    disc: FakeDisc,
    scenario: Callable[[Host, AsyncUac], Awaitable[Any]],
    route: Route | None = None,
    **config: Any,
) -> Any:
    """Runs a scenario with a host that asks that fake DISC, and a telephone."""
    async with ad.AsyncAuthDiameter(ad.Config(timeout=PATIENCE, **disc.settings, **config)) as auth:
        host = await serve(auth, "127.0.0.1", 0, route)
        try:
            with await AsyncUac.open(host.address) as phone:
                return await scenario(host, phone)
        finally:
            await host.aclose()
