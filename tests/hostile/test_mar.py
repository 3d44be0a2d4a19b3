"""MAR of RFC 4740 and of Cx with bytes changed, cut out and put in: each gets an answer that can be read."""

from __future__ import annotations

import random

import pytest
from kit.captures import every_captured
from kit.cx import mar as cx_mar
from kit.mar import REALM, credentials, digest_avps, mar, result_of

from auth_diameter import Avp, Message
from auth_diameter._core import DiameterServer, ParseError
from auth_diameter.diameter.base import avp_named
from auth_diameter.disc.server import Asker, Disc
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.sqlite import SqliteStore

NOW = 1_800_000_000.0
MUTANTS = 3000
PROXY_INFO = Avp(284, [avp_named("Proxy-Host", "relay.example"), avp_named("Proxy-State", b"\1\xff")])
SEEDS = [
    mar(PROXY_INFO),
    mar(credentials("5f3c9a1d"), PROXY_INFO, User_Name="alice"),
    mar(*digest_avps("5f3c9a1d"), Avp(44, b"call", flags=0), SIP_Method="opensips-auth"),
    cx_mar(PROXY_INFO),
    *(
        each.data
        for each in every_captured()
        if each.message.command in (286, 303) and each.message.is_request
    ),
]


def mutant(drawn: random.Random) -> bytes:
    """A message with some changes; its length is right, as else it would end the stream."""
    data = bytearray(drawn.choice(SEEDS))
    for _ in range(drawn.choice((1, 1, 2, 5))):
        at = drawn.randrange(20, len(data))
        match drawn.randrange(4):
            case 0:
                data[at] = drawn.randrange(256)
            case 1:
                data[at] ^= 1 << drawn.randrange(8)
            case 2 if len(data) > 60:
                del data[at : at + 4 * drawn.randrange(1, 10)]
            case _:
                start = drawn.randrange(20, len(data), 4)
                data[at & ~3 : at & ~3] = data[start : start + 4 * drawn.randrange(1, 20)]
    data += bytes(-len(data) % 4)
    data[1:4] = len(data).to_bytes(3, "big")
    return bytes(data)


@pytest.fixture
def disc():
    with Accounts.open(":memory:", writable=True) as store:
        store.add_user("alice", REALM, "wonderland")
        yield Disc(SqliteStore(store.database))


@pytest.mark.parametrize("seed", range(4))
def test_each_mutant_is_answered(disc, seed):
    """With Failed-AVP and Proxy-Info copied from it, an answer is still a message, of the same command."""
    drawn = random.Random(seed)
    stream = DiameterServer("disc.siphub.net", REALM).stream()
    stream.tells_ha1 = bool(seed & 1)
    stream.takes_any_nonce = bool(seed & 2)
    for _ in range(MUTANTS):
        data = mutant(drawn)
        (request,) = stream.feed(data)
        if isinstance(request, bytes):  # of Cx, and the peer is not told HA1
            assert request == data
            continue
        disc.answer([request], out := bytearray(), NOW, Asker("sip.example.net", one_challenge=True))
        maa = Message.decode(bytes(out))
        asked = Message.decode(data[:1] + (20).to_bytes(3, "big") + data[4:20])
        assert (maa.command, maa.hop_by_hop, maa.end_to_end) == (
            asked.command,
            asked.hop_by_hop,
            asked.end_to_end,
        )
        if maa.find(297) is None:
            assert 1000 <= result_of(maa) < 6000
        assert repr(request)
        for failed in maa.find_all(279):
            try:
                assert failed.avps
            except ParseError:
                pytest.fail(f"Failed-AVP cannot be read: {data.hex()}")
