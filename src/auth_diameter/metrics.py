"""What a process has counted, for Prometheus: read when it asks, so that no request pays for it.

The programs have it with ``--metrics``. A program of one's own registers a collector where it has its
other metrics::

    from prometheus_client import REGISTRY
    from auth_diameter import metrics

    REGISTRY.register(metrics.client(auth))            # an AuthDiameter or AsyncAuthDiameter

It needs the package prometheus-client, which ``pip install 'auth-diameter[server]'`` brings along.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from auth_diameter.aio import AsyncAuthDiameter
    from auth_diameter.disc.listener import Listener
    from auth_diameter.disc.server import Disc
    from auth_diameter.host import Host
    from auth_diameter.sync import AuthDiameter

_PATIENCE = 10.0  # seconds for a client that says nothing, so that it does not keep a thread for ever
_PAUSE = 0.1  # seconds until the next try when there is no descriptor for one more
_BACKLOG = 16
_MOST_CONNECTIONS = 16  # at a time, each with a thread of its own; Prometheus has one


class _Collector(Collector):
    def __init__(self, read: Callable[[], Iterator[Metric]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        return self._read()


def client(auth: AuthDiameter | AsyncAuthDiameter) -> Collector:
    """The metrics of a client: its decisions, its questions, and how each DISC is."""

    def read() -> Iterator[Metric]:
        yield _counts(
            "decisions",
            "Decisions by cause",
            "cause",
            {cause.name.lower(): count for cause, count in auth.counts.items()},
        )
        stats = auth.stats()
        outcomes = ("answered", "expired", "lost", "abandoned", "refused_down", "refused_overload")
        yield _counts(
            "disc_questions",
            "Questions to DISC that have ended, by how",
            "outcome",
            {outcome: getattr(stats, outcome) for outcome in outcomes},
        )
        yield _gauge(
            "disc_questions_under_way", "Questions that were sent and are not answered", stats.under_way
        )
        yield _gauge("disc_questions_waiting", "Questions that wait for a connection", stats.waiting)
        yield _count(
            "disc_questions_asked_again",
            "Questions sent a second time because their connection broke",
            stats.asked_again,
        )
        yield _counts(
            "disc_answers_dropped",
            "Answers that nobody waited for: late ones, and those to no question",
            "reason",
            {"late": stats.late, "unknown": stats.unknown},
        )
        yield _counts(
            "disc_connects",
            "Attempts to connect to DISC, by outcome",
            "outcome",
            {"opened": stats.connects, "failed": stats.connect_failures},
        )
        yield _count(
            "disc_connections_lost", "Connections to DISC that ended before we did", stats.connections_lost
        )
        up = GaugeMetricFamily(
            "auth_diameter_peer_up",
            "1 if the DISC answers; 0 if not, or if nobody has asked",
            labels=["peer"],
        )
        connections = GaugeMetricFamily(
            "auth_diameter_peer_connections", "Open connections to the DISC", labels=["peer"]
        )
        under_way = GaugeMetricFamily(
            "auth_diameter_peer_questions_under_way",
            "Questions that the DISC has not answered",
            labels=["peer"],
        )
        for peer in stats.peers:
            up.add_metric([peer.address], peer.state == "up")
            connections.add_metric([peer.address], peer.connections)
            under_way.add_metric([peer.address], peer.under_way)
        yield from (up, connections, under_way)

    return _Collector(read)


def host(served: Host) -> Collector:
    """The metrics of a SIP/UDP host, beside those of its client."""

    def read() -> Iterator[Metric]:
        yield _count("sip_datagrams", "Datagrams that came", served.received)
        yield _count("sip_replies", "Replies that went out", served.replied)
        yield _count("sip_malformed", "Datagrams that were no SIP request", served.malformed)
        yield _count(
            "sip_retransmissions",
            "Requests that came again and were not judged again",
            served.retransmissions,
        )
        yield _count(
            "sip_replies_oversize",
            "Replies held back because they were more than twice as large as their request",
            served.oversize,
        )
        yield _count("sip_refused", "Requests refused with 503 before they were judged", served.refused)
        yield _gauge("sip_requests_under_way", "Requests without a reply so far", served.under_way)

    return _Collector(read)


def disc(server: Disc, listener: Listener) -> Collector:
    """The metrics of a DISC."""
    from auth_diameter.disc.listener import ConnectionEvent
    from auth_diameter.disc.server import Outcome

    def read() -> Iterator[Metric]:
        yield _counts(
            "disc_answers",
            "Questions that DISC answered, by outcome",
            "outcome",
            {outcome.name.lower(): server.counts[outcome] for outcome in Outcome},
        )
        yield _counts(
            "disc_connection_events",
            "What became of connections to DISC",
            "event",
            {event.name.lower(): listener.counts[event] for event in ConnectionEvent},
        )
        yield _gauge("disc_connections", "Open connections to DISC", listener.open)

    return _Collector(read)


def _count(name: str, text: str, value: int) -> Metric:
    return CounterMetricFamily(f"auth_diameter_{name}", text, value=value)


def _counts(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"auth_diameter_{name}", text, labels=[label])
    for each, value in values.items():
        family.add_metric([each], value)
    return family


def _gauge(name: str, text: str, value: int) -> Metric:
    return GaugeMetricFamily(f"auth_diameter_{name}", text, value=value)


# ---------------------------------------------------------------------------------- over HTTP


def bind(address: str, port: int, count: int = 1) -> list[socket.socket]:
    """Sockets for `Exporter` on so many ports in a row, from `port` on; of 0, on any free ones.

    :raises OSError: one cannot be bound.
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
