"""A TCP proxy between a client and DISC that does what networks and bad programs do.

It relays until it is told otherwise; everything can be changed while it runs, from any thread::

    with FaultProxy(("127.0.0.1", disc.port)) as proxy:
        config = Config(diameter_client_port=proxy.port)
        proxy.answers = Faults(delay=0.1, piece=1)      # DISC's answers: late, and byte by byte
        proxy.questions = Faults(reading=False)         # nobody reads the client's questions
        proxy.reset()                                   # and now all connections end with a RST

What it does to messages (`Faults.change`, order, delay) it does to whole Diameter messages; the rest of a
stream that cannot be framed is relayed as it comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, TypeVar

from auth_diameter._core import Framer, Message, ParseError

LOOPBACK = "127.0.0.1"

_T = TypeVar("_T")
_SIP_MSGID = 406  # the AVP by which answers of the dialect are matched
_PATIENCE = 10.0  # seconds after which a command to the proxy has hung
_RECEIVE_BUFFER = 1 << 16  # bytes that the kernel takes for us while we do not read
_TICK = 0.005  # seconds between two looks at whether it may go on

Change = Callable[[bytes], bytes]


@dataclass(frozen=True, kw_only=True)
class Faults:
    """What happens to one direction; nothing by default."""

    delay: float = 0.0
    """Seconds that each message is late."""

    jitter: float = 0.0
    """Seconds at random on top of that, from 0 to so many."""

    overtake: bool = False
    """Whether messages with less delay overtake others; else they keep their order."""

    rate: float | None = None
    """Messages a second that go through, over all connections; the others wait for their turn."""

    change: Change | None = None
    """What stands in the place of each message; see `duplicated` and the others below."""

    piece: int | None = None
    """Bytes in each write; None: as they come."""

    pause: float = 0.0
    """Seconds between two such writes; without, the kernel may put them together again."""

    cut_at: int | None = None
    """Bytes after which the connection ends, counted from its start."""

    cut_with_reset: bool = False
    """Whether that end is a RST instead of a FIN."""

    reading: bool = True
    """Whether anybody reads. If not, what is sent stays in the kernels' buffers, and the sender's."""

    swallow: bool = False
    """Whether what is read is thrown away: a peer that lives and says nothing."""


# ---------------------------------------------------------------------- changes of a message


def duplicated(message: bytes) -> bytes:
    """Twice."""
    return message * 2


def halved(message: bytes) -> bytes:
    """Its first half, and then the next message."""
    return message[: len(message) // 2]


def with_unknown_id(message: bytes) -> bytes:
    """Behind the same for a question that nobody asked."""
    decoded = Message.decode(message)
    message_id = decoded.find(_SIP_MSGID)
    if message_id is None and decoded.application_id == 0:
        return message
    if message_id is None:  # standard Diameter has the Hop-by-Hop Identifier
        return message[:12] + bytes(byte ^ 0xFF for byte in message[12:16]) + message[16:] + message
    head = _SIP_MSGID.to_bytes(4, "big") + bytes([message_id.flags, 0, 0, 12])
    data = bytes(message_id.data)
    other = bytes(byte ^ 0xFF for byte in data)
    return message.replace(head + data, head + other, 1) + message


def corrupted(rng: random.Random, share: float) -> Change:
    """A change that turns one bit, in so large a share of all messages."""

    def change(message: bytes) -> bytes:
        if rng.random() >= share:
            return message
        data = bytearray(message)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        return bytes(data)

    return change


def garbage(message: bytes) -> bytes:
    """Bytes of the same length that are no Diameter."""
    return b"SIP/2.0 200 OK\r\n\r\n".ljust(len(message), b"\0")[: len(message)]


# ---------------------------------------------------------------------- the proxy


class _Cut(Exception):  # noqa: N818 - no error: what was to happen
    """A direction has come to the byte where the connection ends."""


class _Reset(_Cut):
    """And it ends with a RST."""


class FaultProxy:
    """Listens on `port` of loopback and relays to `target`, in a thread of its own.

    Args:
        port: where to listen; 0: any free port, which `port` then says.

    Attributes:
        questions, answers: the `Faults` of what clients send, and of what DISC sends.
        accepted: connections that clients have opened.
        asked, answered: whole messages that came from clients, and from DISC.
    """

    def __init__(self, target: tuple[str, int], port: int = 0) -> None:
        self.target = target
        self.port = port
        self.questions = Faults()
        self.answers = Faults()
        self.accepted = 0
        self.asked = 0
        self.answered = 0
        self._question_at = 0.0  # when the last one had its turn
        self._answer_at = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy", daemon=True)
        self._accepting: asyncio.Task[None] | None = None
        self._relays: set[asyncio.Task[None]] = set()
        self._resetting = False

    # ------------------------------------------------------------------ commands

    def _do(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_PATIENCE)

    def listen(self) -> None:
        """Accepts connections, from the start on or again after `refuse`."""
        self._do(self._listen())

    def refuse(self) -> None:
        """Nobody listens any more: connects are refused. Open connections go on."""
        self._do(self._refuse())

    def reset(self) -> None:
        """Ends every connection with a RST (SO_LINGER 0), on both sides."""
        self._do(self._end(reset=True))

    def hang_up(self) -> None:
        """Ends every connection with a FIN, on both sides."""
        self._do(self._end(reset=False))

    @property
    def open(self) -> int:
        """Connections of clients that are open."""
        return len(self._relays)

    def __enter__(self) -> Self:
        self._thread.start()
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE)
        self._loop.close()

    # ------------------------------------------------------------------ in its thread

    async def _listen(self) -> None:
        if self._accepting is None:
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            listener.setblocking(False)
            listener.bind((LOOPBACK, self.port))
            listener.listen(1024)
            self.port = listener.getsockname()[1]
            self._accepting = self._loop.create_task(self._accept(listener))

    async def _refuse(self) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait([self._accepting])
            self._accepting = None

    async def _end(self, *, reset: bool) -> None:
        self._resetting = reset
        relays = list(self._relays)
        for relay in relays:
            relay.cancel()
        if relays:
            await asyncio.wait(relays)

    async def _stop(self) -> None:
        await self._refuse()
        await self._end(reset=False)

    async def _accept(self, listener: socket.socket) -> None:
        with listener:
            while True:
                client, _ = await self._loop.sock_accept(listener)
                self.accepted += 1
                task = self._loop.create_task(self._relay(client))
                self._relays.add(task)
                task.add_done_callback(partial(self._ended, client))

    def _ended(self, client: socket.socket, task: asyncio.Task[None]) -> None:
        client.close()  # a task that was cancelled before it began has not
        self._relays.discard(task)

    async def _relay(self, client: socket.socket) -> None:
        disc = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        for sock in (client, disc):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reset = False
        try:
            await self._loop.sock_connect(disc, self.target)
            async with asyncio.TaskGroup() as group:
                for direction in (
                    _Direction(client, disc, lambda: self.questions, self._question_turn),
                    _Direction(disc, client, lambda: self.answers, self._answer_turn),
                ):
                    group.create_task(direction.receive())
                    group.create_task(direction.send())
        except* OSError:
            reset = True  # as it came from one side: the other one shall see it, too
        except* _Cut as cut:
            reset = any(isinstance(one, _Reset) for one in cut.exceptions)
        except* asyncio.CancelledError:
            reset = self._resetting
        finally:
            for sock in (client, disc):
                if reset:
                    with contextlib.suppress(OSError):
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()

    def _question_turn(self) -> float:
        self.asked += 1
        self._question_at = self._turn(self.questions, self._question_at)
        return self._question_at

    def _answer_turn(self) -> float:
        self.answered += 1
        self._answer_at = self._turn(self.answers, self._answer_at)
        return self._answer_at

    def _turn(self, faults: Faults, last: float) -> float:
        """When it is the turn of the message that came, after the one before it."""
        now = self._loop.time()
        return now if faults.rate is None else max(now, last + 1 / faults.rate)


class _Direction:
    """From one socket to the other. Messages are due at a time, and sent by a task of their own."""

    def __init__(
        self,
        source: socket.socket,
        sink: socket.socket,
        faults: Callable[[], Faults],
        turn: Callable[[], float],
    ) -> None:
        self._source = source
        self._sink = sink
        self._faults = faults
        self._turn = turn
        self._loop = asyncio.get_running_loop()
        self._due: asyncio.Queue[bytes] = asyncio.Queue()
        self._last_due = 0.0
        self._framer: Framer | None = Framer()
        self._sent = 0

    async def receive(self) -> None:
        while True:
            while not self._faults().reading:
                await asyncio.sleep(_TICK)
            data = await self._loop.sock_recv(self._source, 1 << 16)
            if not data:
                self._put(b"", self._loop.time())
                return
            if not self._faults().swallow:
                for message in self._messages(data):
                    change = self._faults().change
                    self._put(message if change is None else change(message), self._turn())

    def _messages(self, data: bytes) -> Iterator[bytes]:
        if self._framer is None:
            yield data
            return
        try:
            yield from self._framer.feed(data)
        except ParseError:
            self._framer = None
            yield data

    def _put(self, data: bytes, due: float) -> None:
        faults = self._faults()
        due += faults.delay + faults.jitter * random.random()
        if not faults.overtake or not data:
            due = max(due, self._last_due)
            # Of two timers at the same time, either may come first.
            self._last_due = due + 1e-6
        self._loop.call_at(due, self._due.put_nowait, data)

    async def send(self) -> None:
        while data := await self._due.get():
            faults = self._faults()
            step = faults.piece or len(data)
            for start in range(0, len(data), step):
                await self._send_piece(data[start : start + step], faults)
        self._sink.shutdown(socket.SHUT_WR)

    async def _send_piece(self, data: bytes, faults: Faults) -> None:
        left = len(data) if faults.cut_at is None else max(0, faults.cut_at - self._sent)
        if left:
            await self._write(data[:left])
            self._sent += min(left, len(data))
        if left < len(data):
            raise _Reset if faults.cut_with_reset else _Cut
        if faults.pause:
            await asyncio.sleep(faults.pause)

    async def _write(self, data: bytes) -> None:
        # Nearly always there is room, and the way through the loop costs more than that of a byte.
        with contextlib.suppress(BlockingIOError):
            data = data[self._sink.send(data) :]
        if data:
            await self._loop.sock_sendall(self._sink, data)


# ---------------------------------------------------------------------- places where nobody is


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """A port of loopback that does not answer a SYN, as behind a firewall that drops.

    Its listener's queue is full, and the kernel drops what comes then.
    """
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        listener.bind((LOOPBACK, 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(4):
            filler = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            filler.setblocking(False)
            filler.connect_ex(address)
        yield address[1]
