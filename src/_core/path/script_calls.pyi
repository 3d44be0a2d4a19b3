from collections.abc import Callable
from typing import Any, final

from auth_diameter._core.auth.decision import Decision
from auth_diameter._core.auth.question import Question
from auth_diameter._core.sip.request import SipRequest

@final
class ScriptCalls:
    def __new__(
        cls,
        decide: Callable[[SipRequest, str, bool], Decision | Question | None],
        encoded: str,
        *,
        max_size: int,
        max_headers: int,
    ) -> ScriptCalls: ...
    @property
    def request(self) -> SipRequest | None: ...
    @property
    def data(self) -> bytes | None: ...
    def authorize(
        self, get: Callable[[str], Any], realm: str, proxy: bool
    ) -> Decision | Question | int | None: ...
    def adopt(self, other: ScriptCalls) -> None: ...
    def request_of(self, get: Callable[[str], Any]) -> SipRequest: ...
