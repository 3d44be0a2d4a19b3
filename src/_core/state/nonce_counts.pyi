import enum
from typing import Self, final

class Use(enum.Enum):
    UNKNOWN = 1
    FIRST = 2
    AGAIN = 3
    REPLAYED = 4
    EXPIRED = 5

@final
class NonceUses:
    def __new__(
        cls, lifetime: float = 300.0, most: int = 131_072, limit: int = 0, ahead: float = 0.0
    ) -> Self: ...
    def __len__(self) -> int: ...
    def take(
        self, nonce: str, realm: str, algorithm: str, source: str, count: int, mark: int, now: float
    ) -> Use: ...
    def add(
        self,
        nonce: str,
        realm: str,
        algorithm: str,
        source: str,
        count: int,
        mark: int,
        now: float,
        made: float,
    ) -> Use: ...
