"""The DISC server: takes AA-Requests, has a `Verifier` judge them, and writes AA-Answers and the log.

The table of `auth_diameter.verifier.outcome` has the verdict for each case, and `_core/diameter/disc.pyx` the
Result-Code of each verdict. A malformed message gets the Result-Code of RFC 6733, 7.1.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Coroutine, Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from auth_diameter._core import AaRequest, Answer, Question, Verdict, append_answer
from auth_diameter.logs import Sparing, one_word
from auth_diameter.refusals import Refusals, account_of
from auth_diameter.store.cache import Cache
from auth_diameter.store.store import Key, Store, StoreError
from auth_diameter.verifier.config import VerifierConfig
from auth_diameter.verifier.nonces import Nonces
from auth_diameter.verifier.outcome import PROVEN_REFUSALS, REFUSALS, Outcome
from auth_diameter.verifier.turn import Turn
from auth_diameter.verifier.verifier import Verifier

log = logging.getLogger("auth_diameter.disc")


class Asker(NamedTuple):
    """The SIP server that sent a question.

    Attributes:
        address: its address, for the log.
        one_challenge: whether it can use only one challenge, the one for MD5.
    """

    address: str = ""
    one_challenge: bool = False


NOBODY = Asker()

_MALFORMED = Outcome.MALFORMED  # a module global: in Python 3.11 the lookup on the class is slow


class Disc:
    """Answers AA-Requests from a store; for one event loop.

    ::

        turn = disc.begin(requests, now)      # answers what the cached values allow
        if not turn.is_done:
            await disc.finish(turn)           # fetches the missing keys from the store, and answers the rest
        disc.write(requests, turn.results(), out)

    Args:
        store: the store of the subscribers.
        config: the settings of the verifier; None for the defaults.
        nonces: makes and recognises the nonces; None for nonces with a random key.

    Attributes:
        counts: the number of questions by `Outcome`.
    """

    def __init__(
        self, store: Store, config: VerifierConfig | None = None, nonces: Nonces | None = None
    ) -> None:
        self._config = config if config is not None else VerifierConfig()
        self._store = store
        self._cache = Cache(store, self)
        self._verifier = Verifier(self._cache, self, self._config, nonces)
        self.counts = self._verifier.counts
        self._sparing = Sparing(log)
        self._refusals = Refusals(logging.getLogger("auth_diameter.refused"))
        self._verbose = False

    def begin(self, requests: Iterable[AaRequest], now: float) -> Turn:
        """Judges requests as far as the cached values allow.

        The `asker` and `one_challenge` of each question must be set.

        Args:
            requests: the requests.
            now: seconds since 1970.

        Returns:
            The turn, which may have missing keys.
        """
        self._verbose = log.isEnabledFor(logging.DEBUG)
        questions = [request.question for request in requests if not request.fault]
        turn = Turn(questions, now, self._cache)
        if not self._cache.is_due(now):
            self._verifier.judge(turn)
        return turn

    async def finish(self, turn: Turn) -> None:
        """Fetches the missing keys of a turn, and judges the rest of its questions."""
        if self._cache.is_due(turn.now):
            try:
                await self._cache.check(turn.now)
            except Exception as error:  # noqa: BLE001 - the cache is empty then, and all keys are fetched
                self.mistaken(error)
        while not turn.is_done:
            if turn.lacking:
                await self._fetch(turn)
            self._verifier.judge(turn)

    async def _fetch(self, turn: Turn) -> None:
        keys = list(turn.lacking)
        try:
            turn.found.update(await self._cache.fetch(keys))
        except StoreError as error:
            turn.failures.update(dict.fromkeys(keys, error))
        except Exception:  # noqa: BLE001 - an error for one key must not affect the other questions
            for key in keys:
                await self._fetch_alone(turn, key)

    async def _fetch_alone(self, turn: Turn, key: Key) -> None:
        try:
            turn.found.update(await self._cache.fetch([key]))
        except Exception as error:  # noqa: BLE001 - the Verifier reports it for the question with this key
            turn.failures[key] = error

    def write(self, requests: Iterable[AaRequest], answers: Iterator[Answer], out: bytearray) -> None:
        """Appends the answer to each request to `out`, in order.

        Args:
            requests: the requests.
            answers: the answers of their turn, from the first of these requests on.
            out: the buffer for the encoded answers.
        """
        for request in requests:
            fault = request.fault
            if fault:
                self.counts[_MALFORMED] += 1
                if self._verbose:
                    self._log_question(request.question, _MALFORMED)
                append_answer(out, request, _answer_to_fault(fault))
            else:
                append_answer(out, request, next(answers))

    def answer(self, requests: list[AaRequest], out: bytearray, now: float, asker: Asker = NOBODY) -> None:
        """Appends an answer to each request to `out`, in order, without an event loop.

        The store must not wait for I/O; `SqliteStore` does not.

        Args:
            requests: the requests.
            out: the buffer for the encoded answers.
            now: seconds since 1970.
            asker: the SIP server that sent the requests.

        Raises:
            RuntimeError: the store waits.
        """
        for request in requests:
            request.question.asker = asker
            request.question.one_challenge = asker.one_challenge
        turn = self.begin(requests, now)
        if not turn.is_done:
            _at_once(self.finish(turn))
        self.write(requests, turn.results(), out)

    # ------------------------------------------------------------------ reports of Verifier and Cache

    def noted(self, question: Question, outcome: Outcome) -> None:
        """Logs a refusal; with ``--log-level debug``, logs each question."""
        if outcome in REFUSALS:
            self._note_refusal(question, outcome)
        if self._verbose:
            self._log_question(question, outcome)

    def _log_question(self, question: Question, outcome: Outcome) -> None:
        has_credentials = question.credentials is not None or question.error is not None
        log.debug(
            "%s about='%s' source=%s server=%s %s",
            outcome.name,
            one_word(question.user_name),
            one_word(question.source) or "-",
            question.asker.address or "-",
            f"group='{one_word(question.group or '')}'"
            if question.is_group_check
            else f"credentials={'yes' if has_credentials else 'no'}",
        )

    def _note_refusal(self, question: Question, outcome: Outcome) -> None:
        credentials = question.credentials
        account = account_of(credentials.username, credentials.realm) if credentials is not None else ""
        proven = self._config.bind_source and outcome in PROVEN_REFUSALS
        now = time.monotonic()
        self._refusals.note(
            account, question.source, outcome.name, proven=proven, now=now, server=question.asker.address
        )

    def mistaken(self, error: Exception) -> None:
        """Logs an internal error."""
        self._sparing.exception(error, time.monotonic(), "a question could not be answered")

    def store_failed(self, error: StoreError) -> None:
        """Logs that the store cannot be read."""
        log.error("%s; questions get 5012 (unable to comply)", error)

    def store_recovered(self) -> None:
        """Logs that the store can be read again."""
        log.warning("%s: can be read again", self._store.name)


@lru_cache(maxsize=32)
def _answer_to_fault(code: int) -> Answer:
    """The answer to a malformed message; `code` is its Result-Code (RFC 6733, 7.1)."""
    return Answer(Verdict.FAILURE, code=code)


def _at_once(work: Coroutine[Any, Any, None]) -> None:
    """Runs a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise RuntimeError("the store waits")
