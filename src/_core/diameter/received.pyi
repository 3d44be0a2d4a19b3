from typing import Any, Never

from typing_extensions import disjoint_base

from auth_diameter._core.auth.question import Question

@disjoint_base
class Received:
    def __init__(self, *args: Never, **kwargs: Never) -> None: ...
    asker: Any
    one_challenge: bool
    @property
    def question(self) -> Question: ...
    @property
    def fault(self) -> int: ...

def mark_asker(requests: list[Any], asker: Any, one_challenge: bool) -> None: ...
