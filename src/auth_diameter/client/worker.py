"""The three functions for worker processes, as Kamailio forks them: one request at a time in each."""

from __future__ import annotations

from dataclasses import dataclass, field

from auth_diameter._core import Breakers, ConfigError, Penalties
from auth_diameter.client.authorizer import Authorizer
from auth_diameter.client.sync import AuthDiameter
from auth_diameter.config import Config
from auth_diameter.diameter.sync import SyncTransport
from auth_diameter.diameter.worker import WorkerTransport


@dataclass(frozen=True, slots=True)
class Common:
    """What workers have in common that are forked after this was made.

    Attributes:
        breakers: what they know of the peers.
        penalties: the guesses of passwords, if DISC is asked. With a database it has them.
    """

    breakers: Breakers = field(default_factory=Breakers)
    penalties: Penalties = field(default_factory=lambda: Penalties(shared=True))


class WorkerAuthDiameter(AuthDiameter):
    """An `AuthDiameter` that is made before the fork and used by the workers.

    It has no threads, for a worker keeps the GIL while it waits for SIP. What one worker has found out about
    DISC, all know; see `auth_diameter.diameter.worker`.

    Args:
        config: the settings.
        common: what the workers have in common.

    Raises:
        ConfigError: standard Diameter is to be spoken, or the database of `Config.db` cannot be used.
    """

    def __init__(self, config: Config, common: Common) -> None:
        if config.is_standard:
            raise ConfigError(
                f"application: a worker process cannot speak {config.application!r}, since it answers no "
                "watchdog while it waits for SIP; start a DISC that does: auth-diameter disc --db cx://HOST"
            )
        self._common = common
        super().__init__(config)

    def _new_authorizer(self) -> Authorizer:
        return Authorizer(self.config, self._common.penalties)

    def _new_transport(self) -> SyncTransport:
        return WorkerTransport(self.config, self._common.breakers)
