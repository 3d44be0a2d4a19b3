"""The local back end: what DISC does, in this process, for ``Config(db=...)``.

The same Verifier judges, by the same rules and from the same databases. Requests whose values are cached are
decided in compiled code, by `LocalObjects` and `LocalRequests`. Here is what is left.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from auth_diameter._core import (
    Answer,
    Batch,
    Decisions,
    DiscError,
    LocalObjects,
    LocalRequests,
    Nonces,
    Question,
    Received,
    SipRequest,
    Transactions,
)
from auth_diameter.client.apart import Apart
from auth_diameter.client.authorizer import Authorizer, malformed
from auth_diameter.client.pseudovars import compile_template
from auth_diameter.client.together import Together
from auth_diameter.config import Config
from auth_diameter.decision import Cause, Decision
from auth_diameter.store.per_process import PerProcessStore
from auth_diameter.store.store import StoreError
from auth_diameter.store.url import database_name
from auth_diameter.verifier.driver import Driver, at_once
from auth_diameter.verifier.outcome import REFUSALS, Outcome
from auth_diameter.verifier.reports import Reports
from auth_diameter.verifier.state.state import StateStats
from auth_diameter.verifier.state.urls import parse_url
from auth_diameter.verifier.verifier import Remembered, sharing_of

if TYPE_CHECKING:
    from auth_diameter.verifier.state.blocking import BlockingRedisState
    from auth_diameter.verifier.state.redis import RedisState

_log = logging.getLogger("auth_diameter.local")

_OUTCOMES = (None, *Outcome)  # by their values
_MOST_UNTOLD = 1000  # lines that wait for a handler of the log that takes long; then the oldest are left out

# The shared states that forked processes inherited, whose connections they must neither use nor close.
_inherited: list[object] = []

#: The causes of refusals that come from an answer: `Reports` logs these, by their outcomes.
JUDGED = frozenset(
    {
        Cause.RECHALLENGED,
        Cause.FORBIDDEN,
        Cause.UNKNOWN_ALGORITHM,
        Cause.UNKNOWN_QOP,
        Cause.REALM_NOT_SERVED,
        Cause.PENALIZED,
    }
)


class LocalBackEnd:
    """The users of one client, and the decisions about its requests; thread-safe.

    Forked processes go on with the same nonce key, nonce counts and guesses: a replay at another process is
    refused. Each opens the database for itself.

    Args:
        config: the settings, with `Config.db`.
        authorizer: the decisions of the client.
        decisions: counts the decisions of `path`.
        in_loop: whether the client belongs to an event loop, so that it must not wait otherwise.

    Attributes:
        path: the compiled way of requests, whose policy this is.
        waits: whether questions are placed, since they may have to wait for a database server.

    Raises:
        ConfigError: the database cannot be used, or the URL of the state.
    """

    def __init__(
        self, config: Config, authorizer: Authorizer, decisions: Decisions, *, in_loop: bool
    ) -> None:
        assert config.database is not None
        self._config = config
        self._authorizer = authorizer
        self._decisions = decisions
        self._keys: bytes | Sequence[bytes] = config.nonce_key or os.urandom(32)
        self._remembered = Remembered(config)
        name = database_name(config.database, config.db_password)
        self._is_apart = name.kind == "cx" and not in_loop
        self._store = PerProcessStore(name, config, config, in_background=in_loop or self._is_apart)
        self._state_url = parse_url(config.state) if config.state is not None else None
        self._in_loop = in_loop
        self.waits = in_loop and (self._store.waits or self._state_url is not None)
        self._reports = Reports(_log, self._store.name, "requests get 500", config)
        self._closed = False
        if self._state_url is not None:
            from auth_diameter.verifier.state.blocking import begin_state  # imported late: few have one

            begin_state(self._state_url, sharing_of(config, self._first_key()))
        self.compile = compile_template
        self.get_loop = asyncio.get_running_loop
        self.malformed = malformed
        self._begin()

    def _begin(self) -> None:
        # Of the store. A signal handler, or a handler of the store's own lines, may call this client again.
        self._lock = threading.RLock()
        self._log = _Later(self._reports)
        nonces = Nonces(self._keys, self._config.nonce_lifetime)
        self._state = self._new_state()
        self._driver = Driver(
            self._store,
            self._log,
            self._config,
            nonces,
            self._remembered,
            self._state,
            self._config.stale_for,
            in_background=self.waits or self._is_apart,
        )
        self._together: Together | Apart | None = None
        if self._is_apart:
            self._together = Apart(self._driver, self._store.wait_closed)
        elif self._store.waits and not self.waits:
            self._together = Together(self._driver)
        self._placed: list[tuple[Batch, Callable[[], object]]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.path = LocalObjects(
            self,
            self._driver.verifier.compiled,
            self._decisions,
            time.time,
            waits=self.waits,
            max_size=self._config.max_sip_message,
            max_headers=self._config.max_sip_headers,
        )

    def _new_state(self) -> RedisState | BlockingRedisState | None:
        """Shared state, which is not connected so far: a fork inherits no connection."""
        if self._state_url is None:
            return None
        # Imported late: few have one.
        from auth_diameter.verifier.state.blocking import BlockingRedisState
        from auth_diameter.verifier.state.redis import RedisState

        sharing = sharing_of(self._config, self._first_key())
        if self._in_loop:
            return RedisState(self._state_url, sharing, warns=False)
        return BlockingRedisState(self._state_url, sharing)

    def _first_key(self) -> bytes:
        return self._keys if isinstance(self._keys, bytes) else self._keys[0]

    @property
    def state(self) -> StateStats | None:
        """What shared state was told; None: there is none."""
        return self._state.stats if self._state is not None else None

    def after_fork(self) -> None:
        """Opens the database anew in the child; what is remembered stays shared with the parent."""
        self._store.after_fork()
        if self._state is not None:
            _inherited.append(self._state)
        self._begin()

    def use_nonce_keys(self, keys: Sequence[bytes]) -> None:
        """Replaces the keys; the nonces of a key that is not among them become foreign."""
        self._keys = keys
        if self._state is not None:
            self._state.sharing.use_key(keys[0])
        self._driver.verifier.nonces.use(keys)

    def request_path(
        self,
        fd: int,
        transactions: Transactions,
        ended: Callable[[Question], Callable[[Decision], object]],
        *,
        realm: str,
        amplification: int,
        one_challenge: int,
    ) -> LocalRequests:
        """The compiled way of the requests of a UDP socket; see `AsyncAuthDiameter.request_path`."""
        return LocalRequests(
            fd,
            transactions,
            self._decisions,
            ended,
            self,
            self._driver.verifier.compiled,
            time.time,
            _OUTCOMES,
            waits=self.waits,
            realm=realm,
            max_size=self._config.max_sip_message,
            max_headers=self._config.max_sip_headers,
            amplification=amplification,
            one_challenge=one_challenge,
        )

    # ------------------------------------------------------------------ decisions

    def decide(self, request: SipRequest, realm: str, proxy: bool) -> Decision:
        """The decision on a request, by way of a Question if there is one."""
        authorizer = self._authorizer
        outcome = (authorizer.proxy_authorize if proxy else authorizer.www_authorize)(request, realm, 0.0)
        return self.decide_on([outcome])[0] if isinstance(outcome, Question) else outcome

    def decide_later(
        self, request: SipRequest, realm: str, proxy: bool, done: Callable[[Decision], object]
    ) -> Decision | None:
        """The decision on a request; None: it needs the store, and `done` gets it later."""
        authorizer = self._authorizer
        outcome = (authorizer.proxy_authorize if proxy else authorizer.www_authorize)(request, realm, 0.0)
        if not isinstance(outcome, Question):
            return outcome
        self.place_question(outcome, done)
        return None

    def decide_on(self, questions: Sequence[Question]) -> list[Decision]:
        """The decisions on questions of the `authorizer`, in their order; they are not counted."""
        now = time.time()
        batch = Batch(list(questions), now)
        self.finish(batch, now)
        return [
            self._authorizer.conclude(question, answer, now)
            for question, answer in zip(questions, batch.answers(), strict=True)
        ]

    def finish(self, batch: Batch, now: float) -> None:
        """Judges what is left of a batch, with what the store says.

        Raises:
            DiscError: this client is closed.
        """
        try:
            if self._together is not None:
                self._together.finish(batch, now, self._require_open)
            else:
                with self._lock:
                    self._require_open()
                    at_once(self._driver.finish(batch, now))
            if self._closed:  # meanwhile, by a signal handler or another thread
                self._driver.verifier.compiled.check_at = 0.0
        finally:
            self._log.tell()

    def _require_open(self) -> None:
        if self._closed:
            raise DiscError("this client is closed")

    def place(self, batch: Batch, done: Callable[[], object]) -> None:
        """Judges what is left of a batch while the event loop goes on; then calls `done`.

        All batches of a turn of the loop ask the store together.

        Raises:
            DiscError: this client is closed.
        """
        self._require_open()
        if not self._placed:
            asyncio.get_running_loop().call_soon(self._end_turn)
        self._placed.append((batch, done))

    def place_question(self, question: Question, done: Callable[[Decision], object]) -> None:
        """Decides on a question of the `authorizer` while the event loop goes on; it is not counted.

        Raises:
            DiscError: this client is closed.
        """
        batch = Batch([question], time.time())

        def conclude() -> None:
            done(self._authorizer.conclude(question, batch.answers()[0], time.time()))

        self.place(batch, conclude)

    def _end_turn(self) -> None:
        placed, self._placed = self._placed, []
        task = asyncio.get_running_loop().create_task(self._finish_placed(placed))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish_placed(self, placed: list[tuple[Batch, Callable[[], object]]]) -> None:
        try:
            await self._driver.finish_together([batch for batch, _ in placed], time.time())
        except Exception as error:  # noqa: BLE001 - each request gets a decision
            self._log.mistaken(error)
            for batch, _ in placed:
                if not batch.is_done:
                    self._driver.give_up(batch, error)
        for _, done in placed:
            try:
                done()
            except Exception as error:  # noqa: BLE001 - one must not hold up the others
                self._log.mistaken(error)
        self._log.tell()

    def conclude(self, question: Question, answer: Answer, outcome: int) -> Decision:
        """The decision on a question that `path` has judged."""
        found = _OUTCOMES[outcome]
        if found in REFUSALS:
            assert found is not None
            self._log.noted(question, found)
            self._log.tell()
        return self._authorizer.conclude(question, answer, time.time())

    def report(self, error: Exception) -> None:
        """Logs what the callback of a decision raised."""
        self._log.mistaken(error)
        self._log.tell()

    # ------------------------------------------------------------------ closing

    def close(self) -> None:
        """Closes the database."""
        self._closed = self._log.is_closed = True
        if self._together is not None:
            self._together.close(self._store.close)
        else:
            with self._lock:
                self._store.close()
        if self._state is not None:
            self._state.close()
        self._driver.verifier.compiled.check_at = 0.0  # nothing is judged without the store any more

    async def aclose(self) -> None:
        """Closes the database, and waits for what that takes on the event loop."""
        self.close()
        await self._store.wait_closed()


class _Later:
    """The listener of a Driver that writes its log when no lock is held.

    A handler of the log is anybody's code: it may call the client, or wait for a thread that calls it.

    Args:
        reports: writes the log.

    Attributes:
        is_closed: whether the store is closed: lookups that end because of that are no failure of it.
    """

    def __init__(self, reports: Reports) -> None:
        self.is_closed = False
        self._reports = reports
        self._untold: deque[Callable[[], None]] = deque(maxlen=_MOST_UNTOLD)
        self._telling = threading.Lock()  # never waited for

    @property
    def wants_every_outcome(self) -> bool:
        """As `Reports.wants_every_outcome`."""
        return self._reports.wants_every_outcome

    def noted(self, request: Received | Question, outcome: Outcome) -> None:
        """As `Reports.noted`, later."""
        self._untold.append(partial(self._reports.noted, request, outcome))

    def mistaken(self, error: Exception) -> None:
        """As `Reports.mistaken`, later."""
        self._untold.append(partial(self._reports.mistaken, error))

    def store_failed(self, error: StoreError) -> None:
        """As `Reports.store_failed`, later."""
        if self.is_closed:
            return
        self._untold.append(partial(self._reports.store_failed, error))

    def store_recovered(self) -> None:
        """As `Reports.store_recovered`, later."""
        self._untold.append(self._reports.store_recovered)

    def tell(self) -> None:
        """Writes what is untold, in order, unless another thread or a caller of this one is at it."""
        while self._untold and self._telling.acquire(blocking=False):
            try:
                while self._untold:
                    self._tell_one(self._untold.popleft())
            finally:
                self._telling.release()

    def _tell_one(self, tell: Callable[[], None]) -> None:
        try:
            tell()
        except Exception as error:  # noqa: BLE001 - the requests have their decisions
            self._reports.mistaken(error)
