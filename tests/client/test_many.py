"""`diameter_www_authorize_many` and its sister: many requests at once, in both clients.

What each request gets is what it gets by itself; only writes and waits are shared.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from kit.aio_client import new_client as new_aio_client
from kit.disc import answer_all, judge, say_nothing
from kit.machine import PATIENCE, SLACK
from kit.sip import FIRST, RIGHT, build_credentials, build_request
from kit.sync_client import ask, new_client

from auth_diameter import Cause, ConfigError, Decision, DiscError, SipRequest

FROM_SOMEWHERE = SipRequest(RIGHT, ("192.0.2.1", 5060))
PROXY = build_request(extra=("Proxy-Authorization: " + build_credentials(),))


def of_threads(disc, requests, *, proxy: bool = False, realm: str = "$fd", first: bool = True, **settings):
    with new_client(disc, **settings) as client:
        if first:  # a connection is open then
            assert ask(client)
        many = client.diameter_proxy_authorize_many if proxy else client.diameter_www_authorize_many
        return many(requests, realm)


def of_asyncio(disc, requests, *, proxy: bool = False, realm: str = "$fd", first: bool = True, **settings):
    async def main():
        async with new_aio_client(disc, **settings) as client:
            if first:
                assert await client.diameter_www_authorize(RIGHT, "$fd")
            many = client.diameter_proxy_authorize_many if proxy else client.diameter_www_authorize_many
            return await many(requests, realm)

    return asyncio.run(main())


@pytest.fixture(params=[of_threads, of_asyncio])
def many(request) -> Callable[..., list[Decision]]:
    """The decisions of one of the two clients on many requests."""
    return request.param


def test_decisions_come_in_the_order_of_the_requests(fake_disc, many):
    """Also where DISC answers in another."""

    def backwards(connection, questions):
        connection.send(b"".join(judge(question) for question in reversed(questions)))

    requests = [RIGHT, FIRST, build_request("ACK"), b"junk", SipRequest(RIGHT), build_request(from_=None)]
    found = many(fake_disc(backwards), requests * 20)
    causes = [decision.cause for decision in found]
    assert causes == 20 * [
        Cause.AUTHORIZED,
        Cause.CHALLENGED,
        Cause.BYPASSED,
        Cause.MALFORMED_REQUEST,
        Cause.AUTHORIZED,
        Cause.NO_IDENTITY,
    ]


def test_that_of_a_proxy(fake_disc, many):
    assert [decision.status for decision in many(fake_disc(), [PROXY, FIRST], proxy=True)] == [None, 407]


def test_none_at_all(fake_disc, many):
    assert many(fake_disc(), []) == []


def test_questions_go_out_in_one_write(fake_disc, many):
    disc = fake_disc()
    assert all(many(disc, [RIGHT] * 64))
    assert max(disc.reads) > 32  # one write may come in two reads


def test_a_connection_need_not_be_open(fake_disc, many):
    assert all(many(fake_disc(), [RIGHT] * 100, first=False))


def test_the_original_disc_gets_one_question_at_a_time(fake_disc, many):
    """It wants each in a segment of its own: `Config.max_in_flight`."""
    disc = fake_disc()
    assert all(many(disc, [RIGHT] * 10, max_in_flight=1, max_connections=1))
    assert set(disc.reads) == {1}


def test_a_disc_that_hangs_costs_one_deadline(fake_disc, many):
    def hang(connection, questions):
        if len(disc.questions) <= 1:
            answer_all(connection, questions)

    disc = fake_disc(hang)
    began = time.monotonic()
    found = many(disc, [RIGHT] * 50, timeout=1.0)
    assert time.monotonic() - began < 1.0 + SLACK
    assert Counter(decision.cause for decision in found) == {Cause.DISC_TIMEOUT: 50}


def test_a_connection_that_breaks_halfway_costs_no_decision(fake_disc, many):
    """What has no answer is asked once more, on another connection (RFC 6733, 5.5.4)."""

    def half(connection, questions):
        if connection.index == 0 and len(disc.questions) > 1:
            answer_all(connection, questions[: len(questions) // 2])
            connection.close()
        else:
            answer_all(connection, questions)

    disc = fake_disc(half)
    assert all(many(disc, [RIGHT] * 40))
    assert len(disc.connections) >= 2


def test_a_mistake_in_the_realm_is_the_callers(fake_disc, many):
    with pytest.raises(ConfigError, match="nosuch"):
        many(fake_disc(), [RIGHT] * 3, realm="$nosuch")


def test_a_realm_need_not_be_utf_8(fake_disc, many):
    """Whatever bytes a request has there: the next request is not affected."""
    odd = build_request(extra=("Subject: @@",)).replace(b"@@", b"\xff\xfe")
    found = many(fake_disc(), [odd, RIGHT, odd], realm="$hdr(Subject)")
    assert [decision.cause for decision in found] == [Cause.CHALLENGED, Cause.AUTHORIZED, Cause.CHALLENGED]


def test_requests_before_one_that_is_none_are_ended(fake_disc):
    """Their credentials are no longer in flight: the user may try again at once."""

    def some():
        yield from [FROM_SOMEWHERE] * 3
        raise ZeroDivisionError

    with new_client(fake_disc()) as client:
        for _ in range(20):
            with pytest.raises(ZeroDivisionError):
                client.diameter_www_authorize_many(some(), "$fd")
        assert ask(client, FROM_SOMEWHERE)


def test_a_closed_client_is_the_callers_mistake(fake_disc):
    client = new_client(fake_disc())
    assert ask(client)
    client.close()
    with pytest.raises(DiscError, match="closed"):
        client.diameter_www_authorize_many([RIGHT] * 3, "$fd")


# --- what is awaited ------------------------------------------------------------------------------------

Ways = Callable[[Coroutine[Any, Any, Decision]], Awaitable[Decision]]


@pytest.mark.parametrize(
    "way",
    [
        lambda decision: decision,
        asyncio.ensure_future,
        asyncio.create_task,
        lambda decision: asyncio.wait_for(decision, PATIENCE),
        asyncio.shield,
    ],
    ids=["await", "ensure_future", "create_task", "wait_for", "shield"],
)
def test_a_decision_to_come_is_a_coroutine(fake_disc, way: Ways):
    async def main() -> Decision:
        async with new_aio_client(fake_disc()) as client:
            return await way(client.diameter_www_authorize(RIGHT, "$fd"))

    assert asyncio.run(main())


def test_it_may_be_made_before_the_loop_runs(fake_disc):
    client = new_aio_client(fake_disc())
    to_come = client.diameter_www_authorize(RIGHT, "$fd")

    async def main() -> Decision:
        async with client:
            return await to_come

    assert asyncio.run(main())


def test_a_task_group_takes_it(fake_disc):
    async def main() -> list[Decision]:
        async with new_aio_client(fake_disc()) as client, asyncio.TaskGroup() as group:
            tasks = [group.create_task(client.diameter_www_authorize(RIGHT, "$fd")) for _ in range(5)]
        return [task.result() for task in tasks]

    assert all(asyncio.run(main()))


def test_cancelling_it_leaves_the_others(fake_disc):
    async def main() -> list[bool]:
        disc = fake_disc(say_nothing)
        async with new_aio_client(disc, timeout=1.0) as client:
            tasks = [asyncio.create_task(client.diameter_www_authorize(RIGHT, "$fd")) for _ in range(3)]
            await asyncio.sleep(0.05)
            tasks[1].cancel()
            await asyncio.wait(tasks)
            return [task.cancelled() for task in tasks]

    assert asyncio.run(main()) == [False, True, False]


def test_one_that_nobody_awaits_asks_nothing(fake_disc):
    disc = fake_disc()

    async def main() -> None:
        async with new_aio_client(disc) as client:
            client.diameter_www_authorize(RIGHT, "$fd").close()
            await asyncio.sleep(0.05)

    asyncio.run(main())
    assert disc.questions == []


def test_a_callback_gets_the_decision(fake_disc):
    async def main() -> tuple[Decision, list[Decision]]:
        found: list[Decision] = []
        async with new_aio_client(fake_disc()) as client:
            done = asyncio.get_running_loop().create_future()
            client.ask(build_request("ACK"), "$fd", found.append)  # at once
            client.ask(PROXY, "$fd", done.set_result, proxy=True)
            return await done, found

    decision, [bypassed] = asyncio.run(main())
    assert decision
    assert bypassed.cause is Cause.BYPASSED
