from collections.abc import Callable
from typing import Protocol, final

from auth_diameter._core.auth.decision import Decision
from auth_diameter._core.auth.question import Question
from auth_diameter._core.path.counts import Decisions
from auth_diameter._core.path.delegated import DelegatedJudge
from auth_diameter._core.path.objects import ObjectPath, _Request
from auth_diameter._core.sip.request import SipRequest
from auth_diameter._core.state.penalties import Penalties

class _DelegatedPolicy(Protocol):
    def compile(self, realm: str) -> Callable[[SipRequest], str | None]: ...
    def judged(self, question: Question, outcome: int, now: float) -> Question | Decision: ...
    def released(self) -> None: ...

@final
class DelegatedObjects(ObjectPath):
    def __new__(
        cls,
        policy: _DelegatedPolicy,
        delegated: DelegatedJudge,
        decisions: Decisions,
        penalties: Penalties | None,
        clock: Callable[[], float],
        *,
        tells_source: bool,
        max_size: int,
        max_headers: int,
    ) -> DelegatedObjects: ...
    def decide(self, request: _Request, realm: str, proxy: bool) -> Decision | Question | None: ...
