"""The three functions for worker processes, as Kamailio forks them: one request at a time in each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from auth_diameter._core import (
    Answer,
    Breakers,
    ConfigError,
    DelegatedObjects,
    LocalObjects,
    Penalties,
    Question,
    ScriptCalls,
    SipRequest,
    WorkerObjects,
)
from auth_diameter.client.authorizer import Authorizer
from auth_diameter.client.pseudovars import compile_template
from auth_diameter.client.sync import AuthDiameter
from auth_diameter.config import Config
from auth_diameter.decision import Cause, Decision
from auth_diameter.diameter.worker import WorkerTransport


@dataclass(frozen=True, slots=True)
class Common:
    """What workers have in common that are forked after this was made.

    Attributes:
        breakers: what they know of the peers.
        penalties: the guesses of passwords, if DISC is asked. With a database it has them.
    """

    breakers: Breakers = field(default_factory=Breakers)
    penalties: Penalties = field(default_factory=lambda: Penalties(shared=True))


class WorkerAuthDiameter(AuthDiameter):
    """An `AuthDiameter` that is made before the fork and used by the workers.

    It has no threads, for a worker keeps the GIL while it waits for SIP. What one worker has found out about
    DISC, all know; see `auth_diameter.diameter.worker`.

    Args:
        config: the settings.
        common: what the workers have in common.
        clock: function that returns seconds, for compiled code; None: `time.monotonic`.

    Raises:
        ConfigError: standard Diameter is to be spoken, or the database of `Config.db` cannot be used.
    """

    def __init__(self, config: Config, common: Common, clock: Callable[[], float] | None = None) -> None:
        if config.is_standard:
            raise ConfigError(
                f"application: a worker process cannot speak {config.application!r}, since it answers no "
                "watchdog while it waits for SIP; start a DISC that does: auth-diameter disc --db cx://HOST"
            )
        self._common = common
        common.penalties.patience = config.timeout  # a verdict may take as long
        self._clock = clock
        self._calls: ScriptCalls | None = None
        super().__init__(config)

    def _new_authorizer(self) -> Authorizer:
        return Authorizer(self.config, self._common.penalties)

    def _new_transport(self) -> WorkerTransport:
        self._worker = WorkerTransport(self.config, self._common.breakers)
        return self._worker

    def serve(self, calls: ScriptCalls) -> None:
        """Has this client decide on the calls of a script, in this process and in those forked from it."""
        self._calls = calls
        assert isinstance(self._path, LocalObjects | WorkerObjects)
        self._use(self._path)

    def _use(self, path: LocalObjects | WorkerObjects) -> None:
        if self._calls is not None:
            self._calls.use(
                path, max_size=self.config.max_sip_message, max_headers=self.config.max_sip_headers
            )

    def close(self) -> None:
        """Closes the connections; scripts are served no more."""
        self._calls = None  # they may have another client by now
        super().close()

    def go_on(
        self, outcome: Question | Decision | None, request: SipRequest, realm: str, *, proxy: bool
    ) -> Decision:
        """The decision on a request that compiled code has left to Python.

        Args:
            outcome: what `decide` has returned.
            request: the request.
            realm: the realm.
            proxy: whether the function is `diameter_proxy_authorize`.
        """
        if type(outcome) is Decision:
            return outcome
        return self._go_on(outcome, request, realm, proxy=proxy)

    def _new_path(self) -> LocalObjects | DelegatedObjects | WorkerObjects | None:
        path = self._new_compiled() if self._local is None else self._local.path
        self._use(path)
        return path

    def _new_compiled(self) -> WorkerObjects:
        config, authorizer = self.config, self._authorizer
        self._compiled = WorkerObjects(
            self._Policy(self),
            self._worker.pool.in_flight,
            self._judged,
            self._common.breakers,
            self._worker.places,
            authorizer.penalties,
            authorizer.watch.issuers if authorizer.watch is not None else None,
            self._clock,
            timeout=config.timeout,
            max_question=config.max_diameter_message,
            tells_source=config.tell_source,
            max_size=config.max_sip_message,
            max_headers=config.max_sip_headers,
        )
        return self._compiled

    def _decide(self, outcome: Question | Decision) -> Decision:
        if self._local is not None:
            return super()._decide(outcome)
        if type(outcome) is Question:
            outcome = self._compiled.ask_at_once(outcome)
            if type(outcome) is Decision:
                return outcome
        decision = super()._decide(outcome)
        self._calm_down()
        return decision

    def _calm_down(self) -> None:
        """Lets compiled code ask, if nothing else is to be done."""
        self._compiled.calm_until = self._worker.calm_until()
        self._compiled.seen = self._worker.seen

    class _Policy:
        """What `WorkerObjects` leaves to Python."""

        def __init__(self, client: WorkerAuthDiameter) -> None:
            self._client = client
            self.compile = compile_template
            self.refuse_penalized = client._authorizer.refuse_penalized
            self.judge_connection = client._worker.judge

        def conclude(self, question: Question, answer: Answer | Cause) -> Decision:
            """The decision on an answer, counted."""
            decision = self._client._end(question, answer)
            self._client._count(decision)
            return decision

        def go_on(self, question: Question, error: int) -> Decision:
            """The decision on a question that is in flight; see `WorkerTransport.resume`."""
            client = self._client
            try:
                result = client._worker.resume(question, error)
            except BaseException:
                client._end(question, Cause.DISC_LOST)
                raise
            decision = self.conclude(question, result)
            client._calm_down()
            return decision
