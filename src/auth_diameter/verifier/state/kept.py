"""What a back end keeps while shared state is away, and what it says about that in the log."""

from __future__ import annotations

import logging
from collections import deque
from typing import Final

from auth_diameter.verifier.state.state import StateStats

log = logging.getLogger("auth_diameter.state")

_COUNT: Final = slice(2, 4)  # of records, in their header
_CHUNK: Final = 256  # records written late at once
_MOST: Final = 200_000  # records that are kept, 10 to 20 MB


def count_of(records: bytes) -> int:
    """The number of questions that records are of."""
    return int.from_bytes(records[_COUNT], "little")


def warn_of_eviction(name: str, info: bytes) -> None:
    """Warns if a server may evict keys, as its INFO says.

    Args:
        name: of the server, without a password.
        info: the section ``memory``.
    """
    policy = info.partition(b"maxmemory_policy:")[2].split(b"\r\n")[0].decode("ascii", "replace")
    if policy and policy != "noeviction":
        log.warning(
            "%s: maxmemory-policy is %s: a nonce that it evicts can be used again, and a guesser goes free; "
            "set noeviction",
            name,
            policy,
        )


class Kept:
    """The records of questions that were answered without the state, in the order of their turns.

    Args:
        name: of the state, without a password.
        stats: counts them.
    """

    def __init__(self, name: str, stats: StateStats) -> None:
        self._name = name
        self._stats = stats
        self._turns: deque[bytes] = deque()
        self._is_away: bool | None = None  # what the log says; None: it says nothing
        self._late = self._dropped = 0  # of `stats`, when it became away

    def __bool__(self) -> bool:
        return bool(self._turns)

    def keep(self, records: bytes) -> None:
        """Keeps the records of a turn; the oldest are dropped if there are too many."""
        count = count_of(records)
        self._turns.append(records)
        self._stats.alone += count
        self._stats.kept += count
        while self._stats.kept > _MOST and self._turns:
            self._drop_first()

    def take_chunk(self) -> list[bytes]:
        """Takes the oldest turns; `written` or `put_back` is to follow."""
        chunk: list[bytes] = []
        count = 0
        while self._turns and count < _CHUNK:
            chunk.append(self._turns.popleft())
            count += count_of(chunk[-1])
        return chunk

    def written(self, chunk: list[bytes]) -> None:
        """Notes that the turns of a chunk are counted now."""
        count = sum(map(count_of, chunk))
        self._stats.kept -= count
        self._stats.late += count

    def put_back(self, chunk: list[bytes]) -> None:
        """Keeps the turns of a chunk further."""
        self._turns.extendleft(reversed(chunk))

    def drop(self) -> None:
        """Drops all, because the process ends; the log says so."""
        if self._turns:
            while self._turns:
                self._drop_first()
            log.warning("%s: what was counted while it was away is lost", self._name)

    def _drop_first(self) -> None:
        count = count_of(self._turns.popleft())
        self._stats.kept -= count
        self._stats.dropped += count

    def say_away(self, reason: str) -> None:
        """Logs that the state is away, once until it is back."""
        if not self._is_away:
            log.error(
                "%s: is away: %s; counting in this process alone: a replay may pass once more at each DISC, "
                "and guesses count at each",
                self._name,
                reason,
            )
            self._late, self._dropped = self._stats.late, self._stats.dropped
        self._is_away = True

    def say_back(self) -> None:
        """Logs that the state is back, if the log says that it is away."""
        if self._is_away:
            log.warning(
                "%s: is back; questions written late: %d, lost: %d",
                self._name,
                self._stats.late - self._late,
                self._stats.dropped - self._dropped,
            )
        self._is_away = False
