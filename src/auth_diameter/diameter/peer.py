"""The state machine of one peer, without I/O: whether it may be asked, and when it is tried next.

::

    state            breaker   event → next state
    ──────────────────────────────────────────────────────────────────
    new              closed    HEARD → up   UNREACHABLE → down   NOTHING_CAME → silent
    up               closed                 UNREACHABLE → down   NOTHING_CAME → silent
    down             open      HEARD → up                        NOTHING_CAME → silent
    silent           open      HEARD → up   UNREACHABLE → down

An event that the table does not list leaves the state as it is. A peer that is ``down`` or ``silent`` is in
doubt: its breaker is open. The peer rests; then a single question, the probe, is sent to it (the breaker is
half open). The first byte from the peer closes the breaker.

Users see these states in `PeerStats`, in the log and in metrics. In standard Diameter HEARD stands for the
CEA (RFC 6733, 5.6), and later for the answer to a question: a watchdog's messages do not close the breaker.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, Literal

from auth_diameter.addresses import show

_REST_FIRST = 0.05  # seconds of rest after the first failure to connect; each further failure doubles it
_REST_MOST = 1.0  # so that a peer is in use again within two seconds of its return
PROBE_EVERY = 1.0  # seconds between two probes of a peer
_FREE_LOSSES = 4  # connections that may close without an answer: a restart, or two bad questions
_CALM = 10.0  # seconds without a failure after which earlier failures are forgotten

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
    """A peer has changed its state.

    Attributes:
        address: ``HOST:PORT``.
        state: the new state, see `PeerStats`.
        why: the reason, if the state is ``down``.
        rest: seconds until the peer is tried next.
    """

    address: str
    state: PeerState
    why: str
    rest: float


class Peer:
    """One peer: its address, its state, and when it may be tried.

    Attributes:
        host: a name, an IPv4 or an IPv6 address.
        port: its TCP port.
        number: of it among the peers of a client, which no other peer ever has.
        state: see the table at the top of this file.
        opening: number of connections that are being opened.
        rest_until: when a connection may be opened next; if the peer is in doubt, also when a question may be
            sent.
        suspect_until: until when an answer on its other connections proves little, since one of them broke.
        probing: whether the connection that is being opened is to probe it.
        failures: number of failures since the last calm period.
        troubled_at: when the last failure was.
    """

    __slots__ = (
        "failures",
        "host",
        "number",
        "opening",
        "port",
        "probing",
        "rest_until",
        "state",
        "suspect_until",
        "troubled_at",
    )

    def __init__(self, host: str, port: int, number: int = 0) -> None:
        self.host = host
        self.port = port
        self.number = number
        self.state: PeerState = "new"
        self.opening = 0
        self.rest_until = 0.0
        self.probing = False
        self.suspect_until = 0.0
        self.failures = 0
        self.troubled_at = 0.0

    @property
    def in_doubt(self) -> bool:
        """Whether its breaker is open."""
        return self.state in ("down", "silent")

    def step(self, event: PeerEvent) -> bool:
        """Makes the transition of the table for `event`.

        Returns:
            Whether the state has changed.
        """
        was = self.state
        self.state = TRANSITIONS.get((was, event), was)
        return self.state != was

    def back_off(self, now: float, jitter: float) -> None:
        """Lets the peer rest after a failure; the more failures lately, the longer.

        Args:
            now: seconds, monotonic.
            jitter: from 0 to 1; the share of the second half of the rest that is used.
        """
        self._note_failure(now)
        rest = min(_REST_MOST, _REST_FIRST * 2.0 ** min(self.failures - 1, 10))
        self.rest_until = now + rest * (0.5 + 0.5 * jitter)

    def hung_up(self, now: float, jitter: float) -> None:
        """Notes that the peer closed a connection without an answer; it rests if that happens too often."""
        if not self.in_doubt and (now - self.troubled_at > _CALM or self.failures < _FREE_LOSSES):
            self._note_failure(now)
        else:
            self.back_off(now, jitter)

    def probed(self, now: float) -> None:
        """Notes that a probe was sent, or that a connection is being opened for one."""
        self.rest_until = now + PROBE_EVERY

    def left_unanswered(self, now: float) -> None:
        """Notes that a question expired, and that no byte came."""
        self._note_failure(now)
        self.rest_until = now + PROBE_EVERY

    def recovered(self) -> None:
        """Ends the rest; earlier failures still count, so that a peer that flaps is damped."""
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
