"""Shared state in Redis or Valkey for threads, without an event loop: a turn takes 50 ms at most.

::

    down ──► connecting ──► greeting ──► catching up ──► reachable
     ▲                                                       │
     └───────────────────────────────────────────────────────┘     closed, an error, or no answer within 50 ms

There is nobody to connect meanwhile, so each question moves the connection on without waiting for it. Only
the first one waits until the server is there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import select
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, Final

from auth_diameter._core import Sharing
from auth_diameter.verifier.state import script
from auth_diameter.verifier.state.kept import Kept, count_of, warn_of_eviction
from auth_diameter.verifier.state.resp import Replies, ServerError
from auth_diameter.verifier.state.state import BACK_OFF, DEADLINE, StateStats
from auth_diameter.verifier.state.urls import StateUrl


class _Trouble(Exception):  # noqa: N818 - it never leaves this module
    """The server cannot be used; the text says why."""


class _ClosedError(_Trouble):
    """The server has closed the connection."""


_CONNECT: Final = 1.0  # seconds until the connection must be usable


def begin_state(url: StateUrl, sharing: Sharing) -> None:
    """Has an empty state begin now, if the server is there; waits for it a second at most.

    Nonces made before a state has begun may have been used before: they get a new challenge. So this comes
    before the first nonce is made. It also warns if the server evicts keys.

    Args:
        url: where the server is.
        sharing: how questions are told to it.
    """
    state = BlockingRedisState(url, sharing)
    with contextlib.suppress(_Trouble, OSError):  # whoever is told something first will say so
        if state.connect(_CONNECT):
            info = state.ask(script.MEMORY, _CONNECT)
            if isinstance(info, bytes):
                warn_of_eviction(url.name, info)
    state.hang_up()


class BlockingRedisState:
    """As `RedisState`, for one thread at a time, whichever it is.

    Args:
        url: where the server is.
        sharing: how questions are told to it.
        clock: seconds since 1970.

    Attributes:
        sharing: as above.
        stats: what it was told.
    """

    def __init__(self, url: StateUrl, sharing: Sharing, clock: Callable[[], float] = time.time) -> None:
        self.sharing = sharing
        self.stats = StateStats()
        self._url = url
        self._tls = url.tls_context()
        self._clock = clock
        self._kept = Kept(url.name, self.stats)
        self._sock: Any = None  # a socket, with TLS or without; None: down
        self._replies = Replies()
        self._next: Callable[[], bool] | None = None  # the step that is to be done, or to be done again
        self._greeting = 0  # replies that are missing
        self._usable_by = 0.0  # seconds, monotonic
        self._again_at = 0.0  # the same, when it is down
        self._pause = BACK_OFF[0]
        self._is_new = True  # whether the next turn waits for the connection
        self._busy = False  # whether it is told something: a signal handler may come in between

    async def ready(self) -> None:
        """As `SharedState.ready`: there is nothing to wait for."""

    def tell(self, records: bytes, done: Callable[[bytes | None], object]) -> None:
        """As `SharedState.tell`; waits 50 ms at most, and not while it is away."""
        reply = None
        if not self._busy:
            self._busy = True
            try:
                reply = self._count(records)
            except BaseException:
                self.hang_up()  # the next turn must not get the reply to this one
                self._is_new = True
                raise
            finally:
                self._busy = False
        if reply is None:
            self._kept.keep(records)
        else:
            self.stats.turns += 1
            self.stats.records += count_of(records)
        done(reply)

    def close(self) -> None:
        """Closes the connection; what is kept is lost."""
        self.hang_up()
        self._again_at = float("inf")
        self._kept.drop()

    def _count(self, records: bytes) -> bytes | None:
        was_reachable = self.stats.reachable
        try:
            try:
                return self._try(records)
            except (_ClosedError, ConnectionError):
                if not was_reachable:
                    raise
                self.hang_up()  # servers close connections that nobody uses
                self._is_new = True
                return self._try(records)
        except _Trouble as error:
            self._lose(str(error))
        except OSError as error:
            self._lose(error.strerror or str(error) or type(error).__name__)
        return None

    def _try(self, records: bytes) -> bytes | None:
        if not self.stats.reachable:
            wait, self._is_new = DEADLINE if self._is_new else 0.0, False
            if not self.connect(wait):
                self._kept.say_away("it is not connected")
                return None
        reply = self.ask(script.count(records), DEADLINE)
        if isinstance(reply, ServerError) and script.is_unknown(reply.text):
            reply = self.ask(script.load_and_count(records), DEADLINE)
        if isinstance(reply, ServerError):
            raise _Trouble(reply.text)
        return reply

    def ask(self, command: bytes, seconds: float) -> bytes | ServerError:
        """Asks one thing, and waits for the reply.

        Raises:
            _Trouble: there is none.
            OSError: the same.
        """
        until = time.monotonic() + seconds
        self._sock.settimeout(seconds)
        try:
            self._sock.sendall(command)
            while True:
                replies = self._read()
                if replies:
                    if len(replies) > 1:
                        raise _Trouble("it answers what was not asked")
                    return replies[0]
                left = until - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                self._sock.settimeout(left)
        except TimeoutError:
            raise _Trouble(f"no answer within {seconds * 1000:.0f} ms") from None

    def _read(self) -> list[bytes | ServerError]:
        data = self._sock.recv(1 << 16)
        if not data:
            raise _ClosedError("the connection was closed")
        replies, garbled = self._replies.feed(data)
        if garbled:
            raise _Trouble("its reply is not of RESP2")
        return replies

    # ------------------------------------------------------------------ away and back

    def _lose(self, reason: str) -> None:
        self.hang_up()
        self._kept.say_away(reason)
        self._again_at = time.monotonic() + self._pause * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
        self._pause = min(2 * self._pause, BACK_OFF[1])

    def hang_up(self) -> None:
        """Closes the connection."""
        self.sharing.is_reachable = self.stats.reachable = False
        sock, self._sock, self._next = self._sock, None, None
        self._replies = Replies()
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.close()

    def connect(self, wait: float) -> bool:
        """Goes on connecting, and waits for so many seconds; returns whether the server can be asked.

        Raises:
            _Trouble: it cannot be used.
            OSError: the same.
        """
        now = time.monotonic()
        until = now + wait
        if self._sock is None:
            if now < self._again_at:
                return False
            self._usable_by = now + _CONNECT
            self._dial()
        while self._next is not None:
            if not self._next():
                left = until - time.monotonic()
                if left <= 0:
                    if time.monotonic() > self._usable_by:
                        raise _Trouble(f"no connection within {_CONNECT:.0f} s")
                    return False
                self._wait(left)
        while self._kept:
            self._write_chunk()
            if time.monotonic() - now > DEADLINE:
                return False  # the next one goes on
        self.sharing.is_reachable = self.stats.reachable = True
        self._pause = BACK_OFF[0]
        self._kept.say_back()
        return True

    def _wait(self, seconds: float) -> bool:
        """Waits until the next step can be done; returns whether it can."""
        event = select.POLLOUT if self._next == self._finish_dialling else select.POLLIN
        poll = select.poll()  # select() is for few file descriptors
        poll.register(self._sock, event)
        return bool(poll.poll(seconds * 1000))

    def _dial(self) -> None:
        url = self._url
        address: Any
        if url.path:
            family, address = socket.AF_UNIX, url.path
        else:
            found = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)[0]
            family, address = found[0], found[4]
        self._sock = socket.socket(family, socket.SOCK_STREAM)
        self._sock.setblocking(False)
        code = self._sock.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
        self._next = self._finish_dialling

    def _finish_dialling(self) -> bool:
        if not self._wait(0):
            return False
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        if not self._url.path:
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._next = self._greet
        if self._tls is not None:
            self._sock = self._tls.wrap_socket(
                self._sock, server_hostname=self._url.host, do_handshake_on_connect=False
            )
            self._next = self._shake_hands
        return True

    def _shake_hands(self) -> bool:
        try:
            self._sock.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        self._next = self._greet
        return True

    def _greet(self) -> bool:
        commands = script.greeting(self._url, self.sharing.header(self._clock()))
        self._sock.settimeout(DEADLINE)  # some KiB, for which a new connection has room
        self._sock.sendall(b"".join(commands))
        self._sock.setblocking(False)
        self._greeting = len(commands)
        self._next = self._finish_greeting
        return True

    def _finish_greeting(self) -> bool:
        try:
            replies = self._read()
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        for reply in replies:
            if isinstance(reply, ServerError):
                raise _Trouble(reply.text)
        self._greeting -= len(replies)
        if self._greeting < 0:
            raise _Trouble("it answers what was not asked")
        if not self._greeting:
            self._next = None
        return not self._greeting

    def _write_chunk(self) -> None:
        """Writes the oldest of what was kept."""
        chunk, now = self._kept.take_chunk(), self._clock()
        try:
            for records in chunk:
                reply = self.ask(script.count_late(records, now), DEADLINE)
                if isinstance(reply, ServerError):
                    raise _Trouble(reply.text)
        except BaseException:
            self._kept.put_back(chunk)
            raise
        self._kept.written(chunk)

    def __repr__(self) -> str:
        return f"<BlockingRedisState {self._url.name} reachable={self.stats.reachable}>"
