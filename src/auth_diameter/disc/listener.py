"""The TCP listener of DISC: the connections of SIP servers, each a stream of questions.

The questions that all connections receive in one turn of the event loop are judged together. Each connection
gets its answers in one write. What an untrusted peer can use is bounded: the connections, in all and from one
source, and the time and memory of each connection; see `ListenerConfig`. A connection beyond a limit is
closed and counted, and logged at most once a second. The other connections are not affected.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import fcntl
import logging
import os
import socket
import struct
import termios
import time
from typing import Any, cast

from auth_diameter._core import RequestStream, network_of
from auth_diameter.addresses import show
from auth_diameter.disc.admission import Admission, ConnectionEvent, within
from auth_diameter.disc.config import ListenerConfig
from auth_diameter.disc.server import Asker, Disc
from auth_diameter.disc.turns import Turns

log = logging.getLogger("auth_diameter.disc")

_BACKLOG = 1024
_ACCEPTS_A_TURN = 64  # so that a flood of new connections does not starve the open ones
_ACCEPT_PAUSE = 0.1  # seconds until the next accept after the system had no descriptor or memory for one
_MOST_UNANSWERED = 1024  # questions of a connection; beyond, reading pauses until all are answered
_MOST_UNANSWERED_BYTES = 1 << 20  # of all connections; beyond, reading pauses on all until half is answered
_PATIENCE = 1.5  # seconds for SIP servers to read their last answers and close, when DISC stops
_ATTEMPTS = 20  # attempts to find a port that is free for both IPv4 and IPv6
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_Target = tuple[socket.AddressFamily, Any]  # the family and the address, as getaddrinfo returns them


class _Connection(asyncio.Protocol):
    """The connection of a SIP server."""

    def __init__(
        self,
        turns: Turns,
        admission: Admission,
        host: str,
        peer: str,
        source: str | bytes,
    ) -> None:
        self._turns = turns
        self.host = host
        self.asker = Asker(host)
        self._admission = admission
        self._peer = peer
        self._source = source
        self._stream = RequestStream(admission.config.max_question)
        self._transport: asyncio.Transport | None = None
        self._too_late: asyncio.TimerHandle | None = None
        self._asked_at = 0.0  # when the last question arrived, in seconds since 1970
        self._unanswered = 0  # questions that are being judged
        self._unanswered_bytes = 0  # read since the last time when all were answered
        self._paused = False  # whether reading is paused for the questions of this connection
        self._has_ended = False  # whether the SIP server has closed its side of the stream
        self._last: int | None = None  # bytes still to read and answer; None until the connection finishes
        self.unfinished = 0  # bytes of an incomplete question

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's has its methods, but not the base class
        config = self._admission.config
        transport.set_write_buffer_limits(high=config.max_unread)
        self._transport = transport
        self._admission.open.add(self)
        self.asker = Asker(self.host, within(self.host, config.one_challenge))
        if config.allow and not within(self.host, config.allow):
            self.abort()  # `allow` has changed since the connection was accepted

    def data_received(self, data: bytes) -> None:
        stream = self._stream
        if stream.fault is not None:
            return
        if self._last is not None:
            if not self._last:
                return
            self._last = max(self._last - len(data), 0)
        requests = stream.feed(data)
        if requests:
            self._asked_at = time.time()
            self._unanswered += len(requests)
            self._count_unanswered_bytes(len(data))
            self._turns.add(self, requests)
            if self._unanswered > _MOST_UNANSWERED:
                self._paused = True
            if self._paused or self._admission.is_busy:
                self.pause_or_resume()  # a new connection was not there when the others were paused
        if stream.fault is not None:
            self._note(ConnectionEvent.BAD_FRAMING, str(stream.fault))
        if self.unfinished or stream.pending:
            self._bound_the_unfinished(stream.pending, another=bool(requests))
        if not self._unanswered:
            self._end_what_is_answered()

    def answered(self, answers: bytearray, number: int) -> None:
        """Sends the answers to this number of questions."""
        transport = self._transport
        assert transport is not None
        self._unanswered -= number
        if not transport.is_closing():
            transport.write(answers)
        if not self._unanswered:
            self._count_unanswered_bytes(-self._unanswered_bytes)
            if self._paused:
                self._paused = False
                self.pause_or_resume()
            self._end_what_is_answered()

    def _count_unanswered_bytes(self, size: int) -> None:
        """Counts bytes of questions that have come, or that have all been answered."""
        admission = self._admission
        self._unanswered_bytes += size
        admission.unanswered += size
        limit = _MOST_UNANSWERED_BYTES // 2 if admission.is_busy else _MOST_UNANSWERED_BYTES
        if (admission.unanswered > limit) != admission.is_busy:
            admission.is_busy = not admission.is_busy
            for connection in admission.open:
                connection.pause_or_resume()

    def pause_or_resume(self) -> None:
        """Reads on, unless too much is unanswered."""
        transport = self._transport
        assert transport is not None
        if transport.is_closing():
            return
        if self._paused or self._admission.is_busy:
            transport.pause_reading()
        else:
            transport.resume_reading()

    def eof_received(self) -> bool:
        """Keeps the connection for the answers to what came before; the other direction is still open."""
        self._has_ended = True
        return self._unanswered > 0

    def _end_what_is_answered(self) -> None:
        """Ends the connection if it is to end, as no question waits for an answer."""
        transport = self._transport
        assert transport is not None
        if self._stream.fault is not None or self._has_ended:
            # After a framing error, the start of the next message is unknown.
            transport.close()
        elif self._last == 0 and not transport.is_closing():
            transport.write_eof()

    def _bound_the_unfinished(self, size: int, *, another: bool) -> None:
        """Bounds the time and the memory that an incomplete question may take.

        Args:
            size: bytes of the incomplete question; 0 if there is none.
            another: whether it is another question than at the last call.
        """
        admission = self._admission
        admission.unfinished += size - self.unfinished
        self.unfinished = size
        if self._too_late is not None and (another or not size):
            self._too_late.cancel()
            self._too_late = None
        if size and self._too_late is None:
            self._too_late = asyncio.get_running_loop().call_later(
                admission.config.max_question_time,
                self._give_up,
                ConnectionEvent.TOO_SLOW,
                f"the rest of a question did not arrive within {admission.config.max_question_time:g} s",
            )
        while admission.unfinished > admission.config.max_unfinished:
            most = max(admission.open, key=lambda connection: connection.unfinished)
            most._give_up(
                ConnectionEvent.TOO_MUCH_UNFINISHED,
                "incomplete questions take too much memory, and this connection has the most of it",
            )

    def _give_up(self, event: ConnectionEvent, reason: str) -> None:
        self._note(event, reason)
        self._admission.unfinished -= self.unfinished
        self.unfinished = 0
        self.abort()

    def _note(self, event: ConnectionEvent, reason: str) -> None:
        self._admission.note(event, "closed the connection of %s: %s", self._peer, reason)

    def pause_writing(self) -> None:
        self._give_up(ConnectionEvent.NOT_READING, "the SIP server does not read its answers")

    def connection_lost(self, error: Exception | None) -> None:
        self._admission.open.discard(self)
        self._admission.unfinished -= self.unfinished
        self.unfinished = 0
        if self._too_late is not None:
            self._too_late.cancel()
            self._too_late = None
        self._admission.forget(self._source)

    def finish(self) -> None:
        """Answers what has arrived, then ends our side of the stream and lets the peer close.

        If DISC closed at once, data that arrives later would make TCP reset the connection (RFC 2525, 2.17).
        Answers that the SIP server has not read yet would be lost.
        """
        transport = self._transport
        assert transport is not None
        if transport.is_closing():
            return
        self._last = _unread(transport)
        if self._last or self._unanswered:
            return
        if abs(time.time() - self._asked_at) < _PATIENCE:
            transport.write_eof()
        else:
            transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _unread(transport: asyncio.Transport) -> int:
    """The number of bytes that the kernel has received and the loop has not read."""
    try:
        answer = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.FIONREAD, bytes(4))
    except OSError:  # the connection is lost; the loop will call connection_lost
        return 0
    (size,) = struct.unpack("i", answer)
    return int(size)


class Listener:
    """The listener of a DISC server; see `listen`.

    Args:
        disc: answers the questions.
        sockets: the listening sockets.
        config: the limits on connections.

    Attributes:
        addresses: each (host, port) on which it listens; a name may have an IPv4 and an IPv6 address.
        counts: the number of times of each `ConnectionEvent`.
    """

    def __init__(self, disc: Disc, sockets: list[socket.socket], config: ListenerConfig) -> None:
        self._turns = Turns(disc)
        self._sockets = sockets
        self._admission = Admission(config)
        self._starting: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._resume: asyncio.TimerHandle | None = None
        self._exhausted = False
        self.addresses: list[tuple[str, int]] = [listening.getsockname()[:2] for listening in sockets]
        self.counts = self._admission.counts
        self._watch()

    @property
    def address(self) -> tuple[str, int]:
        """The first of `addresses`."""
        return self.addresses[0]

    @property
    def open(self) -> int:
        """The number of open connections."""
        return self._admission.taken

    def use(self, config: ListenerConfig) -> None:
        """Replaces `allow` and `one_challenge`; the other settings stay.

        A connection that is no longer allowed gets the answers to its questions, and is closed.
        """
        admission = self._admission
        admission.config = dataclasses.replace(
            admission.config, allow=config.allow, one_challenge=config.one_challenge
        )
        for connection in list(admission.open):
            if config.allow and not within(connection.host, config.allow):
                connection.finish()
                self._loop.call_later(_PATIENCE, connection.abort)
            connection.asker = Asker(connection.host, within(connection.host, config.one_challenge))

    # ------------------------------------------------------------------ accepting

    def _watch(self) -> None:
        self._resume = None
        for listening in self._sockets:
            self._loop.add_reader(listening.fileno(), self._accept, listening)

    def _unwatch(self) -> None:
        for listening in self._sockets:
            self._loop.remove_reader(listening.fileno())

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_ACCEPTS_A_TURN):
            try:
                sock, address = listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._pause(error)
                    return
                continue  # an error of the new connection, which is lost, see accept(2)
            if self._exhausted:
                self._exhausted = False
                log.warning("new connections are accepted again")
            host, port = address[:2]
            source = network_of(host)
            if not self._admission.admit(host, source):
                sock.close()
                continue
            peer = show(host, port)
            connection = _Connection(self._turns, self._admission, host, peer, source)
            task = self._loop.create_task(self._start(sock, connection, peer, source))
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)

    async def _start(
        self, sock: socket.socket, connection: _Connection, peer: str, source: str | bytes
    ) -> None:
        try:
            sock.setblocking(False)
            await self._loop.connect_accepted_socket(lambda: connection, sock)
        except OSError as error:  # the peer has reset the connection
            log.debug("lost the connection of %s: %s", peer, error)
            sock.close()
            self._admission.forget(source)

    def _pause(self, error: OSError) -> None:
        """Stops accepting for a moment, as the loop would otherwise spin on the waiting connections."""
        self.counts[ConnectionEvent.NO_DESCRIPTOR] += 1
        if not self._exhausted:
            self._exhausted = True
            log.error("cannot accept new connections: %s; open connections are still served", error.strerror)
        self._unwatch()
        self._resume = self._loop.call_later(_ACCEPT_PAUSE, self._watch)

    # ------------------------------------------------------------------ the end

    async def aclose(self) -> None:
        """Stops listening, answers every question that has arrived, and closes every connection.

        A SIP server that does not read or does not close delays this by at most a second and a half.
        """
        if self._resume is not None:
            self._resume.cancel()
            self._resume = None
        self._unwatch()
        for listening in self._sockets:
            listening.close()
        self._sockets = []
        if self._starting:
            await asyncio.wait(self._starting)
        admission = self._admission
        for connection in list(admission.open):
            connection.finish()
        if admission.taken:
            admission.last_closed = self._loop.create_future()
            await asyncio.wait([admission.last_closed], timeout=_PATIENCE)
        for connection in list(admission.open):
            connection.abort()
        while admission.taken:
            await asyncio.sleep(0)


async def listen(disc: Disc, host: str, port: int, config: ListenerConfig | None = None) -> Listener:
    """Listens on every address of `host`.

    Args:
        disc: answers the questions.
        host: a name or an address.
        port: the TCP port; 0 for one that is free on all addresses.
        config: the limits on connections; None for the defaults.

    Returns:
        The listener, which accepts connections from now on.

    Raises:
        OSError: DISC cannot listen on an address.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    targets: list[_Target] = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
    sockets = _bind(targets)
    try:
        for sock in sockets:
            sock.listen(_BACKLOG)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return Listener(disc, sockets, config if config is not None else ListenerConfig())


def _bind(targets: list[_Target]) -> list[socket.socket]:
    """A socket for each target, all with the same port."""
    for _ in range(_ATTEMPTS):
        try:
            return _bind_once(targets)
        except OSError as error:
            # The port chosen in one family is in use in the other; try another port.
            if error.errno != errno.EADDRINUSE or targets[0][1][1] != 0 or len(targets) == 1:
                raise
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _bind_once(targets: list[_Target]) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    with contextlib.ExitStack() as stack:
        for family, (host, port, *scope) in targets:
            chosen = port or (sockets[0].getsockname()[1] if sockets else 0)
            try:
                sockets.append(_bind_one(family, (host, chosen, *scope)))
            except OSError as error:
                # /etc/hosts often has an IPv6 address for a name on a host without IPv6.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                missing = error
            else:
                stack.callback(sockets[-1].close)
        if not sockets and missing is not None:
            raise missing
        stack.pop_all()
    return sockets


def _bind_one(family: socket.AddressFamily, address: tuple[Any, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # The kernel detects a SIP server that lost power. Accepted connections inherit the option.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock
