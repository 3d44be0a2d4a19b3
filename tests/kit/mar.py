"""MAR of RFC 4740 as a SIP server sends them, and a peer that sends them over TCP."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from typing import Any, Self

from kit.machine import PATIENCE

from auth_diameter import Avp, Framer, Message
from auth_diameter._core import digest_response, ha1
from auth_diameter.diameter.base import DISCONNECT_PEER, SUCCESS, Node, answer, avp_named, value_of
from auth_diameter.diameter.capabilities import cer

REALM = "siphub.net"
ALICE = ("alice", "wonderland")
MULTIMEDIA_AUTH, SIP = 286, 6
REQUEST, PROXIABLE, ERROR, RETRANSMITTED = 0x80, 0x40, 0x20, 0x10
SERVER_URI = avp_named("SIP-Server-URI", f"sip:registrar.{REALM}")

#: A registrar's; without SIP-Server-URI it is a proxy's.
REGISTER = {
    "Session-Id": "sip.example.net;1;2",
    "Auth-Application-Id": SIP,
    "Auth-Session-State": 1,
    "Origin-Host": "sip.example.net",
    "Origin-Realm": "example.net",
    "Destination-Realm": REALM,
    "SIP-AOR": f"sip:alice@{REALM}",
    "SIP-Method": "REGISTER",
    "SIP-Server-URI": f"sip:registrar.{REALM}",
}


def mar(
    *more: Avp, flags: int = REQUEST | PROXIABLE, hop_by_hop: int = 7, end_to_end: int = 9, **changed: Any
) -> bytes:
    """A MAR of a registrar, with other values for some AVPs, by name with _ for -; None: without it."""
    values = REGISTER | {name.replace("_", "-"): value for name, value in changed.items()}
    avps = [avp_named(name, value) for name, value in values.items() if value is not None]
    return Message(
        MULTIMEDIA_AUTH,
        [*avps, *more],
        application_id=SIP,
        flags=flags,
        hop_by_hop=hop_by_hop,
        end_to_end=end_to_end,
    ).encode()


def digest_avps(
    nonce: str,
    user: tuple[str, str] = ALICE,
    *,
    method: str = "REGISTER",
    realm: str = REALM,
    uri: str = f"sip:{REALM}",
    count: int = 1,
    **changed: Any,
) -> list[Avp]:
    """The AVPs of SIP-Authorization for a user, with other values for some; None: without it."""
    name, password = user
    nc, cnonce = f"{count:08x}", "0a4f"
    response = digest_response(
        ha1(name, realm, password), method, uri, nonce, qop="auth", nc=nc, cnonce=cnonce
    )
    values = {
        "Digest-Username": name,
        "Digest-Realm": realm,
        "Digest-Nonce": nonce,
        "Digest-URI": uri,
        "Digest-Response": response,
        "Digest-Algorithm": "MD5",
        "Digest-CNonce": cnonce,
        "Digest-Qop": "auth",
        "Digest-Nonce-Count": nc,
        "Digest-Method": method,
    }
    values |= {name.replace("_", "-"): value for name, value in changed.items()}
    return [avp_named(name, value) for name, value in values.items() if value is not None]


def item(avps: Sequence[Avp], scheme: int = 0) -> Avp:
    """SIP-Auth-Data-Item with these AVPs in its SIP-Authorization."""
    inner = (avp_named("SIP-Authentication-Scheme", scheme), avp_named("SIP-Authorization", avps))
    return avp_named("SIP-Auth-Data-Item", inner)


def credentials(nonce: str, user: tuple[str, str] = ALICE, **changed: Any) -> Avp:
    """SIP-Auth-Data-Item with the credentials of a user; see `digest_avps`."""
    return item(digest_avps(nonce, user, **changed))


def authenticate(maa: Message) -> dict[str, Any]:
    """The values of SIP-Authenticate by name."""
    found = value_of(maa, "SIP-Auth-Data-Item")
    assert found is not None, maa
    (challenge,) = (avp for avp in found if avp.name == "SIP-Authenticate")
    return {
        avp.name: avp.data.decode() if isinstance(avp.value, bytes) else avp.value for avp in challenge.value
    }


def nonce_of(maa: Message) -> str:
    return str(authenticate(maa)["Digest-Nonce"])


def result_of(message: Message) -> int:
    return int(value_of(message, "Result-Code"))


class RawPeer:
    """A peer that opens a connection, and sends what it is told.

    Attributes:
        node: as it calls itself.
        arrived: what came and was not taken.
    """

    def __init__(self, node: Node, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.node = node
        self.arrived: list[Message] = []
        self._reader = reader
        self.writer = writer
        self._framer = Framer()

    @classmethod
    async def connect(
        cls, address: tuple[str, int], host: str = "sip.example.net", tls: ssl.SSLContext | None = None
    ) -> Self:
        name = None if tls is None else "localhost"
        reader, writer = await asyncio.open_connection(*address, ssl=tls, server_hostname=name)
        return cls(Node(host=host, realm="example.net", applications=(SIP,)), reader, writer)

    @classmethod
    async def open(cls, address: tuple[str, int], host: str = "sip.example.net", **how: Any) -> Self:
        """One that has exchanged capabilities."""
        peer = await cls.connect(address, host, **how)
        assert result_of(await peer.ask(peer.cer())) == SUCCESS
        return peer

    def cer(self) -> bytes:
        return cer(self.node, "127.0.0.1", 1).encode()

    def send(self, *messages: bytes | Message) -> None:
        self.writer.write(b"".join(m.encode() if isinstance(m, Message) else m for m in messages))

    async def receive(self) -> Message:
        """The next message."""
        while not self.arrived:
            data = await asyncio.wait_for(self._reader.read(65536), PATIENCE)
            assert data, "closed"
            self.arrived += [Message.decode(message) for message in self._framer.feed(data)]
        return self.arrived.pop(0)

    async def ask(self, message: bytes | Message) -> Message:
        self.send(message)
        return await self.receive()

    async def leave(self) -> None:
        """Answers a DPR, if that is what comes, and waits for the end."""
        asked = await self.receive()
        assert asked.command == DISCONNECT_PEER
        self.send(answer(self.node, asked, SUCCESS))
        await self.ended()

    async def ended(self) -> None:
        """Waits until the other side has closed the connection."""
        assert await asyncio.wait_for(self._reader.read(), PATIENCE) == b""
        await self.close()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()
