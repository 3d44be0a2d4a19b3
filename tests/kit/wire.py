"""AA-Requests and AA-Answers by the general codec, and a SIP server's connection to DISC.

Nothing of the client stands between a test and DISC.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any, Self

from kit.machine import PATIENCE
from kit.sip import DOMAIN

from auth_diameter import Avp, Challenge, Framer, Message
from auth_diameter._core import RequestStream
from auth_diameter.disc.server import Asker, Disc

# The AVPs of the dialect.
USER_NAME, CALLING_STATION_ID, BODY_HASH = 1, 31, 112
SESSION_ID, RESULT_CODE, FAILED_AVP, DESTINATION_REALM = 263, 268, 279, 283
RESOURCE, RESPONSE, CHALLENGE, METHOD = 400, 401, 402, 403
SERVICE_TYPE, USER_GROUP, SIP_MSGID = 404, 405, 406

AA = 265  # the command
NOW = 1_800_000_000.0  # seconds since 1970


# --- questions ------------------------------------------------------------------------------------------


def aa_request(
    *avps: Avp,
    number: int = 1,
    without: tuple[int, ...] = (),
    command: int = AA,
    flags: int = 0x80,
    hop_by_hop: int | None = None,
    end_to_end: int = 0,
) -> bytes:
    """A question about alice, which is answered with a challenge.

    Args:
        avps: take the place of those of the same code, or are added.
        number: its SIP-MSGID and, where `hop_by_hop` says nothing else, its Hop-by-Hop Identifier.
        without: the codes of those that are left out.
    """
    wanted = {
        DESTINATION_REALM: Avp(DESTINATION_REALM, DOMAIN),
        SERVICE_TYPE: Avp(SERVICE_TYPE, b"6"),
        SIP_MSGID: Avp(SIP_MSGID, number.to_bytes(4, "big"), flags=0),
        USER_NAME: Avp(USER_NAME, f"alice@{DOMAIN}"),
    }
    wanted |= {avp.code: avp for avp in avps}
    chosen = [avp for code, avp in wanted.items() if code not in without]
    message = Message(
        command,
        chosen,
        application_id=1,
        flags=flags,
        hop_by_hop=number if hop_by_hop is None else hop_by_hop,
        end_to_end=end_to_end,
    )
    return message.encode()


def credentials_avps(value: str | bytes, method: str = "REGISTER") -> tuple[Avp, Avp]:
    """Credentials, and the method of their request."""
    return Avp(RESPONSE, value), Avp(METHOD, method)


def group_avps(user_name: str | bytes, group: str | bytes) -> tuple[Avp, Avp, Avp]:
    """The question whether a user is in a group."""
    return Avp(SERVICE_TYPE, b"8"), Avp(USER_GROUP, group), Avp(USER_NAME, user_name)


# --- answers --------------------------------------------------------------------------------------------


def build_answer(
    question: Message | int,
    result_code: int | None = 2001,
    *,
    challenge: bytes | None = None,
    service_type: bytes | None = b"6",
    hop_by_hop: int | None = None,
    more: tuple[Avp, ...] = (),
) -> bytes:
    """An AA-Answer to `question`, or with that SIP-MSGID."""
    if isinstance(question, Message):
        msgid = question.find(SIP_MSGID).data
        hop_by_hop = question.hop_by_hop if hop_by_hop is None else hop_by_hop
        if question.find(SERVICE_TYPE) is not None and service_type == b"6":
            service_type = bytes(question.find(SERVICE_TYPE).data)
    else:
        msgid = question.to_bytes(4, "big")
    avps = []
    if result_code is not None:
        avps.append(Avp(RESULT_CODE, result_code.to_bytes(4, "big")))
    avps.append(Avp(SIP_MSGID, bytes(msgid), flags=0))
    if service_type is not None:
        avps.append(Avp(SERVICE_TYPE, service_type))
    if challenge is not None:
        avps.append(Avp(CHALLENGE, challenge))
    message = Message(AA, [*avps, *more], application_id=1, flags=0, hop_by_hop=hop_by_hop or 0, end_to_end=0)
    return message.encode()


def result_code(answer: Message) -> int:
    """Its Result-Code."""
    return answer.find(RESULT_CODE).value


def number_of(answer: Message) -> int:
    """Its SIP-MSGID: the number of the question."""
    return int.from_bytes(answer.find(SIP_MSGID).data, "big")


def challenges_of(answer: Message) -> dict[str, Challenge]:
    """Its challenges, by algorithm and in their order."""
    found = [Challenge.parse(avp.data.removesuffix(b"\r\n")) for avp in answer.find_all(CHALLENGE)]
    return {challenge.algorithm: challenge for challenge in found}


def challenge_of(answer: Message) -> Challenge | None:
    """The first of them; None: there is none."""
    return next(iter(challenges_of(answer).values()), None)


def failed(answer: Message) -> int | None:
    """The code of the AVP in Failed-AVP; None: there is none."""
    found = answer.find(FAILED_AVP)
    return None if found is None else int.from_bytes(found.data[:4], "big")


# --- asking ---------------------------------------------------------------------------------------------


def ask_bytes(disc: Disc, *questions: bytes, now: float = NOW, one_challenge: bool = False) -> list[bytes]:
    """The answers of a DISC of this process to questions that come at once, in their order."""
    out = bytearray()
    asker = Asker(one_challenge=one_challenge)
    disc.answer(RequestStream().feed(b"".join(questions)), out, now, asker)
    return list(Framer().feed(out))


def ask(disc: Disc, *questions: bytes, **more: Any) -> list[Message]:
    """The same, decoded."""
    return [Message.decode(data) for data in ask_bytes(disc, *questions, **more)]


class Connection:
    """A SIP server's connection to DISC.

    Args:
        source: the address that it comes from.
        decode: what makes an answer of its bytes: ours, or another codec.
    """

    def __init__(
        self,
        address: tuple[str, int],
        source: str | None = None,
        decode: Callable[[bytes], Any] = Message.decode,
    ) -> None:
        self.sock = socket.create_connection(address, PATIENCE, (source, 0) if source else None)
        self.closed = False  # by DISC
        self._number = 0
        self._framer = Framer()
        self._decode = decode
        self._received: list[Any] = []

    def send(self, data: bytes) -> None:
        """Sends bytes. Where DISC has hung up, the next read finds it."""
        with contextlib.suppress(ConnectionError):
            self.sock.sendall(data)

    def receive(self) -> Any:
        """The next answer; None: DISC has hung up."""
        while not self._received and not self.closed:
            self._read()
        return self._received.pop(0) if self._received else None

    def ask(self, *avps: Avp, **changes: int) -> Message | None:
        """The answer to a question; those to earlier ones are passed over. See `aa_request`."""
        self._number += 1
        self.send(aa_request(*avps, number=self._number, **changes))
        while (answer := self.receive()) is not None and number_of(answer) != self._number:
            pass
        return answer

    def look(self) -> list[Message]:
        """The answers that are there already; `closed` says whether DISC has hung up."""
        self.sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while not self.closed:
                self._read()
        self.sock.settimeout(PATIENCE)
        found, self._received = self._received, []
        return found

    def _read(self) -> None:
        try:
            data = self.sock.recv(1 << 16)
        except ConnectionError:
            data = b""
        self.closed = not data
        self._received += map(self._decode, self._framer.feed(data))

    def close(self) -> None:
        """Ends it."""
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class AsyncConnection:
    """The same for asyncio, by streams."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._framer = Framer()

    @classmethod
    async def open(cls, address: tuple[str, int], source: str | None = None) -> Self:
        """A new one."""
        async with asyncio.timeout(PATIENCE):
            local = (source, 0) if source else None
            return cls(*await asyncio.open_connection(*address, local_addr=local))

    async def read(self) -> list[bytes]:
        """The messages that the next bytes make whole; [] where DISC has hung up."""
        while data := await asyncio.wait_for(self.reader.read(1 << 16), PATIENCE):
            if messages := list(self._framer.feed(data)):
                return messages
        return []

    async def ask(self, *avps: Avp) -> Message:
        """The answer to a question, with no other under way."""
        self.writer.write(aa_request(*avps))
        messages = await self.read()
        assert messages, "DISC has hung up"
        return Message.decode(messages[0])

    async def close(self) -> None:
        """Ends it."""
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()
