"""The driver of a `Verifier`: fetches from a store what the Verifier lacks, and has it judge again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from auth_diameter._core import Batch, Nonces
from auth_diameter.store.cache import Cache, Watcher
from auth_diameter.store.store import KEYS, Key, Store, StoreError
from auth_diameter.verifier.config import VerifierConfig
from auth_diameter.verifier.state.state import SharedState
from auth_diameter.verifier.verifier import Observer, Remembered, Verifier


class Listener(Watcher, Observer, Protocol):
    """An observer of the store, of outcomes and of errors: a back end writes its log by it."""


class Driver:
    """A Verifier with its store; for one thread, or one event loop, at a time.

    ::

        batch = Batch(requests, now)
        driver.begin(batch, now)              # answers what the cached values allow
        if not batch.is_done:
            await driver.finish(batch, now)   # fetches what is missing, has it counted, and answers the rest

    Args:
        store: the store of the subscribers.
        listener: is told outcomes, internal errors, and whether the store can be read.
        config: the settings.
        nonces: makes and recognises the nonces.
        remembered: what is remembered of credentials; None: nothing so far.
        state: counts nonces and guesses with other back ends; None: this one counts alone.

    Attributes:
        cache: what the store has said.
        verifier: judges the questions.
    """

    def __init__(
        self,
        store: Store,
        listener: Listener,
        config: VerifierConfig,
        nonces: Nonces | None = None,
        remembered: Remembered | None = None,
        state: SharedState | None = None,
    ) -> None:
        self._listener = listener
        self._state = state
        self.cache = Cache(store, listener)
        self.verifier = Verifier(self.cache, listener, config, nonces, remembered)
        if state is not None:
            self.verifier.compiled.sharing = state.sharing

    def begin(self, batch: Batch, now: float) -> None:
        """Judges the questions of a batch as far as the cached values allow.

        Args:
            batch: the batch.
            now: seconds since 1970.
        """
        if not self.cache.is_due(now):
            self.verifier.judge(batch)

    async def finish(self, batch: Batch, now: float) -> None:
        """Fetches the missing keys of a batch, and judges the rest of its questions.

        What shared state is to count is told to it once, when no key is missing any more.

        Args:
            batch: the batch.
            now: seconds since 1970.
        """
        if self.cache.is_due(now):
            await self.check(now)
        while not batch.is_done:
            lacking = self.verifier.lacking(batch)
            if lacking:
                await self._fetch(batch, [KEYS[parts[-1]](*parts) for parts in lacking])
            elif self._state is not None:
                shared = asyncio.Event()
                if self.share(batch, shared.set):
                    await shared.wait()
                    continue
            self.verifier.judge(batch)

    def share(self, batch: Batch, done: Callable[[], object]) -> bool:
        """Has the questions of a batch counted by shared state, if nothing else is missing.

        Args:
            batch: the batch.
            done: called when they are answered, at once or later. Then the batch may lack keys.

        Returns:
            Whether it does so.
        """
        judge = self.verifier.compiled
        records = batch.to_share(judge) if self._state is not None else b""
        if not records:
            return False

        def answer(reply: bytes | None) -> None:
            batch.shared(judge, reply)
            self.verifier.judge(batch)
            done()

        assert self._state is not None
        self._state.tell(records, answer)
        return True

    async def check(self, now: float) -> None:
        """Forgets what the store has said if the store has changed or cannot be read.

        Args:
            now: seconds since 1970.
        """
        try:
            await self.cache.check(now)
        except Exception as error:  # noqa: BLE001 - the cache is empty then, and all keys are fetched
            self._listener.mistaken(error)

    async def _fetch(self, batch: Batch, keys: list[Key]) -> None:
        try:
            found = await self.cache.fetch(keys)
        except StoreError as error:
            for key in keys:
                batch.fail(key, error, of_store=True)
        except Exception:  # noqa: BLE001 - an error for one key must not affect the other questions
            for key in keys:
                await self._fetch_alone(batch, key)
        else:
            for key in keys:
                batch.put(key, found[key])

    async def _fetch_alone(self, batch: Batch, key: Key) -> None:
        try:
            batch.put(key, (await self.cache.fetch([key]))[key])
        except Exception as error:  # noqa: BLE001 - the Verifier reports it for the question with this key
            batch.fail(key, error, of_store=isinstance(error, StoreError))


def at_once(work: Coroutine[Any, Any, None]) -> None:
    """Runs a coroutine that never waits, as with a store that does not wait for I/O, such as `SqliteStore`.

    Raises:
        RuntimeError: it waits.
    """
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise RuntimeError("the store waits")
