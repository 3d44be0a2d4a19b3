"""A SIP telephone: who calls, and how requests and replies travel; blocking, and for asyncio."""

from __future__ import annotations

import asyncio
import re
import select
import socket
import time
from collections.abc import Iterable
from typing import Any, Self, cast

from kit.machine import PATIENCE
from kit.sip import DOMAIN, PASSWORD

from auth_diameter import Challenge
from auth_diameter.lab.uac import Reply, authorization, make_request, parse_reply

LOOPBACK = "127.0.0.1"
T1, T2 = 0.5, 4.0  # seconds: the first and the longest time to a retransmission (RFC 3261, 17.1.2.1)
_BUFFER = 4 << 20  # bytes of replies that wait in the kernel

Address = tuple[str, int]
Header = tuple[str, str]


class Account:
    """Who calls: makes requests, and answers challenges, however they travel.

    Args:
        name: and `domain`: of the address.
        local: where replies are to go.
    """

    def __init__(
        self,
        name: str = "alice",
        password: str = PASSWORD,
        domain: str = DOMAIN,
        local: Address = (LOOPBACK, 5060),
    ) -> None:
        self.name, self.password, self.domain, self.local = name, password, domain, local

    @property
    def uri(self) -> str:
        """Of the registrar."""
        return f"sip:{self.domain}"

    def request(self, method: str = "REGISTER", *headers: Header, **options: Any) -> bytes:
        """A request of its own branch, tag and Call-ID.

        Args:
            options: of `make_request`.
        """
        options = {"uri": self.uri, "account": f"{self.name}@{self.domain}", "local": self.local} | options
        return make_request(method, headers=headers, **options)

    def answer(
        self, challenged: Reply | Challenge | bytes, method: str = "REGISTER", **changes: Any
    ) -> Header:
        """The header that answers a challenge, or a reply that has one.

        Args:
            changes: of `authorization`; also another `username`, `password` or `uri`.
        """
        reply = parse_reply(challenged) if isinstance(challenged, bytes) else challenged
        challenge = reply if isinstance(reply, Challenge) else reply.challenge()
        assert challenge is not None, reply
        proxy = reply.status == 407 if isinstance(reply, Reply) else method != "REGISTER"
        values = {"username": self.name, "password": self.password, "uri": self.uri} | changes
        value = authorization(challenge, method=method, **values)
        return "Proxy-Authorization" if proxy else "Authorization", value


class Uac(Account):
    """A telephone with a UDP socket.

    Args:
        to: the address of the SIP server.
        host: its own. A port 0 is one that the kernel chooses.
        port: its own. A port 0 is one that the kernel chooses.
        account: of `Account`.
    """

    def __init__(
        self, to: Address | None = None, host: str = LOOPBACK, port: int = 0, **account: Any
    ) -> None:
        self.to = to
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self.sock.bind((host, port))
        super().__init__(**account, local=self.sock.getsockname()[:2])

    def send(self, data: bytes, to: Address | None = None) -> None:
        """Sends a datagram."""
        address = self.to if to is None else to
        assert address is not None, "to whom?"
        self.sock.sendto(data, address)

    def receive_bytes(self, timeout: float = PATIENCE) -> bytes | None:
        """The next datagram; None: none came in so many seconds."""
        self.sock.settimeout(timeout)
        try:
            return self.sock.recv(1 << 16)
        except (TimeoutError, BlockingIOError):
            return None

    def receive(self) -> Reply:
        """The next reply."""
        data = self.receive_bytes()
        assert data is not None, "no reply came"
        return parse_reply(data)

    def ask(self, data: bytes, to: Address | None = None) -> Reply:
        """Sends a request once; returns its reply."""
        self.send(data, to)
        reply = self.receive()
        assert branch_of(reply) == branch_of(data), f"a reply to another request: {reply}"
        return reply

    def call(self, method: str = "REGISTER", *headers: Header, **options: Any) -> Reply:
        """Sends a request of this account; returns its reply.

        Args:
            options: of `Account.request`.
        """
        return self.ask(self.request(method, *headers, **options))

    def log_in(self, method: str = "REGISTER", **changes: Any) -> tuple[Reply, Reply]:
        """Does both phases of digest; returns the two replies.

        Args:
            changes: of `Account.answer`.
        """
        first = self.call(method)
        return first, self.call(method, self.answer(first, method, **changes))

    def exchange(self, *requests: bytes) -> list[Reply]:
        """The replies to requests that are sent at once; see `exchange`."""
        return exchange((self, request) for request in requests)

    def close(self) -> None:
        """Closes its socket."""
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def branch_of(message: Reply | bytes) -> str:
    """The branch of its top Via: a reply has that of its request (RFC 3261, 17.1.3)."""
    via = message if isinstance(message, bytes) else (message.header("Via") or "").encode()
    found = re.search(rb";branch=([^;,\s]+)", via)
    assert found, message
    return found[1].decode()


