"""The metrics over HTTP: ``GET /metrics``, for the programs."""

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

_PATIENCE = 10.0  # seconds for a client that says nothing, so that it does not keep a thread for ever
_PAUSE = 0.1  # seconds until the next try when there is no descriptor for one more
_BACKLOG = 16
_MOST_CONNECTIONS = 16  # at a time, each with a thread of its own; Prometheus has one


def bind(address: str, port: int, count: int = 1) -> list[socket.socket]:
    """Sockets for `Exporter` on so many ports in a row, from `port` on; of 0, on any free ones.

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
        """Says nothing: Prometheus asks every few seconds."""


class _Server(ThreadingMixIn, WSGIServer):
    """One that strangers who say nothing, slowly or often, can neither fill nor keep busy."""

    daemon_threads = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._open: list[socket.socket] = []  # the oldest first
        self._lock = threading.Lock()
        super().__init__(*arguments, **options)

    def get_request(self) -> tuple[socket.socket, Any]:
        """The next connection."""
        try:
            return super().get_request()
        except OSError:
            # Where no descriptor is left for it, the kernel reports it again at once.
            time.sleep(_PAUSE)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answers it, in a thread. The oldest gives way where there are too many: it is the most doubtful."""
        with self._lock:
            self._open.append(request)
            if len(self._open) > _MOST_CONNECTIONS:
                with contextlib.suppress(OSError):  # it is over already
                    self._open.pop(0).shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """It is answered, or cannot be."""
        with self._lock, contextlib.suppress(ValueError):  # it gave way
            self._open.remove(request)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Who hung up, or said nothing, has nothing to do with us."""


class Exporter:
    """Answers ``GET /metrics`` on a socket of `bind`, in a thread that does not outlive the process."""

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
        """Ends it, and closes the socket; takes up to half a second."""
        self._server.shutdown()
        self._server.server_close()
