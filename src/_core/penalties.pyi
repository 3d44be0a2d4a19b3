from typing import TypeAlias, final

from auth_diameter._core.digest import Credentials

_Address: TypeAlias = tuple[str, int] | tuple[str, int, int, int]

@final
class Penalties:
    def __new__(
        cls,
        first: float = ...,
        most_sources: int = ...,
        most_users: int = ...,
        most_right: int = ...,
    ) -> Penalties: ...
    def __len__(self) -> int: ...
    def refuses(self, credentials: Credentials, realm: str, address: _Address | None, now: float) -> bool: ...
    def right(self, credentials: Credentials, realm: str, address: _Address | None, now: float) -> None: ...
    def wrong(
        self,
        credentials: Credentials,
        realm: str,
        address: _Address | None,
        now: float,
        certain: bool = ...,
    ) -> None: ...
