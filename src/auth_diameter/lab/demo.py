"""``auth-diameter demo``: DISC, a SIP server and a telephone on loopback, with all their messages.

Nothing is simulated. The telephone sends SIP over UDP to a server with a route, which asks DISC over TCP: in
the dialect, or in standard Diameter with RFC 4740 or Cx. A tap between server and DISC records the messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.text import Text

from auth_diameter._core import Framer, Message, ParseError, SipRequest, format_message
from auth_diameter.client.aio import AsyncAuthDiameter
from auth_diameter.config import Config
from auth_diameter.decision import Decision
from auth_diameter.diameter.cx import CX, user_of
from auth_diameter.disc.config import DiameterConfig
from auth_diameter.disc.diameter import listen as listen_to_peers
from auth_diameter.disc.listener import Listener, listen
from auth_diameter.disc.server import Disc
from auth_diameter.host.server import serve
from auth_diameter.lab.uac import Reply, authorization, make_request, parse_reply
from auth_diameter.standard import ApplicationName
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.sqlite import SqliteStore

_USER, _DOMAIN = "alice", "siphub.net"
_ACCOUNT = f"{_USER}@{_DOMAIN}"
_PASSWORD = "wonderland"  # noqa: S105 - for a database that the demo deletes
_GROUP = "voicemail"
_WIDTH = 36  # columns between two lifelines
_PATIENCE = 3.0  # seconds that the telephone waits for a reply

_RESULTS = {2001: " (success)", 2006: " (success)", 4001: " (no)", 5003: " (refused)"}
_DIALECT = 1  # application id of the dialect's messages
_RESPONSE, _CHALLENGE, _SERVICE_TYPE, _RESULT_CODE, _GROUP_AVP = 401, 402, 404, 268, 405


async def request_route(request: SipRequest, auth: AsyncAuthDiameter) -> Decision | bytes:
    """The demo's route: a REGISTER, or a call that only members of a group may make."""
    if request.method == "REGISTER":
        decision = await auth.diameter_www_authorize(request, "$fd")
    else:
        decision = await auth.diameter_proxy_authorize(request, "$fd")
    if not decision:
        return decision
    if auth.config.is_standard:  # it has no groups
        return request.reply(200, "OK")
    if request.method == "INVITE" and not await auth.diameter_is_user_in(request, "Credentials", _GROUP):
        return request.reply(403, "Not In Group")
    return request.reply(200, "OK")


@dataclass
class Arrow:
    """One message between two lifelines: 0 UAC, 1 SIP server, 2 DISC.

    Attributes:
        source: lifeline of the sender.
        target: lifeline of the receiver.
        label: the message in a few words.
        whole: the message as text.
    """

    source: int
    target: int
    label: str
    whole: str = field(repr=False)


