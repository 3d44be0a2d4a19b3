"""The connection of a SIP server to DISC, a stream of questions, and its limits; see `ListenerConfig`."""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
import time
from typing import cast

from auth_diameter._core import DiameterStream, Received, RequestStream
from auth_diameter.disc.admission import Admission, ConnectionEvent, within
from auth_diameter.disc.config import ListenerConfig
from auth_diameter.disc.server import Asker
from auth_diameter.disc.turns import Turns

_MOST_UNANSWERED = 1024  # questions of a connection; beyond, reading pauses until all are answered
_MOST_UNANSWERED_BYTES = 1 << 20  # of all connections; beyond, reading pauses on all until half is answered


class Connection(asyncio.Protocol):
    """The connection of a SIP server, with its limits; by itself one of the DISC dialect.

    Args:
        turns: judges the questions.
        admission: the limits, and what the connections share.
        host: address of the SIP server.
        peer: the same with its port, for the log.
        source: the network of the address.
        stream: cuts what is received into messages; None: into questions of the dialect.
    """

    def __init__(
        self,
        turns: Turns,
        admission: Admission,
        host: str,
        peer: str,
        source: str | bytes,
        stream: RequestStream | DiameterStream | None = None,
    ) -> None:
        self._turns = turns
        self.host = host
        self.asker = Asker(host)
        self._admission = admission
        self._peer = peer
        self._source = source
        self._stream = stream if stream is not None else RequestStream(admission.config.max_question)
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
        """Is open."""
        transport = cast(asyncio.Transport, transport)  # uvloop's has its methods, but not the base class
        config = self._admission.config
        transport.set_write_buffer_limits(high=config.max_unread)
        self._transport = transport
        self._admission.open.add(self)
        self.use(config)
        if config.allow and not within(self.host, config.allow):
            self.abort()  # `allow` has changed since the connection was accepted

    def use(self, config: ListenerConfig) -> None:
        """Takes from the settings who can use one challenge only."""
        self.asker = Asker(self.host, within(self.host, config.one_challenge))

    def data_received(self, data: bytes) -> None:
        """Has the questions in it judged."""
        stream = self._stream
        if stream.fault is not None or self._has_ended:
            return
        if self._last is not None:
            if not self._last:
                return
            self._last = max(self._last - len(data), 0)
        requests = self._take(data)
        if requests:
            self._asked_at = time.time()
            self._unanswered += len(requests)
            self._count_unanswered_bytes(len(data))
            self._turns.add(self, requests)
            self._pause_if_busy()
        if stream.fault is not None:
            self._note(ConnectionEvent.BAD_FRAMING, str(stream.fault))
        if self.unfinished or stream.pending:
            self._bound_the_unfinished(stream.pending, another=bool(requests))
        if not self._unanswered:
            self._end_what_is_answered()

    def _pause_if_busy(self) -> None:
        if self._unanswered > _MOST_UNANSWERED:
            self._paused = True
        if self._paused or self._admission.is_busy:
            self.pause_or_resume()  # a new connection was not there when the others were paused

    def _take(self, data: bytes) -> list[Received]:
        """Takes in bytes; returns the questions that are complete, to be judged and answered."""
        return cast(list[Received], self._stream.feed(data))

    def answered(self, answers: bytearray, requests: list[Received]) -> None:
        """Sends the answers to these questions."""
        self._send(answers, len(requests))

    def _send(self, answers: bytearray, number: int) -> None:
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

    def end(self) -> None:
        """Closes the connection behind the answers to what came before; reads nothing more."""
        self._has_ended = True
        if not self._unanswered:
            self._end_what_is_answered()

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
        """Gives up a SIP server that leaves too much unread."""
        self._give_up(ConnectionEvent.NOT_READING, "the SIP server does not read its answers")

    def connection_lost(self, error: Exception | None) -> None:
        """Is closed."""
        self._admission.open.discard(self)
        self._admission.unfinished -= self.unfinished
        self.unfinished = 0
        if self._too_late is not None:
            self._too_late.cancel()
            self._too_late = None
        self._admission.forget(self._source)

    def finish(self, patience: float) -> None:
        """Answers what has arrived, then ends our side of the stream and lets the peer close.

        If DISC closed at once, data that arrives later would make TCP reset the connection (RFC 2525, 2.17).
        Answers that the SIP server has not read yet would be lost.

        Args:
            patience: seconds for the SIP server to read them and to close.
        """
        transport = self._transport
        assert transport is not None
        if transport.is_closing():
            return
        self._last = _unread(transport)
        if self._last or self._unanswered:
            return
        if abs(time.time() - self._asked_at) < patience:
            transport.write_eof()
        else:
            transport.close()

    def abort(self) -> None:
        """Closes the connection at once."""
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
