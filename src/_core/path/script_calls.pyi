from typing import Any, Protocol, Self, final

from typing_extensions import disjoint_base

from auth_diameter._core.auth.decision import Decision
from auth_diameter._core.auth.question import Question
from auth_diameter._core.sip.request import SipRequest

class _Message(Protocol):
    @property
    def get(self) -> Any: ...  # of the name of a pseudo-variable

class _Decides(Protocol):
    def decide(self, request: SipRequest, realm: str, proxy: bool, /) -> Decision | Question | None: ...

class _ScriptPolicy(Protocol):
    def prepare(self, message: Any, realm: Any, is_expanded: bool, /) -> str | None: ...
    def go_on(
        self, message: Any, found: Decision | Question | None, realm: str | None, proxy: bool, /
    ) -> int: ...
    def refuse(self, message: Any, proxy: bool, error: BaseException, /) -> int: ...

@final
class ScriptCalls:
    def __new__(cls, policy: _ScriptPolicy, encoded: str) -> ScriptCalls: ...
    @property
    def request(self) -> SipRequest | None: ...
    @property
    def data(self) -> bytes | None: ...
    def use(self, path: _Decides, *, max_size: int, max_headers: int) -> None: ...
    def authorize(self, message: _Message, realm: str, proxy: bool, is_expanded: bool = False) -> int: ...
    def request_of(self, get: Any) -> SipRequest: ...

@disjoint_base
class ScriptFunction:
    def __new__(cls, calls: ScriptCalls, message: _Message, proxy: bool) -> Self: ...
    def __call__(self, realm: str = "") -> int: ...

@final
class ScriptMethod(ScriptFunction):
    def __call__(self, msg: object, realm: str = "") -> int: ...  # type: ignore[override]
