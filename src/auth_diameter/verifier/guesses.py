"""The count of guesses, and the penalty for too many.

Only the verifier knows that a digest was wrong. So it counts the guesses, over all SIP servers that send the
source; see `Penalties`. While a guess is being verified, further credentials for the same account or from the
same source may be held until its verdict.
"""

from __future__ import annotations

from collections.abc import Iterator

from auth_diameter._core import Answer, Attempt, Penalties, Verdict
from auth_diameter.store.store import HashedCandidates
from auth_diameter.verifier import userhash
from auth_diameter.verifier.case import Case
from auth_diameter.verifier.config import VerifierConfig

_SUCCESS = Verdict.SUCCESS  # in Python 3.11 the lookup on the class is slow


class Guesses:
    """Counts wrong credentials as guesses, by account and by source.

    Args:
        config: whether guesses are counted, and which.

    Attributes:
        attempts: the attempts of the questions that are being judged. The verifier clears it after them.
    """

    def __init__(self, config: VerifierConfig) -> None:
        self._penalties = Penalties() if config.penalty else None
        self._limit_accounts = config.limit_accounts
        self.attempts: list[Attempt] = []

    def begin(self, case: Case, now: float) -> Attempt | None:
        """Begins an attempt.

        Returns:
            The attempt, which may be refused or held; None if it is not counted.
        """
        penalties = self._penalties
        source = case.question.source
        # Without a source, anyone could lock any account. Only the operator may allow that.
        if penalties is None or not (source or self._limit_accounts):
            return None
        account = case.credentials.username
        if isinstance(case.found, HashedCandidates):
            account = userhash.account(case.found, account)
        attempt = penalties.begin_for(account, case.realm, source, now, case)
        case.attempt = attempt
        self.attempts.append(attempt)
        return attempt

    def end(self, case: Case, answer: Answer | None, now: float, *, wrong: bool) -> None:
        """Ends a counted attempt with the verdict on the credentials."""
        assert self._penalties is not None
        assert case.attempt is not None
        if wrong:
            self._penalties.wrong(case.attempt, now)
        elif answer is not None and answer.verdict is _SUCCESS and not case.again:
            self._penalties.right(case.attempt, now)
        else:
            self._penalties.neither(case.attempt, now)

    def released(self) -> Iterator[Case]:
        """The held cases on which a verdict was waited for; their attempts are refused or may go on."""
        if self._penalties is not None:
            for _, case in self._penalties.take_released():
                yield case

    def forget(self, now: float) -> None:
        """Ends all attempts without a verdict."""
        if self._penalties is not None:
            for attempt in reversed(self.attempts):  # held attempts are at the end
                self._penalties.neither(attempt, now)
            self._penalties.take_released()
        self.attempts.clear()
