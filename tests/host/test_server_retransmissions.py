"""The SIP/UDP host and retransmissions: RFC 3261, 17.2.2."""

import asyncio

import pytest
from kit.machine import PATIENCE
from kit.uac import AsyncUac

from auth_diameter.host.route import load_route
from auth_diameter.lab.uac import parse_reply


def test_a_request_that_comes_eight_times_is_judged_once(run, counted):
    """Its seven retransmissions get the same bytes, nonce and tag included."""

    async def scenario(host, phone):
        data = phone.request()
        phone.send(data)
        replies = [await phone.replies.get()]
        for _ in range(7):
            phone.send(data)
            replies.append(await asyncio.wait_for(phone.replies.get(), PATIENCE))
        return replies, host.retransmissions

    replies, retransmissions = run(scenario)
    assert len(set(replies)) == 1
    assert parse_reply(replies[0]).status == 401
    assert retransmissions == 7
    assert counted[0].asked == 1


def test_while_disc_is_asked_a_retransmission_is_absorbed(run, counted):
    """All eight come in one turn of the loop: there is no answer to the first yet."""

    async def scenario(host, phone):
        data = phone.request()
        for _ in range(8):
            phone.send(data)
        first = await phone.receive()
        await phone.expect_silence()
        return first, host.retransmissions

    first, retransmissions = run(scenario)
    assert (first.status, retransmissions) == (401, 7)
    assert counted[0].asked == 2  # the second for the probe


@pytest.mark.parametrize("reply", ["request.reply(200, 'OK', [('X-Run', str(len(runs)))])", "None"])
def test_a_route_runs_once_for_all_retransmissions(run, script, reply):
    """Whether it replies or not."""
    text = (
        "runs = []\n"
        "async def request_route(request, auth):\n"
        "    if request.method == 'MESSAGE':\n"
        "        return request.reply(200, 'OK')\n"
        "    runs.append(request)\n"
        f"    return {reply}\n"
    )
    route = load_route(script(text))

    async def scenario(host, phone):
        data = phone.request()
        for _ in range(8):
            phone.send(data)
        if reply != "None":
            assert (await phone.receive()).header("X-Run") == "1"
        await phone.expect_silence()
        phone.send(data)
        if reply != "None":
            assert (await phone.receive()).header("X-Run") == "1"
        await phone.expect_silence()

    run(scenario, route)
    assert len(route.__globals__["runs"]) == 1


def test_an_ack_is_no_retransmission(run, script):
    """One comes for each reply that was sent again (RFC 3261, 13.2.2.4), and a route may count them."""
    text = (
        "methods = []\n"
        "async def request_route(request, auth):\n"
        "    methods.append(request.method)\n"
        "    return request.reply(200, 'OK')\n"
    )
    route = load_route(script(text))

    async def scenario(host, phone):
        for method in ("ACK", "CANCEL"):
            data = phone.request(method)
            for _ in range(3):
                phone.send(data)
        assert (await phone.receive()).header("CSeq") == "1 CANCEL"
        await phone.expect_silence()

    run(scenario, route)
    assert route.__globals__["methods"] == ["ACK", "ACK", "ACK", "CANCEL", "MESSAGE"]


def test_the_same_bytes_from_elsewhere_are_another_request(run, counted):
    """A stranger who repeats what he saw must not get the reply to it, nor absorb the true one's."""

    async def scenario(host, phone):
        with await AsyncUac.open(host.address) as stranger:
            data = phone.request()
            for one in (phone, stranger):
                one.send(data)
                await one.receive()
        return host.retransmissions

    assert run(scenario) == 0
    assert counted[0].asked == 2


def test_without_rport_a_retransmission_is_answered_at_the_port_of_via(run):
    async def scenario(host, phone):
        with await AsyncUac.open(host.address) as other:
            data = phone.request().replace(b";rport", b"")
            replies = []
            for _ in range(2):
                other.send(data)
                replies.append(await phone.replies.get())
            assert other.replies.empty()
        return replies

    first, second = run(scenario)
    assert first == second
