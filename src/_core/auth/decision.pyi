from collections.abc import Sequence
from typing import final

from auth_diameter._core.auth.answer import Answer
from auth_diameter._core.auth.causes import Cause
from auth_diameter._core.auth.question import Question
from auth_diameter._core.digest.credentials import Credentials
from auth_diameter._core.sip.request import SipRequest

def mark_authorized(question: Question, answer: Answer) -> str: ...
def authorized_as(request: SipRequest) -> tuple[Credentials, str] | tuple[None, None]: ...

@final
class Decision:
    def __init__(
        self,
        return_code: int,
        cause: Cause,
        status: int | None = None,
        reply: bytes | None = None,
        username: str | None = None,
        realm: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None: ...
    @property
    def return_code(self) -> int: ...
    @property
    def cause(self) -> Cause: ...
    @property
    def status(self) -> int | None: ...
    @property
    def reply(self) -> bytes | None: ...
    @property
    def username(self) -> str | None: ...
    @property
    def realm(self) -> str | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, str]]: ...
    @property
    def authorized(self) -> bool: ...
    def __bool__(self) -> bool: ...
