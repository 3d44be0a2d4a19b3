from typing import final

from auth_diameter._core.auth.causes import Cause

@final
class Decisions:
    def add(self, cause: Cause) -> None: ...
    def as_dict(self) -> dict[Cause, int]: ...
