from typing import final

from auth_diameter._core.auth.question import Question
from auth_diameter._core.path.verify import Judge

@final
class DelegatedJudge:
    def __new__(cls, judge: Judge, *, tells_registrations: bool) -> DelegatedJudge: ...
    def address_of(self, question: Question) -> str: ...
    def outcome(self, question: Question, now: float) -> int: ...
