"""The ways into a client, and the two back ends behind them: a test plays the same on each.

A door takes a request and says what a SIP server then knows: the Decision. Behind it DISC is asked, in a
process of its own, or the credentials are verified in this process.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kit.process import Server

import auth_diameter as ad
from auth_diameter.store.config import StoreConfig
from auth_diameter.verifier.config import VerifierConfig

_OF_DISC = set(VerifierConfig.__dataclass_fields__) | set(StoreConfig.__dataclass_fields__)


class Door:
    """A client; `authorize` and the two others return a Decision, of whatever kind the client is.

    Attributes:
        auth: the client.
    """

    auth: ad.AuthDiameter | ad.AsyncAuthDiameter

    def authorize(
        self, request: ad.SipRequest | bytes, realm: str = "$fd", *, proxy: bool = False
    ) -> ad.Decision:
        raise NotImplementedError

    def is_user_in(self, request: ad.SipRequest | bytes, who: str, group: str) -> ad.Decision:
        raise NotImplementedError


class OfThreads(Door):
    """`AuthDiameter`, one request at a time."""

    def __init__(self, auth: ad.AuthDiameter) -> None:
        self.auth = auth

    def authorize(
        self, request: ad.SipRequest | bytes, realm: str = "$fd", *, proxy: bool = False
    ) -> ad.Decision:
        auth = self.auth
        return (auth.diameter_proxy_authorize if proxy else auth.diameter_www_authorize)(request, realm)

    def is_user_in(self, request: ad.SipRequest | bytes, who: str, group: str) -> ad.Decision:
        return self.auth.diameter_is_user_in(request, who, group)


class OfThreadsMany(OfThreads):
    """The same with `…_many`, among requests of others."""

    def authorize(
        self, request: ad.SipRequest | bytes, realm: str = "$fd", *, proxy: bool = False
    ) -> ad.Decision:
        auth = self.auth
        many = auth.diameter_proxy_authorize_many if proxy else auth.diameter_www_authorize_many
        junk, found, nothing = many([b"junk", request, b""], realm)
        assert junk.cause is nothing.cause is ad.Cause.MALFORMED_REQUEST
        return found


class OfAsyncio(Door):
    """`AsyncAuthDiameter`, awaited."""

    def __init__(self, runner: asyncio.Runner, auth: ad.AsyncAuthDiameter) -> None:
        self.runner, self.auth = runner, auth

    def authorize(
        self, request: ad.SipRequest | bytes, realm: str = "$fd", *, proxy: bool = False
    ) -> ad.Decision:
        async def ask() -> ad.Decision:
            auth = self.auth
            return await (auth.diameter_proxy_authorize if proxy else auth.diameter_www_authorize)(
                request, realm
            )

        return self.runner.run(ask())

    def is_user_in(self, request: ad.SipRequest | bytes, who: str, group: str) -> ad.Decision:
        async def ask() -> ad.Decision:
            return await self.auth.diameter_is_user_in(request, who, group)

        return self.runner.run(ask())


class OfCallbacks(OfAsyncio):
    """The same with `ask` and a callback."""

    def authorize(
        self, request: ad.SipRequest | bytes, realm: str = "$fd", *, proxy: bool = False
    ) -> ad.Decision:
        async def ask() -> ad.Decision:
            found = asyncio.get_running_loop().create_future()
            self.auth.ask(request, realm, found.set_result, proxy=proxy)
            return await found

        return self.runner.run(ask())


@contextlib.contextmanager
def of_threads(config: ad.Config, kind: type[OfThreads] = OfThreads) -> Iterator[Door]:
    with ad.AuthDiameter(config) as auth:
        yield kind(auth)


@contextlib.contextmanager
def of_asyncio(config: ad.Config, kind: type[OfAsyncio] = OfAsyncio) -> Iterator[Door]:
    with asyncio.Runner() as runner:
        auth = ad.AsyncAuthDiameter(config)
        yield kind(runner, auth)
        runner.run(auth.aclose())


DOORS: dict[str, Callable[[ad.Config], contextlib.AbstractContextManager[Door]]] = {
    "threads": of_threads,
    "threads-many": lambda config: of_threads(config, OfThreadsMany),
    "asyncio": of_asyncio,
    "asyncio-callback": lambda config: of_asyncio(config, OfCallbacks),
}


def options_of(settings: dict[str, Any]) -> list[str]:
    """The same settings as options of a command."""
    words = []
    for name, value in settings.items():
        option = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words.append(option if value else f"--no-{option[2:]}")
        else:
            words += [option, ",".join(value) if isinstance(value, tuple) else str(value)]
    return words


@contextlib.contextmanager
def remote(db: Path, **settings: Any) -> Iterator[ad.Config]:
    """DISC in a process of its own; how it is asked."""
    of_disc = {name: value for name, value in settings.items() if name in _OF_DISC}
    others = {name: value for name, value in settings.items() if name not in _OF_DISC or name == "penalty"}
    with Server("disc", "--db", db, *options_of(of_disc)) as disc:
        host, port = disc.address
        yield ad.Config(diameter_client_host=host, diameter_client_port=port, tell_source=True, **others)


@contextlib.contextmanager
def local(db: Path, **settings: Any) -> Iterator[ad.Config]:
    """The same settings for a client that verifies itself."""
    yield ad.Config(db=str(db), **settings)


BACK_ENDS: dict[str, Callable[..., contextlib.AbstractContextManager[ad.Config]]] = {
    "DISC": remote,
    "local": local,
}
