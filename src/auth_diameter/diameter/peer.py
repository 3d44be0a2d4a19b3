"""One peer, without I/O: whether it is worth asking, and when next.

::

    state            breaker   event → next state
    ──────────────────────────────────────────────────────────────────
    new              closed    HEARD → up   UNREACHABLE → down   NOTHING_CAME → silent
    up               closed                 UNREACHABLE → down   NOTHING_CAME → silent
    down             open      HEARD → up                        NOTHING_CAME → silent
    silent           open      HEARD → up   UNREACHABLE → down

What is not in the table changes nothing. A peer that is ``down`` or ``silent`` is in doubt: its breaker is
open. It rests, and then a single question finds out (the breaker is half open). The first byte that comes
back closes the breaker.

The states are those that users see in `PeerStats`, in the log and in metrics. With a handshake (RFC 6733,
5.6) a peer is ``up`` when its CEA came, no longer when its first byte did: HEARD is then reported on CEA.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, Literal

from auth_diameter.addresses import show

_REST_FIRST = 0.05  # seconds that a peer rests after a first failure to connect; doubles each time
_REST_MOST = 1.0  # so that all is well again within two seconds of its return
_PROBE_EVERY = 1.0  # seconds from one question to the next for a peer that is silent
_FREE_LOSSES = 4  # connections that may break without a word: a restart, or two odd questions
_CALM = 10.0  # seconds without trouble after which former trouble is forgotten

PeerState = Literal["new", "up", "down", "silent"]


class PeerEvent(enum.Enum):
    """What happened to a peer."""

    __hash__ = object.__hash__  # members are single objects; Enum's own hash is a call in Python

    HEARD = "a byte came"
    UNREACHABLE = "it cannot be connected to, or hangs up without a word, and no connection is left"
    NOTHING_CAME = "it took questions, and not one byte came back within the time limit"


TRANSITIONS: Final[dict[tuple[PeerState, PeerEvent], PeerState]] = {
    ("new", PeerEvent.HEARD): "up",
    ("new", PeerEvent.UNREACHABLE): "down",
    ("new", PeerEvent.NOTHING_CAME): "silent",
    ("up", PeerEvent.UNREACHABLE): "down",
    ("up", PeerEvent.NOTHING_CAME): "silent",
    ("down", PeerEvent.HEARD): "up",
    ("down", PeerEvent.NOTHING_CAME): "silent",
    ("silent", PeerEvent.HEARD): "up",
    ("silent", PeerEvent.UNREACHABLE): "down",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A peer is in another state than before.

    Attributes:
        address: ``HOST:PORT``.
        state: see `PeerStats`.
        why: of one that is ``down``, the reason.
        rest: seconds until it is tried next.
    """

    address: str
    state: PeerState
    why: str
    rest: float


class Peer:
    """One peer: where it is, and whether it is worth a try.

    Attributes:
        state: see the table on top of this file.
        opening: how many connections are on their way.
        rest_until: no connection is opened to it before; of one in doubt, no question sent either.
        suspect_until: a connection broke just before: what its other ones say proves little.
        probing: whether the connection on its way is to find out about it.
    """

    __slots__ = (
        "failures",
        "host",
        "opening",
        "port",
        "probing",
        "rest_until",
        "state",
        "suspect_until",
        "troubled_at",
    )

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.state: PeerState = "new"
        self.opening = 0
        self.rest_until = 0.0
        self.probing = False
        self.suspect_until = 0.0
        self.failures = 0  # since it was calm
        self.troubled_at = 0.0

    @property
    def in_doubt(self) -> bool:
        """Whether its breaker is open."""
        return self.state in ("down", "silent")

    def step(self, event: PeerEvent) -> bool:
        """Follows the table.

        Returns:
            Whether the state is another one than before.
        """
        was = self.state
        self.state = TRANSITIONS.get((was, event), was)
        return self.state != was

    def back_off(self, now: float, jitter: float) -> None:
        """Lets it rest after a failure, the longer the more often it failed lately, flapping included.

        Args:
            jitter: from 0 to 1: how much of the second half of its rest it gets.
        """
        self._note_failure(now)
        rest = min(_REST_MOST, _REST_FIRST * 2.0 ** min(self.failures - 1, 10))
        self.rest_until = now + rest * (0.5 + 0.5 * jitter)

    def hung_up(self, now: float, jitter: float) -> None:
        """Notes that it hung up without a word; it rests if it does so too often."""
        if not self.in_doubt and (now - self.troubled_at > _CALM or self.failures < _FREE_LOSSES):
            self._note_failure(now)
        else:
            self.back_off(now, jitter)

    def probed(self, now: float) -> None:
        """Notes that it was given the one question, or the connection, that finds out."""
        self.rest_until = now + _PROBE_EVERY

    def left_unanswered(self, now: float) -> None:
        """Notes that a question had no answer in time, and that nothing else came."""
        self._note_failure(now)
        self.rest_until = now + _PROBE_EVERY

    def recovered(self) -> None:
        """Ends its rest. The next trouble still finds its failures, so that a peer that flaps is damped."""
        self.probing = False
        self.rest_until = 0.0

    def _note_failure(self, now: float) -> None:
        if now - self.troubled_at > _CALM:
            self.failures = 0
        self.failures += 1
        self.troubled_at = now
        self.probing = False

    def __repr__(self) -> str:
        return show(self.host, self.port)
