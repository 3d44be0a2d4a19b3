"""One DISC and its connections, without I/O: whether it is worth asking, and when next.

States of a DISC, and what moves it from one to the next::

    new ──────► up        the first byte came
    new, up ──► down      it cannot be connected to, or hangs up without a word, and no connection is left
    new, up ──► silent    it took questions, and not one byte came back within the time limit
    down, silent ──► up   the first byte came

One that is ``down`` or ``silent`` is in doubt: its breaker is open. It rests, and then a single question
finds out (the breaker is half open); the first byte that comes back closes the breaker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from auth_diameter._core import AnswerStream, ParseError

_MOST_UNSENT = 1 << 20  # bytes of questions that a DISC may leave unread on a connection

_REST_FIRST = 0.05  # seconds that a peer rests after a first failure to connect; doubles each time
_REST_MOST = 1.0  # so that all is well again within two seconds of its return
_PROBE_EVERY = 1.0  # seconds from one question to the next for a DISC that is silent
_FREE_LOSSES = 4  # connections that may break without a word: a restart, or two odd questions
_CALM = 10.0  # seconds without trouble after which former trouble is forgotten

PeerState = Literal["new", "up", "down", "silent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A DISC is in another state than before.

    :ivar address: ``HOST:PORT``. :ivar state: see `PeerStats`.
    :ivar why: of one that is ``down``, the reason. :ivar rest: seconds until it is tried next.
    """

    address: str
    state: PeerState
    why: str
    rest: float


class Peer:
    """One DISC: where it is, and whether it is worth a try.

    :ivar opening: connections on the way.
    :ivar rest_until: no connection is opened to it before; of one in doubt, no question sent either.
    :ivar suspect_until: a connection broke just before: what its other ones say proves little.
    :ivar probing: the connection on the way is to find out about it.
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

    def back_off(self, now: float, jitter: float) -> None:
        """It failed: it rests, the longer the more often it did so lately, flapping included."""
        self._note_failure(now)
        rest = min(_REST_MOST, _REST_FIRST * 2.0 ** min(self.failures - 1, 10))
        self.rest_until = now + rest * (0.5 + 0.5 * jitter)

    def lost_one(self, now: float, jitter: float) -> None:
        """It hung up without a word: it rests if it does so too often."""
        if not self.in_doubt and (now - self.troubled_at > _CALM or self.failures < _FREE_LOSSES):
            self._note_failure(now)
        else:
            self.back_off(now, jitter)

    def probed(self, now: float) -> None:
        """It was given the one question, or the connection, that finds out."""
        self.rest_until = now + _PROBE_EVERY

    def says_nothing(self, now: float, single: bool) -> None:
        """A question was not answered in time, nor anything else came.

        :param single: whether it was the only one, and may be to blame itself: then the next is asked.
        """
        self._note_failure(now)
        self.rest_until = now if single else now + _PROBE_EVERY

    def heard(self) -> None:
        """A byte came. The next trouble still finds its failures, so that one that flaps is damped."""
        self.state = "up"
        self.probing = False
        self.rest_until = 0.0

    def _note_failure(self, now: float) -> None:
        if now - self.troubled_at > _CALM:
            self.failures = 0
        self.failures += 1
        self.troubled_at = now
        self.probing = False

    def __repr__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Connection:
    """One TCP connection with a DISC, but for the socket.

    :ivar outgoing: bytes to be sent; the driver takes them away.
    :ivar most: how many such bytes it may have and still be given a question; 0 lets one through.
    :ivar room: the same while DISC is not in doubt: with one question more it is 1 MiB at most.
    :ivar under_way: how many questions wait for an answer on it.
    :ivar ready: whether it may be given questions; the reasons against it are the next six.
    :ivar paused: the driver cannot send more for now.
    :ivar full: `outgoing` has reached `most`.
    :ivar suspect: another connection to the same DISC broke since the last byte came on this one.
    :ivar silent: it is to be closed, because DISC says nothing any more.
    :ivar doubted: a question expired behind part of an answer, or part of one came that nobody waits
        for. Were the rest never to come, the next answers would be taken for it: there is no new
        question until that answer is whole.
    :ivar asked_at: when the first question went out since the last byte came; None: nothing did.
    :ivar heard_at: when the last byte came; None: none ever did.
    :ivar probe_until: when the question that finds out about a DISC in doubt has waited long enough,
        where there is another DISC to be asked; None: it carries no such question.
    :ivar closing: the driver has closed it, and will say so.
    :ivar transport: the driver's own.
    """

    __slots__ = (
        "answers",
        "asked_at",
        "closing",
        "doubted",
        "full",
        "heard_at",
        "most",
        "opened_at",
        "outgoing",
        "paused",
        "peer",
        "probe_until",
        "ready",
        "room",
        "silent",
        "suspect",
        "transport",
        "under_way",
    )

    def __init__(self, peer: Peer, transport: Any, now: float, max_message: int) -> None:
        self.peer = peer
        self.transport = transport
        self.outgoing = bytearray()
        self.answers = AnswerStream(max_message)
        self.under_way = 0
        self.most = self.room = max(1, _MOST_UNSENT - max_message)
        self.ready = self.paused = self.full = self.suspect = self.silent = False
        self.doubted = self.closing = False
        self.opened_at = now
        self.asked_at: float | None = None
        self.heard_at: float | None = None
        self.probe_until: float | None = None

    @property
    def fault(self) -> ParseError | None:
        """What ended the framing of its answers; the driver then closes it."""
        return self.answers.fault

    @property
    def is_spent(self) -> bool:
        """Whether the driver is to close it: DISC hangs, or what it says cannot be told apart."""
        doubted = self.doubted and not self.under_way
        return self.silent or doubted or self.answers.fault is not None
