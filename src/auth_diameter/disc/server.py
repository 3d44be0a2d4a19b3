"""DISC: AA-Requests in, AA-Answers out. It translates for a `Verifier`, and logs what that says.

The table of `auth_diameter.verifier.outcome` says what each case comes to. In the dialect SUCCESS is 2001,
CHALLENGE and DENIED are 4001, REJECTED is 5003, FAILURE is 5012. Failed-AVP names what was refused other than
the digest. A malformed message gets the Result-Code that RFC 6733, 7.1 has for it.
"""

from __future__ import annotations

import logging
import time
from typing import NamedTuple

from auth_diameter._core import AaRequest, Answer, Question, Verdict, append_answer
from auth_diameter.logs import Sparing, one_word
from auth_diameter.refusals import Refusals, account_of
from auth_diameter.store.lookups import Lookups
from auth_diameter.store.sqlite import StoreError
from auth_diameter.verifier.config import VerifierConfig
from auth_diameter.verifier.nonces import Nonces
from auth_diameter.verifier.outcome import PROVEN_REFUSALS, UNPROVEN_REFUSALS, Outcome
from auth_diameter.verifier.verifier import Verifier

log = logging.getLogger("auth_diameter.disc")


class Asker(NamedTuple):
    """The SIP server that asks.

    :ivar address: for the log. :ivar one_challenge: whether it can take one challenge alone, of MD5.
    """

    address: str = ""
    one_challenge: bool = False


NOBODY = Asker()


class Disc:
    """Answers AA-Requests from a store.

    :param store: open for reading; used from one thread at a time.
    :ivar counts: how often each `Outcome` was.
    """

    def __init__(
        self, store: Lookups, config: VerifierConfig | None = None, nonces: Nonces | None = None
    ) -> None:
        self._config = config if config is not None else VerifierConfig()
        self._path = store.path
        self._verifier = Verifier(store, self, self._config, nonces)
        self.counts = self._verifier.counts
        self._sparing = Sparing(log)
        self._refusals = Refusals(logging.getLogger("auth_diameter.refused"))
        self._verbose = False

    def answer(self, requests: list[AaRequest], out: bytearray, now: float, asker: Asker = NOBODY) -> None:
        """Writes an answer to each request at the end of `out`, in order.

        :param now: seconds since 1970.
        """
        self._verbose = log.isEnabledFor(logging.DEBUG)
        questions: list[Question] = []
        for request in requests:
            question = request.question
            question.asker = asker
            if not request.fault:
                questions.append(question)
        answers = iter(self._verifier.judge(questions, now))
        for request in requests:
            if request.fault:
                self.counts[Outcome.MALFORMED] += 1
                self.noted(request.question, Outcome.MALFORMED)
                append_answer(out, request, Answer(Verdict.FAILURE, code=request.fault))
            else:
                append_answer(out, request, next(answers))

    # ------------------------------------------------------------------ what the Verifier says

    def noted(self, question: Question, outcome: Outcome) -> None:
        """Logs a refusal; with ``--log-level debug`` each question."""
        if outcome in PROVEN_REFUSALS or outcome in UNPROVEN_REFUSALS:
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
        log.warning("%s: can be read again", self._path)
