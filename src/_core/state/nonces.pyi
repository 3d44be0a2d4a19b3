import enum
from collections.abc import Sequence
from typing import Self, final

CLOCK_DRIFT: float

class NonceState(enum.Enum):
    FRESH = 1
    EXPIRED = 2
    FOREIGN = 3

@final
class Nonces:
    def __new__(cls, keys: bytes | Sequence[bytes] | None = None, lifetime: float = 300.0) -> Self: ...
    @property
    def lifetime(self) -> float: ...
    @property
    def remembered(self) -> float: ...
    def use(self, keys: bytes | Sequence[bytes]) -> None: ...
    def make(self, realm: str, now: float, algorithm: str = "MD5", source: str = "") -> str: ...
    def check(
        self, nonce: str, realm: str, now: float, algorithm: str = "MD5", source: str = ""
    ) -> NonceState: ...
    def made_at(self, nonce: str) -> float: ...
