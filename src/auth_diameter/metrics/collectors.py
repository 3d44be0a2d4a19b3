"""The counters of a process as collectors for Prometheus; read on each scrape, at no cost to requests.

The programs serve them with ``--metrics``. Other programs register a collector beside their own metrics::

    from prometheus_client import REGISTRY
    from auth_diameter import metrics

    REGISTRY.register(metrics.client(auth))            # an AuthDiameter or AsyncAuthDiameter

This needs the package prometheus-client, which ``pip install 'auth-diameter[server]'`` installs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, get_args

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from auth_diameter.diameter.peer import PeerState

if TYPE_CHECKING:
    from auth_diameter.client.aio import AsyncAuthDiameter
    from auth_diameter.client.sync import AuthDiameter
    from auth_diameter.diameter.stats import PoolStats
    from auth_diameter.disc.diameter import DiameterListener
    from auth_diameter.disc.listener import Listener
    from auth_diameter.disc.server import Disc
    from auth_diameter.host.server import Host
    from auth_diameter.verifier.state.state import StateStats


class _Collector(Collector):
    def __init__(self, read: Callable[[], Iterator[Metric]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        return self._read()


def client(auth: AuthDiameter | AsyncAuthDiameter) -> Collector:
    """The metrics of a client: its decisions, its questions, and the state of each DISC."""

    def read() -> Iterator[Metric]:
        yield _counts(
            "auth_diameter_decisions_total",
            "Decisions by cause",
            "cause",
            {cause.name.lower(): count for cause, count in auth.counts.items()},
        )
        stats = auth.stats()
        yield from _questions(stats)
        yield _answers(
            "auth_diameter_diameter_answers_total",
            "Answers of DISC, or of servers of standard Diameter, by command and Result-Code",
            stats.answers,
        )
        yield from _connections(stats)
        yield from _peers(stats)
        if auth.state is not None:
            yield from _state(auth.state)

    return _Collector(read)


def _questions(stats: PoolStats) -> Iterator[Metric]:
    outcomes = ("answered", "expired", "lost", "abandoned", "refused_down", "refused_overload")
    yield _counts(
        "auth_diameter_disc_questions_total",
        "Questions to DISC that have ended, by outcome",
        "outcome",
        {outcome: getattr(stats, outcome) for outcome in outcomes},
    )
    yield _gauge(
        "auth_diameter_disc_questions_under_way",
        "Questions that were sent and are not answered",
        stats.under_way,
    )
    yield _gauge(
        "auth_diameter_disc_questions_waiting", "Questions that wait for a connection", stats.waiting
    )
    yield _count(
        "auth_diameter_disc_questions_asked_again_total",
        "Questions sent a second time because their connection broke",
        stats.asked_again,
    )
    yield _counts(
        "auth_diameter_disc_answers_dropped_total",
        "Answers that nobody waited for: late ones, and those to no question",
        "reason",
        {"late": stats.late, "unknown": stats.unknown},
    )


def _connections(stats: PoolStats) -> Iterator[Metric]:
    yield _counts(
        "auth_diameter_disc_connects_total",
        "Attempts to connect to DISC, by outcome",
        "outcome",
        {"opened": stats.connects, "failed": stats.connect_failures},
    )
    yield _count(
        "auth_diameter_disc_connections_lost_total",
        "Connections to DISC that broke",
        stats.connections_lost,
    )


def _peers(stats: PoolStats) -> Iterable[Metric]:
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
    states = GaugeMetricFamily(
        "auth_diameter_peers", "DISC, or other peers, by state: new, up, down or silent", labels=["state"]
    )
    for state in get_args(PeerState):
        states.add_metric([state], sum(peer.state == state for peer in stats.peers))
    return up, connections, under_way, states


def host(served: Host) -> Collector:
    """The metrics of a SIP/UDP server; its client has its own, see `client`."""

    def read() -> Iterator[Metric]:
        yield _count("auth_diameter_sip_datagrams_total", "Datagrams received", served.received)
        yield _count("auth_diameter_sip_replies_total", "Replies sent", served.replied)
        yield _count(
            "auth_diameter_sip_slow_total",
            "Requests and answers that Python handled, not compiled code",
            served.slow,
        )
        yield _count(
            "auth_diameter_sip_malformed_total", "Datagrams that were no SIP request", served.malformed
        )
        yield _count(
            "auth_diameter_sip_retransmissions_total",
            "Requests received again, which were not judged again",
            served.retransmissions,
        )
        yield _count(
            "auth_diameter_sip_replies_oversize_total",
            "Replies held back because they were more than twice as large as their request",
            served.oversize,
        )
        yield _count(
            "auth_diameter_sip_refused_total",
            "Requests refused with 503 before they were judged",
            served.refused,
        )
        yield _gauge(
            "auth_diameter_sip_requests_under_way", "Requests without a reply so far", served.under_way
        )

    return _Collector(read)


def disc(server: Disc, listener: Listener, peers: DiameterListener | None = None) -> Collector:
    """The metrics of a DISC: its answers and its connections, with standard Diameter its peers, too."""
    from auth_diameter.disc.admission import ConnectionEvent
    from auth_diameter.verifier.outcome import Outcome

    def read() -> Iterator[Metric]:
        yield _counts(
            "auth_diameter_disc_answers_total",
            "Questions that DISC answered, by outcome",
            "outcome",
            {outcome.name.lower(): server.counts[outcome] for outcome in Outcome},
        )
        yield _counts(
            "auth_diameter_disc_connection_events_total",
            "Events of connections to DISC",
            "event",
            {event.name.lower(): listener.counts[event] for event in ConnectionEvent},
        )
        yield _gauge("auth_diameter_disc_connections", "Open connections to DISC", listener.open)
        if peers is not None:
            yield from _standard_diameter(peers)
        if server.state is not None:
            yield from _state(server.state.stats)

    return _Collector(read)


def _standard_diameter(listener: DiameterListener) -> Iterator[Metric]:
    from auth_diameter.diameter.watchdog import WatchdogState
    from auth_diameter.disc.admission import ConnectionEvent

    yield _answers(
        "auth_diameter_disc_diameter_answers_total",
        "Answers to peers of standard Diameter, by command and Result-Code",
        listener.answers,
    )
    if listener.hss is not None:
        yield _answers(
            "auth_diameter_disc_diameter_pushes_total",
            "Answers of peers to PPR and RTR, by command and Result-Code; requests with 0: none came",
            listener.hss.pushes.answers,
        )
    states = listener.peers.states
    family = GaugeMetricFamily(
        "auth_diameter_disc_peers",
        "Connected peers of standard Diameter, by the state of their watchdog",
        labels=["state"],
    )
    for state in WatchdogState:
        family.add_metric([state.name.lower()], states[state])
    yield family
    yield _counts(
        "auth_diameter_disc_diameter_connection_events_total",
        "Events of connections of standard Diameter",
        "event",
        {event.name.lower(): listener.counts[event] for event in ConnectionEvent},
    )


def _state(stats: StateStats) -> Iterator[Metric]:
    yield _gauge("auth_diameter_state_up", "1 if shared state answers; 0 if not", stats.reachable)
    yield _count("auth_diameter_state_turns_total", "Commands that shared state has answered", stats.turns)
    yield _counts(
        "auth_diameter_state_questions_total",
        "Questions that were counted, by who had counted them when they were answered",
        "by",
        {"state": stats.records, "alone": stats.alone},
    )
    yield _gauge("auth_diameter_state_kept", "Questions to be written when shared state is back", stats.kept)
    yield _counts(
        "auth_diameter_state_late_total",
        "Questions that were counted alone, by what became of their records",
        "outcome",
        {"written": stats.late, "dropped": stats.dropped},
    )


def _count(name: str, text: str, value: int) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def _counts(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for each, value in values.items():
        family.add_metric([each], value)
    return family


def _answers(name: str, text: str, counts: Mapping[tuple[str, int], int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=["command", "result"])
    for (command, result), count in sorted(counts.items()):
        family.add_metric([command, str(result)], count)
    return family


def _gauge(name: str, text: str, value: int) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