class Tap:
    """A TCP proxy between SIP server and DISC that records every message.

    Args:
        target: (host, port) of DISC.
        arrows: list to which the messages are appended.
    """

    def __init__(self, target: tuple[str, int], arrows: list[Arrow]) -> None:
        self._target = target
        self._arrows = arrows
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> tuple[str, int]:
        """Listens on a free port.

        Returns:
            The (host, port).
        """
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        there_reader, there_writer = await asyncio.open_connection(*self._target)
        self._writers.append(there_writer)
        for task in (
            asyncio.ensure_future(self._pass(reader, there_writer, 1, 2)),
            asyncio.ensure_future(self._pass(there_reader, writer, 2, 1)),
        ):
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, source: int, target: int
    ) -> None:
        framer = Framer()
        with contextlib.suppress(ConnectionError, ParseError):
            while data := await reader.read(65536):
                for message in framer.feed(data):
                    decoded = Message.decode(message)
                    whole = format_message(decoded, secrets=True)
                    self._arrows.append(Arrow(source, target, _label(decoded), whole))
                writer.write(data)
        writer.close()

    async def aclose(self) -> None:
        """Closes all connections."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


_SHORT = {257: "CE", 280: "DW", 282: "DP", 286: "MA", 303: "MA"}  # RFC 6733, 5; RFC 4740, 8; TS 29.229, 6.1
_ITEM, _CHALLENGES = 376, (1001, 2008)  # RFC 4740, 9.5, and 8.8: what a challenge has as Result-Code


def _label_of_standard(message: Message) -> str:
    """The label of a message of standard Diameter."""
    name = _SHORT.get(message.command, message.name)
    if message.is_request:
        if message.application_id == 0:
            return f"{name}R"
        if message.application_id == CX:
            return f"{name}R, HA1 of {user_of(message)}"
        return f"{name}R, {'' if message.find(_ITEM) else 'no '}credentials"
    found = message.find(_RESULT_CODE)
    code = found.value if found is not None else 0
    if message.application_id == CX:
        return f"{name}A {code} + HA1" if code else f"{name}A, unknown"
    more = " + challenge" if code in _CHALLENGES else _RESULTS.get(code, "")
    return f"{name}A {code}{more}"


def _label(message: Message) -> str:
    if message.application_id != _DIALECT:
        return _label_of_standard(message)
    if message.is_request:
        group = message.find(_GROUP_AVP)
        if group is not None:
            return f"AA-Request, in group {group.data.decode()}?"
        return "AA-Request, credentials" if message.find(_RESPONSE) else "AA-Request, no credentials"
    found = message.find(_RESULT_CODE)
    code = int.from_bytes(found.data, "big") if found is not None else 0
    challenge = " + Challenge" if message.find(_CHALLENGE) else ""
    return f"AA-Answer {code}{challenge or _RESULTS.get(code, '')}"


class Telephone(asyncio.DatagramProtocol):
    """A UAC that sends a request and waits for its reply.

    Args:
        arrows: list to which the messages are appended.
    """

    def __init__(self, arrows: list[Arrow]) -> None:
        self._arrows = arrows
        self._replies: asyncio.Queue[bytes] = asyncio.Queue()
        self._transport: asyncio.DatagramTransport | None = None
        self._cseq = 0  # of the last request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Queues a reply for `ask`."""
        self._replies.put_nowait(data)

    async def ask(self, method: str, uri: str, credentials: tuple[str, str] | None = None) -> Reply:
        """Sends a request and waits for its reply.

        Args:
            method: the method.
            uri: the Request-URI.
            credentials: name and value of a header field; None: no credentials.

        Raises:
            TimeoutError: no reply came.
        """
        assert self._transport is not None
        self._cseq += 1
        local = self._transport.get_extra_info("sockname")[:2]
        data = make_request(
            method,
            uri,
            _ACCOUNT,
            to=uri if method == "INVITE" else None,
            local=local,
            cseq=self._cseq,
            headers=[credentials] if credentials is not None else [],
        )
        name = f"{method} with credentials" if credentials is not None else f"{method} {uri}"
        self._arrows.append(Arrow(0, 1, name, data.decode().replace("\r\n", "\n").rstrip()))
        self._transport.sendto(data)
        answer = await asyncio.wait_for(self._replies.get(), _PATIENCE)
        reply = parse_reply(answer)
        whole = answer.decode("utf-8", "replace").replace("\r\n", "\n").rstrip()
        self._arrows.append(Arrow(1, 0, f"{reply.status} {reply.reason}", whole))
        return reply


@dataclass(frozen=True)
class Scene:
    """A request of the telephone, and the statuses it should get.

    Attributes:
        title: the scene in a few words.
        method: the method.
        uri: the Request-URI.
        password: the password, right or wrong.
        expected: the status of each reply, in order.
    """

    title: str
    method: str
    uri: str
    password: str = field(repr=False)
    expected: tuple[int, ...]


_SCENES = (
    Scene(
        "Register: a challenge, then the right password",
        "REGISTER",
        "sip:siphub.net",
        _PASSWORD,
        (401, 200),
    ),
    Scene("Register with a wrong password", "REGISTER", "sip:siphub.net", "guess", (401, 403)),
    Scene(
        "Call: a challenge, the right password, and a group check",
        "INVITE",
        "sip:bob@siphub.net",
        _PASSWORD,
        (407, 200),
    ),
)


_SPOKEN = {"sip": "RFC 4740", "cx": "Cx"}
_CALL = Scene(
    "Call: a challenge, and the right password", "INVITE", "sip:bob@siphub.net", _PASSWORD, (407, 200)
)


