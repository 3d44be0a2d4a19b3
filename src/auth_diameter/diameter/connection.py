"""The state machine of one connection to a peer, without its socket; and the bytes to be sent on it.

::

    state      takes questions   event → next state
    ─────────────────────────────────────────────────────────────────────────────────────────────────
    OKAY       yes               SIBLING_LOST → SUSPECT   ORPHANED → UNSYNCED
    SUSPECT    no                HEARD → OKAY             EXPIRED → DOWN       IDLE → DOWN
    REOPEN     one               ASKED → PROBING          PEER_UP → OKAY       SIBLING_LOST → SUSPECT
    PROBING    no                RETRY → REOPEN           PEER_UP → OKAY       SIBLING_LOST → SUSPECT
    UNSYNCED   no                WHOLE → OKAY             IDLE → BROKEN
    each of these                FAULT → BROKEN
    BROKEN     no
    each of these                NOTHING_CAME, PATIENCE_OVER, PEER_SILENT, CLOSED → DOWN
    DOWN       no

An event that the table does not list leaves the state as it is.
OKAY, SUSPECT, REOPEN and DOWN are states of RFC 3539, 3.4.1:

* OKAY. The connection takes questions as long as it has room.
* SUSPECT. Another connection to the same peer broke, so this one may be dead as well. It takes no question
  until a byte comes. An idle connection goes DOWN at once, since no byte will come on it.
* REOPEN. The peer's breaker is half open. The next question is the probe.
* PROBING. The probe is under way.
* UNSYNCED. The connection holds part of an answer whose question has ended. If the rest never came, the next
  answers would be taken for it. So the connection takes no question until that answer is whole.
* BROKEN. The framing of the answers is lost. The connection is to be closed, and that counts as a loss.
* DOWN. The connection is closed; or it is to be closed since nothing came on it, and the peer has been judged
  for that already.

Flow control is not a state: a connection in any state may be paused or full, see `Connection.has_room`.

A capabilities exchange (CER and CEA; RFC 6733, 5.3 and 5.6) would add the state INITIAL, in which a new
connection begins, and the event CEA_CAME, which leads to OKAY. A watchdog (RFC 3539, 3.4.1) would add the
event WATCHDOG_EXPIRED, which leads from OKAY to SUSPECT and from SUSPECT to DOWN. A disconnect (DPR and DPA;
RFC 6733, 5.4) would add the state CLOSING, in which answers may still come, and two events: DPR_CAME leads
from OKAY to CLOSING, DPA_CAME from CLOSING to DOWN.
"""

from __future__ import annotations

import enum
from typing import Any, Final, Self

from auth_diameter._core import Wire
from auth_diameter.diameter.peer import Peer


class State(enum.Enum):
    """The state of a connection; see the table at the top of this file."""

    __hash__ = object.__hash__  # members are single objects; Enum's own hash is a call in Python

    OKAY = enum.auto()
    SUSPECT = enum.auto()
    REOPEN = enum.auto()
    PROBING = enum.auto()
    UNSYNCED = enum.auto()
    BROKEN = enum.auto()
    DOWN = enum.auto()


class Event(enum.Enum):
    """What happened to a connection."""

    __hash__ = object.__hash__

    ASKED = "a question was written to it"
    HEARD = "a byte came, and not just after another connection to the same peer broke"
    WHOLE = "bytes came, and no part of an answer is left"
    ORPHANED = "nobody waits for the answer of which it holds part"
    IDLE = "no question is under way on it"
    EXPIRED = "a question on it had no answer in time"
    NOTHING_CAME = "a question expired, and not one byte came for half of the time limit"
    PATIENCE_OVER = "the probe on it has waited as long as it may"
    RETRY = "its peer has rested: the next question is the probe"
    PEER_UP = "a byte came from a peer in doubt, on this connection or on another"
    PEER_SILENT = "its peer does not answer"
    SIBLING_LOST = "another connection to the same peer broke with a question on it"
    FAULT = "what came is not Diameter"
    CLOSED = "its socket is closed"


OKAY, SUSPECT, REOPEN, PROBING, UNSYNCED, BROKEN, DOWN = State

_LIVE = (OKAY, SUSPECT, REOPEN, PROBING, UNSYNCED)

TRANSITIONS: Final[dict[tuple[State, Event], State]] = {
    (OKAY, Event.SIBLING_LOST): SUSPECT,
    (OKAY, Event.ORPHANED): UNSYNCED,
    (SUSPECT, Event.HEARD): OKAY,
    (SUSPECT, Event.EXPIRED): DOWN,
    (SUSPECT, Event.IDLE): DOWN,
    (REOPEN, Event.ASKED): PROBING,
    (REOPEN, Event.PEER_UP): OKAY,
    (REOPEN, Event.SIBLING_LOST): SUSPECT,
    (PROBING, Event.RETRY): REOPEN,
    (PROBING, Event.PEER_UP): OKAY,
    (PROBING, Event.SIBLING_LOST): SUSPECT,
    (UNSYNCED, Event.WHOLE): OKAY,
    (UNSYNCED, Event.IDLE): BROKEN,
    **{(state, Event.FAULT): BROKEN for state in _LIVE},
    **{(state, Event.NOTHING_CAME): DOWN for state in (*_LIVE, BROKEN)},
    **{(state, Event.PATIENCE_OVER): DOWN for state in (*_LIVE, BROKEN)},
    **{(state, Event.PEER_SILENT): DOWN for state in (*_LIVE, BROKEN)},
    **{(state, Event.CLOSED): DOWN for state in (*_LIVE, BROKEN)},
}


class Connection(Wire):
    """One TCP connection to a peer, without its socket.

    As a `Wire` it has the bytes to be sent, which the driver takes away, the answers that come, and the
    number of its questions that wait for an answer.

    Args:
        now: seconds, monotonic.
        max_message: limit on the bytes of an answer.

    Attributes:
        peer: the peer it leads to.
        transport: the driver's socket or transport; the pool does not touch it.
        state: see the table at the top of this file. It begins as OKAY, as REOPEN if the peer is in doubt, or
            as DOWN if the connection is to be closed at once.
        paused: whether the driver cannot send more for now.
        full: whether the bytes to be sent exceeded `room`, and the driver has not taken them away since.
        opened_at: when it was opened; seconds, monotonic.
        probe_until: until when the probe on it waits if another peer can be asked; None: there is no probe on
            it.
    """

    __slots__ = (
        "full",
        "opened_at",
        "paused",
        "peer",
        "probe_until",
        "state",
        "transport",
    )

    def __new__(cls, peer: Peer, transport: Any, now: float, max_message: int, state: State) -> Self:
        """Makes the `Wire` that this is, which takes one of the arguments."""
        return super().__new__(cls, max_message)

    def __init__(self, peer: Peer, transport: Any, now: float, max_message: int, state: State) -> None:
        self.peer = peer
        self.transport = transport
        self.state = state
        self.paused = self.full = False
        self.opened_at = now
        self.probe_until: float | None = None

    @property
    def has_room(self) -> bool:
        """Whether the driver can take more bytes."""
        return not (self.paused or self.full)

    @property
    def takes_questions(self) -> bool:
        """Whether a question may be written to it."""
        return (self.state is OKAY or self.state is REOPEN) and self.has_room

    @property
    def is_live(self) -> bool:
        """Whether it is open, and not about to be closed."""
        return self.state is not DOWN and self.state is not BROKEN
