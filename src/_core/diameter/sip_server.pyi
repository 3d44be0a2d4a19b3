from typing import final

from auth_diameter._core.diameter.received import Received

@final
class MarRequest(Received): ...
