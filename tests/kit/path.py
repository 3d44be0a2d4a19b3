"""The compiled way of requests, without a DISC: the test has its connections, and takes the replies."""

from __future__ import annotations

from typing import Any

from kit.disc import CHALLENGE_VALUE
from kit.sip import build_credentials, build_request
from kit.wire import build_answer

from auth_diameter import Avp, Framer, Message
from auth_diameter._core import (
    Answer,
    Decisions,
    InFlight,
    Penalties,
    Question,
    RemoteRequests,
    Transactions,
    Wire,
)
from auth_diameter.decision import Cause

SOURCE = ("192.0.2.9", 4711)
SETTINGS: dict[str, Any] = {
    "realm": "$fd",
    "timeout": 5.0,
    "max_size": 65_535,
    "max_headers": 256,
    "max_question": 65_536,
    "tells_source": False,
    "amplification": 2,
    "one_challenge": 512,
}


def new_wire(in_flight: InFlight, *, calm: bool = True, limit: int = 65_536) -> Wire:
    """A connection that takes questions."""
    wire = Wire(limit)
    wire.is_calm = calm
    in_flight.set_ready(wire, True)
    return wire


def asked_on(wire: Wire) -> list[Message]:
    """The questions that would be sent on a connection now."""
    return [Message.decode(data) for data in Framer().feed(wire.take_unsent())]


def numbered(number: int = 0, method: str = "INVITE", extra: tuple[str, ...] = (), **more: Any) -> bytes:
    """A request that differs from those with other numbers; they are of one size up to 9,999."""
    return build_request(method, extra=(f"X-Number: {number:04}", *extra), **more)


def with_credentials(number: int = 0, method: str = "INVITE", *, proxy: bool = True, **more: str) -> bytes:
    """The same, with credentials."""
    name = "Proxy-Authorization" if proxy else "Authorization"
    return numbered(number, method, (f"{name}: {build_credentials(**more)}",))


def challenge_to(question: Message | int, value: bytes = CHALLENGE_VALUE, **more: Any) -> bytes:
    """The answer with a challenge."""
    return build_answer(question, 4001, challenge=value, **more)


class Way:
    """A `RemoteRequests` with all that it needs.

    Args:
        wires: how many connections there are.
        fd: of a socket; -1: there is none, and up to 256 replies wait until `replies` takes them.
        room: bytes for replies.
        most: questions in flight on one connection.
        adopt: see `RemoteRequests`; None: the Questions go to `adopted`.
        settings: in place of SETTINGS.

    Attributes:
        now: the time of all that happens, seconds.
        adopted: the Questions that requests became.
    """

    def __init__(
        self,
        *,
        wires: int = 1,
        fd: int = -1,
        room: int = 48 << 20,
        most: int = 1000,
        penalties: Penalties | None = None,
        watch: Any = None,
        adopt: Any = None,
        in_flight: InFlight | None = None,
        **settings: Any,
    ) -> None:
        self.now = 0.0
        self.in_flight = InFlight(most) if in_flight is None else in_flight
        self.wires = [new_wire(self.in_flight) for _ in range(wires)]
        self.transactions = Transactions(room)
        self.decisions = Decisions()
        self.adopted: list[Question] = []
        self.path = RemoteRequests(
            fd,
            self.transactions,
            self.decisions,
            adopt or self.adopted.append,
            self.in_flight,
            penalties,
            watch,
            **SETTINGS | settings,
        )

    def take(self, *datagrams: bytes, source: Any = SOURCE) -> None:
        for data in datagrams:
            self.path.take(data, source, self.now)

    def asked(self, wire: int = 0) -> list[Message]:
        """The questions written since the last call."""
        return asked_on(self.wires[wire])

    def answer(self, *answers: bytes, wire: int = 0) -> list[tuple[Question, Answer]]:
        return self.in_flight.received(self.wires[wire], b"".join(answers), self.now)

    def replies(self) -> list[bytes]:
        return [data for data, _ in self.path.departures.take()]

    def statuses(self) -> list[int]:
        return [int(reply[8:11]) for reply in self.replies()]

    def exchange(
        self, *datagrams: bytes, code: int = 2001, source: Any = SOURCE, more: tuple[Avp, ...] = ()
    ) -> None:
        """Has datagrams asked about, and each question answered alike."""
        self.take(*datagrams, source=source)
        challenge = CHALLENGE_VALUE if code == 4001 else None
        self.answer(*(build_answer(q, code, challenge=challenge, more=more) for q in self.asked()))

    @property
    def counts(self) -> dict[Cause, int]:
        """The decisions so far."""
        return {cause: count for cause, count in self.decisions.as_dict().items() if count}
