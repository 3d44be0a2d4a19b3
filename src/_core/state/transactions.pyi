from typing import TypeAlias, final

from auth_diameter._core.sip.request import SipRequest

_Address: TypeAlias = tuple[str, int] | tuple[str, int, int, int]

@final
class Transactions:
    def __new__(cls, room: int = ..., lifetime: float = ...) -> Transactions: ...
    def begin(self, request: SipRequest, now: float) -> tuple[bytes, _Address] | None: ...
    def complete(self, request: SipRequest, reply: bytes, port: int) -> None: ...