def collect(uacs: Iterable[Uac], found: dict[str, list[Reply]], seconds: float = 0.0) -> None:
    """Adds the replies that are there, or the first that come in that time, to `found`, by branch."""
    by_socket = {uac.sock: uac for uac in uacs}
    while ready := select.select(by_socket, [], [], seconds)[0]:
        for sock in ready:
            while (data := by_socket[sock].receive_bytes(0.0)) is not None:
                found.setdefault(branch_of(data), []).append(parse_reply(data))
        seconds = 0.0


def exchange(calls: Iterable[tuple[Uac, bytes]]) -> list[Reply]:
    """The first reply to each request, in the order of the requests, which are sent at once.

    One without a reply is sent again, as a UAC does it (RFC 3261, 17.1.2.2).
    """
    calls = list(calls)
    uacs = list({uac.sock: uac for uac, _ in calls}.values())
    branches = [branch_of(data) for _, data in calls]
    assert len(set(branches)) == len(branches), "two requests of one transaction"
    found: dict[str, list[Reply]] = {}
    deadline, pause = time.monotonic() + PATIENCE, T1
    while left := [call for call, branch in zip(calls, branches, strict=True) if branch not in found]:
        assert time.monotonic() < deadline, f"{len(left)} requests have no reply"
        for number, (uac, data) in enumerate(left, 1):
            uac.send(data)
            if number % 64 == 0:
                collect(uacs, found)
        quiet = time.monotonic() + pause
        while len(found) < len(calls) and (wait := quiet - time.monotonic()) > 0:
            before = len(found)
            collect(uacs, found, wait)
            if len(found) > before:
                quiet = time.monotonic() + pause
        pause = min(2 * pause, T2)
    return [found[branch][0] for branch in branches]


class AsyncUac(Account, asyncio.DatagramProtocol):
    """A telephone for asyncio.

    Attributes:
        replies: the datagrams that came. See `Uac` for the rest.
    """

    def __init__(self, to: Address, **account: Any) -> None:
        super().__init__(**account)
        self.to = to
        self.replies: asyncio.Queue[bytes] = asyncio.Queue()

    @classmethod
    async def open(cls, to: Address, host: str = LOOPBACK, **account: Any) -> Self:
        """A new one, on the running loop; `close` it."""
        loop = asyncio.get_running_loop()
        return (await loop.create_datagram_endpoint(lambda: cls(to, **account), local_addr=(host, 0)))[1]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Of `asyncio.DatagramProtocol`."""
        self.transport = cast(asyncio.DatagramTransport, transport)
        self.local = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """Of `asyncio.DatagramProtocol`."""
        self.replies.put_nowait(data)

    def send(self, data: bytes, to: Address | None = None) -> None:
        """Sends a datagram."""
        # asyncio's own sendto leaves an empty one out.
        with self.transport.get_extra_info("socket").dup() as sock:
            sock.sendto(data, self.to if to is None else to)

    async def receive_bytes(self) -> bytes:
        """The next datagram."""
        return await asyncio.wait_for(self.replies.get(), PATIENCE)

    async def receive(self) -> Reply:
        """The next reply."""
        return parse_reply(await self.receive_bytes())

    async def call(self, method: str = "REGISTER", *headers: Header, **options: Any) -> Reply:
        """Sends a request of this account; returns its reply.

        Args:
            options: of `Account.request`.
        """
        data = self.request(method, *headers, **options)
        self.send(data)
        reply = await self.receive()
        assert branch_of(reply) == branch_of(data), f"a reply to another request: {reply}"
        return reply

    async def log_in(self, method: str = "REGISTER", **changes: Any) -> tuple[Reply, Reply]:
        """Does both phases of digest; returns the two replies.

        Args:
            changes: of `Account.answer`.
        """
        first = await self.call(method)
        return first, await self.call(method, self.answer(first, method, **changes))

    async def expect_silence(self) -> None:
        """What was sent before gets no reply: that to a probe, which is sent after it, is the first."""
        reply = await self.call("MESSAGE", call_id="probe")
        assert reply.header("Call-ID") == "probe", reply

    def close(self) -> None:
        """Closes its socket."""
        self.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
