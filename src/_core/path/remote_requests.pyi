from collections.abc import Callable
from typing import final

from auth_diameter._core.auth.question import Question
from auth_diameter._core.path.counts import Decisions
from auth_diameter._core.path.in_flight import InFlight
from auth_diameter._core.path.requests import RequestPath
from auth_diameter._core.state.delegations import Delegations
from auth_diameter._core.state.nonce_watch import NonceIssuers
from auth_diameter._core.state.penalties import Penalties
from auth_diameter._core.state.transactions import Transactions

@final
class RemoteRequests(RequestPath):
    def __new__(
        cls,
        fd: int,
        transactions: Transactions,
        decisions: Decisions,
        adopt: Callable[[Question], object],
        in_flight: InFlight,
        penalties: Penalties | None,
        watch: NonceIssuers | None,
        delegations: Delegations | None = None,
        *,
        realm: str,
        timeout: float,
        max_size: int,
        max_headers: int,
        max_question: int,
        tells_source: bool,
        amplification: int,
        one_challenge: int,
    ) -> RemoteRequests: ...
