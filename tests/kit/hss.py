"""Diameter servers for tests: the base protocol, MAR of Cx (TS 29.228) or of RFC 4740, their own requests.

Each runs in a thread of its own. They are doubles: programs of others are in tests/peers.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from auth_diameter import Avp, Message, ha1
from auth_diameter.diameter.base import (
    CAPABILITIES_EXCHANGE,
    SUCCESS,
    Node,
    answer,
    avp_named,
    value_of,
)
from auth_diameter.diameter.capabilities import cea
from auth_diameter.diameter.cx import CX, VENDOR

MULTIMEDIA_AUTH, SERVER_ASSIGNMENT = 303, 284
USER_UNKNOWN = 5001

NODE = Node(host="hss.h.test", realm="h.test", vendor_applications=((VENDOR, CX),))


def of_3gpp(name: str, data: Any) -> Avp:
    return avp_named(name, data, VENDOR)


def item(*avps: Avp, scheme: str = "SIP Digest") -> Avp:
    return of_3gpp("SIP-Auth-Data-Item", (of_3gpp("SIP-Authentication-Scheme", scheme), *avps))


def digest(realm: str, secret: str | None, *more: Avp) -> Avp:
    """SIP-Digest-Authenticate; without HA1 if that is None."""
    avps = [avp_named("Digest-Realm", realm), avp_named("Digest-Qop", "auth"), *more]
    if secret is not None:
        avps.append(avp_named("Digest-HA1", secret))
    return of_3gpp("SIP-Digest-Authenticate", tuple(avps))


def common() -> tuple[Avp, Avp]:
    inner = (avp_named("Vendor-Id", VENDOR), avp_named("Auth-Application-Id", CX))
    return avp_named("Vendor-Specific-Application-Id", inner), avp_named("Auth-Session-State", 1)


def experimental(code: int) -> Avp:
    inner = (avp_named("Vendor-Id", VENDOR), avp_named("Experimental-Result-Code", code))
    return avp_named("Experimental-Result", inner)


class Hss:
    """An HSS.

    Attributes:
        node: who it is.
        port: where it listens, on 127.0.0.1.
        passwords: by username and realm.
        algorithms: for which it has HA1.
        asked: the MAR that came.
        told: the answers to its own requests.
        base: the commands of the base protocol that came.
        more: AVPs that each success has as well.
        realm: Digest-Realm of all answers; None: that of the user.
        result: a Result-Code for all MAR instead; None: none.
        results: the same for the MAR of some usernames.
        answers: whether MAR are answered.
        unanswered: usernames whose MAR are not.
        ahead: requests of its own that go in one write with the next answer to a command, before it.
        behind: the same, after it.
    """

    node = NODE

    def __init__(self) -> None:
        self.port = 0
        self.passwords: dict[tuple[str, str], str] = {}
        self.algorithms: tuple[str, ...] = ("MD5",)
        self.asked: list[Message] = []
        self.told: list[Message] = []
        self.base: list[int] = []
        self.more: Sequence[Avp] = ()
        self.realm: str | None = None
        self.user_name: str | None = None
        self.result: int | None = None
        self.results: dict[str, int] = {}
        self.answers = True
        self.unanswered: set[str] = set()
        self.ahead: dict[int, Message] = {}
        self.behind: dict[int, Message] = {}
        self._writers: list[asyncio.StreamWriter] = []
        self._loop = asyncio.new_event_loop()
        self._got = threading.Event()

    # ------------------------------------------------------------------ the server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            while True:
                head = await reader.readexactly(4)
                message = Message.decode(head + await reader.readexactly(int.from_bytes(head[1:], "big") - 4))
                told = self._answer(message)
                if told is not None:
                    command = message.command
                    together = self.ahead.pop(command, None), told, self.behind.pop(command, None)
                    writer.write(b"".join(each.encode() for each in together if each is not None))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.remove(writer)
            writer.close()

    def _answer(self, message: Message) -> Message | None:
        if not message.is_request:
            self.told.append(message)
            self._got.set()
            return None
        if message.application_id == 0:
            self.base.append(message.command)
        if message.command == CAPABILITIES_EXCHANGE:
            return cea(self.node, "127.0.0.1", message)
        if message.application_id == 0:
            return answer(self.node, message, SUCCESS)
        self.asked.append(message)
        is_answered = self.answers and value_of(message, "User-Name") not in self.unanswered
        return self._authenticate(message) if is_answered else None

    def _authenticate(self, message: Message) -> Message:
        name = str(value_of(message, "User-Name"))
        realm = str(value_of(message, "Destination-Realm"))
        result = self.results.get(name, self.result)
        if result is not None:
            return answer(NODE, message, result, *common())
        password = self.passwords.get((name, realm))
        if password is None:
            return answer(NODE, message, experimental(USER_UNKNOWN), *common())
        more = []
        if "SHA-256" in self.algorithms:
            more = [
                of_3gpp("Alternate-Digest-Algorithm", "SHA-256"),
                of_3gpp("Alternate-Digest-HA1", ha1(name, realm, password, algorithm="SHA-256")),
            ]
        return answer(
            NODE,
            message,
            SUCCESS,
            *common(),
            avp_named("User-Name", self.user_name or name),
            *self.more,
            item(digest(self.realm or realm, ha1(name, realm, password), *more)),
        )

    # ------------------------------------------------------------------ its own requests

    def ask(self, command: int, *avps: Avp) -> Message:
        """Asks the client; the answer."""
        self._got.clear()
        message = self.request(command, *avps)
        self._loop.call_soon_threadsafe(lambda: self._writers[-1].write(message.encode()))
        assert self._got.wait(5.0)
        return self.told[-1]

    def request(self, command: int, *avps: Avp) -> Message:
        """A request of its own."""
        return Message(
            command,
            [avp_named("Session-Id", "hss.h.test;1;2"), *common(), *NODE.origin(), *avps],
            application_id=CX,
            flags=0xC0,
            hop_by_hop=77,
        )

    def hang_up(self) -> None:
        """Closes all connections."""
        self._loop.call_soon_threadsafe(lambda: [writer.close() for writer in self._writers])


class SipServer(Hss):
    """A server of RFC 4740 that delegates, or checks nothing.

    Attributes:
        delegates: whether challenges have HA1.
        nonces: those that it made.
        verdict: Result-Code for credentials.
        authenticate: further AVPs of SIP-Authenticate, by name and value.
        assigned: the SAR that came.
        assignment: Result-Code for them; None: they are not answered.
    """

    node = Node(host="disc.h.test", realm="h.test", applications=(6,))

    def __init__(self) -> None:
        super().__init__()
        self.delegates = True
        self.nonces: list[str] = []
        self.verdict = 4001
        self.authenticate: Sequence[tuple[str, Any]] = ()
        self.assigned: list[Message] = []
        self.assignment: int | None = SUCCESS

    def _answer(self, message: Message) -> Message | None:
        if not message.is_request or message.command != SERVER_ASSIGNMENT:
            return super()._answer(message)
        self.assigned.append(message)
        if self.assignment is None:
            return None
        base = (avp_named("Auth-Application-Id", 6), avp_named("Auth-Session-State", 1))
        return answer(self.node, message, self.assignment, *base)

    def _authenticate(self, message: Message) -> Message:
        named = {avp.name: avp.value for avp in message.avps}
        base = (avp_named("Auth-Application-Id", 6), avp_named("Auth-Session-State", 1))
        if "SIP-Auth-Data-Item" in named:
            return answer(self.node, message, self.verdict, *base)
        realm = str(self.realm or named["Destination-Realm"])
        user = named["SIP-AOR"].removeprefix("sip:").partition("@")[0]
        nonce = f"nonce{len(self.nonces)}"
        self.nonces.append(nonce)
        values: list[tuple[str, Any]] = [
            ("Digest-Realm", realm),
            ("Digest-Nonce", nonce),
            ("Digest-Qop", "auth"),
        ]
        if self.delegates:
            values.append(("Digest-HA1", ha1(user, realm, self.passwords[user, realm])))
        values += self.authenticate
        challenge = avp_named("SIP-Authenticate", tuple(avp_named(*value) for value in values))
        inner = (avp_named("SIP-Authentication-Scheme", 0), challenge)
        more = [] if self.user_name is None else [avp_named("User-Name", self.user_name)]
        item_avp = avp_named("SIP-Auth-Data-Item", inner)
        return answer(self.node, message, 1001, *base, *more, *self.more, item_avp)


_S = TypeVar("_S", bound=Hss)


@contextmanager
def running(kind: type[_S], ssl: Any = None) -> Iterator[_S]:
    """A server that runs; with TLS if there is a context."""
    hss = kind()
    ready = threading.Event()

    async def begin() -> asyncio.Server:
        server = await asyncio.start_server(hss._serve, "127.0.0.1", 0, ssl=ssl)
        hss.port = server.sockets[0].getsockname()[1]
        return server

    def run() -> None:
        server = hss._loop.run_until_complete(begin())
        hss._loop.call_soon(ready.set)  # from here on it can be stopped
        hss._loop.run_forever()
        server.close()
        for left in asyncio.all_tasks(hss._loop):
            left.cancel()
        hss._loop.run_until_complete(asyncio.sleep(0.01))
        hss._loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(5.0)
        yield hss
    finally:
        hss._loop.call_soon_threadsafe(hss._loop.stop)
        thread.join()
