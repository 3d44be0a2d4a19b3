from typing import Any, final

from auth_diameter._core.state.delegations import Delegations
from auth_diameter._core.state.nonce_counts import NonceUses
from auth_diameter._core.state.nonces import Nonces
from auth_diameter._core.state.penalties import Penalties
from auth_diameter._core.state.sharing import Sharing
from auth_diameter._core.state.users import Users

@final
class Judge:
    def __init__(
        self,
        users: Users,
        nonces: Nonces,
        uses: NonceUses,
        penalties: Penalties | None,
        config: Any,
        wrong_room: int,
        following_room: int,
    ) -> None: ...
    check_at: float
    sharing: Sharing | None
    delegations: Delegations | None
    @property
    def users(self) -> Users: ...
    @property
    def nonces(self) -> Nonces: ...
    @property
    def uses(self) -> NonceUses: ...
