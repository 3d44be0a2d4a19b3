"""The one timer of the transport for asyncio. What becomes of its questions is in tests/client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
from kit.dialect import sip
from kit.hss import SipServer, running
from kit.machine import until
from kit.uac import AsyncUac

import auth_diameter as ad
from auth_diameter.host.server import serve

REALM = "siphub.net"

Ask = Callable[[ad.AsyncAuthDiameter, AsyncUac], object]


def await_decision(auth: ad.AsyncAuthDiameter, phone: AsyncUac) -> object:
    return asyncio.ensure_future(auth.diameter_www_authorize(sip(), REALM))


def be_called_back(auth: ad.AsyncAuthDiameter, phone: AsyncUac) -> object:
    return auth.ask(sip(), REALM, lambda decision: None)


def send_a_datagram(auth: ad.AsyncAuthDiameter, phone: AsyncUac) -> object:
    """Its question is written by compiled code."""
    return phone.send(phone.request())


@pytest.fixture
def server() -> Iterator[SipServer]:
    with running(SipServer) as found:
        found.answers = False
        yield found


@pytest.mark.parametrize("ask", [await_decision, be_called_back, send_a_datagram])
def test_the_deadline_of_a_question_counts_though_the_watchdog_is_due_later(
    server: SipServer, ask: Ask
) -> None:
    """With standard Diameter there is a timer even if nobody asks, which is the watchdog's."""

    async def play() -> None:
        config = ad.Config(application="sip", origin_host="sip.h.test", peers=[("127.0.0.1", server.port)])
        async with ad.AsyncAuthDiameter(config) as auth:
            await auth.connect()
            transport = auth._transport
            transport._set_timer()
            host = await serve(auth, "127.0.0.1", 0)
            with await AsyncUac.open(host.address) as phone:
                asked = ask(auth, phone)
                await until(lambda: server.asked)
                deadline = transport.pool.in_flight.deadline
                assert deadline is not None
                assert transport._expires_at <= deadline, "it is called when the question expires"
                del asked
            await host.aclose()

    asyncio.run(play())
