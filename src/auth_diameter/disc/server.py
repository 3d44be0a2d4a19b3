"""DISC: AA-Requests in, AA-Answers out. It translates for a `Verifier`, and logs what that says.

The table of `auth_diameter.verifier.outcome` says what each case comes to. In the dialect SUCCESS is 2001,
CHALLENGE and DENIED are 4001, REJECTED is 5003, FAILURE is 5012. Failed-AVP names what was refused other than
the digest. A malformed message gets the Result-Code that RFC 6733, 7.1 has for it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Coroutine, Iterable, Iterator
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
    """The SIP server that asks.

    Attributes:
        address: for the log.
        one_challenge: whether it can take one challenge alone, of MD5.
    """

    address: str = ""
    one_challenge: bool = False


NOBODY = Asker()


class Disc:
    """Answers AA-Requests from a store, as it is used by one loop.

    ::

        turn = disc.begin(requests, now)      # answers what can be told from what is at hand
        if not turn.is_done:
            await disc.finish(turn)           # asks the store for all that is lacking, at once
        disc.write(requests, turn.told(), out)

    Args:
        store: whoever knows HA1.

    Attributes:
        counts: how often each `Outcome` was.
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
        """Judges requests as far as that needs nothing but what is at hand.

        Who asks stands in `asker` of their questions.

        Args:
            now: seconds since 1970.
        """
        self._verbose = log.isEnabledFor(logging.DEBUG)
        questions = [request.question for request in requests if not request.fault]
        turn = Turn(questions, now, self._cache)
        if not self._cache.is_due(now):
            self._verifier.judge(turn)
        return turn

    async def finish(self, turn: Turn) -> None:
        """Judges the rest of a turn, as soon as the store has told what is lacking."""
        if self._cache.is_due(turn.now):
            try:
                await self._cache.check(turn.now)
            except Exception as error:  # noqa: BLE001 - nothing is at hand then, and all is fetched
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
        except Exception:  # noqa: BLE001 - one question must not cost the others their answer
            for key in keys:
                await self._fetch_alone(turn, key)

    async def _fetch_alone(self, turn: Turn, key: Key) -> None:
        try:
            turn.found.update(await self._cache.fetch([key]))
        except Exception as error:  # noqa: BLE001 - the Verifier says so of the question that needs it
            turn.failures[key] = error

    def write(self, requests: Iterable[AaRequest], answers: Iterator[Answer], out: bytearray) -> None:
        """Writes the answer to each request at the end of `out`, in order.

        Args:
            answers: those of a turn, from the first of these requests on.
        """
        for request in requests:
            if request.fault:
                self.counts[Outcome.MALFORMED] += 1
                self.noted(request.question, Outcome.MALFORMED)
                append_answer(out, request, Answer(Verdict.FAILURE, code=request.fault))
            else:
                append_answer(out, request, next(answers))

    def answer(self, requests: list[AaRequest], out: bytearray, now: float, asker: Asker = NOBODY) -> None:
        """Writes an answer to each request at the end of `out`, in order, without a loop.

        It is for a store that does not wait, as SQLite's.

        Args:
            now: seconds since 1970.
        """
        for request in requests:
            request.question.asker = asker
        turn = self.begin(requests, now)
        if not turn.is_done:
            _at_once(self.finish(turn))
        self.write(requests, turn.told(), out)

    # ------------------------------------------------------------------ what the Verifier says

    def noted(self, question: Question, outcome: Outcome) -> None:
        """Logs a refusal; with ``--log-level debug`` each question."""
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
        self._refusals.note(account, question.source, outcome.name, proven, now, question.asker.address)

    def mistaken(self, error: Exception) -> None:
        """Logs a mistake of ours."""
        self._sparing.exception(error, time.monotonic(), "a question could not be answered")

    def store_failed(self, error: StoreError) -> None:
        """Logs it once."""
        log.error("%s; questions get 5012 (unable to comply)", error)

    def store_recovered(self) -> None:
        """Logs it."""
        log.warning("%s: can be read again", self._store.name)


def _at_once(work: Coroutine[Any, Any, None]) -> None:
    """Does work that does not wait."""
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise RuntimeError("the store waits")
