"""The three functions of OpenSER's AUTH_DIAMETER, for threads."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from auth_diameter._core import (
    Answer,
    Decisions,
    DelegatedObjects,
    DiscError,
    LocalObjects,
    Question,
    SipRequest,
    WorkerObjects,
)
from auth_diameter.client import group_check
from auth_diameter.client.authorizer import Authorizer, Request, is_held, is_refused
from auth_diameter.client.later import Later, hand_over
from auth_diameter.client.local import LocalBackEnd
from auth_diameter.client.pseudovars import compile_template
from auth_diameter.client.registrar import registrar_of
from auth_diameter.closing import Closing
from auth_diameter.config import Config
from auth_diameter.decision import Cause, Decision
from auth_diameter.diameter import forks
from auth_diameter.diameter.background import BackgroundTransport
from auth_diameter.diameter.stats import PoolStats, no_pool
from auth_diameter.diameter.sync import SyncTransport
from auth_diameter.verifier.state.state import StateStats

_log = logging.getLogger("auth_diameter.client")


class AuthDiameter(Closing):
    """The three functions for threads: each returns a `Decision`.

    ::

        with AuthDiameter(Config(diameter_client_host="10.0.0.1")) as auth:
            decision = auth.diameter_www_authorize(request, "$fd")

    When DISC is down, slow or wrong, the Decision has status 503 or 500; no exception is raised. One object
    serves any number of threads. A call blocks its own thread for `Config.timeout` at most. Connections are
    opened when they are first needed. A forked process opens its own.

    With `Config.db` no DISC is asked: the credentials are verified in this process. Processes that are forked
    later share the nonce key, the nonce counts and the guesses.

    Args:
        config: the settings; None: their defaults.

    Attributes:
        config: the settings in use.
        counts: number of decisions by `Cause`.

    Raises:
        ConfigError: the database of `Config.db` cannot be used.
    """

    def __init__(self, config: Config | None = None) -> None:
        self.config = config if config is not None else Config()
        self._authorizer = self._new_authorizer()
        self._transport = self._new_transport()
        if isinstance(self._transport, BackgroundTransport):
            self._authorizer.registrar = registrar_of(self.config, self._transport.request)
        self._judged = Decisions()  # those of the compiled path
        self._local: LocalBackEnd | None = None
        if self.config.database is not None:
            self._local = LocalBackEnd(self.config, self._authorizer, self._judged, in_loop=False)
        self._policy = _Policy(self._authorizer, self._transport)
        self._path = self._new_path()
        self._counts: dict[Cause, int] = dict.fromkeys(Cause, 0)
        self._counts_lock = threading.Lock()
        self._later = Later(self.config.max_connections, self.config.max_waiting)
        forks.register(self)

    def _new_authorizer(self) -> Authorizer:
        return Authorizer(self.config)

    def _new_transport(self) -> SyncTransport | BackgroundTransport:
        return BackgroundTransport(self.config) if self.config.is_standard else SyncTransport(self.config)

    def _new_path(self) -> LocalObjects | DelegatedObjects | WorkerObjects | None:
        """The compiled way of requests about which nobody is asked; None: a server is asked about each."""
        if self._local is not None:
            return self._local.path
        config, authorizer = self.config, self._authorizer
        if authorizer.delegated is None:
            return None
        return DelegatedObjects(
            self._policy,
            authorizer.delegated.compiled,
            self._judged,
            authorizer.penalties,
            time.monotonic,
            tells_source=config.tell_source,
            max_size=config.max_sip_message,
            max_headers=config.max_sip_headers,
        )

    def _after_fork(self) -> None:
        """Starts afresh in the child; the questions and connections stay with the parent."""
        self._transport.after_fork()
        self._authorizer.after_fork()
        if self._local is not None:
            self._local.after_fork()
        self._path = self._new_path()
        self._later.after_fork()
        self._counts_lock = threading.Lock()

    # ------------------------------------------------------------------ the functions

    def diameter_www_authorize(self, request: Request, realm: str) -> Decision:
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
        outcome = self._path.decide(request, realm, False) if self._path is not None else None
        return outcome if type(outcome) is Decision else self._go_on(outcome, request, realm, proxy=False)

    def diameter_proxy_authorize(self, request: Request, realm: str) -> Decision:
        """Authenticates a request by its Proxy-Authorization header field; a challenge is a 407.

        Args:
            request: the request, a `SipRequest` or bytes.
            realm: the realm, which may contain pseudo-variables such as ``$fd``; "": the domain of From.

        Returns:
            The Decision, with the return codes of `diameter_www_authorize`.

        Raises:
            ConfigError: `realm` has an unknown pseudo-variable.
        """
        outcome = self._path.decide(request, realm, True) if self._path is not None else None
        return outcome if type(outcome) is Decision else self._go_on(outcome, request, realm, proxy=True)

    def _go_on(
        self, outcome: Question | Decision | None, request: Request, realm: str, *, proxy: bool
    ) -> Decision:
        """The decision on a request with which compiled code has begun; None: nothing was decided."""
        if outcome is None:
            authorize = self._authorizer.proxy_authorize if proxy else self._authorizer.www_authorize
            outcome = authorize(request, realm, time.monotonic())
        return self._decide(outcome)

    def diameter_is_user_in(self, request: Request, who: str, group: str) -> Decision:
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
        return self._decide(self._authorizer.is_user_in(request, who, group))

    def _decide(self, outcome: Question | Decision) -> Decision:
        if type(outcome) is Question and self._local is None and _was_held(outcome):
            outcome = self._when_released(outcome)
        if type(outcome) is Decision:
            decision = outcome
            self._policy.released()  # others may have waited for what was judged here
        elif self._local is not None:
            assert isinstance(outcome, Question)
            [decision] = self._local.decide_on([outcome])
        else:
            assert isinstance(outcome, Question)
            try:
                self._policy.released()  # a question instead of one with credentials has ended their attempt
                result = self._ask(outcome)
            except BaseException:
                self._end(outcome, Cause.DISC_LOST)
                raise
            decision = self._end(outcome, result)
        self._count(decision)
        return decision

    def _count(self, decision: Decision) -> None:
        with self._counts_lock:
            self._counts[decision.cause] += 1
        if self._transport.untold:
            self._transport.tell_changes()

    def diameter_www_authorize_many(self, requests: Iterable[Request], realm: str) -> list[Decision]:
        """Authenticates requests as `diameter_www_authorize` does, with few writes and waits.

        Args:
            requests: the requests, each a `SipRequest` or bytes.
            realm: the realm, as there.

        Returns:
            The Decisions, in the order of the requests.

        Raises:
            ConfigError: `realm` has an unknown pseudo-variable.
        """
        return self._decide_many(requests, realm, proxy=False)

    def diameter_proxy_authorize_many(self, requests: Iterable[Request], realm: str) -> list[Decision]:
        """Authenticates requests as `diameter_proxy_authorize` does, with few writes and waits.

        Args:
            requests: the requests, each a `SipRequest` or bytes.
            realm: the realm, as there.

        Returns:
            The Decisions, in the order of the requests.

        Raises:
            ConfigError: `realm` has an unknown pseudo-variable.
        """
        return self._decide_many(requests, realm, proxy=True)

    def _decide_many(self, requests: Iterable[Request], realm: str, *, proxy: bool) -> list[Decision]:
        path = self._path
        if isinstance(path, LocalObjects):
            return path.decide_many(requests, realm, proxy=proxy)
        begin = self._authorizer.proxy_authorize if proxy else self._authorizer.www_authorize
        now = time.monotonic()
        outcomes: list[Question | Decision] = []
        decided: dict[Question | Decision, Decision] = {}
        try:
            for request in requests:
                outcome = path.decide(request, realm, proxy) if path is not None else None
                if type(outcome) is Decision:
                    decided[outcome] = outcome  # it is counted
                outcomes.append(begin(request, realm, now) if outcome is None else outcome)
            together = [one for one in outcomes if isinstance(one, Question) and not _was_held(one)]
            self._policy.released()
            results = self._transport.ask_together(together)
        except BaseException:
            for outcome in outcomes:
                if isinstance(outcome, Question):
                    self._end(outcome, Cause.DISC_LOST)
            raise
        for question, result in zip(together, results, strict=True):
            decided[question] = self._end(question, result)
            self._count(decided[question])
        # Those that were held come last: they may have waited for the others.
        try:
            for outcome in outcomes:
                if outcome not in decided:
                    decided[outcome] = self._decide(outcome)
        except BaseException:
            for outcome in outcomes:
                if isinstance(outcome, Question) and outcome not in decided:
                    self._end(outcome, Cause.DISC_LOST)
            raise
        return [decided[outcome] for outcome in outcomes]

    def _ask(self, question: Question) -> Answer | Cause:
        return self._transport.ask(question)

    def _end(self, question: Question, result: Answer | Cause) -> Decision:
        """Makes the decision on a question that has ended.

        The end of a question may release others; their threads are woken.
        """
        now = time.monotonic()
        if isinstance(result, Answer):
            decision = self._authorizer.conclude(question, result, now)
        else:
            decision = self._authorizer.fail(question, result, now)
        self._policy.released()
        return decision

    def _when_released(self, question: Question) -> Question | Decision:
        """What becomes of a question that is held, or was, once its turn has come."""
        try:
            cause = self._wait_for_turn(question)
            if cause is not None:
                return self._end(question, cause)
            outcome = self._authorizer.judge_released(question, time.monotonic())
        except BaseException:
            self._end(question, Cause.DISC_LOST)
            raise
        if type(outcome) is Question:
            outcome.deadline = question.deadline
        return outcome

    def _wait_for_turn(self, question: Question) -> Cause | None:
        """Waits until the questions before this one have their verdict, unless they have it already.

        Returns:
            None: the question may be asked. Otherwise the Cause why it may not.
        """
        if not self._transport.may_wait():
            return Cause.DISC_LOST
        question.deadline = time.monotonic() + self.config.timeout
        waiter = self._transport.add_waiter(question)
        while is_held(question):
            left = question.deadline - time.monotonic()
            if left <= 0:
                return Cause.DISC_TIMEOUT
            waiter.wake.acquire(timeout=left)
        self._transport.remove_waiter(question)
        if is_refused(question):
            return Cause.PENALIZED
        # The client may have been closed meanwhile.
        return Cause.DISC_LOST if self._transport.closed else None

    # ------------------------------------------------------------------ callbacks

    def ask(
        self, request: Request, realm: str, callback: Callable[[Decision], object], *, proxy: bool = False
    ) -> None:
        """Authenticates a request without blocking, for servers with a loop that is not asyncio's.

        ::

            auth.ask(request, "$fd", lambda decision: loop.call_from_thread(go_on, request, decision))

        Args:
            request: the request, a `SipRequest` or bytes.
            realm: the realm, as in `diameter_www_authorize`.
            callback: function of the Decision. A thread of this client calls it, so it hands the Decision to
                the loop by what the loop has for that. It is called before this returns if so many wait that
                the request is refused (503).
            proxy: whether the function is `diameter_proxy_authorize`.

        Raises:
            ConfigError: `realm` has an unknown pseudo-variable.
            DiscError: this client is closed.
            TypeError: `request` is neither a SipRequest nor bytes.
        """
        compile_template(realm)
        request = _checked(request)
        authorize = self.diameter_proxy_authorize if proxy else self.diameter_www_authorize

        def work() -> Decision:
            try:
                return authorize(request, realm)
            except DiscError:  # it was closed meanwhile
                return self._unavailable(request, Cause.DISC_LOST)
            except Exception as error:  # noqa: BLE001 - whoever asked waits for a decision
                _log.error("a question failed", exc_info=error)
                return self._unavailable(request, Cause.DISC_REFUSED)

        if not self._later.start(work, callback):
            self._require_open()
            hand_over(self._unavailable(request, Cause.OVERLOADED), callback)

    def ask_user_in(
        self, request: Request, who: str, group: str, callback: Callable[[Decision], object]
    ) -> None:
        """Checks whether a user is in a group, without blocking; see `ask` and `diameter_is_user_in`.

        Args:
            request: the request, a `SipRequest` or bytes.
            who: as in `diameter_is_user_in`.
            group: the name of the group.
            callback: function of the Decision, as in `ask`.

        Raises:
            ConfigError: `who` is not one of the four sources, or `group` is empty; or standard Diameter is
                spoken, which knows no groups.
            DiscError: this client is closed.
            TypeError: `request` is neither a SipRequest nor bytes.
        """
        self._authorizer.require_groups()
        group_check.source_of(who, group)
        request = _checked(request)

        def work() -> Decision:
            try:
                return self.diameter_is_user_in(request, who, group)
            except DiscError:
                return group_check.decide(Cause.DISC_LOST)
            except Exception as error:  # noqa: BLE001 - whoever asked waits for a decision
                _log.error("a question failed", exc_info=error)
                return group_check.decide(Cause.DISC_REFUSED)

        if not self._later.start(work, callback):
            self._require_open()
            hand_over(group_check.decide(Cause.OVERLOADED), callback)

    def _unavailable(self, request: Request, cause: Cause) -> Decision:
        read = self._authorizer.read_or_refuse(request)
        decision = self._authorizer.unavailable(read, cause) if isinstance(read, SipRequest) else read
        self._count(decision)
        return decision

    def _require_open(self) -> None:
        if self._transport.closed:
            raise DiscError("this client is closed")

    # ------------------------------------------------------------------ statistics and closing

    @property
    def counts(self) -> dict[Cause, int]:
        """Number of decisions by `Cause`; a consistent copy."""
        judged = self._judged.as_dict()
        with self._counts_lock:
            return {cause: count + judged[cause] for cause, count in self._counts.items()}

    def stats(self) -> PoolStats:
        """Counts of the questions asked and their outcomes, and the state of each DISC."""
        return self._transport.stats() if self._local is None else no_pool()

    @property
    def state(self) -> StateStats | None:
        """What the shared state of `Config.state` was told; None: there is none."""
        return self._local.state if self._local is not None else None

    def close(self) -> None:
        """Closes all connections; the questions under way end with 503."""
        self._transport.close()
        self._later.close()
        if self._local is not None:
            self._local.close()


def _checked(request: Request) -> Request:
    """The request of a caller who goes on: what it has now, whatever becomes of a buffer."""
    return request if isinstance(request, SipRequest) else bytes(memoryview(request))


def _was_held(question: Question) -> bool:
    """Whether a question had to wait for the verdicts on others, even if they are known meanwhile."""
    return question.attempt is not None and question.attempt.was_held


class _Policy:
    """What `DelegatedObjects` leaves to Python. It does not know the client, which can be freed at once."""

    def __init__(self, authorizer: Authorizer, transport: SyncTransport | BackgroundTransport) -> None:
        self._authorizer = authorizer
        self._transport = transport
        self.compile = compile_template
        self.judged = authorizer.judged

    def released(self) -> None:
        """Wakes the threads whose held questions may be asked."""
        if released := self._authorizer.released():
            self._transport.wake(released)
