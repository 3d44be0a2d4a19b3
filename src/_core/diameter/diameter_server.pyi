from typing import Never, Self, final

from typing_extensions import Buffer

from auth_diameter._core.diameter.cx_server import CxMarRequest
from auth_diameter._core.diameter.sip_server import MarRequest
from auth_diameter._core.diameter.stream import MessageStream

@final
class DiameterServer:
    def __new__(
        cls, host: str, realm: str, *, own_addresses: bool = True, tells_unknown: bool = False
    ) -> Self: ...
    @property
    def answers(self) -> dict[tuple[int, int], int]: ...
    def stream(self, limit: int = 65536) -> DiameterStream: ...

@final
class DiameterStream(MessageStream):
    def __init__(self, *args: Never, **kwargs: Never) -> None: ...
    takes_any_nonce: bool
    tells_ha1: bool
    @property
    def has_others(self) -> bool: ...
    def feed(self, data: Buffer) -> list[MarRequest | CxMarRequest | bytes]: ...
