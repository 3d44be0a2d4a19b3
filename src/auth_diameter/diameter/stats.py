"""The statistics of a client: its questions, how they ended, and the state of each peer."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from auth_diameter.diameter.peer import PeerState


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStats:
    """One peer, as a client sees it.

    Attributes:
        address: ``HOST:PORT``.
        state: ``new`` nobody has tried it yet; ``up`` it answers; ``down`` it cannot be connected to, or
            hangs up; ``silent`` it takes questions and does not answer. The breaker of one that is ``down``
            or ``silent`` is open: it gets a single question now and then, and the first byte that comes back
            closes the breaker.
        connections: open ones.
        opening: those on the way.
        under_way: questions that it was asked and has not answered.
    """

    address: str
    state: PeerState
    connections: int
    opening: int
    under_way: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStats:
    """The counts of a client since its beginning, and what is under way now.

    Attributes:
        asked: questions, each of them in one of the next six, `under_way` or `waiting`.
        answered: those that DISC answered.
        expired: those without an answer within `Config.timeout`.
        lost: those whose connection broke and that could not be asked again.
        abandoned: those that nobody waits for any more: their thread was interrupted.
        refused_down: those refused because no DISC can be reached or answers.
        refused_overload: those refused at once because too many wait or are under way.
        asked_again: questions that went out a second time, because their first connection broke.
        late: answers that came after their question had expired, or was asked again.
        unknown: messages that answer no question of this client, or one that was answered before.
        connects: connections that were opened.
        connect_failures: attempts that failed.
        connections_lost: connections that ended before the client did.
        under_way: questions that were sent and are not answered, now.
        waiting: questions that wait for a connection, now.
        peers: each peer, in the order of the configuration.
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
    peers: tuple[PeerStats, ...]


@dataclass(slots=True)
class Counts:
    """The counts of `PoolStats`, as the pool keeps them."""

    answered: int = 0
    expired: int = 0
    lost: int = 0
    abandoned: int = 0
    refused_down: int = 0
    refused_overload: int = 0
    asked_again: int = 0
    late: int = 0
    unknown: int = 0
    connects: int = 0
    connect_failures: int = 0
    connections_lost: int = 0

    def stats(self, under_way: int, waiting: int, peers: tuple[PeerStats, ...]) -> PoolStats:
        """These counts, and what is under way now."""
        ended = self.answered + self.expired + self.lost + self.abandoned
        asked = ended + self.refused_down + self.refused_overload + under_way + waiting
        return PoolStats(asked=asked, under_way=under_way, waiting=waiting, peers=peers, **asdict(self))
