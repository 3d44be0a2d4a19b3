"""Looks up the addresses of peers in threads, since the C library's lookup has no time limit.

Each name has one lookup at a time, in a daemon thread. So a resolver that hangs holds up no question, no
event loop and not the exit of the program, and threads do not pile up. The addresses of the last lookup are
used while the next one runs, and when it fails.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 # getaddrinfo would import it in a thread; a child forked meanwhile would hang
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from socket import getaddrinfo as parse_literal  # with AI_NUMERICHOST it asks no name server
from typing import TypeAlias

Address: TypeAlias = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]
Outcome: TypeAlias = Sequence[Address] | OSError

_FRESH = 60.0  # seconds until a name is looked up again, to follow a change of its addresses


class _Name:
    """What is known of one name.

    Attributes:
        addresses: with port 0; the address to try first is in front.
        fresh_until: when the next lookup is due; seconds, monotonic.
        running: whether a lookup is running.
        waiters: the port and the callback of each caller that waits for the outcome.
    """

    __slots__ = ("addresses", "fresh_until", "running", "waiters")

    def __init__(self) -> None:
        self.addresses: list[Address] = []
        self.fresh_until = 0.0
        self.running = False
        self.waiters: list[tuple[int, Callable[[Outcome], object]]] = []


class Resolver:
    """The names of one client; thread-safe.

    Args:
        clock: function that returns seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._names: dict[str, _Name] = {}

    def after_fork(self) -> None:
        """Goes on in the child with the addresses that are known; the lookups under way are the parent's."""
        self._lock = threading.Lock()
        for name in self._names.values():
            name.running = False
            name.waiters = []

    def look_up(self, host: str, port: int, done: Callable[[Outcome], object]) -> None:
        """Calls `done` with the addresses of `host`.

        If `host` is an address, or its addresses are known, `done` is called at once. Otherwise the thread of
        the lookup calls it, which may take for ever.

        Args:
            host: a name, an IPv4 or an IPv6 address.
            port: the port of the addresses.
            done: function of the addresses, in the order in which to try them, or of the OSError of the
                lookup. It must not raise.
        """
        literal = _literal(host, port)
        if literal is not None:
            done([literal])
            return
        known: Outcome | None = None
        with self._lock:
            name = self._names.setdefault(host, _Name())
            if name.addresses:
                known = _with_port(name.addresses, port)
            else:
                name.waiters.append((port, done))
            if not name.running and (known is None or name.fresh_until <= self._clock()):
                name.running = True
                thread = threading.Thread(
                    target=self._run, args=(host, name), name=f"look up {host}", daemon=True
                )
                try:
                    thread.start()
                except RuntimeError:  # no more threads
                    name.running = False
                    if known is None:
                        name.waiters.remove((port, done))
                        known = OSError("no thread is left to look up its name")
        if known is not None:
            done(known)

    def forget(self, port: int, done: Callable[[Outcome], object]) -> None:
        """Ends the wait of a caller of `look_up`, if it still waits."""
        with self._lock:
            for name in self._names.values():
                if (port, done) in name.waiters:
                    name.waiters.remove((port, done))

    def tried(self, host: str, good: Address | None) -> None:
        """Notes which address of `host` could be connected to.

        Args:
            host: the name.
            good: the address, which is tried first from now on; None: all failed, so the name is looked up
                again.
        """
        with self._lock:
            name = self._names.get(host)
            if name is None:
                return  # `host` is an address
            if good is None:
                name.fresh_until = 0.0
                return
            [good] = _with_port([good], 0)
            if good in name.addresses[1:]:
                name.addresses = [good, *(address for address in name.addresses if address != good)]

    def _run(self, host: str, name: _Name) -> None:
        found: list[Address] = []
        outcome: OSError | None = None
        try:
            for family, _, _, _, address in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM):
                if (family, address) not in found:
                    found.append((family, address))  # type: ignore[arg-type]  # of TCP, so a pair or four
        except OSError as error:
            outcome = error
        except UnicodeError:  # no valid name: a label is empty or too long
            outcome = OSError("no such name")
        with self._lock:
            name.running = False
            if found:
                if name.addresses and name.addresses[0] in found:
                    found.remove(name.addresses[0])
                    found.insert(0, name.addresses[0])
                name.addresses = found
                name.fresh_until = self._clock() + _FRESH
            waiters, name.waiters = name.waiters, []
        for port, done in waiters:
            done(_with_port(found, port) if found else outcome or OSError("no such name"))


def _literal(host: str, port: int) -> Address | None:
    """The address that `host` is, if it is IPv4 or IPv6; None: it is a name."""
    try:
        found = parse_literal(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return None
    family, _, _, _, address = found[0]
    return family, address  # type: ignore[return-value]  # of TCP, so a pair or four


def _with_port(addresses: Sequence[Address], port: int) -> list[Address]:
    return [(family, (address[0], port, *address[2:])) for family, address in addresses]


def reason_of(error: BaseException) -> str:
    """Why a connection could not be opened, in a few words for the log."""
    if isinstance(error, TimeoutError):
        return "connecting takes too long"
    if isinstance(error, OSError) and (reason := getattr(error, "reason", None)):  # an SSLError
        return f"TLS fails ({reason})"
    if isinstance(error, ConnectionError) and error.errno is not None:
        text = os.strerror(error.errno)  # asyncio's own text repeats the address
    else:
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text[0].lower() + text[1:]
