"""The log of a back end: refusals, the store's failures, and internal errors."""

from __future__ import annotations

import logging
import time

from auth_diameter._core import Question, Received
from auth_diameter.logs import Sparing, one_word
from auth_diameter.refusals import Refusals, account_of
from auth_diameter.store.store import StoreError
from auth_diameter.verifier.config import VerifierConfig
from auth_diameter.verifier.outcome import PROVEN_REFUSALS, REFUSALS, Outcome


class Reports:
    """Writes the log of a `Driver`, as its listener.

    Args:
        log: where to; refusals go to ``auth_diameter.refused``.
        store_name: the name of the store.
        consequence: what becomes of questions while the store cannot be read.
        config: the settings of the Verifier.
    """

    def __init__(
        self, log: logging.Logger, store_name: str, consequence: str, config: VerifierConfig
    ) -> None:
        self._log = log
        self._store_name = store_name
        self._consequence = consequence
        self._bind_source = config.bind_source
        self._sparing = Sparing(log)
        self._refusals = Refusals(logging.getLogger("auth_diameter.refused"))

    @property
    def wants_every_outcome(self) -> bool:
        """Whether each question is logged: with ``--log-level debug``."""
        return self._log.isEnabledFor(logging.DEBUG)

    def noted(self, request: Received | Question, outcome: Outcome) -> None:
        """Logs a refusal; with ``--log-level debug``, logs each question."""
        question = request.question if isinstance(request, Received) else request
        if outcome in REFUSALS:
            self._note_refusal(question, outcome)
        if self.wants_every_outcome:
            self._log_question(question, outcome)

    def _note_refusal(self, question: Question, outcome: Outcome) -> None:
        credentials = question.credentials
        account = account_of(credentials.username, credentials.realm) if credentials is not None else ""
        server = question.asker.address if question.asker is not None else ""
        proven = self._bind_source and outcome in PROVEN_REFUSALS
        now = time.monotonic()
        self._refusals.note(account, question.source, outcome.name, now, server, proven=proven)

    def _log_question(self, question: Question, outcome: Outcome) -> None:
        has_credentials = question.credentials is not None or question.error is not None
        self._log.debug(
            "%s about='%s' source=%s server=%s %s",
            outcome.name,
            one_word(question.user_name),
            one_word(question.source) or "-",
            (question.asker.address if question.asker is not None else "") or "-",
            f"group='{one_word(question.group or '')}'"
            if question.is_group_check
            else f"credentials={'yes' if has_credentials else 'no'}",
        )

    def mistaken(self, error: Exception) -> None:
        """Logs an internal error."""
        self._sparing.exception(error, time.monotonic(), "a question could not be answered")

    def store_failed(self, error: StoreError) -> None:
        """Logs that the store cannot be read."""
        self._log.error("%s; %s", error, self._consequence)

    def store_recovered(self) -> None:
        """Logs that the store can be read again."""
        self._log.warning("%s: can be read again", self._store_name)
