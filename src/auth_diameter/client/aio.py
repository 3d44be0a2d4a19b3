"""The three functions for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from auth_diameter._core import Answer, Question, SipRequest
from auth_diameter.client.authorizer import Authorizer, Request, is_held, is_refused
from auth_diameter.config import Config
from auth_diameter.decision import Cause, Decision
from auth_diameter.diameter import forks
from auth_diameter.diameter.aio import AioTransport
from auth_diameter.diameter.stats import PoolStats

# Of the requests that are asked about; with what goes out for them, it is three times as much.
_MOST_BYTES = 16 << 20


class AsyncAuthDiameter:
    """The three functions for asyncio, each awaited and answered with a `Decision`.

    ::

        async with AsyncAuthDiameter(Config(diameter_client_host="10.0.0.1")) as auth:
            decision = await auth.diameter_www_authorize(request, "$fd")

    A DISC that is down, slow or wrong is a Decision with 503 or 500, never an exception. Used from
    one event loop. Connections are opened when first needed; a process that was forked has its own.

    Attributes:
        counts: how many decisions had each `Cause`: those of the three functions and of `ask`. Who takes a
            decision from `authorizer` itself may add it.
    """

    def __init__(self, config: Config | None = None) -> None:
        self.config = config if config is not None else Config()
        self.counts: dict[Cause, int] = dict.fromkeys(Cause, 0)
        self._authorizer = Authorizer(self.config)
        self._transport = AioTransport(self.config, self._answered, self._failed, self._ended)
        self._size = 0  # bytes of all requests that are asked about
        self._releasing = False
        forks.register(self._after_fork)

    def _after_fork(self) -> None:
        """In the child: begins anew; the parent's questions and connections go on there."""
        self._transport.after_fork()
        self._authorizer.after_fork()
        self._size = 0
        self._releasing = False

    # ------------------------------------------------------------------ the functions

    async def diameter_www_authorize(self, request: Request, realm: str) -> Decision:
        """Authorization, challenged with 401; see `Authorizer.www_authorize` for realm and codes.

        Raises:
            ConfigError: an unknown pseudo-variable in `realm`.
        """
        now = asyncio.get_running_loop().time()
        return await self._decide(self._authorizer.www_authorize(request, realm, now))

    async def diameter_proxy_authorize(self, request: Request, realm: str) -> Decision:
        """Proxy-Authorization, challenged with 407; else the same."""
        now = asyncio.get_running_loop().time()
        return await self._decide(self._authorizer.proxy_authorize(request, realm, now))

    async def diameter_is_user_in(self, request: Request, who: str, group: str) -> Decision:
        """Whether a user is in a group; see `Authorizer.is_user_in` for who and codes."""
        return await self._decide(self._authorizer.is_user_in(request, who, group))

    async def _decide(self, outcome: Question | Decision) -> Decision:
        if type(outcome) is Decision:
            self.counts[outcome.cause] += 1
            return outcome
        assert isinstance(outcome, Question)
        future: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self.ask(outcome, future.set_result)
        return await future

    def ask(self, question: Question, callback: Callable[[Decision], object]) -> None:
        """Asks DISC; `callback` gets the Decision, at once or in a later turn of the loop.

        Without a future or a task: for servers that answer from the callback. It must not raise.
        """
        question.callback = callback
        self._size += question.request.data_size
        if self._size > _MOST_BYTES:
            self._transport.refuse(question)
        elif question.attempt is not None and is_held(question):
            self._transport.hold(question)
        else:
            self._transport.ask(question)

    def is_full(self) -> bool:
        """Whether DISC has too much to do to be asked anything more."""
        return self._transport.pool.is_full()

    def refusal(self, request: SipRequest) -> Decision | None:
        """The Decision on a request that DISC would have to be asked about, and has too much to do for.

        Else None. For callers of `ask`: to find that out so costs half of what it costs to make the question.
        """
        if not self.is_full():
            return None
        self._transport.pool.counts.refused_overload += 1
        self.counts[Cause.OVERLOADED] += 1
        return self._authorizer.overloaded(request)

    def authorizer(self) -> Authorizer:
        """The decisions alone, for callers of `ask`."""
        return self._authorizer

    def stats(self) -> PoolStats:
        """What it has asked, what came of it, and how each DISC is."""
        return self._transport.stats()

    async def unreachable(self) -> list[tuple[str, str]]:
        """Each DISC that cannot be connected to now: its HOST:PORT, and why. No connection is kept."""
        return await self._transport.unreachable()

    # ------------------------------------------------------------------ the end of questions

    def _answered(self, answers: list[tuple[Question, Answer]], now: float) -> None:
        """Decides by answers that came."""
        conclude = self._authorizer.conclude
        for question, answer in answers:
            try:
                decision = conclude(question, answer, now)
            except Exception as error:  # noqa: BLE001 - one answer must not keep the others from theirs
                self._transport.report(error, "an answer could not be judged")
                decision = self._authorizer.fail(question, Cause.DISC_UNUSABLE, now)
            self._finish(question, decision)
        self._ended(now)

    def _failed(self, question: Question, cause: Cause, now: float) -> None:
        """Decides without an answer."""
        self._finish(question, self._authorizer.fail(question, cause, now))

    def _ended(self, now: float) -> None:
        """Asks what was held until others had ended; to be called when some have."""
        if self._releasing:
            return  # whoever does it looks again
        self._releasing = True
        try:
            while released := self._authorizer.released():
                for question in released:
                    if is_refused(question):
                        self._transport.pool.drop(question)
                        self._failed(question, Cause.PENALIZED, now)
                self._transport.release([q for q in released if q.attempt is not None], now)
        finally:
            self._releasing = False

    def _finish(self, question: Question, decision: Decision) -> None:
        self._size -= question.request.data_size
        self.counts[decision.cause] += 1
        callback, question.callback = question.callback, None
        try:
            callback(decision)
        except asyncio.InvalidStateError:
            pass  # its task was cancelled while DISC thought about it: nobody waits any more
        except Exception as error:  # noqa: BLE001 - one callback must not keep the others from theirs
            self._transport.report(error, "the callback of a decision failed")

    # ------------------------------------------------------------------ life

    async def aclose(self) -> None:
        """Closes all connections; questions under way are decided 503."""
        self._releasing = True  # nothing is asked any more
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
