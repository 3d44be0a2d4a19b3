"""The driver of a Verifier: what it asks its store for, and how often."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection

from kit.dialect import DIGEST, sip
from kit.lookups import at_once
from kit.machine import until

from auth_diameter._core import Batch, authentication
from auth_diameter.store.store import (
    Algorithms,
    Candidates,
    Found,
    Key,
    Offer,
    Realm,
    Spelling,
    StoreBusyError,
    StoreError,
    User,
)
from auth_diameter.verifier.config import VerifierConfig
from auth_diameter.verifier.driver import Driver
from auth_diameter.verifier.outcome import Outcome

REALM = "siphub.net"
NOW = 1_800_000_000.0


class Counting:
    """A store that knows nobody, and remembers which users it was asked for in one fetch."""

    name = "counting"
    waits = True

    def __init__(self) -> None:
        self.asked: list[set[str]] = []
        self.meanwhile: Callable[[], Awaitable[object]] | None = None  # what happens while it is asked

    def watch(self, changed: object) -> None:
        pass

    async def version(self) -> int:
        return 0

    async def fetch(self, keys: Collection[Key]) -> Found:
        self.asked.append({key.username for key in keys if isinstance(key, User)})
        if self.meanwhile is not None:
            await self.meanwhile()
        return {key: _value(key) for key in keys}


def _value(key: Key) -> object:
    match key:
        case Realm(name):
            return Spelling(name)
        case Algorithms():
            return Offer(("MD5",), ("MD5",))
    return Candidates(False, "0" * 32)


class Nobody:
    """Is told what happens."""

    wants_every_outcome = False

    def noted(self, request: object, outcome: object) -> None:
        pass

    def mistaken(self, error: Exception) -> None:
        raise error

    def store_failed(self, error: StoreError) -> None:
        raise error

    def store_recovered(self) -> None:
        pass


def batch_of(user: str) -> Batch:
    request = sip(credentials=DIGEST.format(user))
    return Batch([authentication(request, REALM, request.credentials(REALM), False)], NOW)


def test_keys_that_fail_together_are_each_fetched_alone_at_the_same_time() -> None:
    """One after the other, the last of many would wait for all."""
    store = Counting()
    driver = Driver(store, Nobody(), VerifierConfig())  # type: ignore[arg-type]
    batches = [batch_of("alice"), batch_of("bob")]

    async def fail_together() -> None:
        if len(store.asked[-1]) > 1:
            raise ValueError
        if store.asked[-1]:
            await until(lambda: {"alice"} in store.asked and {"bob"} in store.asked)

    async def play() -> None:
        await driver.check(NOW)
        store.meanwhile = fail_together
        await driver.finish_together(batches, NOW)

    asyncio.run(play())
    assert all(batch.is_done for batch in batches)


def test_batches_that_came_during_a_check_are_asked_for_with_the_others() -> None:
    """With each fetch they would all wait once more."""
    store = Counting()
    driver = Driver(store, Nobody(), VerifierConfig(), in_background=False)  # type: ignore[arg-type]
    at_once(driver.check(NOW))
    first, second = batch_of("alice"), batch_of("bob")
    driver.begin(first, NOW)
    driver.cache.check_at = 0.0
    driver.begin(second, NOW)
    at_once(driver.finish_together([first, second], NOW))
    assert first.is_done
    assert second.is_done
    assert {"alice", "bob"} in store.asked


class Missing(Counting):
    """A store that cannot look alice up."""

    async def fetch(self, keys: Collection[Key]) -> Found:
        found = await super().fetch(keys)
        error = StoreBusyError("missing: does not answer")
        return {key: error if key[0] == "alice" else value for key, value in found.items()}


def test_a_user_who_alone_cannot_be_looked_up_takes_nothing_from_others() -> None:
    """Nor is any of them asked for a second time."""
    store = Missing()
    driver = Driver(store, Nobody(), VerifierConfig())  # type: ignore[arg-type]
    batches = [batch_of("alice"), batch_of("bob")]
    at_once(driver.finish_together(batches, NOW))
    assert all(batch.is_done for batch in batches)
    assert driver.verifier.counts[Outcome.STORE_FAILED] == 1
    assert store.asked.count({"alice", "bob"}) == 1


def test_what_is_no_question_learns_of_a_user_who_cannot_be_looked_up() -> None:
    driver = Driver(Missing(), Nobody(), VerifierConfig())  # type: ignore[arg-type]
    keys = [User(name, REALM, "MD5") for name in ("alice", "bob")]

    async def look_up() -> Found:
        return await driver.look_up(keys, NOW)

    found = asyncio.run(look_up())
    assert [type(found[key]) for key in keys] == [StoreBusyError, Candidates]
