"""DISC is stopped, halted, or its clock jumps, while SIP servers ask: what they see of it."""

import asyncio
import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest
from kit.machine import PATIENCE, SLACK
from kit.process import Server

import auth_diameter as ad
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


def question(number, *avps):
    return ad.Message(
        265,
        [
            ad.Avp(283, REALM),
            ad.Avp(404, b"6"),
            ad.Avp(406, number.to_bytes(4, "big"), flags=0),
            ad.Avp(1, f"alice@{REALM}"),
            *avps,
        ],
        application_id=1,
        hop_by_hop=number,
    ).encode()


MARK = 0xA5A5A5A5
BEFORE, BETWEEN, BEHIND = question(MARK).split(MARK.to_bytes(4, "big"))  # the same, faster


class Peer:
    """A SIP server that asks as fast as it is answered, with `window` questions under way."""

    def __init__(self, window, pause=0.0):
        self.window, self.pause = window, pause
        self.asked, self.answered, self.reset = 0, [], False

    async def run(self, address):
        reader, writer = await asyncio.open_connection(*address)
        framer = ad.Framer()
        try:
            while True:
                self.ask(writer)
                data = await asyncio.wait_for(reader.read(65536), PATIENCE)
                if not data:
                    break
                # At the end DISC waits for a second and a half: there is no time to decode them.
                self.answered += [int.from_bytes(each[12:16], "big") for each in framer.feed(data)]
                await asyncio.sleep(self.pause)
        except ConnectionError:
            self.reset = True
        writer.close()

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
        running = asyncio.gather(*(peer.run((server.host, server.port)) for peer in peers))
        async with asyncio.timeout(PATIENCE):
            while not all(len(peer.answered) > 100 for peer in peers):
                await asyncio.sleep(0.01)
        server.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        status = await asyncio.to_thread(server.process.wait, PATIENCE)
        took = time.monotonic() - began
        await running
        return peers, status, took

    with Server("disc", "--listen", "127.0.0.1:0", "--db", db) as server:
        peers, status, took = asyncio.run(scenario(server))
        log = server.process.stderr.read().decode()
    counted = int(re.search(r"CHALLENGED (\d+)", log)[1])
    assert all(peer.answered == list(range(len(peer.answered))) for peer in peers)
    assert sum(len(peer.answered) for peer in peers) == counted
    assert not any(peer.reset for peer in peers)
    assert status == 0
    assert took < STOP_MOST + SLACK


# --- halted, and with another clock --------------------------------------------------------------------


class Telephone:
    """Asks on one connection, a question at a time."""

    def __init__(self, server):
        self.sock = socket.create_connection((server.host, server.port), PATIENCE)
        self.number = 0

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.sock.close()

    def ask(self, *avps):
        """The Result-Code and the challenge of the answer."""
        self.number += 1
        self.sock.sendall(question(self.number, *avps))
        return self.read()

    def read(self):
        answer = ad.Message.decode(self.sock.recv(65536))
        challenge = answer.find(402)
        value = challenge and ad.Challenge.parse(challenge.data.removesuffix(b"\r\n"))
        return answer.find(268).value, value

    def answer(self, challenge, password="wonderland"):
        value = authorization(challenge, "alice", password, "REGISTER", f"sip:{REALM}")
        return self.ask(ad.Avp(401, value), ad.Avp(403, "REGISTER"))


def test_what_came_while_disc_was_halted_is_answered_when_it_goes_on(db):
    with Server("disc", "--listen", "127.0.0.1:0", "--db", db) as server:
        with Telephone(server) as telephone:
            _, challenge = telephone.ask()
            server.process.send_signal(signal.SIGSTOP)
            value = authorization(challenge, "alice", "wonderland", "REGISTER", f"sip:{REALM}")
            telephone.sock.sendall(question(2, ad.Avp(401, value), ad.Avp(403, "REGISTER")))
            time.sleep(1.0)
            server.process.send_signal(signal.SIGCONT)
            assert telephone.read() == (2001, None)
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
    with Server("disc", "--listen", "127.0.0.1:0", "--db", db, env=env) as server:
        with Telephone(server) as telephone:
            yield telephone, move
        err = server.stop().err
    # Nothing is to be told but the end, and who had a wrong password.
    [line] = [line for line in err.splitlines() if "INFO refused user=" not in line]
    assert "INFO stopped" in line


def test_a_clock_that_jumps_ahead_makes_challenges_stale_and_lets_right_passwords_in(jumping):
    telephone, move = jumping
    _, before = telephone.ask()
    move(3600)
    code, challenge = telephone.answer(before)
    assert (code, challenge.stale) == (4001, True)  # the telephone tries again by itself (RFC 7616, 3.3)
    assert telephone.answer(challenge) == (2001, None)
    assert telephone.answer(challenge, "wrong") == (5003, None)


def test_a_clock_that_jumps_back_makes_challenges_stale_and_lets_right_passwords_in(jumping):
    telephone, move = jumping
    _, before = telephone.ask()
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
    _, challenge = telephone.ask()
    assert telephone.answer(challenge) == (2001, None)
    move(-3600)
    with Accounts.open(db, writable=True) as store:
        store.add_user("alice", REALM, "new", replace=True)
    _, challenge = telephone.ask()
    assert telephone.answer(challenge) == (5003, None)
    assert telephone.answer(challenge, "new") == (2001, None)
