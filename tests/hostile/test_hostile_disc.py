"""Our clients against a DISC that says everything that is wrong.

To a user who is named like a malformed message it answers with that, as it is or with the ids of the
question written into it; to any other user the truth. The first request of each client must not be let in,
and the next one must be, in time. Many are tried side by side, each by a client of its own.
"""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hostile import corpora
from kit.disc import judge
from kit.machine import PATIENCE, SLACK
from kit.sip import build_credentials, build_request, parse_reply
from kit.wire import SIP_MSGID, USER_NAME, build_answer

from auth_diameter import AsyncAuthDiameter, AuthDiameter, Cause, Config

pytestmark = pytest.mark.campaign

AT_A_TIME = 50  # clients
TIMEOUT = 2.0  # seconds that a client waits for its answer

MESSAGES = corpora.diameter_malformed() | corpora.diameter_real() | corpora.disc_captured()
MESSAGES |= {f"sip_{name}": data for name, data in corpora.sip_requests().items()}


def addressed(data: bytes, question) -> bytes:
    """The message as an answer to the question: its Hop-by-Hop, and its SIP-MSGID where it has one."""
    msgid = bytes(question.find(SIP_MSGID).data)
    before, header, after = data.partition(bytes.fromhex("00000196 0000000c"))
    if header:
        data = before + header + msgid + after[4:]
    return data[:12] + msgid + data[16:] if len(data) >= 20 else data


class Liar:
    """The script of a FakeDisc. The user of a request names the message that it gets."""

    def __init__(self, *, address: bool) -> None:
        self.address = address

    def __call__(self, connection, questions) -> None:
        for question in questions:
            name = question.find(USER_NAME).data.decode().partition("@")[0]
            if name not in MESSAGES:
                connection.send(judge(question))
            elif self.address:
                connection.send(addressed(MESSAGES[name], question))
            else:
                connection.send(MESSAGES[name])


def request(name: str) -> bytes:
    return build_request(extra=(f"Authorization: {build_credentials(name)}",))


def judged(name, first, second):
    """What is wrong with it, or None."""
    if first or first.cause is Cause.AUTHORIZED:
        return "let in"
    if not second:
        return f"then {second!r}"
    status, _, headers = parse_reply(first.reply)
    if status not in (403, 500, 503):
        return f"status {status}"
    if any("Authenticate" in header for header, _ in headers):
        return "a challenge"
    return None


@pytest.mark.parametrize("address", [False, True], ids=["as it is", "addressed"])
def test_threads(fake_disc, address):
    disc = fake_disc(Liar(address=address))

    def play(name):
        with AuthDiameter(Config(**disc.settings, timeout=TIMEOUT)) as auth:
            first = auth.diameter_www_authorize(request(name), "siphub.net")
            second = auth.diameter_www_authorize(request("alice"), "siphub.net")
            return name, first, second

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        found = list(pool.map(play, MESSAGES))
    assert {row[0]: wrong for row in found if (wrong := judged(*row))} == {}


@pytest.mark.parametrize("address", [False, True], ids=["as it is", "addressed"])
def test_asyncio(fake_disc, address):
    disc = fake_disc(Liar(address=address))

    turn = asyncio.Semaphore(AT_A_TIME)

    async def play(name):
        async with turn, AsyncAuthDiameter(Config(**disc.settings, timeout=TIMEOUT)) as auth:
            first = await auth.diameter_www_authorize(request(name), "siphub.net")
            second = await auth.diameter_www_authorize(request("alice"), "siphub.net")
            return name, first, second

    async def all_of_them():
        return await asyncio.gather(*map(play, MESSAGES))

    found = asyncio.run(all_of_them())
    assert {row[0]: wrong for row in found if (wrong := judged(*row))} == {}


def test_a_disc_that_never_stops_to_talk(fake_disc):
    # Its time limit ends a call, though each read brings something: answers to nobody's question.
    over = threading.Event()

    def flood(connection, questions):
        data = build_answer(7, 5003) * 2000
        while not over.is_set():
            connection.send(data)

    async def ask(settings):
        async with AsyncAuthDiameter(settings) as auth:
            return await auth.diameter_www_authorize(request("alice"), "siphub.net")

    settings = Config(**fake_disc(flood).settings, timeout=TIMEOUT)
    try:
        began = time.monotonic()
        with AuthDiameter(settings) as auth:
            decision = auth.diameter_www_authorize(request("alice"), "siphub.net")
        assert (decision.cause, time.monotonic() - began < TIMEOUT + SLACK) == (Cause.DISC_TIMEOUT, True)
        began = time.monotonic()
        decision = asyncio.run(ask(settings))
        assert (decision.cause, time.monotonic() - began < TIMEOUT + SLACK) == (Cause.DISC_TIMEOUT, True)
    finally:
        over.set()


def test_half_an_answer_behind_each_answer(fake_disc):
    # The half is nobody's: the next question goes out on another connection, and does not wait.
    def stutter(connection, questions):
        for question in questions:
            connection.send(judge(question) + judge(question)[:30])

    async def ask(settings):
        async with AsyncAuthDiameter(settings) as auth:
            return [await auth.diameter_www_authorize(request("alice"), "siphub.net") for _ in range(5)]

    settings = Config(**fake_disc(stutter).settings, timeout=PATIENCE)
    with AuthDiameter(settings) as auth:
        assert all(auth.diameter_www_authorize(request("alice"), "siphub.net") for _ in range(5))
    assert all(asyncio.run(ask(settings)))
