"""MAR of RFC 4740 at several DISC with shared state: failover is no replay; foreign nonces do not count."""

from __future__ import annotations

import pytest
from kit.asker import KEY
from kit.mar import ALICE, REALM, RETRANSMITTED, authenticate, credentials, digest_avps, mar, result_of
from kit.redis_server import RedisServer
from kit.shared_state import Server
from kit.wire import NOW

from auth_diameter import Message
from auth_diameter._core import DiameterServer
from auth_diameter.disc.server import Asker, Disc
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.verifier.config import VerifierConfig
from auth_diameter.verifier.nonces import Nonces

ASKER = Asker("relay.example.net", one_challenge=True)


@pytest.fixture(scope="module")
def redis():
    with RedisServer() as server:
        yield server


@pytest.fixture
def ask(redis):
    """The MAA of one of two DISC to a MAR: `ask(0, mar())`."""
    redis.say("FLUSHALL")
    with Accounts.open(":memory:", writable=True) as store:
        store.add_user(ALICE[0], REALM, ALICE[1])
        server, settings = Server(redis), {"limit_accounts": True}
        config, users = VerifierConfig(**settings), SqliteStore(store.database)
        discs = [Disc(users, config, Nonces(KEY), server.state(**settings)) for _ in range(2)]

        def answer(number, data, *, takes_any_nonce=False):
            stream = DiameterServer(f"disc{number}.siphub.net", REALM).stream()
            stream.takes_any_nonce = takes_any_nonce
            discs[number].answer(stream.feed(data), out := bytearray(), NOW, ASKER)
            return Message.decode(bytes(out))

        yield answer
        server.close()


def test_a_failover_is_no_replay(ask):
    """RFC 6733, 5.5.4: the alternate server gets the T flag, and the same End-to-End Identifier."""
    right = credentials(authenticate(ask(0, mar()))["Digest-Nonce"])
    assert result_of(ask(0, mar(right))) == 2001
    assert result_of(ask(1, mar(right, flags=0xC0 | RETRANSMITTED, hop_by_hop=99))) == 2001
    replay = ask(1, mar(right, flags=0xC0 | RETRANSMITTED, end_to_end=10))
    assert (result_of(replay), authenticate(replay)["Digest-Stale"]) == (1001, "true")


@pytest.mark.parametrize("nonce", ["n", "VG9pd3BPQ3Rjanc", "0" * 56, "x" * 1024])
def test_a_nonce_of_the_sip_server_is_not_counted(ask, nonce):
    """Of whatever length: it is none of ours, whose bytes the state looks at. Guesses do count."""

    def flat(password, end_to_end):
        avps = digest_avps(nonce, ("alice", password))
        return mar(*avps, SIP_Method="opensips-auth", SIP_AOR=f"alice@{REALM}", end_to_end=end_to_end)

    for number in range(4):
        assert result_of(ask(number & 1, flat("wonderland", number), takes_any_nonce=True)) == 2001
    guesses = [
        result_of(ask(number & 1, flat("guess", 10 + number), takes_any_nonce=True)) for number in range(8)
    ]
    assert set(guesses) == {4001}
    assert result_of(ask(0, flat("wonderland", 30), takes_any_nonce=True)) == 4001
