from typing import final

from auth_diameter._core.diameter.received import Received

@final
class CxMarRequest(Received):
    @property
    def sender(self) -> tuple[str, str]: ...
    @property
    def identities(self) -> tuple[str, str]: ...
    @property
    def server_name(self) -> str | None: ...
