"""The state machine of one connection to a peer, without its socket; and the bytes to be sent on it.

::

    state      takes questions   event → next state
    ─────────────────────────────────────────────────────────────────────────────────────────────────
    INITIAL    no                CAPABLE → OKAY
    OKAY       yes               SIBLING_LOST → SUSPECT   ORPHANED → UNSYNCED  UNANSWERED → PROBING
    SUSPECT    no                HEARD → OKAY             EXPIRED → DOWN       IDLE → DOWN
    REOPEN     one               ASKED → PROBING          PEER_UP → OKAY       SIBLING_LOST → SUSPECT
                                 UNANSWERED → PROBING
    PROBING    no                RETRY → REOPEN           PEER_UP → OKAY       SIBLING_LOST → SUSPECT
    UNSYNCED   no                WHOLE → OKAY             IDLE → BROKEN
    HELD_BACK  no                TRUSTED → OKAY
    each of these                UNTRUSTED → HELD_BACK    LEAVING → CLOSING
    CLOSING    no
    each of these                FAULT → BROKEN
    BROKEN     no
    each of these                NOTHING_CAME, PATIENCE_OVER, PEER_SILENT, CLOSED → DOWN
    DOWN       no

An event that the table does not list leaves the state as it is.
OKAY, SUSPECT, REOPEN and DOWN are states of RFC 3539, 3.4.1. INITIAL, HELD_BACK and CLOSING are of standard
Diameter alone:

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
* INITIAL. No CEA has come (RFC 6733, 5.3).
* HELD_BACK. The watchdog does not trust the peer, and another peer can be asked: it left a DWR unanswered, or
  was down and has not answered three since (RFC 3539, 3.4.1: SUSPECT and REOPEN there). See `watchdog`.
* CLOSING. A DPR was sent or came (RFC 6733, 5.4). Answers may still come.

A connection that is reserved takes only the questions that were redirected to its peer, see `redirects`.

With standard Diameter a peer has one connection (RFC 6733, 2.1), which the watchdog alone closes for its
silence. A question without an answer holds questions back, and closes nothing unless part of one came.

Flow control is not a state: a connection in any state may be paused or full, see `Connection.has_room`.
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
    INITIAL = enum.auto()
    HELD_BACK = enum.auto()
    CLOSING = enum.auto()


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
    CAPABLE = "the capabilities are exchanged"
    UNANSWERED = "its peer left questions unanswered"
    UNTRUSTED = "the watchdog does not trust its peer, and another one can be asked"
    TRUSTED = "the watchdog trusts its peer again, or no other one can be asked"
    LEAVING = "a DPR was sent or came"


OKAY, SUSPECT, REOPEN, PROBING, UNSYNCED, BROKEN, DOWN, INITIAL, HELD_BACK, CLOSING = State

_LIVE = (OKAY, SUSPECT, REOPEN, PROBING, UNSYNCED, INITIAL, HELD_BACK)

TRANSITIONS: Final[dict[tuple[State, Event], State]] = {
    (INITIAL, Event.CAPABLE): OKAY,
    (OKAY, Event.SIBLING_LOST): SUSPECT,
    (OKAY, Event.ORPHANED): UNSYNCED,
    (OKAY, Event.UNANSWERED): PROBING,
    (SUSPECT, Event.HEARD): OKAY,
    (SUSPECT, Event.EXPIRED): DOWN,
    (SUSPECT, Event.IDLE): DOWN,
    (REOPEN, Event.ASKED): PROBING,
    (REOPEN, Event.PEER_UP): OKAY,
    (REOPEN, Event.SIBLING_LOST): SUSPECT,
    (REOPEN, Event.UNANSWERED): PROBING,
    (PROBING, Event.RETRY): REOPEN,
    (PROBING, Event.PEER_UP): OKAY,
    (PROBING, Event.SIBLING_LOST): SUSPECT,
    (UNSYNCED, Event.WHOLE): OKAY,
    (UNSYNCED, Event.IDLE): BROKEN,
    (HELD_BACK, Event.TRUSTED): OKAY,
    **{(state, Event.UNTRUSTED): HELD_BACK for state in _LIVE},
    **{(state, Event.LEAVING): CLOSING for state in _LIVE},
    **{(state, Event.FAULT): BROKEN for state in (*_LIVE, CLOSING)},
    **{
        (state, event): DOWN
        for state in (*_LIVE, CLOSING, BROKEN)
        for event in (Event.NOTHING_CAME, Event.PATIENCE_OVER, Event.PEER_SILENT, Event.CLOSED)
    },
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
            as DOWN if the connection is to be closed at once; with standard Diameter as INITIAL.
        paused: whether the driver cannot send more for now.
        is_reserved: whether it takes only the questions that were redirected to its peer.
        full: whether the bytes to be sent exceeded `room`, and the driver has not taken them away since.
        opened_at: when it was opened; seconds, monotonic.
        probe_until: until when the probe on it waits if another peer can be asked; None: there is no probe on
            it.
        why: why the base protocol closes it; "": it does not, or as both sides agreed.
    """

    __slots__ = (
        "full",
        "is_reserved",
        "opened_at",
        "paused",
        "peer",
        "probe_until",
        "state",
        "transport",
        "why",
    )

    def __new__(cls, peer: Peer, transport: Any, now: float, max_message: int, state: State) -> Self:
        """Makes the `Wire` that this is, which takes one of the arguments."""
        return super().__new__(cls, max_message)

    def __init__(self, peer: Peer, transport: Any, now: float, max_message: int, state: State) -> None:
        self.peer = peer
        self.transport = transport
        self.state = state
        self.paused = self.full = self.is_reserved = False
        self.opened_at = now
        self.probe_until: float | None = None
        self.why = ""

    @property
    def has_room(self) -> bool:
        """Whether the driver can take more bytes."""
        return not (self.paused or self.full)

    @property
    def takes_questions(self) -> bool:
        """Whether a question may be written to it; if it is reserved, one that was redirected."""
        return (self.state is OKAY or self.state is REOPEN) and self.has_room

    @property
    def takes_any_question(self) -> bool:
        """Whether any question may be written to it."""
        return self.takes_questions and not self.is_reserved

    @property
    def is_live(self) -> bool:
        """Whether it is open, and not about to be closed."""
        return self.state in _LIVE
