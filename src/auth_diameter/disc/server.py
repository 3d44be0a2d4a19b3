"""The DISC server: takes AA-Requests, has a `Verifier` judge them, and writes AA-Answers and the log.

The table of `auth_diameter.verifier.outcome` has the verdict for each case, and `_core/diameter/disc.pyx` the
Result-Code of each verdict. A malformed message gets the Result-Code of RFC 6733, 7.1.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import NamedTuple

from auth_diameter._core import Batch, Nonces, Received, mark_asker
from auth_diameter.store.store import Found, Key, Store
from auth_diameter.verifier.config import VerifierConfig
from auth_diameter.verifier.driver import Driver, at_once
from auth_diameter.verifier.reports import Reports
from auth_diameter.verifier.state.state import SharedState

log = logging.getLogger("auth_diameter.disc")


class Asker(NamedTuple):
    """The SIP server that sent a question.

    Attributes:
        address: its address, for the log.
        one_challenge: whether it can use only one challenge, the one for MD5.
    """

    address: str = ""
    one_challenge: bool = False


NOBODY = Asker()


class Disc:
    """Answers AA-Requests from a store; for one event loop.

    ::

        batch = disc.begin(requests, now)     # answers what the cached values allow
        if not batch.is_done:
            await disc.finish(batch, now)     # fetches the missing keys from the store, and answers the rest
        disc.write(batch, 0, len(requests), out)

    Args:
        store: the store of the subscribers.
        config: the settings of the verifier; None for the defaults.
        nonces: makes and recognises the nonces; None for nonces with a random key.
        state: counts nonces and guesses with other DISC; None: this one counts alone.
        stale_for: seconds for which users at hand go on while the store cannot be read.

    Attributes:
        counts: the number of questions by `Outcome`.
        state: as above.
    """

    def __init__(
        self,
        store: Store,
        config: VerifierConfig | None = None,
        nonces: Nonces | None = None,
        state: SharedState | None = None,
        stale_for: float = 0.0,
    ) -> None:
        config = config if config is not None else VerifierConfig()
        reports = Reports(log, store.name, "questions get 5012 (unable to comply)", config)
        self.state = state
        self._driver = Driver(store, reports, config, nonces, state=state, stale_for=stale_for)
        self.counts = self._driver.verifier.counts

    def begin(self, requests: list[Received], now: float) -> Batch:
        """Judges requests as far as the cached values allow.

        The `asker` and `one_challenge` of each request must be set.

        Args:
            requests: the requests.
            now: seconds since 1970.

        Returns:
            The batch, which may lack keys.
        """
        batch = Batch(requests, now)
        self._driver.begin(batch, now)
        return batch

    def share(self, batch: Batch, done: Callable[[], object]) -> bool:
        """As `Driver.share`."""
        return self._driver.share(batch, done)

    async def finish(self, batch: Batch, now: float) -> None:
        """Fetches the missing keys of a batch, and judges the rest of its questions.

        Args:
            batch: the batch.
            now: seconds since 1970.
        """
        await self._driver.finish(batch, now)

    @property
    def changes(self) -> int:
        """A number that grows whenever values of the store may have become invalid."""
        return self._driver.cache.changes

    async def notice_changes(self, now: float) -> int:
        """`changes`, once the store was asked for them; as `Driver.changes`."""
        return await self._driver.changes(now)

    async def look_up(self, keys: Collection[Key], now: float) -> Found:
        """As `Driver.look_up`.

        Raises:
            StoreError: the store cannot be read, or is too busy.
        """
        return await self._driver.look_up(keys, now)

    def write(self, batch: Batch, start: int, stop: int, out: bytearray) -> None:
        """Appends the answers to some requests of a batch to `out`, in order.

        Args:
            batch: the batch, which is done.
            start: the index of the first request.
            stop: the index behind the last.
            out: the buffer for the encoded answers.
        """
        batch.write(start, stop, out)

    def answer(self, requests: list[Received], out: bytearray, now: float, asker: Asker = NOBODY) -> None:
        """Appends an answer to each request to `out`, in order, without an event loop.

        The store must not wait for I/O; `SqliteStore` does not.

        Args:
            requests: the requests.
            out: the buffer for the encoded answers.
            now: seconds since 1970.
            asker: the SIP server that sent the requests.

        Raises:
            RuntimeError: the store waits.
        """
        mark_asker(requests, asker, asker.one_challenge)
        batch = self.begin(requests, now)
        if not batch.is_done:
            at_once(self.finish(batch, now))
        self.write(batch, 0, len(requests), out)
