from typing import final

from auth_diameter._core.auth.causes import Cause

@final
class Notes:
    @property
    def count(self) -> int: ...
    def take(self) -> tuple[list[tuple[Cause, str, str, int]], int]: ...
