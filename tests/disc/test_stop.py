"""DISC is stopped, halted, or its clock jumps, while SIP servers ask: what they see of it."""

import asyncio
import os
import re
import signal
import time
from pathlib import Path

import pytest
from kit.machine import PATIENCE, SLACK
from kit.process import Server
from kit.wire import AsyncConnection, Connection, aa_request, challenge_of, credentials_avps, result_code

from auth_diameter.lab.uac import authorization
from auth_diameter.store.accounts import Accounts

REALM = "siphub.net"
STOP_MOST = 2.0  # seconds from SIGTERM to the end of the process


@pytest.fixture
def db(tmp_path):
    path = tmp_path / "users.sqlite"
    with Accounts.create(path) as store:
        store.add_user("alice", REALM, "wonderland")
    return path


MARK = 0xA5A5A5A5
BEFORE, BETWEEN, BEHIND = aa_request(number=MARK).split(MARK.to_bytes(4, "big"))  # questions, faster


class Peer:
    """A SIP server that asks as fast as it is answered, with `window` questions under way."""

    def __init__(self, window, pause=0.0):
        self.window, self.pause = window, pause
        self.asked, self.answered, self.reset = 0, [], False

    async def run(self, address):
        connection = await AsyncConnection.open(address)
        try:
            self.ask(connection.writer)
            while answers := await connection.read():
                # At the end DISC waits for a second and a half: there is no time to decode them.
                self.answered += [int.from_bytes(each[12:16], "big") for each in answers]
                await asyncio.sleep(self.pause)
                self.ask(connection.writer)
        except ConnectionError:
            self.reset = True
        connection.writer.close()

    def ask(self, writer):
        more = self.window - (self.asked - len(self.answered))
        numbers = (number.to_bytes(4, "big") for number in range(self.asked, self.asked + more))
        writer.write(b"".join(BEFORE + number + BETWEEN + number + BEHIND for number in numbers))
        self.asked += more


@pytest.mark.parametrize(("window", "pause"), [(1, 0.0), (64, 0.0), (2000, 0.01)])
def test_sigterm_under_load_loses_no_answer(db, window, pause):
    """Every question that DISC has counted is answered at the SIP server, and in time.

    The rest is seen to be unanswered, by the end of the connection, and may be asked elsewhere.
    """

    async def scenario(server):
        peers = [Peer(window, pause) for _ in range(8)]
        running = asyncio.gather(*(peer.run(server.address) for peer in peers))
        async with asyncio.timeout(PATIENCE):
            while not all(len(peer.answered) > 100 for peer in peers):
                await asyncio.sleep(0.01)
        server.send(signal.SIGTERM)
        began = time.monotonic()
        done = await asyncio.to_thread(server.wait)
        took = time.monotonic() - began
        await running
        return peers, done, took

    with Server("disc", "--db", db) as server:
        peers, done, took = asyncio.run(scenario(server))
    counted = int(re.search(r"CHALLENGED (\d+)", done.err)[1])
    assert all(peer.answered == list(range(len(peer.answered))) for peer in peers)
    assert sum(len(peer.answered) for peer in peers) == counted
    assert not any(peer.reset for peer in peers)
    assert done.status == 0
    assert took < STOP_MOST + SLACK


# --- halted, and with another clock --------------------------------------------------------------------


class Telephone(Connection):
    """Asks by way of a SIP server, a question at a time."""

    def challenge(self):
        return challenge_of(self.ask())

    def answer(self, challenge, password="wonderland"):
        """The Result-Code and the challenge of the answer."""
        answer = self.ask(*credentials(challenge, password))
        return result_code(answer), challenge_of(answer)


def credentials(challenge, password="wonderland"):
    return credentials_avps(authorization(challenge, "alice", password, "REGISTER", f"sip:{REALM}"))


def test_what_came_while_disc_was_halted_is_answered_when_it_goes_on(db):
    with Server("disc", "--db", db) as server:
        with Telephone(server.address) as telephone:
            challenge = telephone.challenge()
            server.freeze()
            telephone.send(aa_request(*credentials(challenge), number=2))
            time.sleep(1.0)
            server.thaw()
            answer = telephone.receive()
            assert (result_code(answer), challenge_of(answer)) == (2001, None)
        assert server.stop().err.count("\n") == 1


FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


@pytest.fixture
def jumping(db, tmp_path):
    """A DISC, and a function that moves its clock to so many seconds from the real one."""
    if FAKETIME is None:
        pytest.skip("no libfaketime")
    offset = tmp_path / "offset"

    def move(seconds):
        part = offset.with_suffix(".part")
        part.write_text(f"{seconds:+d}s\n")
        os.replace(part, offset)

    move(0)
    env = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with Server("disc", "--db", db, env=env) as server:
        with Telephone(server.address) as telephone:
            yield telephone, move
        err = server.stop().err
    # Nothing is to be told but the end, and who had a wrong password.
    [line] = [line for line in err.splitlines() if "INFO refused user=" not in line]
    assert "INFO stopped" in line


def test_a_clock_that_jumps_ahead_makes_challenges_stale_and_lets_right_passwords_in(jumping):
    telephone, move = jumping
    before = telephone.challenge()
    move(3600)
    code, challenge = telephone.answer(before)
    assert (code, challenge.stale) == (4001, True)  # the telephone tries again by itself (RFC 7616, 3.3)
    assert telephone.answer(challenge) == (2001, None)
    assert telephone.answer(challenge, "wrong") == (5003, None)


def test_a_clock_that_jumps_back_makes_challenges_stale_and_lets_right_passwords_in(jumping):
    telephone, move = jumping
    before = telephone.challenge()
    move(-3600)
    code, challenge = telephone.answer(before)
    assert (code, challenge.stale) == (4001, True)
    assert telephone.answer(challenge) == (2001, None)
    move(0)  # and on again
    code, challenge = telephone.answer(challenge)
    assert (code, challenge.stale) == (4001, True)
    assert telephone.answer(challenge) == (2001, None)


def test_a_clock_that_jumps_back_keeps_changes_of_the_database_in_sight(jumping, db):
    telephone, move = jumping
    challenge = telephone.challenge()
    assert telephone.answer(challenge) == (2001, None)
    move(-3600)
    with Accounts.open(db, writable=True) as store:
        store.add_user("alice", REALM, "new", replace=True)
    challenge = telephone.challenge()
    assert telephone.answer(challenge) == (5003, None)
    assert telephone.answer(challenge, "new") == (2001, None)
