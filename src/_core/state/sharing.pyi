from typing import Final, final

PENALTY_RULES: Final[dict[str, int]]
RECORDS: Final[dict[str, int]]

@final
class Sharing:
    def __init__(self, key: bytes, lifetime: float, limit: int = 0) -> None: ...
    is_reachable: bool
    def use_key(self, key: bytes) -> None: ...
    def header(self, now: float) -> bytes: ...
