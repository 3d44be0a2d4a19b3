"""The driver of a `Verifier`: fetches from a store what the Verifier lacks, and has it judge again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, Protocol

from auth_diameter._core import Batch, Nonces
from auth_diameter.store.cache import CHECK_SECONDS, Cache, Watcher
from auth_diameter.store.store import KEYS, Found, Key, Store, StoreError
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
        stale_for: seconds for which cached values go on while the store cannot be read.
        in_background: whether the event loop goes on between calls, so that a store that waits can be checked
            meanwhile.

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
        stale_for: float = 0.0,
        *,
        in_background: bool = True,
    ) -> None:
        self._listener = listener
        self._state = state
        self._waits = store.waits
        self._in_background = store.waits and in_background
        self._checking: asyncio.Task[None] | None = None
        self.cache = Cache(store, listener, stale_for)
        self.verifier = Verifier(self.cache, listener, config, nonces, remembered)
        if state is not None:
            self.verifier.compiled.sharing = state.sharing

    def begin(self, batch: Batch, now: float) -> None:
        """Judges the questions of a batch as far as the cached values allow.

        Args:
            batch: the batch.
            now: seconds since 1970.
        """
        if self._is_ready(now):
            self.verifier.judge(batch)

    async def finish(self, batch: Batch, now: float) -> None:
        """Fetches the missing keys of a batch, and judges the rest of its questions.

        What shared state is to count is told to it once, when no key is missing any more.

        Args:
            batch: the batch.
            now: seconds since 1970.
        """
        await self.finish_together([batch], now)

    async def finish_together(self, batches: Sequence[Batch], now: float) -> None:
        """As `finish`, with one fetch for the missing keys of several batches.

        Args:
            batches: the batches.
            now: seconds since 1970.
        """
        if not self._is_ready(now):
            await self.check(now)
        verifier = self.verifier
        if len(batches) > 1:
            # Those that came while a check was due are not judged so far: what they lack is not known.
            for batch in batches:
                verifier.judge(batch)
        while unfinished := [batch for batch in batches if not batch.is_done]:
            lacking: dict[Key, list[Batch]] = {}
            for batch in unfinished:
                for parts in verifier.lacking(batch):
                    lacking.setdefault(KEYS[parts[-1]]._make(parts), []).append(batch)
            if lacking:
                await self._fetch(lacking, now)
            elif self._state is not None and await self._share(unfinished, self._state):
                continue
            for batch in unfinished:
                verifier.judge(batch)

    async def look_up(self, keys: Collection[Key], now: float) -> Found:
        """What the store says of some keys, for what is no question to the Verifier.

        Args:
            keys: the keys.
            now: seconds since 1970.

        Returns:
            A value for each key, as a plain tuple or one of its class; or the StoreError of a key that alone
            has none.

        Raises:
            StoreError: the store cannot be read, or is too busy.
        """
        await self.changes(now)
        found: Found = {key: value for key in keys if (value := self.cache.get(key)) is not None}
        lacking = [key for key in keys if key not in found]
        if lacking:
            found.update(await self.cache.fetch(lacking, now))
        return found

    async def changes(self, now: float) -> int:
        """A number that grows whenever the store may have changed, as far as that is known now.

        Args:
            now: seconds since 1970.
        """
        if not self._is_ready(now):
            await self.check(now)
        return self.cache.changes

    def give_up(self, batch: Batch, error: Exception) -> None:
        """Ends the questions of a batch that have no answer, because of an error of ours."""
        self.verifier.give_up(batch, error)

    def _is_ready(self, now: float) -> bool:
        """Whether the cached values count. A store that waits is checked in the background meanwhile."""
        if not self.cache.is_due(now):
            return True
        if not self._in_background or not self.cache.check_at:
            return False  # the first check is waited for: what is fetched beside it would not be kept
        if self._checking is None or self._checking.done():
            self._checking = asyncio.get_running_loop().create_task(self.check(now))
        self.cache.check_at = self.verifier.compiled.check_at = now + CHECK_SECONDS
        return True

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
            try:
                if not batch.is_done:  # otherwise it was given up
                    batch.shared(judge, records, reply)
                    self.verifier.judge(batch)
            except Exception as error:  # noqa: BLE001 - others wait for their answers
                self._listener.mistaken(error)
                self.give_up(batch, error)
            done()

        assert self._state is not None
        self._state.tell(records, answer)
        return True

    async def _share(self, batches: Sequence[Batch], state: SharedState) -> bool:
        """Has all batches counted that need nothing else; returns whether there is one."""
        await state.ready()
        counted = asyncio.Event()
        waiting = 1

        def done() -> None:
            nonlocal waiting
            waiting -= 1
            if not waiting:
                counted.set()

        told = 0
        for batch in batches:
            waiting += 1
            if self.share(batch, done):
                told += 1
            else:
                waiting -= 1
        done()
        await counted.wait()
        return told > 0

    async def check(self, now: float) -> None:
        """Forgets what the store has said if the store has changed or cannot be read.

        Args:
            now: seconds since 1970.
        """
        if self._waits:  # meanwhile others go on with what is cached
            self.verifier.compiled.check_at = now + CHECK_SECONDS
        try:
            await self.cache.check(now)
        except Exception as error:  # noqa: BLE001 - the cache is empty then, and all keys are fetched
            self._listener.mistaken(error)
        self.verifier.compiled.check_at = self.cache.check_at

    async def _fetch(self, lacking: dict[Key, list[Batch]], now: float) -> None:
        try:
            found = await self.cache.fetch(lacking, now)
        except StoreError as error:
            for key, batches in lacking.items():
                self._put(key, error, batches, now)
        except Exception:  # noqa: BLE001 - an error for one key must not affect the other questions
            alone = [self._fetch_alone(key, batches, now) for key, batches in lacking.items()]
            if self._waits:  # for one after the other, the last would wait for all
                await asyncio.gather(*alone)
            else:
                for fetch in alone:
                    await fetch
        else:
            for key, batches in lacking.items():
                self._put(key, found[key], batches, now)

    def _put(self, key: Key, value: Any, batches: list[Batch], now: float) -> None:
        """Gives batches the value of a key; if that is a StoreError, the value that goes on, or the error."""
        error = None
        if isinstance(value, StoreError):
            error, value = value, self.cache.go_on(key, now)
        for batch in batches:
            if value is not None:
                batch.put(key, value)
            else:
                assert error is not None
                batch.fail(key, error, of_store=True)

    async def _fetch_alone(self, key: Key, batches: list[Batch], now: float) -> None:
        try:
            value = (await self.cache.fetch([key], now))[key]
        except StoreError as error:
            self._put(key, error, batches, now)
        except Exception as error:  # noqa: BLE001 - the Verifier reports it for the question with this key
            for batch in batches:
                batch.fail(key, error, of_store=False)
        else:
            self._put(key, value, batches, now)


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
