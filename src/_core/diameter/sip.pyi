from typing import final

from auth_diameter._core.diameter.application import Application

@final
class SipApplication(Application):
    def __new__(
        cls,
        origin_host: str,
        origin_realm: str,
        first: int,
        *,
        destination_realm: str = "",
        destination_host: str = "",
        server_uri: str = "",
    ) -> SipApplication: ...
