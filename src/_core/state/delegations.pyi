from typing import final

@final
class Delegations:
    def __new__(cls, room: int) -> Delegations: ...
    def put(
        self,
        nonce: str,
        username: str,
        other_name: str,
        realm: str,
        algorithm: str,
        ha1: str,
        made: float,
        until: float,
        address: str = "",
    ) -> None: ...
    def has(self, nonce: str) -> bool: ...
