"""The UDP sockets of the SIP host."""

from __future__ import annotations

import socket
import sys

_RECEIVE_BUFFER = 4 << 20  # bytes of datagrams that the kernel queues while the loop is busy


def bind(host: str, port: int, count: int = 1) -> list[socket.socket]:
    """Binds UDP sockets to one address; the kernel spreads the clients over them.

    Args:
        host: a name or an address.
        port: the port; 0: any free one.
        count: number of sockets.

    Raises:
        OSError: the address cannot be bound, or another program has it.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            sock.setblocking(False)
            if sys.platform == "linux":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            if sock is sockets[0]:
                # Bound without SO_REUSEPORT, so that it fails if another program has the address.
                sock.bind(address)
            if count > 1:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if sock is not sockets[0]:
                sock.bind(sockets[0].getsockname())
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets
