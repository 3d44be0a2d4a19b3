"""Several DISC as programs, with one Redis: what each has seen, all have seen."""

import contextlib
import itertools
import re
import signal

import pytest
from kit.machine import wait_until
from kit.process import Server, assert_one_line, run_ours
from kit.redis_server import RedisServer
from kit.sip import PASSWORD
from kit.uac import Account

import auth_diameter as ad

ALICE = Account()
HERE = ("192.0.2.1", 5060)


@pytest.fixture(scope="module")
def redis():
    with RedisServer() as server:
        yield server


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "nonce.key"
    path.write_bytes(b"the same key for all nodes")
    path.chmod(0o600)
    return path


@pytest.fixture
def start(db, key, redis):
    """Starts so many DISC."""
    redis.say("FLUSHALL")
    with contextlib.ExitStack() as stack:
        yield lambda count, *options: [
            stack.enter_context(
                Server(
                    "disc", "--db", db, "--nonce-key", key, "--state", redis.url, "--metrics", "0", *options
                )
            )
            for _ in range(count)
        ]


class Node:
    """A client of one DISC, which counts no guesses itself.

    Attributes:
        server: the DISC.
    """

    def __init__(self, server):
        self.server = server
        self._config = ad.Config(diameter_client_host=server.where, tell_source=True, penalty=False)

    def ask(self, data):
        with ad.AuthDiameter(self._config) as auth:
            return auth.diameter_www_authorize(ad.SipRequest(data, HERE), "$fd")

    def answer(self, password=PASSWORD):
        """A request with credentials for a challenge of this DISC."""
        return ALICE.request("REGISTER", ALICE.answer(self.ask(ALICE.request()).reply, password=password))

    def attempt(self, password=PASSWORD):
        return self.ask(self.answer(password)).cause.name

    def metric(self, name):
        found = re.search(
            rf"^auth_diameter_state_{re.escape(name)} (\S+)$", self.server.metrics(), re.MULTILINE
        )
        return float(found[1])


@pytest.fixture
def nodes(start):
    return lambda count, *options: [Node(server) for server in start(count, *options)]


def test_a_replay_at_another_disc_is_challenged_anew(nodes):
    first, second = nodes(2)
    request = first.answer()
    assert first.ask(request).cause is ad.Cause.AUTHORIZED
    assert second.ask(request).cause is ad.Cause.AUTHORIZED, "its retransmission"
    replay = request.replace(b"Max-Forwards: 70", b"Max-Forwards: 69")
    assert second.ask(replay).cause is ad.Cause.CHALLENGED


def test_guesses_at_three_disc_add_up(nodes):
    three = nodes(3)
    assert [node.attempt("guess") for node in itertools.islice(itertools.cycle(three), 5)] == [
        "FORBIDDEN"
    ] * 5
    assert [node.attempt() for node in three] == ["PENALIZED"] * 3


def test_one_command_for_an_answer_and_none_for_a_challenge(nodes, redis):
    (node,) = nodes(1)
    before = redis.commands()
    request = node.answer()
    assert redis.commands() == before
    node.ask(request)
    assert redis.commands() == before + 1
    assert (node.metric("up"), node.metric("turns_total")) == (1, 1)


def test_while_redis_is_away_each_goes_on(nodes, redis):
    first, second = nodes(2)
    redis.process.send(signal.SIGSTOP)
    try:
        request = first.answer()
        assert first.ask(request).cause is ad.Cause.AUTHORIZED
        assert first.metric("up") == 0
        assert first.metric('questions_total{by="alone"}') == 1
        assert [first.attempt() for _ in range(3)] == ["AUTHORIZED"] * 3
    finally:
        redis.process.send(signal.SIGCONT)
    wait_until(lambda: first.metric("up") == 1)
    assert first.metric('late_total{outcome="written"}') == 4
    replay = request.replace(b"Max-Forwards: 70", b"Max-Forwards: 69")
    assert second.ask(replay).cause is ad.Cause.CHALLENGED
    assert len(re.findall("is away", first.server.err())) == 1
    assert len(re.findall("is back", first.server.err())) == 1


def test_a_new_key_by_sighup_is_that_of_the_hashes_too(nodes, key):
    first, second = nodes(2)
    key.write_bytes(b"another key for all nodes")
    for node in (first, second):
        node.server.send(signal.SIGHUP)
        node.server.wait_for_line("everything was reloaded")
    for number in range(5):
        (first, second)[number % 2].attempt("guess")
    assert [node.attempt() for node in (first, second)] == ["PENALIZED"] * 2


def test_it_ends_as_it_would_without(nodes):
    (node,) = nodes(1)
    node.attempt()
    done = node.server.stop()
    assert done.status == 0
    assert "stopped; answered: CHALLENGED 1, AUTHORIZED 1" in done.err


def test_without_a_nonce_key_there_is_nothing_to_share(db, redis):
    done = run_ours("disc", "--db", db, "--state", redis.url)
    assert_one_line(done, "--state", "--nonce-key")


def test_a_url_of_something_else(db, key):
    done = run_ours("disc", "--db", db, "--nonce-key", key, "--state", "http://u:s3cret@state/0")
    assert_one_line(done, "--state: expected a URL with redis://")
    assert "s3cret" not in done.err


def test_a_password_in_the_url_is_not_shown(db, key, free_port):
    url = f"redis://disc:s3cret@127.0.0.1:{free_port}/0"
    with Server("disc", "--db", db, "--nonce-key", key, "--state", url) as server:
        assert Node(server).attempt() == "AUTHORIZED"
        done = server.stop()
    assert "is away" in done.err
    assert "s3cret" not in done.err
