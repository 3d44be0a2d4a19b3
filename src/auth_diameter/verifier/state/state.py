"""What shared state is, for a `Driver`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from auth_diameter._core import Sharing

DEADLINE: Final = (
    0.05  # seconds for the answer to a turn; a SIP client sends again after 0.5 (RFC 3261, 17.1.1.1)
)
BACK_OFF: Final = (0.1, 1.0)  # seconds between attempts to connect: the first, and the longest


@dataclass(slots=True)
class StateStats:
    """What a back end has told shared state; all but the first two count since the start."""

    reachable: bool = False
    """Whether the state answers."""

    kept: int = 0
    """Records that wait until the state is back."""

    turns: int = 0
    """Commands that were answered, one for all questions of a turn."""

    records: int = 0
    """Questions that were counted by the state before they were answered."""

    alone: int = 0
    """Questions that were answered by the memory of this process alone."""

    late: int = 0
    """Records of those that were written later."""

    dropped: int = 0
    """Records of those that were never written: too many were kept, or the process ended."""


class SharedState(Protocol):
    """State that several back ends share.

    Attributes:
        sharing: how questions are told to it.
        stats: what it was told.
    """

    sharing: Sharing
    stats: StateStats

    async def ready(self) -> None:
        """Waits for the first attempt to connect, and begins it if that is to be done."""

    def tell(self, records: bytes, done: Callable[[bytes | None], object]) -> None:
        """Has questions counted; `done` is called with what others know about them, at once or later.

        Args:
            records: as `_core/state/sharing.pyx` has them.
            done: gets the reply, as it has it there. None: the state is away, and the records are written
                later.
        """
