"""RESP, the protocol of Redis and Valkey, as far as shared state needs it; for one event loop.

A client library costs some 80 µs for a command, as much as everything else that DISC does for a turn of 30
questions. This reads simple strings, errors, integers and bulk strings (RESP2), and calls back in order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias, cast

_MOST: Final = 1 << 20  # bytes of a reply that is not complete; those to a turn have some thousand
_DIGITS: Final = 6  # of the size of a bulk string

#: What a command gets: the reply, the error of the server, or None: the connection was lost before.
Reply: TypeAlias = "bytes | ServerError | None"
Callback: TypeAlias = Callable[[Reply], object]


class ServerError:
    """An error that the server answers a command with.

    Attributes:
        text: what it says, such as ``OOM command not allowed``; printable ASCII.
    """

    __slots__ = ("text",)

    def __init__(self, line: bytes) -> None:
        # Of a script's error, where in the script it was made is left out.
        text = line[:160].decode("ascii", "replace").partition(" script: ")[0]
        self.text = "".join(c if c.isprintable() and c.isascii() else "?" for c in text)


def command(*words: bytes | str | int) -> bytes:
    """A command, encoded."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(parts)


class Replies:
    """Takes a stream of replies apart."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> tuple[list[bytes | ServerError], bool]:
        """Adds bytes of the stream.

        Returns:
            The replies that are complete, and whether what follows is none.
        """
        data = self._data + data if self._data else bytes(data)
        replies: list[bytes | ServerError] = []
        at = 0
        while (end := data.find(b"\r\n", at)) >= 0:
            kind, line, after = data[at : at + 1], data[at + 1 : end], end + 2
            if kind == b"$":
                if not line.isdigit() or len(line) > _DIGITS:
                    return replies, True
                start, after = after, after + int(line) + 2
                if len(data) < after:
                    break
                replies.append(data[start : after - 2])
            elif kind in (b"+", b":"):
                replies.append(line)
            elif kind == b"-":
                replies.append(ServerError(line))
            else:
                return replies, True
            at = after
        self._data = data[at:]
        return replies, len(self._data) > _MOST


class Link(asyncio.Protocol):
    """A connection to the server.

    Args:
        lost: called once when it is over, with the reason; not after `close`.

    Attributes:
        is_garbled: whether it is over because the server said what is no reply.
    """

    def __init__(self, lost: Callable[[Link, str], object]) -> None:
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._replies = Replies()
        self._waiting: deque[Callback] = deque()
        self._over = False
        self.is_garbled = False

    def ask(self, data: bytes, done: Callback) -> None:
        """Sends a command; `done` gets the reply, later."""
        assert self._transport is not None
        self._waiting.append(done)
        self._transport.write(data)

    def close(self) -> None:
        """Closes the connection at once; what was asked gets None."""
        self._end(None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As `asyncio.Protocol`."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not one by name

    def connection_lost(self, exc: Exception | None) -> None:
        """As `asyncio.Protocol`."""
        self._end("the connection was closed" if exc is None else str(exc) or type(exc).__name__)

    def data_received(self, data: bytes) -> None:
        """As `asyncio.Protocol`."""
        replies, garbled = self._replies.feed(data)
        for reply in replies:
            if self._over:
                return
            if not self._waiting:
                self.is_garbled = True
                self._end("it answers what was not asked")
                return
            self._waiting.popleft()(reply)
        if garbled:
            self.is_garbled = True
            self._end("its reply is not of RESP2")

    def _end(self, reason: str | None) -> None:
        if self._over:
            return
        self._over = True
        if self._transport is not None:
            self._transport.abort()
        waiting, self._waiting = self._waiting, deque()
        if reason is not None:
            self._lost(self, reason)
        for done in waiting:
            done(None)
