from typing import Protocol, final

from auth_diameter._core.auth.decision import Decision
from auth_diameter._core.auth.question import Question
from auth_diameter._core.path.counts import Decisions
from auth_diameter._core.path.delegated import DelegatedJudge
from auth_diameter._core.path.in_flight import InFlight
from auth_diameter._core.path.objects import ObjectPath, _Policy
from auth_diameter._core.sip.request import SipRequest
from auth_diameter._core.state.nonce_watch import NonceIssuers
from auth_diameter._core.state.penalties import Penalties

class _RemotePolicy(_Policy, Protocol):
    def refuse(self, request: SipRequest, realm: str, proxy: bool, now: float) -> Decision: ...
    def refuse_penalized(self, question: Question) -> Decision: ...
    def judge(self, question: Question, now: float) -> Question | Decision: ...
    def judged(self, question: Question, outcome: int, now: float) -> Question | Decision: ...
    def released(self) -> None: ...
    def place(self, question: Question) -> None: ...
    def is_in_task(self) -> bool: ...
    def written(self) -> None: ...

@final
class RemoteObjects(ObjectPath):
    def __new__(
        cls,
        policy: _RemotePolicy,
        in_flight: InFlight,
        decisions: Decisions,
        penalties: Penalties | None,
        watch: NonceIssuers | None,
        delegated: DelegatedJudge | None,
        *,
        most_bytes: int,
        timeout: float,
        max_question: int,
        tells_source: bool,
        max_size: int,
        max_headers: int,
    ) -> RemoteObjects: ...
    is_sending: bool
    def deliver(self) -> None: ...
    def end(self, question: Question, decision: Decision) -> None: ...
