"""The end of the SIP/UDP host: what was sent before it has its reply."""

import asyncio
import threading

import pytest
from kit.disc import answer_all, say_nothing
from kit.host import with_disc
from kit.machine import PATIENCE, until
from kit.uac import AsyncUac

from auth_diameter.host import server as host_module
from auth_diameter.host.route import load_route

ASKING = """
async def request_route(request, auth):
    return await auth.diameter_www_authorize(request, "$fd")
"""


def test_what_has_come_before_the_end_is_served(run, monkeypatch):
    """The kernel may hold many datagrams that nobody has read."""
    for limit in ("BACKLOG", "PATIENCE"):
        monkeypatch.setattr(host_module, limit, PATIENCE)
    count = 100

    async def scenario(host, phone):
        for number in range(count):
            phone.send(phone.request(call_id=f"c{number}"))
        await host.aclose()
        return [await phone.receive() for _ in range(count)]

    replies = run(scenario)
    assert {reply.header("Call-ID") for reply in replies} == {f"c{number}" for number in range(count)}
    assert {reply.status for reply in replies} == {401}


def test_the_end_waits_for_answers_under_way(fake_disc, monkeypatch):
    """What comes meanwhile is sent elsewhere, so that nothing is left without a reply."""
    monkeypatch.setattr(host_module, "PATIENCE", PATIENCE)
    go_on = threading.Event()

    def late(connection, questions):
        if go_on.wait(PATIENCE):
            answer_all(connection, questions)

    disc = fake_disc(late)

    async def scenario(host, phone):
        phone.send(phone.request(call_id="early"))
        await until(lambda: disc.questions)
        closing = asyncio.create_task(host.aclose())
        await until(lambda: host._draining)  # from now on it waits for the answer
        phone.send(phone.request(call_id="late"))
        refused = await phone.receive()
        go_on.set()
        served = await phone.receive()
        await closing
        return refused, served

    refused, served = asyncio.run(with_disc(disc, scenario))
    assert (refused.header("Call-ID"), refused.status) == ("late", 503)
    assert refused.header("Retry-After") == "2"
    assert (served.header("Call-ID"), served.status) == ("early", 401)


@pytest.mark.parametrize("with_route", [False, True])
def test_the_end_does_not_wait_for_ever_and_leaves_nobody_without_a_reply(
    fake_disc, script, monkeypatch, with_route
):
    monkeypatch.setattr(host_module, "PATIENCE", 0.1)
    route = load_route(script(ASKING)) if with_route else None

    async def scenario(host, phone):
        for number in range(3):
            phone.send(phone.request(call_id=f"c{number}"))
        await until(lambda: host.under_way == 3)
        await host.aclose()
        await phone.receive()
        replies = [await phone.receive() for _ in range(2)]
        await asyncio.sleep(0.05)
        assert phone.replies.empty()
        return replies

    for reply in asyncio.run(with_disc(fake_disc(say_nothing), scenario, route)):
        assert (reply.status, reply.header("Retry-After")) == (503, "2")


@pytest.mark.parametrize(("seconds", "value"), [(7, "7"), (0, None)])
def test_retry_after_of_the_host_is_that_of_the_configuration(run, seconds, value):
    async def scenario(host, phone):
        host._draining = True
        host._path.is_open = False
        phone.send(phone.request())
        reply = await phone.receive()
        host._draining = False  # it is closed as usual
        return reply

    reply = run(scenario, retry_after=seconds)
    assert (reply.status, reply.header("Retry-After")) == (503, value)


def test_closing_twice_is_closing_once(run):
    async def scenario(host, phone):
        await host.aclose()
        await host.aclose()

    run(scenario)


def test_closing_lets_a_running_route_end_but_does_not_wait_for_ever(run, script, monkeypatch):
    monkeypatch.setattr(host_module, "PATIENCE", 0.05)
    text = (
        "import asyncio\n"
        "ended = []\n"
        "async def request_route(request, auth):\n"
        "    try:\n"
        "        await asyncio.Event().wait()\n"
        "    finally:\n"
        "        ended.append(request.method)\n"
    )
    route = load_route(script(text))

    async def scenario(host, phone):
        phone.send(phone.request())
        await until(lambda: host.received)
        await asyncio.sleep(0)

    run(scenario, route)
    assert route.__globals__["ended"] == ["REGISTER"]


def test_a_client_that_is_closed_before_its_host_leaves_nobody_without_a_reply(fake_disc):
    """What DISC was asked about gets a 503. What comes later is asked about no more."""
    disc = fake_disc(say_nothing)
    errors = []

    async def scenario(host, phone):
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
        for number in range(3):
            phone.send(phone.request(call_id=f"early{number}"))
        await until(lambda: len(disc.questions) == 3)
        phone.send(phone.request(call_id="slot"))
        await until(lambda: len(disc.questions) == 4)
        assert host._path.in_slots
        closing = asyncio.create_task(host._auth.aclose())
        await asyncio.sleep(0)  # its connections are still open
        phone.send(phone.request(call_id="late"))
        replies = [await phone.receive() for _ in range(5)]
        await closing
        assert (host.under_way, host._path.in_slots) == (0, 0)
        return {reply.header("Call-ID"): reply.status for reply in replies}

    statuses = asyncio.run(with_disc(disc, scenario))
    assert statuses.pop("late") == 500
    assert set(statuses.values()) == {503}
    assert len(statuses) == 4
    assert errors == []
    assert len(disc.questions) == 4


def test_two_hosts_share_a_client(fake_disc):
    """The end of one takes its own requests and no other's."""
    go_on = threading.Event()

    def late(connection, questions):
        if go_on.wait(PATIENCE):
            answer_all(connection, questions)

    disc = fake_disc(late)

    async def scenario(host, phone):
        other = await host_module.serve(host._auth, "127.0.0.1", 0)
        with await AsyncUac.open(other.address) as second:
            phone.send(phone.request(call_id="first0"))
            await until(lambda: disc.questions)
            go_on.set()
            await phone.receive()
            go_on.clear()
            phone.send(phone.request(call_id="first"))
            second.send(second.request(call_id="second"))
            await until(lambda: host._path.in_slots and other._path.in_slots)
            await other.aclose()
            refused = await second.receive()
            assert host._path.in_slots == 1
            go_on.set()
            return refused.status, (await phone.receive()).status

    assert asyncio.run(with_disc(disc, scenario)) == (503, 401)
