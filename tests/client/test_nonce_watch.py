"""Several DISC that refuse each other's nonces: said once, and only where it is so."""

import asyncio
import itertools
import logging
import time
from types import SimpleNamespace

import pytest
from kit.machine import PATIENCE, wait_until
from kit.sip import build_credentials, build_request
from kit.wire import RESPONSE, build_answer

import auth_diameter as ad
from auth_diameter.client import nonce_watch
from auth_diameter.lab.uac import parse_reply

LINE = "refuse each other's nonces: give all the same --nonce-key, and the same time"


class Node:
    """A DISC that counts its nonces and knows those of its key, each good once.

    :ivar known: those that it has handed out, or another one with the same key.
    """

    def __init__(self, name, known=None):
        self.known = set() if known is None else known
        self._numbers = (f"{name}{number}" for number in itertools.count())
        self.stale = True

    def __call__(self, connection, questions):
        for question in questions:
            response = question.find(RESPONSE)
            nonce = ad.Credentials.parse(bytes(response.data)).nonce if response is not None else None
            if nonce in self.known:
                self.known.discard(nonce)
                connection.send(build_answer(question))
                continue
            fresh = next(self._numbers)
            self.known.add(fresh)
            stale = ", stale=true" if nonce is not None and self.stale else ""
            value = f'Digest realm="siphub.net", nonce="{fresh}"{stale}, qop="auth"'
            connection.send(build_answer(question, 4001, challenge=value.encode()))


@pytest.fixture
def ask(fake_disc):
    """A client of these DISC: `with ask(nodes) as ask_with:`; threads and asyncio have one Authorizer."""

    def start(*nodes):
        peers = [("127.0.0.1", fake_disc(node).port) for node in nodes]
        return ad.AuthDiameter(ad.Config(peers=peers))

    return start


def log_in(auth, attempts=5):
    """Challenged until it is let in; how often it was."""
    decision = auth.diameter_www_authorize(build_request("REGISTER"), "siphub.net")
    for number in range(1, attempts):
        nonce = parse_reply(decision.reply).challenge().nonce
        header = f"Authorization: {build_credentials(nonce=nonce)}"
        decision = auth.diameter_www_authorize(build_request("REGISTER", extra=(header,)), "siphub.net")
        if decision:
            return number
    return attempts


def lines(caplog):
    return [message for message in caplog.messages if "nonces" in message]


def test_different_keys_are_told_once(ask, caplog):
    with ask(Node("a"), Node("b")) as auth:
        # As long as one of them has no connection yet, the other one is asked alone.
        wait_until(lambda: log_in(auth) and lines(caplog))
        for _ in range(20):
            log_in(auth)
        [line] = lines(caplog)
        first, second = (f"127.0.0.1:{port}" for _, port in auth.config.peers)
    assert line in (f"DISC {first} and {second} {LINE}", f"DISC {second} and {first} {LINE}")
    assert caplog.records[0].levelno == logging.WARNING


def test_it_is_told_by_asyncio_as_well(fake_disc, caplog):
    peers = [("127.0.0.1", fake_disc(Node(name)).port) for name in "ab"]

    async def play():
        async with ad.AsyncAuthDiameter(ad.Config(peers=peers)) as auth:
            deadline, left = time.monotonic() + PATIENCE, 20
            while left and time.monotonic() < deadline:
                decision = await auth.diameter_www_authorize(build_request("REGISTER"), "siphub.net")
                nonce = parse_reply(decision.reply).challenge().nonce
                header = f"Authorization: {build_credentials(nonce=nonce)}"
                await auth.diameter_www_authorize(build_request("REGISTER", extra=(header,)), "siphub.net")
                left -= bool(lines(caplog))

    asyncio.run(play())
    assert len(lines(caplog)) == 1


def test_one_key_is_fine(ask, caplog):
    known = set()
    with ask(Node("a", known), Node("b", known)) as auth:
        assert [log_in(auth) for _ in range(20)] == [1] * 20
    assert lines(caplog) == []


