"""Requests of Cx as an S-CSCF and an I-CSCF send them, and what they read in the answers."""

from __future__ import annotations

import asyncio
from typing import Any, Self

from kit.mar import PROXIABLE, REALM, REQUEST, RawPeer

from auth_diameter import Avp, Message
from auth_diameter.diameter.base import SUCCESS, Node, answer, avp_named, result_of, value_of
from auth_diameter.diameter.cx import common

V = 10415  # 3GPP
CX = 16777216
UAR, SAR, LIR, MAR, RTR, PPR = range(300, 306)

#: What cdp of Kamailio sends in every request.
ALWAYS = {
    "Session-Id": "scscf.siphub.net;1;2",
    "Origin-Host": "scscf.siphub.net",
    "Origin-Realm": REALM,
    "Destination-Realm": REALM,
    "Auth-Session-State": 1,
}
ALICE = {"Public-Identity": f"sip:alice@{REALM}", "User-Name": f"alice@{REALM}"}
SERVER = f"sip:scscf.{REALM}"
#: The same in a MAR.
REGISTER = {
    **ALWAYS,
    **ALICE,
    "SIP-Number-Auth-Items": 1,
    "SIP-Authentication-Scheme": "SIP Digest",
    "Server-Name": SERVER,
}
REQUESTS: dict[int, dict[str, Any]] = {
    UAR: {**ALWAYS, **ALICE, "Visited-Network-Identifier": REALM.encode()},
    SAR: {
        **ALWAYS,
        **ALICE,
        "Server-Name": SERVER,
        "Server-Assignment-Type": 1,
        "User-Data-Already-Available": 0,
    },
    LIR: {**ALWAYS, "Public-Identity": f"sip:alice@{REALM}"},
    MAR: REGISTER,
}
OF_3GPP = (
    "Public-Identity",
    "SIP-Number-Auth-Items",
    "SIP-Authentication-Scheme",
    "Server-Name",
    "Visited-Network-Identifier",
    "User-Authorization-Type",
    "Server-Assignment-Type",
    "User-Data-Already-Available",
)


def ask(
    command: int, *more: Avp, flags: int = REQUEST | PROXIABLE, hop_by_hop: int = 7, **changed: Any
) -> bytes:
    """A request, with other values for some AVPs, by name with _ for -; None: without it."""
    values = REQUESTS[command] | {name.replace("_", "-"): value for name, value in changed.items()}
    avps = [
        avp_named(name, value, V if name in OF_3GPP else None)
        for name, value in values.items()
        if value is not None and name != "SIP-Authentication-Scheme"
    ]
    if scheme := values.get("SIP-Authentication-Scheme"):
        avps.append(avp_named("SIP-Auth-Data-Item", [avp_named("SIP-Authentication-Scheme", scheme, V)], V))
    message = Message(
        command, [*avps, *more], application_id=CX, flags=flags, hop_by_hop=hop_by_hop, end_to_end=9
    )
    return message.encode()


def mar(*more: Avp, flags: int = REQUEST | PROXIABLE, **changed: Any) -> bytes:
    """A MAR, with other values for some AVPs, by name with _ for -; None: without it."""
    return ask(MAR, *more, flags=flags, **changed)


def named(message: Message) -> dict[str, Any]:
    """The values of a message by name."""
    return {avp.name: avp.value for avp in message.avps}


def said(message: Message) -> tuple[str, int | None, str | None]:
    """How an answer was meant: "base", or "3gpp" for an Experimental-Result; its code; and Server-Name."""
    kind = "3gpp" if value_of(message, "Result-Code") is None else "base"
    return kind, result_of(message), named(message).get("Server-Name")


def digest(message: Message) -> dict[str, Any]:
    """What SIP-Digest-Authenticate has, by name."""
    for avp in named(message)["SIP-Auth-Data-Item"]:
        if avp.name == "SIP-Digest-Authenticate":
            return {inner.name: inner.value for inner in avp.value}
    return {}


class Scscf(RawPeer):
    """An S-CSCF, which takes what is pushed: it answers with `result`, and keeps it in `pushed`."""

    result: int | Avp | None = SUCCESS

    @classmethod
    async def start(cls, address: tuple[str, int], host: str = f"scscf.{REALM}") -> Self:
        """One that has exchanged capabilities."""
        peer = await cls.connect(address, host)
        peer.node = Node(host=host, realm=REALM, vendor_applications=((V, CX),))
        assert value_of(await peer.ask(peer.cer()), "Result-Code") == SUCCESS
        return peer

    async def pushed(self) -> Message:
        """The next request, which is answered."""
        asked = await self.receive()
        assert asked.is_request
        if self.result is not None:
            self.send(answer(self.node, asked, self.result, *common()))
        return asked

    async def hears_nothing(self, seconds: float) -> bool:
        """Whether nothing comes for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self.receive()
        except TimeoutError:
            return True
        return False
