"""The three functions of OpenSER's AUTH_DIAMETER, for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

from auth_diameter._core import (
    Answer,
    Decisions,
    ObjectPath,
    Question,
    RemoteObjects,
    RemoteRequests,
    RequestPath,
    SipRequest,
    Transactions,
    pending,
)
from auth_diameter.client.authorizer import Authorizer, Request, is_held, is_refused, malformed
from auth_diameter.client.local import JUDGED, LocalBackEnd
from auth_diameter.client.pseudovars import compile_template
from auth_diameter.client.registrar import registrar_of
from auth_diameter.config import Config
from auth_diameter.decision import Cause, Decision
from auth_diameter.diameter import forks
from auth_diameter.diameter.aio import AioTransport
from auth_diameter.diameter.realms import transport_of
from auth_diameter.diameter.stats import PoolStats, no_pool
from auth_diameter.verifier.outcome import PROVEN_REFUSALS, Outcome
from auth_diameter.verifier.state.state import StateStats

# Limit on the bytes of all requests under way. With their questions they take three times as much memory.
_MOST_BYTES = 16 << 20


class AsyncAuthDiameter:
    """The three functions for asyncio: each is awaited and returns a `Decision`.

    ::

        async with AsyncAuthDiameter(Config(diameter_client_host="10.0.0.1")) as auth:
            decision = await auth.diameter_www_authorize(request, "$fd")

    When DISC is down, slow or wrong, the Decision has status 503 or 500; no exception is raised. An object
    belongs to one event loop. It opens connections when they are first needed. A forked process opens its
    own.

    With `Config.db` no DISC is asked: the credentials are verified in this process. Processes that are forked
    later share the nonce key, the nonce counts and the guesses.

    Args:
        config: the settings; None: their defaults.

    Attributes:
        config: the settings in use.
        decisions: counts the decisions of the three functions and of `ask`. A caller that takes decisions
            from `authorizer` itself may add them.

    Raises:
        ConfigError: the database of `Config.db` cannot be used.
    """

    def __init__(self, config: Config | None = None) -> None:
        self.config = config if config is not None else Config()
        self.decisions = Decisions()
        self._authorizer = Authorizer(self.config)
        self._transport = transport_of(self.config, self._answered, self._failed, self._ended)
        self._authorizer.registrar = registrar_of(self.config, self._transport.request)
        self._local: LocalBackEnd | None = None
        if self.config.database is not None:
            self._local = LocalBackEnd(self.config, self._authorizer, self.decisions, in_loop=True)
        self._begin()
        forks.register(self)

    def _after_fork(self) -> None:
        """Starts afresh in the child; the questions and connections stay with the parent."""
        self._transport.after_fork()
        self._authorizer.after_fork()
        if self._local is not None:
            self._local.after_fork()
        self._begin()

    def _begin(self) -> None:
        self._remote = self._new_path()
        self._objects: ObjectPath = self._remote if self._local is None else self._local.path
        self._releasing = False

    def _new_path(self) -> RemoteObjects:
        config, authorizer = self.config, self._authorizer
        policy = self._policy = _Policy(authorizer, self._transport, self._released)
        policy.path = RemoteObjects(
            policy,
            self._transport.pool.in_flight,
            self.decisions,
            authorizer.penalties,
            authorizer.watch.issuers if authorizer.watch is not None else None,
            authorizer.delegated.compiled if authorizer.delegated is not None else None,
            # With routes by realm, compiled code writes no question: Python chooses the route.
            most_bytes=_MOST_BYTES if config.realms is None else -1,
            timeout=config.timeout,
            max_question=config.max_diameter_message,
            tells_source=config.tell_source,
            max_size=config.max_sip_message,
            max_headers=config.max_sip_headers,
        )
        return policy.path

    # ------------------------------------------------------------------ the functions

    def diameter_www_authorize(self, request: Request, realm: str) -> Coroutine[Any, Any, Decision]:
        """Authenticates a request by its Authorization header field; a challenge is a 401.

        Args:
            request: the request, a `SipRequest` or bytes.
            realm: the realm, which may contain pseudo-variables such as ``$fd``; "": the domain of To for a
                REGISTER, otherwise that of From.

        Returns:
            The Decision. Its return_code is 1 if the credentials are right or the request is an ACK or
            CANCEL, 0 if the request is malformed (400), -5 if it is challenged or refused.

        Raises:
            ConfigError: `realm` has an unknown pseudo-variable.
        """
        return pending(self._objects, request, realm, proxy=False, many=False)

    def diameter_www_authorize_many(
        self, requests: Iterable[Request], realm: str
    ) -> Coroutine[Any, Any, list[Decision]]:
        """Authenticates requests as `diameter_www_authorize` does, with one write and one wait.

        Args:
            requests: the requests, each a `SipRequest` or bytes.
            realm: the realm, as there.

        Returns:
            The Decisions, in the order of the requests.

        Raises:
            ConfigError: `realm` has an unknown pseudo-variable.
        """
        return pending(self._objects, requests, realm, proxy=False, many=True)

    def diameter_proxy_authorize(self, request: Request, realm: str) -> Coroutine[Any, Any, Decision]:
        """Authenticates a request by its Proxy-Authorization header field; a challenge is a 407.

        Args:
            request: the request, a `SipRequest` or bytes.
            realm: the realm, which may contain pseudo-variables such as ``$fd``; "": the domain of From.

        Returns:
            The Decision, with the return codes of `diameter_www_authorize`.

        Raises:
            ConfigError: `realm` has an unknown pseudo-variable.
        """
        return pending(self._objects, request, realm, proxy=True, many=False)

    def diameter_proxy_authorize_many(
        self, requests: Iterable[Request], realm: str
    ) -> Coroutine[Any, Any, list[Decision]]:
        """Authenticates requests as `diameter_proxy_authorize` does, with one write and one wait.

        Args:
            requests: the requests, each a `SipRequest` or bytes.
            realm: the realm, as there.

        Returns:
            The Decisions, in the order of the requests.

        Raises:
            ConfigError: `realm` has an unknown pseudo-variable.
        """
        return pending(self._objects, requests, realm, proxy=True, many=True)

    async def diameter_is_user_in(self, request: Request, who: str, group: str) -> Decision:
        """Checks whether a user is in a group.

        Args:
            request: the request, a `SipRequest` or bytes.
            who: whose membership: ``Request-URI``, ``To``, ``From``, or ``Credentials``, those that an
                authorize call found right; case is ignored.
            group: the name of the group.

        Returns:
            The Decision, which has no reply. Its return_code is 1 for a member; -1 for others, or if DISC
            failed; -2 or -3 if To or From is missing or malformed; -4 without such credentials; -5 if the
            URI names no user.

        Raises:
            ConfigError: `who` is not one of the four sources, or `group` is empty.
        """
        return await self._decide(self._authorizer.is_user_in(request, who, group))

    async def _decide(self, outcome: Question | Decision) -> Decision:
        if type(outcome) is Decision:
            self.decisions.add(outcome.cause)
            return outcome
        assert isinstance(outcome, Question)
        future: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self.ask_about(outcome, future)
        return await future

    def ask_about(
        self, question: Question, callback: Callable[[Decision], object] | asyncio.Future[Decision]
    ) -> None:
        """Asks DISC a question of the `authorizer`.

        Args:
            question: the question.
            callback: function of the Decision, as in `ask`; or a future, whose result it becomes.

        Raises:
            DiscError: this client is closed.
        """
        if self._local is not None and self._local.waits:
            self._local.place_question(question, partial(self._decided, callback))
            return
        if self._local is not None:
            [decision] = self._local.decide_on([question])
            self.decisions.add(decision.cause)
            self._objects.hand_out(callback, decision)
            return
        question.callback = callback
        self._transport.pool.in_flight.size += question.request.data_size
        self._policy.place(question)

    def _decided(
        self, callback: Callable[[Decision], object] | asyncio.Future[Decision], decision: Decision
    ) -> None:
        self.decisions.add(decision.cause)
        self._objects.hand_out(callback, decision)

    def ask(
        self, request: Request, realm: str, callback: Callable[[Decision], object], *, proxy: bool = False
    ) -> None:
        """Authenticates a request without a future or a task, for servers that reply from the callback.

        Args:
            request: the request, a `SipRequest` or bytes.
            realm: the realm, as in `diameter_www_authorize`.
            callback: function of the Decision. It is called before `ask` returns, or in a later turn of the
                loop.
            proxy: whether the function is `diameter_proxy_authorize`.

        Raises:
            ConfigError: `realm` has an unknown pseudo-variable.
            DiscError: this client is closed.
        """
        now = asyncio.get_running_loop().time()
        self._objects.ask(request, realm, proxy, callback, now)

    def is_full(self) -> bool:
        """Whether DISC has so much to do that a new question would be refused."""
        return self._transport.is_full()

    def refusal(self, request: SipRequest) -> Decision | None:
        """Refuses a request when DISC is overloaded, before a question is made.

        For callers of `ask`: to refuse a request this way costs half as much as to make its question.

        Returns:
            The Decision; None: DISC is not overloaded.
        """
        if not self.is_full():
            return None
        self._transport.pool.counts.refused_overload += 1
        self.decisions.add(Cause.OVERLOADED)
        return self._authorizer.overloaded(request)

    @property
    def counts(self) -> dict[Cause, int]:
        """Number of decisions by `Cause`, now."""
        return self.decisions.as_dict()

    def request_path(
        self,
        fd: int,
        transactions: Transactions,
        ended: Callable[[Question], Callable[[Decision], object]],
        *,
        realm: str,
        amplification: int,
        one_challenge: int,
    ) -> RequestPath:
        """The compiled way of the requests of a UDP socket; see `RequestPath`.

        After each `RequestPath.receive`, the caller calls `send_questions`.

        Args:
            fd: file descriptor of the socket.
            transactions: the recent requests and their replies.
            ended: function of a Question that is out of the ordinary; it returns the callback of its
                Decision.
            realm: the realm, which may contain pseudo-variables.
            amplification: bytes that a refusal may have, in times those of its request.
            one_challenge: bytes that a refusal with a single challenge may always have.
        """
        config = self.config
        if self._local is not None:
            return self._local.request_path(
                fd,
                transactions,
                ended,
                realm=realm,
                amplification=amplification,
                one_challenge=one_challenge,
            )

        def adopt(question: Question) -> None:
            question.callback = ended(question)
            self._transport.pool.in_flight.size += question.request.data_size

        return RemoteRequests(
            fd,
            transactions,
            self.decisions,
            adopt,
            self._transport.pool.in_flight,
            self._authorizer.penalties,
            self._authorizer.watch.issuers if self._authorizer.watch is not None else None,
            self._authorizer.delegated.delegations if self._authorizer.delegated is not None else None,
            realm=realm,
            timeout=config.timeout,
            max_size=config.max_sip_message,
            max_headers=config.max_sip_headers,
            max_question=config.max_diameter_message if config.realms is None else 0,  # as in `_new_path`
            tells_source=config.tell_source,
            amplification=amplification,
            one_challenge=one_challenge,
        )

    def has_logged(self, cause: Cause) -> bool:
        """Whether this client has logged a refusal with that cause itself: the local back end does."""
        return self._local is not None and cause in JUDGED

    def proves(self, outcome: Cause | Outcome) -> bool:
        """Whether a refusal that a `RequestPath` noted proves where its request came from; see `refusals`."""
        return self._local is not None and self.config.bind_source and outcome in PROVEN_REFUSALS

    async def connect(self) -> None:
        """Opens a connection to each DISC, so that the first requests need not wait for one.

        It returns when each is open, or cannot be opened.

        Raises:
            DiscError: this client is closed.
        """
        if self._local is None:
            self._transport.connect()
            await self._transport.opened()

    def send_questions(self) -> None:
        """Sends the questions that a `RequestPath` has written.

        Raises:
            DiscError: this client is closed.
        """
        self._transport.send_written()

    def abandon(self, questions: Sequence[Question]) -> None:
        """Ends questions of a `RequestPath` that nobody waits for any more."""
        if self._local is not None:
            return
        self._transport.pool.counts.abandoned += len(questions)
        for question in questions:
            question.callback = _ignore
            self._failed(question, Cause.DISC_LOST, asyncio.get_running_loop().time())

    def tell_watch(self) -> None:
        """Logs what a `RequestPath` noticed about the nonces of several DISC, if it noticed something."""
        if self._authorizer.watch is not None:
            self._authorizer.watch.tell()

    def authorizer(self) -> Authorizer:
        """The decisions without the transport, for callers of `ask`."""
        return self._authorizer

    def use_nonce_keys(self, keys: Sequence[bytes]) -> None:
        """Replaces the keys of the nonces of the local back end; see `Config.nonce_key`.

        Args:
            keys: the keys; the first makes nonces, all are accepted.
        """
        if self._local is not None:
            self._local.use_nonce_keys(keys)

    def stats(self) -> PoolStats:
        """Counts of the questions asked and their outcomes, and the state of each DISC."""
        return self._transport.stats() if self._local is None else no_pool()

    async def unreachable(self) -> list[tuple[str, str]]:
        """Tries to connect to each DISC; closes the connections again.

        Returns:
            The HOST:PORT of each DISC that cannot be reached, and the reason.
        """
        return await self._transport.unreachable() if self._local is None else []

    # ------------------------------------------------------------------ how questions end

    def _answered(self, answers: list[tuple[Question, Answer]], now: float) -> None:
        """Decides on questions that DISC has answered."""
        conclude = self._authorizer.conclude
        for question, answer in answers:
            try:
                decision = conclude(question, answer, now)
            except Exception as error:  # noqa: BLE001 - one bad answer must not hold up the others
                self._transport.report(error, "an answer could not be judged")
                decision = self._authorizer.fail(question, Cause.DISC_UNUSABLE, now)
            self._finish(question, decision)
        self._ended(now)

    def _failed(self, question: Question, cause: Cause, now: float) -> None:
        """Decides on a question that ended without an answer."""
        self._finish(question, self._authorizer.fail(question, cause, now))

    def _ended(self, now: float) -> None:
        """Hands out decisions, and asks the held questions that are released now that others have ended."""
        self._remote.deliver()
        if self._releasing:
            return  # the call already in this loop looks again
        self._releasing = True
        try:
            while released := self._authorizer.released():
                asked = [self._judge_released(question, now) for question in released]
                self._transport.release([question for question in asked if question is not None], now)
        finally:
            self._releasing = False

    def _judge_released(self, question: Question, now: float) -> Question | None:
        """The question to ask, now that one is no longer held; None: there is none any more."""
        if not self._transport.drop(question):
            return None  # it has ended otherwise
        if is_refused(question):
            self._failed(question, Cause.PENALIZED, now)
            return None
        try:
            outcome = self._authorizer.judge_released(question, now)
        except Exception as error:  # noqa: BLE001 - one must not hold up the others
            self._transport.report(error, "a question could not be judged")
            outcome = self._authorizer.fail(question, Cause.DISC_UNUSABLE, now)
        if isinstance(outcome, Decision):
            self._finish(question, outcome)
            return None
        if outcome is not question:
            outcome.callback, outcome.deadline = question.callback, question.deadline
            question.callback = None
        return outcome

    def _released(self) -> None:
        """Has the questions asked that a decision made here has released, once its caller goes on."""
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: self._ended(loop.time()))

    def _finish(self, question: Question, decision: Decision) -> None:
        self._remote.end(question, decision)

    @property
    def state(self) -> StateStats | None:
        """What the shared state of `Config.state` was told; None: there is none."""
        return self._local.state if self._local is not None else None

    # ------------------------------------------------------------------ closing

    async def aclose(self) -> None:
        """Closes all connections; the questions under way end with 503."""
        self._releasing = True  # held questions are not asked any more
        await self._transport.aclose()
        if self._local is not None:
            await self._local.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


class _Policy:
    """What `RemoteObjects` leaves to Python: refusals, and questions that no connection takes at once.

    Attributes:
        path: the RemoteObjects.
    """

    path: RemoteObjects

    def __init__(self, authorizer: Authorizer, transport: AioTransport, released: Callable[[], None]) -> None:
        self._authorizer = authorizer
        self._transport = transport
        self.compile = compile_template
        self.malformed = malformed
        self.get_loop = asyncio.get_running_loop
        self.refuse_penalized = authorizer.refuse_penalized
        self.judge = authorizer.judge
        self.judged = authorizer.judged
        self.released = released
        self.is_in_task = transport.is_in_task

    def refuse(self, request: SipRequest, realm: str, proxy: bool, now: float) -> Decision:
        authorizer = self._authorizer
        outcome = (authorizer.proxy_authorize if proxy else authorizer.www_authorize)(request, realm, now)
        assert isinstance(outcome, Decision)
        return outcome

    def place(self, question: Question) -> None:
        if self._transport.pool.in_flight.size > _MOST_BYTES:
            self._transport.refuse(question)
        elif question.attempt is not None and is_held(question):
            self._transport.hold(question)
        else:
            self._transport.ask(question)

    def written(self) -> None:
        self._transport.send_soon(self._sent)

    def _sent(self) -> None:
        self.path.is_sending = False

    def report(self, error: Exception) -> None:
        self._transport.report(error, "the callback of a decision failed")


def _ignore(decision: Decision) -> None:
    """The callback of a decision that nobody waits for."""
