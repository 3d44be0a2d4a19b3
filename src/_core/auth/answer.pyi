from typing import final

from auth_diameter._core.auth.verdict import Part, Service, Verdict

@final
class Answer:
    def __init__(
        self,
        verdict: Verdict,
        *,
        service: Service | None = None,
        challenges: tuple[bytes, ...] = (),
        response_auth: bytes | None = None,
        nextnonce: bytes | None = None,
        user_name: bytes | None = None,
        refused: Part | None = None,
        code: int = 0,
    ) -> None: ...
    @property
    def verdict(self) -> Verdict: ...
    @property
    def service(self) -> Service | None: ...
    @property
    def code(self) -> int: ...
    @property
    def challenges(self) -> tuple[bytes, ...]: ...
    @property
    def response_auth(self) -> bytes | None: ...
    @property
    def nextnonce(self) -> bytes | None: ...
    @property
    def user_name(self) -> bytes | None: ...
    @property
    def refused(self) -> Part | None: ...
    @property
    def message(self) -> bytes | None: ...
    @property
    def delegated(
        self,
    ) -> tuple[tuple[tuple[str, str], ...], str, str | None, str | None, int | None] | None: ...
    @property
    def fault(self) -> str | None: ...