def test_a_telephone_that_uses_a_nonce_twice_is_no_sign(ask, caplog):
    """Its second use is stale (--nonce-uses 1), and it may be another DISC that says so."""
    known = set()
    with ask(Node("a", known), Node("b", known)) as auth:
        for _ in range(20):
            decision = auth.diameter_www_authorize(build_request("REGISTER"), "siphub.net")
            nonce = parse_reply(decision.reply).challenge().nonce
            header = f"Authorization: {build_credentials(nonce=nonce)}"
            again = build_request("REGISTER", extra=(header,))
            assert auth.diameter_www_authorize(again, "siphub.net")
            assert not auth.diameter_www_authorize(again, "siphub.net")
    assert lines(caplog) == []


def test_wrong_passwords_are_no_sign(ask, caplog):
    """DISC with --rechallenge: a new challenge, which does not say stale."""
    nodes = Node("a"), Node("b")
    for node in nodes:
        node.stale = False
    with ask(*nodes) as auth:
        for _ in range(20):
            log_in(auth)
    assert lines(caplog) == []


def test_a_restart_is_no_sign(ask, caplog):
    """Of both with a new key each: what was handed out before, both refuse; what came after, nobody."""
    known = set()
    nodes = Node("a", known), Node("b", known)
    with ask(*nodes) as auth:
        old = [auth.diameter_www_authorize(build_request("REGISTER"), "siphub.net") for _ in range(2)]
        known.clear()
        for decision in old:
            nonce = parse_reply(decision.reply).challenge().nonce
            header = f"Authorization: {build_credentials(nonce=nonce)}"
            assert not auth.diameter_www_authorize(build_request("REGISTER", extra=(header,)), "siphub.net")
        assert [log_in(auth) for _ in range(20)] == [1] * 20
    assert lines(caplog) == []


def test_one_disc_is_not_watched(ask, caplog):
    with ask(Node("a")) as auth:
        assert auth._authorizer._watch is None


def question(peer, nonce=None):
    credentials = SimpleNamespace(nonce=nonce) if nonce is not None else None
    return SimpleNamespace(connection=SimpleNamespace(peer=peer), credentials=credentials)


def challenge(nonce, stale=False):
    return (f'Digest realm="r", nonce="{nonce}"{", stale=true" if stale else ""}, qop="auth"'.encode(),)


def test_memory_is_bounded_and_challenges_that_nobody_answers_make_room(caplog):
    watch = nonce_watch.NonceWatch()
    for number in range(5000):
        watch.challenged(question("a"), challenge(f"unanswered{number}"), 0.0)
        assert len(watch.issuers) <= 256
    for now in (59.0, 61.0):
        for number in range(3):
            watch.challenged(question("a"), challenge(f"a{number}"), now)
            watch.challenged(question("b", f"a{number}"), challenge(f"b{number}", stale=True), now)
        assert len(lines(caplog)) == (now == 61.0)


def test_a_nonce_that_is_a_minute_old_is_no_sign(caplog):
    """It may have expired."""
    watch = nonce_watch.NonceWatch()
    for number in range(10):
        watch.challenged(question("a"), challenge(f"a{number}"), 100.0 * number)
        watch.challenged(
            question("b", f"a{number}"), challenge(f"b{number}", stale=True), 100.0 * number + 61
        )
    assert lines(caplog) == []


def refuse(watch, issuer, other, count, name="refused"):
    """So many nonces that one DISC hands out and the other one calls stale."""
    for number in range(count):
        watch.challenged(question(issuer), challenge(f"{name}{number}"), 0.0)
        watch.challenged(
            question(other, f"{name}{number}"), challenge(f"new {name}{number}", stale=True), 0.0
        )


def test_a_disc_that_refuses_its_own_nonces_is_no_sign(caplog):
    """It was started anew, say."""
    refuse(nonce_watch.NonceWatch(), "a", "a", 20)
    assert lines(caplog) == []


def test_where_more_are_taken_than_refused_it_is_no_sign(caplog):
    """Two DISC with one key, and a telephone that has sent some requests twice."""
    watch = nonce_watch.NonceWatch()
    for number in range(4):
        watch.challenged(question("a"), challenge(f"taken{number}"), 0.0)
        watch.authorized(question("b", f"taken{number}"), 0.0)
    refuse(watch, "a", "b", 4)
    assert lines(caplog) == []
    refuse(watch, "a", "b", 1, "one more")
    assert len(lines(caplog)) == 1
