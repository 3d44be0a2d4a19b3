from collections.abc import Callable
from typing import final

from auth_diameter._core.auth.causes import Cause
from auth_diameter._core.auth.question import Question
from auth_diameter._core.errors import ParseError
from auth_diameter._core.net.departures import Departures
from auth_diameter._core.path.counts import Decisions
from auth_diameter._core.path.in_flight import InFlight, SlotOwner
from auth_diameter._core.sip.request import SipRequest
from auth_diameter._core.state.nonce_watch import NonceIssuers
from auth_diameter._core.state.penalties import Penalties
from auth_diameter._core.state.transactions import Transactions

@final
class RequestPath(SlotOwner):
    def __new__(
        cls,
        fd: int,
        in_flight: InFlight,
        transactions: Transactions,
        decisions: Decisions,
        penalties: Penalties | None,
        watch: NonceIssuers | None,
        adopt: Callable[[Question], object],
        *,
        realm: str,
        timeout: float,
        max_size: int,
        max_headers: int,
        max_question: int,
        tells_source: bool,
        amplification: int,
        one_challenge: int,
    ) -> RequestPath: ...
    is_open: bool
    @property
    def departures(self) -> Departures: ...
    def take(self, data: bytes, source: tuple[str, int] | tuple[str, int, int, int], now: float) -> None: ...
    @property
    def received(self) -> int: ...
    @property
    def retransmissions(self) -> int: ...
    @property
    def slow(self) -> int: ...
    @property
    def replied(self) -> int: ...
    @property
    def in_slots(self) -> int: ...
    @property
    def has_odd(self) -> bool: ...
    @property
    def has_notes(self) -> bool: ...
    def receive(self, now: float) -> int: ...
    def take_odd(self) -> list[SipRequest | ParseError]: ...
    def take_notes(self) -> tuple[list[tuple[Cause, str, str, int]], int]: ...
    def take_back(self) -> list[Question]: ...
    def close(self) -> None: ...
