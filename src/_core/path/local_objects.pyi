from collections.abc import Callable, Iterable
from typing import Protocol, final

from auth_diameter._core.auth.answer import Answer
from auth_diameter._core.auth.decision import Decision
from auth_diameter._core.auth.question import Question
from auth_diameter._core.path.batch import Batch
from auth_diameter._core.path.counts import Decisions
from auth_diameter._core.path.objects import ObjectPath, _Policy, _Request
from auth_diameter._core.path.verify import Judge
from auth_diameter._core.sip.request import SipRequest

class _LocalPolicy(_Policy, Protocol):
    def decide(self, request: SipRequest, realm: str, proxy: bool) -> Decision: ...
    def finish(self, batch: Batch, now: float) -> None: ...
    def place(self, batch: Batch, done: Callable[[], object]) -> None: ...
    def conclude(self, question: Question, answer: Answer, outcome: int) -> Decision: ...

@final
class LocalObjects(ObjectPath):
    def __new__(
        cls,
        policy: _LocalPolicy,
        judge: Judge,
        decisions: Decisions,
        clock: Callable[[], float],
        *,
        waits: bool,
        max_size: int,
        max_headers: int,
    ) -> LocalObjects: ...
    def decide(self, request: _Request, realm: str, proxy: bool) -> Decision: ...
    def decide_many(self, requests: Iterable[_Request], realm: str, proxy: bool) -> list[Decision]: ...
    def call_later(self, callback: object, decision: Decision) -> None: ...
    def conclude_round(self, round: Round, callback: object) -> None: ...

@final
class Round: ...
