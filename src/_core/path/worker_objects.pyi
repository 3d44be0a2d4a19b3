from collections.abc import Callable, Sequence
from typing import Any, Protocol, final

from auth_diameter._core.auth.answer import Answer
from auth_diameter._core.auth.decision import Decision
from auth_diameter._core.auth.question import Question
from auth_diameter._core.path.counts import Decisions
from auth_diameter._core.path.in_flight import InFlight
from auth_diameter._core.path.objects import ObjectPath, _Request
from auth_diameter._core.sip.request import SipRequest
from auth_diameter._core.state.breakers import Breakers
from auth_diameter._core.state.nonce_watch import NonceIssuers
from auth_diameter._core.state.penalties import Penalties

class _WorkerPolicy(Protocol):
    def compile(self, realm: str) -> Callable[[SipRequest], str | None]: ...
    def refuse_penalized(self, question: Question) -> Decision: ...
    def conclude(self, question: Question, answer: Answer) -> Decision: ...
    def judge_connection(self, wire: Any) -> None: ...  # a Connection
    def go_on(self, question: Question, error: int) -> Decision: ...

@final
class WorkerObjects(ObjectPath):
    calm_until: float
    seen: int
    def __new__(
        cls,
        policy: _WorkerPolicy,
        in_flight: InFlight,
        decisions: Decisions,
        breakers: Breakers,
        places: Sequence[int],
        penalties: Penalties | None,
        watch: NonceIssuers | None,
        clock: Callable[[], float] | None,
        *,
        timeout: float,
        max_question: int,
        tells_source: bool,
        max_size: int,
        max_headers: int,
    ) -> WorkerObjects: ...
    def decide(self, request: _Request, realm: str, proxy: bool) -> Decision | Question | None: ...
    def ask_at_once(self, question: Question) -> Decision | Question: ...
