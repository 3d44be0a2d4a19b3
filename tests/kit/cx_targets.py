"""What holds for any bytes that an I-CSCF, an S-CSCF or an HSS sends with Cx, apart from MAR and MAA.

`fuzz/peers.py` has it tried with bytes that cover more and more, and `tests/disc` with random ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any, cast

from kit.cx import ALICE, ALWAYS, CX, LIR, PPR, REALM, RTR, SAR, UAR, V, ask

import auth_diameter as ad
from auth_diameter import Message, ParseError
from auth_diameter.diameter.base import Node, avp_named, result_of, value_of
from auth_diameter.disc.config import DiameterConfig
from auth_diameter.disc.hss import Hss
from auth_diameter.disc.peers import Peer, Peers
from auth_diameter.disc.server import Disc
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.delegated import DelegatedStore
from auth_diameter.store.store import Candidates, Found, Key, Realm, Spelling, User
from auth_diameter.store.url import database_name

HA1 = "0123456789abcdef0123456789abcdef"
SCSCF = f"scscf.{REALM}"
NODE = Node(host="sip.h.test", realm="h.test", vendor_applications=((V, CX),))
CLIENT = ad.Config(application="cx", origin_host=NODE.host, peers=[("hss.example.net", 3868)])
CONFIG = DiameterConfig(origin_host=f"hss.{REALM}", origin_realm=REALM, tell_ha1=(SCSCF,))
RESULTS = {
    *((None, code) for code in (2001, 3002, 3003, 3008, 5001, 5004, 5005, 5009, 5012, 5014)),
    *((V, code) for code in (2001, 2002, 5001, 5002, 5003, 5005)),
}


def _pushed(command: int, user: str) -> bytes:
    values = ALWAYS | {"User-Name": user}
    avps = [avp_named(name, value) for name, value in values.items()]
    return Message(command, avps, application_id=CX, flags=0xC0).encode()


#: One of each kind.
SEEDS = (
    ask(UAR),
    ask(SAR),
    ask(SAR, Server_Assignment_Type=5),
    ask(LIR),
    _pushed(PPR, ALICE["User-Name"]),
    _pushed(RTR, ALICE["User-Name"]),
)


class _Users:
    """The users of a DISC: alice."""

    changes = 0

    async def look_up(self, keys: Collection[Key], now: float) -> Found:
        return {key: self._value(key) for key in keys}

    @staticmethod
    def _value(key: Key) -> Any:
        match key:
            case Realm(name):
                return Spelling(REALM if name.lower() == REALM else None)
            case User(username, _, _) if username.partition("@")[0] == "alice":
                return Candidates(True, HA1)
        return Candidates(False, "f" * 32)


def take_cx(data: bytes) -> None:
    """Takes bytes as a request: DISC answers an UAR, SAR or LIR, and a SIP server a PPR or RTR."""
    try:
        message = Message.decode(data)
    except ParseError:
        return
    if not message.is_request or message.application_id != CX:
        return
    if message.command in (UAR, SAR, LIR):
        _LOOP.run_until_complete(_answer_all(message))
    elif message.command in (PPR, RTR):
        _check(message, _told(message))


_LOOP = asyncio.new_event_loop()
_LOOP.set_exception_handler(lambda loop, said: _unexpected.append(said))
_unexpected: list[dict[str, Any]] = []


async def _answer_all(message: Message) -> None:
    """Has a request answered twice by a new HSS, and by one with which alice is registered."""
    hss, peer = _hss()
    _check(message, await hss.answer(message, peer))
    _check(message, await hss.answer(message, peer))
    hss.pushes.close()
    hss, peer = _hss()
    registered = await hss.answer(Message.decode(ask(SAR)), peer)
    assert value_of(registered, "Result-Code") == 2001
    _check(message, await hss.answer(message, peer))
    hss.pushes.close()
    assert not _unexpected, _unexpected


def _hss() -> tuple[Hss, Peer]:
    peer = Peer(SCSCF, cast(Any, None), cast(Any, None))
    return Hss(cast(Disc, _Users()), Peers(CONFIG)), peer


_STORE = DelegatedStore(database_name("cx://hss.example.net"), StoreConfig(), CLIENT)


def _told(message: Message) -> Message:
    _STORE._realms = {ALICE["User-Name"]: {REALM}}
    made = _STORE._serve(NODE, message)
    assert made is not None
    is_alice = value_of(message, "User-Name") == ALICE["User-Name"]
    assert (not _STORE._realms) == is_alice, "who is told of is asked about anew, and nobody else"
    return made


def _check(asked: Message, made: Message) -> None:
    """An answer can be sent, says how it is meant, and repeats nothing that it must not."""
    encoded = made.encode()
    assert Message.decode(encoded) == made
    assert not made.is_request
    assert (made.command, made.application_id) == (asked.command, asked.application_id)
    assert (made.hop_by_hop, made.end_to_end) == (asked.hop_by_hop, asked.end_to_end)
    vendor = None if value_of(made, "Result-Code") is not None else V
    assert (vendor, result_of(made)) in RESULTS, result_of(made)
    assert HA1.encode() not in encoded
