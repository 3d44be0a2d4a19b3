"""An attempt to connect that blocks nobody: its owner looks at it now and then."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Iterable, Iterator

from auth_diameter.diameter.dialling import LOOKUP_TIMED_OUT, Dial
from auth_diameter.diameter.peer import Peer
from auth_diameter.diameter.resolver import Address, Outcome


class Connecting:
    """One attempt to connect to a peer; it starts with the first `go_on`.

    Args:
        peer: the peer.
        dial: its addresses, and how long each may take.
        now: seconds, monotonic.

    Attributes:
        peer: the peer.
        sock: the socket that is being connected; None: there is none so far, or it was handed out.
        until: when `go_on` has something to do at the latest; seconds, monotonic.
    """

    __slots__ = ("_attempts", "_dial", "_found", "_trying", "peer", "sock", "until")

    def __init__(self, peer: Peer, dial: Dial, now: float) -> None:
        self.peer = peer
        self.sock: socket.socket | None = None
        self.until = now + dial.connect_timeout
        self._dial = dial
        self._found: list[Outcome] = []
        self._attempts: Iterator[tuple[Address, float]] | None = None
        self._trying: Address | None = None
        dial.look_up(self._found.append)

    def go_on(self, now: float) -> socket.socket | None:
        """Does what can be done without waiting.

        Returns:
            The connected socket, which is the caller's from here on; None: it takes longer.

        Raises:
            OSError: none of the addresses could be reached in time.
        """
        if self._attempts is None:
            if not self._found:
                if now < self.until:
                    return None
                self._dial.forget_lookup(self._found.append)
                raise OSError(LOOKUP_TIMED_OUT)
            self._attempts = self._dial.attempts(self._found[0])
        while True:
            if self.sock is not None:
                error = self._error(now)
                if error is None:
                    return None
                sock, self.sock = self.sock, None
                if not error:
                    assert self._trying is not None
                    self._dial.connected(self._trying)
                    return sock
                sock.close()
                self._dial.failed(
                    TimeoutError() if error == errno.ETIMEDOUT else OSError(error, os.strerror(error))
                )
            self._try_next(now)

    def _try_next(self, now: float) -> None:
        """Begins with the next address; raises OSError if there is none."""
        assert self._attempts is not None
        for address, seconds in self._attempts:
            self._trying = address
            self.until = now + seconds
            try:
                self.sock = socket.socket(address[0], socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
                self.sock.connect(address[1])
            except BlockingIOError:
                pass
            except OSError as error:
                self.close()
                self._dial.failed(error)
                continue
            return
        raise self._dial.error

    def _error(self, now: float) -> int | None:
        """The errno with which connecting has ended, 0 for success; None: it has not ended."""
        assert self.sock is not None
        if wait_for([self], 0.0):
            return self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return errno.ETIMEDOUT if now >= self.until else None

    def close(self) -> None:
        """Ends the attempt."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None


def wait_for(several: Iterable[Connecting], seconds: float) -> bool:
    """Waits until one of the sockets is connected, or has failed.

    Args:
        several: the attempts; those without a socket are passed over.
        seconds: for how long at most.

    Returns:
        Whether one is.
    """
    poll = select.poll()
    for one in several:
        if one.sock is not None:
            poll.register(one.sock, select.POLLOUT)
    return bool(poll.poll(max(seconds, 0.0) * 1000))
