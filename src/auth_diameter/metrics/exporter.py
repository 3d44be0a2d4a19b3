"""The HTTP server of the programs for ``GET /metrics``.

The standard library's server runs in threads of its own. So a scrape does not hold up the event loop, and no
HTTP is parsed here. Only limits are added, because strangers may connect.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app
from prometheus_client.registry import Collector

_PATIENCE = 10.0  # seconds for a client to send its request, so that it cannot keep a thread for ever
_PAUSE = 0.1  # seconds until the next accept, when no file descriptor is left
_BACKLOG = 16
_MOST_CONNECTIONS = 16  # at a time, each in a thread of its own; Prometheus needs one


def bind(address: str, port: int, count: int = 1) -> list[socket.socket]:
    """Binds listening sockets for `Exporter`.

    Args:
        address: a name or an address.
        port: the port of the first socket, the others follow in a row; 0: any free ports.
        count: number of sockets.

    Raises:
        OSError: one cannot be bound.
    """
    family, kind, protocol, _, (first, *_) = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    sockets: list[socket.socket] = []
    try:
        for number in range(count):
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((first, port + number if port else 0))
            sock.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        for sock in sockets:
            sock.close()
        if isinstance(error, OverflowError):
            raise OSError(None, f"port {port + count - 1} is more than 65535") from None
        raise
    return sockets


class _Handler(WSGIRequestHandler):
    timeout = _PATIENCE

    def log_message(self, format: str, *args: object) -> None:
        """Logs nothing: Prometheus asks every few seconds."""


class _Server(ThreadingMixIn, WSGIServer):
    """A server that slow or frequent clients can neither fill nor keep busy."""

    daemon_threads = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._open: list[socket.socket] = []  # the oldest connection first
        self._lock = threading.Lock()
        super().__init__(*arguments, **options)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accepts the next connection."""
        try:
            return super().get_request()
        except OSError:
            # Without a free file descriptor the kernel would report the connection again at once.
            time.sleep(_PAUSE)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serves a connection in a thread; closes the oldest one if there are too many."""
        with self._lock:
            self._open.append(request)
            if len(self._open) > _MOST_CONNECTIONS:
                with contextlib.suppress(OSError):  # it has ended already
                    self._open.pop(0).shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Closes a connection after its reply, or a failure."""
        with self._lock, contextlib.suppress(ValueError):  # it was closed to make room
            self._open.remove(request)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignores a client that closed the connection, or sent no request."""


class Exporter:
    """Serves ``GET /metrics`` in a daemon thread, which ends with the process.

    Args:
        sock: a listening socket, see `bind`.
        collectors: the metrics, besides those of the process (memory, CPU, file descriptors).
    """

    def __init__(self, sock: socket.socket, *collectors: Collector) -> None:
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # memory, CPU, file descriptors
        for collector in collectors:
            registry.register(collector)
        name = sock.getsockname()
        self._server = _Server(name[:2], _Handler, bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = sock
        self._server.server_name, self._server.server_port = name[:2]
        self._server.setup_environ()
        self._server.set_app(make_wsgi_app(registry))
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()

    def close(self) -> None:
        """Stops the server and closes the socket; takes up to half a second."""
        self._server.shutdown()
        self._server.server_close()
