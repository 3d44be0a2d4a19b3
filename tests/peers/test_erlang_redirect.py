"""A redirect agent and the server that it names, both of Erlang/OTP: RFC 6733, 6.1.7."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from kit.doors import DOORS
from kit.phone import Phone
from kit.sip import DOMAIN
from kit.strict_sip import StrictSip

import auth_diameter as ad

pytestmark = pytest.mark.peers

Start = Callable[..., StrictSip]


@pytest.mark.parametrize("kind", ["threads", "asyncio"])
def test_a_telephone_registers_at_the_server_that_an_agent_names(start_strict_sip: Start, kind: str) -> None:
    """6.13: REALM_AND_APPLICATION. All questions are of one realm, so every further
    one goes to the server at once."""
    server = start_strict_sip("server.h.test")
    host, port = server.where
    agent = start_strict_sip("agent.h.test", f"redirect=aaa://{host}:{port};transport=tcp,60")
    with DOORS[kind](ad.Config(**agent.settings(destination_realm=DOMAIN))) as door:
        phone = Phone(door)
        assert phone.send().status == 401
        assert phone.logs_in()
    [asked] = agent.wait_for_asked(1)
    told = server.wait_for_asked(3)
    assert [mar.retransmitted for mar in told] == [False] * 3
    assert told[0].end_to_end == asked.end_to_end
    assert (agent.complaints(), server.complaints()) == ([], [])
    agent.wait_until_counted(282, "request", "recv")
    server.wait_until_counted(282, "request", "recv")
