"""The three functions for threads."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

from auth_diameter._core import Answer, Question
from auth_diameter.client.authorizer import Authorizer, Request, is_held, is_refused
from auth_diameter.config import Config
from auth_diameter.decision import Cause, Decision
from auth_diameter.diameter import forks
from auth_diameter.diameter.stats import PoolStats
from auth_diameter.diameter.sync import SyncTransport, Waiter, wake_up


class AuthDiameter:
    """The three functions for threads, each answered with a `Decision`.

    ::

        with AuthDiameter(Config(diameter_client_host="10.0.0.1")) as auth:
            decision = auth.diameter_www_authorize(request, "$fd")

    A DISC that is down, slow or wrong is a Decision with 503 or 500, never an exception. One object
    serves any number of threads; a call blocks its own thread for the time limit at most.
    Connections are opened when first needed; a process that was forked has its own.
    """

    def __init__(self, config: Config | None = None) -> None:
        self.config = config if config is not None else Config()
        self._authorizer = Authorizer(self.config)
        self._transport = SyncTransport(self.config)
        self._counts: dict[Cause, int] = dict.fromkeys(Cause, 0)
        self._counts_lock = threading.Lock()
        forks.register(self._after_fork)

    def _after_fork(self) -> None:
        """In the child: begins anew; the parent's questions and connections go on there."""
        self._transport.after_fork()
        self._authorizer.after_fork()
        self._counts_lock = threading.Lock()

    # ------------------------------------------------------------------ the functions

    def diameter_www_authorize(self, request: Request, realm: str) -> Decision:
        """Authorization, challenged with 401; see `Authorizer.www_authorize` for realm and codes.

        Raises:
            ConfigError: an unknown pseudo-variable in `realm`.
        """
        return self._decide(self._authorizer.www_authorize(request, realm, time.monotonic()))

    def diameter_proxy_authorize(self, request: Request, realm: str) -> Decision:
        """Proxy-Authorization, challenged with 407; else the same."""
        return self._decide(self._authorizer.proxy_authorize(request, realm, time.monotonic()))

    def diameter_is_user_in(self, request: Request, who: str, group: str) -> Decision:
        """Whether a user is in a group; see `Authorizer.is_user_in` for who and codes."""
        return self._decide(self._authorizer.is_user_in(request, who, group))

    def _decide(self, outcome: Question | Decision) -> Decision:
        if type(outcome) is Decision:
            decision = outcome
        else:
            assert isinstance(outcome, Question)
            try:
                result = (self._wait_for_turn(outcome) if is_held(outcome) else None) or self._ask(outcome)
            except BaseException:
                self._end(outcome, Cause.DISC_LOST)
                raise
            decision = self._end(outcome, result)
        with self._counts_lock:
            self._counts[decision.cause] += 1
        if self._transport.untold:
            self._transport.tell_changes()
        return decision

    def _ask(self, question: Question) -> Answer | Cause:
        return self._transport.ask(question)

    def _end(self, question: Question, result: Answer | Cause) -> Decision:
        """The decision; wakes the threads whose turn it is, now that another question has ended."""
        now = time.monotonic()
        if isinstance(result, Answer):
            decision = self._authorizer.conclude(question, result, now)
        else:
            decision = self._authorizer.fail(question, result, now)
        for released in self._authorizer.released():
            wake_up(released)
        return decision

    def _wait_for_turn(self, question: Question) -> Cause | None:
        """Until the verdict on others before it: None; or why it is not to be asked."""
        question.deadline = time.monotonic() + self.config.timeout
        waiter = question.callback = Waiter()
        while is_held(question):
            left = question.deadline - time.monotonic()
            if left <= 0:
                return Cause.DISC_TIMEOUT
            waiter.wake.acquire(timeout=left)
        question.callback = None
        if is_refused(question):
            return Cause.PENALIZED
        # It was under way when the client was closed.
        return Cause.DISC_LOST if self._transport.closed else None

    # ------------------------------------------------------------------ what there is to see, and the end

    @property
    def counts(self) -> dict[Cause, int]:
        """How many decisions had each `Cause`, exactly; a copy."""
        with self._counts_lock:
            return dict(self._counts)

    def stats(self) -> PoolStats:
        """What it has asked, what came of it, and how each DISC is."""
        return self._transport.stats()

    def close(self) -> None:
        """Closes all connections; questions under way are decided 503."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
