from collections.abc import Callable
from typing import Any, Protocol, final

from auth_diameter._core.auth.answer import Answer
from auth_diameter._core.auth.decision import Decision
from auth_diameter._core.auth.question import Question
from auth_diameter._core.path.batch import Batch
from auth_diameter._core.path.counts import Decisions
from auth_diameter._core.path.requests import RequestPath
from auth_diameter._core.path.verify import Judge
from auth_diameter._core.state.transactions import Transactions

class _Policy(Protocol):
    def finish(self, batch: Batch, now: float) -> None: ...
    def place(self, batch: Batch, done: Callable[[], object]) -> None: ...
    def conclude(self, question: Question, answer: Answer, outcome: int) -> Decision: ...
    def report(self, error: Exception) -> None: ...

@final
class LocalRequests(RequestPath):
    def __new__(
        cls,
        fd: int,
        transactions: Transactions,
        decisions: Decisions,
        adopt: Callable[[Question], Callable[[Decision], object]],
        policy: _Policy,
        judge: Judge,
        clock: Callable[[], float],
        outcomes: tuple[Any, ...],
        *,
        waits: bool,
        realm: str,
        max_size: int,
        max_headers: int,
        amplification: int,
        one_challenge: int,
    ) -> LocalRequests: ...
    def conclude_turn(self, turn: Turn) -> None: ...

@final
class Turn: ...
