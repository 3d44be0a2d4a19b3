from typing import final

from auth_diameter._core.diameter.application import Application

@final
class CxApplication(Application):
    def __new__(
        cls,
        origin_host: str,
        origin_realm: str,
        first: int,
        server_name: str,
        *,
        destination_realm: str = "",
        destination_host: str = "",
    ) -> CxApplication: ...

def cx_digest_of(answer: bytes) -> tuple[str, str] | None: ...
