"""The statistics of a client: its questions, how they ended, and the state of each peer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType

from auth_diameter._core import InFlight, Message
from auth_diameter.diameter.peer import PeerState


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStats:
    """One peer, as a client sees it.

    Attributes:
        address: ``HOST:PORT``.
        state: ``new``: it has not been tried yet. ``up``: it answers. ``down``: it cannot be connected to, or
            closes connections. ``silent``: it takes questions and does not answer. A peer that is ``down`` or
            ``silent`` has an open breaker: it gets a single question, the probe, now and then. The first byte
            from it closes the breaker.
        connections: number of open connections.
        opening: number of connections that are being opened.
        under_way: number of questions that were sent to it and are not answered.
    """

    address: str
    state: PeerState
    connections: int
    opening: int
    under_way: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStats:
    """The counts of a client since its start, and its questions under way now.

    Attributes:
        asked: questions in all; each is counted in one of the next six, in `under_way` or in `waiting`.
        answered: questions that DISC answered.
        expired: questions without an answer within `Config.timeout`.
        lost: questions whose connection broke and that could not be asked again.
        abandoned: questions that nobody waits for any more, since their thread was interrupted.
        refused_down: questions refused because no DISC can be reached, or none answers.
        refused_overload: questions refused at once because too many wait or are under way.
        asked_again: questions that were sent a second time because their first connection broke.
        late: answers that came after their question had expired, or was asked again.
        unknown: messages that answer no question of this client, or one that was answered before.
        connects: connections that were opened.
        connect_failures: attempts to connect that failed.
        connections_lost: connections that ended before the client was closed.
        under_way: questions that are sent and not answered, now.
        waiting: questions that wait for a connection, now.
        answers: the number of answers, to questions and of the base protocol, by name and Result-Code.
        peers: the statistics of each peer, in the order of the configuration.
    """

    asked: int
    answered: int
    expired: int
    lost: int
    abandoned: int
    refused_down: int
    refused_overload: int
    asked_again: int
    late: int
    unknown: int
    connects: int
    connect_failures: int
    connections_lost: int
    under_way: int
    waiting: int
    answers: dict[tuple[str, int], int]
    peers: tuple[PeerStats, ...]


@dataclass(slots=True)
class Counts:
    """The counts of `PoolStats`, as the pool increments them."""

    expired: int = 0
    lost: int = 0
    abandoned: int = 0
    refused_down: int = 0
    refused_overload: int = 0
    asked_again: int = 0
    connects: int = 0
    connect_failures: int = 0
    connections_lost: int = 0

    def stats(
        self,
        in_flight: InFlight,
        waiting: int,
        peers: tuple[PeerStats, ...],
        base_answers: Mapping[tuple[str, int], int] = MappingProxyType({}),
    ) -> PoolStats:
        """These counts and those of the questions in flight as `PoolStats`.

        Args:
            in_flight: the questions in flight.
            waiting: number of questions that wait for a connection.
            peers: the statistics of each peer.
            base_answers: the number of answers of the base protocol, by name and Result-Code.
        """
        under_way, answered = len(in_flight), in_flight.answered
        ended = answered + self.expired + self.lost + self.abandoned
        return PoolStats(
            asked=ended + self.refused_down + self.refused_overload + under_way + waiting,
            answered=answered,
            late=in_flight.late,
            unknown=in_flight.unknown,
            under_way=under_way,
            waiting=waiting,
            answers={**_by_name(in_flight.results), **base_answers},
            peers=peers,
            **asdict(self),
        )


def _by_name(results: Mapping[tuple[int, int], int]) -> dict[tuple[str, int], int]:
    return {(Message(command, flags=0).name, result): number for (command, result), number in results.items()}


def sum_of(pools: Sequence[PoolStats]) -> PoolStats:
    """The statistics of several pools together: the sums of their counts, and all peers in turn."""
    answers: Counter[tuple[str, int]] = Counter()
    for pool in pools:
        answers.update(pool.answers)
    counts = {
        field.name: sum(getattr(pool, field.name) for pool in pools)
        for field in fields(PoolStats)
        if field.name not in ("answers", "peers")
    }
    peers = tuple(peer for pool in pools for peer in pool.peers)
    return PoolStats(**counts, answers=dict(answers), peers=peers)


def no_pool() -> PoolStats:
    """The statistics of a client that asks no DISC."""
    return Counts().stats(InFlight(), 0, ())