@contextlib.asynccontextmanager
async def _stage(
    console: Console, arrows: list[Arrow], application: ApplicationName
) -> AsyncIterator[Telephone]:
    """Runs DISC, the tap and the SIP server during the block; gives a telephone, and prints who is where."""
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="auth-diameter-"))
        path = str(Path(folder) / "demo.sqlite")
        with Accounts.open(path, writable=True) as accounts:
            accounts.add_user(_USER, _DOMAIN, _PASSWORD)
            accounts.add_group(_USER, _DOMAIN, _GROUP)
        store = stack.enter_context(SqliteStore.open(path))
        listener: Listener = await listen(Disc(store), "127.0.0.1", 0)
        stack.push_async_callback(listener.aclose)
        more: dict[str, Any] = {"use_domain": True}
        if application != "disc":
            asking = f"sip.{_DOMAIN}"
            here = DiameterConfig(
                origin_host=f"disc.{_DOMAIN}",
                origin_realm=_DOMAIN,
                tell_ha1=(asking,) if application == "cx" else (),
            )
            listener = await listen_to_peers(listener.turns, "127.0.0.1", 0, here)
            stack.push_async_callback(listener.aclose)
            more = {"application": application, "origin_host": asking}
        tap = Tap(listener.address, arrows)
        tap_host, tap_port = await tap.start()
        stack.push_async_callback(tap.aclose)
        config = Config(peers=[(tap_host, tap_port)], **more)
        auth = await stack.enter_async_context(AsyncAuthDiameter(config))
        host = await serve(auth, "127.0.0.1", 0, request_route)
        stack.push_async_callback(host.aclose)
        loop = asyncio.get_running_loop()
        transport, telephone = await loop.create_datagram_endpoint(
            lambda: Telephone(arrows), remote_addr=host.address
        )
        stack.callback(transport.close)
        console.print(
            f"DISC on {listener.address[0]}:{listener.address[1]}/tcp, "
            f"SIP server on {host.address[0]}:{host.address[1]}/udp, user {_ACCOUNT}"
            + (f" in group {_GROUP}." if application == "disc" else f", {_SPOKEN[application]} between them.")
        )
        yield telephone


async def _act(telephone: Telephone, scene: Scene) -> tuple[int, ...]:
    """Plays one scene; returns the status of each reply, 0 for one that did not come."""
    got: list[int] = []
    try:
        reply = await telephone.ask(scene.method, scene.uri)
        got.append(reply.status)
        challenge = reply.challenge()
        if challenge is not None:
            value = authorization(challenge, _USER, scene.password, scene.method, scene.uri)
            name = "Authorization" if reply.status == 401 else "Proxy-Authorization"
            reply = await telephone.ask(scene.method, scene.uri, (name, value))
            got.append(reply.status)
    except TimeoutError:
        got.append(0)
    return tuple(got)


async def play(console: Console, *, full: bool = False, application: ApplicationName = "disc") -> int:
    """Plays all scenes and prints their ladders.

    Args:
        console: where to print.
        full: whether to print every message whole.
        application: what SIP server and DISC speak.

    Returns:
        The exit status: 0 if every reply was the expected one, else 1.
    """
    arrows: list[Arrow] = []
    failed = 0
    async with _stage(console, arrows, application) as telephone:
        for scene in _SCENES if application == "disc" else (*_SCENES[:-1], _CALL):
            arrows.clear()
            got = await _act(telephone, scene)
            failed += got != scene.expected
            _print_ladder(console, scene.title, arrows)
            if full:
                _print_messages(console, arrows)
            console.print()
            _print_result(console, got, scene.expected)
    console.print()
    if failed:
        console.print(Text(f"{failed} of {len(_SCENES)} scenes went wrong.", style="bold red"))
        return 1
    console.print(Text(f"All {len(_SCENES)} scenes went as they should.", style="bold green"))
    return 0


def _print_ladder(console: Console, title: str, arrows: list[Arrow]) -> None:
    gap = _WIDTH - 1
    console.print()
    console.print(Text(title, style="bold"))
    console.print()
    console.print(Text("  UAC" + "SIP server".rjust(_WIDTH + 2) + "DISC".rjust(_WIDTH - 3), style="bold"))
    console.print(f"   │{' ' * gap}│{' ' * gap}│")
    for arrow in arrows:
        left = min(arrow.source, arrow.target) == 0
        label = f" {arrow.label}"[:gap].ljust(gap)
        line = "─" * (gap - 1) + "►" if arrow.source < arrow.target else "◄" + "─" * (gap - 1)
        empty = " " * gap
        console.print(Text(f"   │{label}│{empty}│" if left else f"   │{empty}│{label}│"))
        joints = ("├", "│") if arrow.source < arrow.target else ("│", "┤")
        if left:
            console.print(Text(f"   {joints[0]}{line}{joints[1]}{empty}│", style="cyan"))
        else:
            console.print(Text(f"   │{empty}{joints[0]}{line}{joints[1]}", style="magenta"))


def _print_messages(console: Console, arrows: list[Arrow]) -> None:
    for number, arrow in enumerate(arrows, 1):
        console.print()
        console.print(Text(f"  {number}. {arrow.label}", style="bold"))
        for line in arrow.whole.split("\n"):
            console.print(Text(f"     {line}"))


def _print_result(console: Console, got: tuple[int, ...], expected: tuple[int, ...]) -> None:
    seen = " → ".join(str(status) if status else "no reply" for status in got)
    if got == expected:
        console.print(Text(f"  ✓ {seen}, as it should be", style="green"))
    else:
        wanted = " → ".join(map(str, expected))
        console.print(Text(f"  ✗ {seen} instead of {wanted}", style="red"))
