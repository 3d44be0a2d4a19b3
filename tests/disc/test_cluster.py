"""Nonces across processes: a restart, a second node, a change of key. Real processes, asked by the client."""

import contextlib

import pytest
from kit.machine import wait_until
from kit.process import Server
from kit.sip import PASSWORD
from kit.uac import Account

import auth_diameter as ad
from auth_diameter.lab.uac import parse_reply
from auth_diameter.store.accounts import Accounts

ALICE = Account()
OLD, NEW = b"the old key of all nodes", b"the new key of all nodes"


@pytest.fixture
def db(tmp_path):
    path = tmp_path / "users.sqlite"
    with Accounts.create(path) as store:
        store.add_user("alice", "siphub.net", PASSWORD)
    return path


@pytest.fixture
def disc(db, tmp_path):
    """Starts a DISC with the given keys."""

    @contextlib.contextmanager
    def start(*keys):
        options = []
        for number, key in enumerate(keys):
            file = tmp_path / f"key{number}-{key[4:7].decode()}"
            file.write_bytes(key)
            options += ["--nonce-key", file]
        with Server("disc", "--db", db, *options) as server:
            yield server

    return start


def ask(server, data):
    with ad.AuthDiameter(ad.Config(diameter_client_host=server.where)) as auth:
        return auth.diameter_www_authorize(data, "$fd")


def answer_to(decision):
    """The request with the answer to this challenge."""
    return ALICE.request("REGISTER", ALICE.answer(decision.reply))


def test_a_restarted_disc_takes_its_own_nonces(disc):
    with disc(OLD) as server:
        request = answer_to(ask(server, ALICE.request()))
    with disc(OLD) as server:
        assert ask(server, request)
        # The very same request again is its retransmission. With other bytes around the credentials it is
        # a replay, which gets a new challenge that says stale.
        assert ask(server, request)
        replayed = ask(server, request.replace(b"Max-Forwards: 70", b"Max-Forwards: 69"))
        assert replayed.cause is ad.Cause.CHALLENGED
        assert parse_reply(replayed.reply).challenge().stale


def test_the_same_request_from_another_address_is_a_replay(disc):
    """Not a retransmission: whoever overheard it may have sent it. RFC 7616, 5.5."""
    with (
        disc(OLD) as server,
        ad.AuthDiameter(ad.Config(diameter_client_host=server.where)) as auth,
    ):
        data = answer_to(auth.diameter_www_authorize(ALICE.request(), "$fd"))
        here, there = ("192.0.2.1", 5060), ("192.0.2.2", 5060)
        asked = [
            auth.diameter_www_authorize(ad.SipRequest(data, source), "$fd")
            for source in (here, here, there, here)
        ]
        assert [decision.cause.name for decision in asked] == [
            "AUTHORIZED", "AUTHORIZED", "CHALLENGED", "AUTHORIZED",
        ]  # fmt: skip
        assert parse_reply(asked[2].reply).challenge().stale


def test_without_a_key_file_a_restart_makes_all_nonces_stale(disc):
    """RFC 7616, 3.3: without stale=true a telephone would take its right password for wrong."""
    with disc() as server:
        request = answer_to(ask(server, ALICE.request()))
    with disc() as server:
        decision = ask(server, request)
        assert decision.cause is ad.Cause.CHALLENGED
        assert parse_reply(decision.reply).challenge().stale


def test_nodes_with_one_key_take_each_others_nonces(disc):
    with disc(OLD) as first, disc(OLD) as second:
        for asked, answered in ((first, second), (second, first)):
            assert ask(answered, answer_to(ask(asked, ALICE.request())))


def test_a_change_of_key_in_three_steps_refuses_nobody(disc):
    """A node with the new key in front, then all of them, then the old one goes."""
    with disc(OLD) as before, disc(NEW, OLD) as between, disc(NEW) as after:
        assert ask(between, answer_to(ask(before, ALICE.request())))
        assert ask(after, answer_to(ask(between, ALICE.request())))
        assert ask(after, answer_to(ask(before, ALICE.request()))).cause is ad.Cause.CHALLENGED


@pytest.mark.parametrize(
    "keys", [((OLD,), (OLD,)), ((OLD,), (NEW,)), ((), ())], ids=["same", "other", "none"]
)
def test_nodes_without_a_common_key_are_noticed_by_the_client(disc, caplog, keys):
    """Every other login goes to the node that has not handed out its nonce, and is challenged again."""
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(disc(*own)) for own in keys]
        config = ad.Config(peers=[("127.0.0.1", node.port) for node in nodes])
        auth = stack.enter_context(ad.AuthDiameter(config))

        def both_are_asked():
            auth.diameter_www_authorize(answer_to(auth.diameter_www_authorize(ALICE.request(), "$fd")), "$fd")
            return all(peer.connections for peer in auth.stats().peers)

        wait_until(both_are_asked)
        for _ in range(20):
            both_are_asked()
    told = [message for message in caplog.messages if "refuse each other's nonces" in message]
    assert len(told) == (0 if keys == ((OLD,), (OLD,)) else 1)
