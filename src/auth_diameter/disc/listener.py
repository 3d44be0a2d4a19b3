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
import logging
import os
import socket
import ssl
from typing import Any

from auth_diameter._core import network_of
from auth_diameter.addresses import show
from auth_diameter.disc.admission import Admission, ConnectionEvent, within
from auth_diameter.disc.config import ListenerConfig
from auth_diameter.disc.connection import Connection
from auth_diameter.disc.server import Disc
from auth_diameter.disc.turns import Turns

log = logging.getLogger("auth_diameter.disc")

_BACKLOG = 1024
_ACCEPTS_A_TURN = 64  # so that a flood of new connections does not starve the open ones
_ACCEPT_PAUSE = 0.1  # seconds until the next accept after the system had no descriptor or memory for one
_PATIENCE = 1.5  # seconds for SIP servers to read their last answers and close, when DISC stops
_ATTEMPTS = 20  # attempts to find a port that is free for both IPv4 and IPv6
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_Target = tuple[socket.AddressFamily, Any]  # the family and the address, as getaddrinfo returns them


class Listener:
    """The listener of a DISC server; see `listen`.

    Args:
        turns: judges the questions.
        sockets: the listening sockets.
        config: the limits on connections.
        tls: what connections are encrypted with; None: they are not.

    Attributes:
        addresses: each (host, port) on which it listens; a name may have an IPv4 and an IPv6 address.
        counts: the number of times of each `ConnectionEvent`.
    """

    def __init__(
        self,
        turns: Turns,
        sockets: list[socket.socket],
        config: ListenerConfig,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._turns = turns
        self._tls = tls
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
    def limits(self) -> ListenerConfig:
        """The limits on connections."""
        return self._admission.config

    @property
    def turns(self) -> Turns:
        """What judges the questions; another listener may share it."""
        return self._turns

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
                connection.finish(_PATIENCE)
                self._loop.call_later(_PATIENCE, connection.abort)
            connection.use(config)

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
            connection = self._connection(host, peer, source)
            task = self._loop.create_task(self._start(sock, connection, peer, source))
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)

    def _connection(self, host: str, peer: str, source: str | bytes) -> Connection:
        """Makes the connection for a socket that was accepted."""
        return Connection(self._turns, self._admission, host, peer, source)

    async def _start(
        self, sock: socket.socket, connection: Connection, peer: str, source: str | bytes
    ) -> None:
        try:
            sock.setblocking(False)
            if self._tls is None:
                await self._loop.connect_accepted_socket(lambda: connection, sock)
            else:
                patience = self._admission.config.max_question_time
                await self._loop.connect_accepted_socket(
                    lambda: connection, sock, ssl=self._tls, ssl_handshake_timeout=patience
                )
        except OSError as error:  # the peer has reset the connection, or cannot agree on TLS
            if self._tls is not None:
                self._admission.note(ConnectionEvent.NO_TLS, "closed the connection of %s: %s", peer, error)
            log.debug("lost the connection of %s: %s", peer, error)
            sock.close()
            self._admission.forget(source)
        except asyncio.CancelledError:  # as DISC stops: in the middle of a handshake, or just behind it
            if connection in self._admission.open:
                connection.abort()  # which counts it off
            else:
                sock.close()
                self._admission.forget(source)
            raise

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
            if self._tls is not None:
                for task in self._starting:
                    task.cancel()
            await asyncio.wait(self._starting)
        admission = self._admission
        for connection in list(admission.open):
            connection.finish(_PATIENCE)
        if admission.taken:
            admission.last_closed = self._loop.create_future()
            await asyncio.wait([admission.last_closed], timeout=_PATIENCE)
        for connection in list(admission.open):
            connection.abort()
        while admission.taken > 0:
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
    sockets = await bind(host, port)
    return Listener(Turns(disc), sockets, config if config is not None else ListenerConfig())


async def bind(host: str, port: int) -> list[socket.socket]:
    """Binds a listening socket to every address of `host`.

    Args:
        host: a name or an address.
        port: the TCP port; 0 for one that is free on all addresses.

    Raises:
        OSError: an address cannot be bound.
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
    return sockets


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
