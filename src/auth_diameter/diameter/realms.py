"""The routes of a client (RFC 6733, 2.7): servers of their own for some realms, and those for all others.

Each route is a whole `AioTransport`, with connections, breakers and limits of its own: what goes wrong in one
realm is not felt in another. Realms are compared without regard to case.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterable

from auth_diameter._core import Answer, Message, Question
from auth_diameter.config import Config
from auth_diameter.decision import Cause
from auth_diameter.diameter.aio import AioTransport
from auth_diameter.diameter.own_requests import Answered
from auth_diameter.diameter.stats import PoolStats, sum_of


def transport_of(
    config: Config,
    answered: Callable[[list[tuple[Question, Answer]], float], None],
    failed: Callable[[Question, Cause, float], None],
    ended: Callable[[float], None],
) -> AioTransport:
    """The transport of a configuration; the arguments are those of `AioTransport`."""
    kind = AioTransport if config.realms is None else RealmTransport
    return kind(config, answered, failed, ended)


class RealmTransport(AioTransport):
    """The transport for the realms without servers of their own, with one more for each of the others.

    Its `pool` is that of the former. The arguments are those of `AioTransport`.
    """

    def __init__(
        self,
        config: Config,
        answered: Callable[[list[tuple[Question, Answer]], float], None],
        failed: Callable[[Question, Cause, float], None],
        ended: Callable[[float], None],
    ) -> None:
        super().__init__(config, answered, failed, ended)
        assert config.realms is not None
        self._routes = {
            realm: AioTransport(
                dataclasses.replace(
                    config, realms=None, peers=peers, destination_realm=config.destination_realm or realm
                ),
                answered,
                failed,
                ended,
            )
            for realm, peers in config.realms.items()
        }
        for route in self._routes.values():
            route.serve = lambda message: self.serve(message) if self.serve is not None else None

    def _route_of(self, question: Question) -> AioTransport | None:
        """The further transport for a question; None: this one."""
        return self._routes.get(question.realm.lower())

    def after_fork(self) -> None:
        """Starts afresh in the child, and leaves the parent's connections, tasks and loop untouched."""
        super().after_fork()
        for route in self._routes.values():
            route.after_fork()

    # ------------------------------------------------------------------ questions

    def ask(self, question: Question) -> None:
        """As `AioTransport.ask`."""
        route = self._route_of(question)
        if route is None:
            super().ask(question)
        else:
            route.ask(question)

    def hold(self, question: Question) -> None:
        """As `AioTransport.hold`."""
        route = self._route_of(question)
        if route is None:
            super().hold(question)
        else:
            route.hold(question)

    def drop(self, question: Question) -> bool:
        """As `AioTransport.drop`."""
        route = self._route_of(question)
        return super().drop(question) if route is None else route.drop(question)

    def release(self, questions: Iterable[Question], now: float) -> None:
        """As `AioTransport.release`."""
        own: list[Question] = []
        others: dict[AioTransport, list[Question]] = {}
        for question in questions:
            route = self._route_of(question)
            (own if route is None else others.setdefault(route, [])).append(question)
        super().release(own, now)
        for route, its_own in others.items():
            route.release(its_own, now)

    def is_full(self) -> bool:
        """Whether no route takes a new question."""
        return super().is_full() and all(route.is_full() for route in self._routes.values())

    def is_down(self) -> bool:
        """Whether this is so of every route; of one that was not tried so far, it is not."""
        return super().is_down() and all(route.is_down() for route in self._routes.values())

    def stats(self) -> PoolStats:
        """Those of all routes together, with the peers of each."""
        return sum_of([super().stats(), *(route.stats() for route in self._routes.values())])

    def request(self, realm: str, make: Callable[[int, int], Message], answered: Answered) -> None:
        """As `AioTransport.request`."""
        route = self._routes.get(realm.lower())
        if route is None:
            super().request(realm, make, answered)
        else:
            route.request(realm, make, answered)

    # ------------------------------------------------------------------ connections

    def connect(self) -> None:
        """As `AioTransport.connect`."""
        super().connect()
        for route in self._routes.values():
            route.connect()

    async def opened(self) -> None:
        """As `AioTransport.opened`."""
        await asyncio.gather(super().opened(), *(route.opened() for route in self._routes.values()))

    async def unreachable(self) -> list[tuple[str, str]]:
        """As `AioTransport.unreachable`."""
        routes = (super().unreachable(), *(route.unreachable() for route in self._routes.values()))
        return [found for of_route in await asyncio.gather(*routes) for found in of_route]

    async def aclose(self) -> None:
        """As `AioTransport.aclose`."""
        await asyncio.gather(super().aclose(), *(route.aclose() for route in self._routes.values()))
