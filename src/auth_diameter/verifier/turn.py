"""The questions that are judged together, and the keys that they need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from auth_diameter._core import Answer, Question
from auth_diameter.store.cache import Cache
from auth_diameter.store.store import Found, Key
from auth_diameter.verifier.outcome import Outcome


class Challenge(NamedTuple):
    """A challenge that is decided, while the algorithms to offer are still unknown."""

    place: int  # the index of the question
    username: str | None  # the username of the credentials; None: there were no credentials
    realm: str
    outcome: Outcome


class Turn:
    """The questions of one turn of the event loop.

    `Verifier.judge` answers the questions whose values are known, and leaves the missing keys in `lacking`.
    The caller fetches them, puts the values into `found` or errors into `failures`, and has the turn judged
    again.

    Args:
        questions: the questions.
        now: seconds since 1970.
        cache: the cached values.

    Attributes:
        answers: the answer to each question; None until there is one.
        is_done: whether each question has an answer.
        lacking: the missing keys, in the order in which they were first needed.
        found: the values fetched for this turn.
        failures: the error for each key that could not be fetched.
        sources: the address to which nonces are bound, for each question; "" for none. Set by the Verifier.
        challenges: challenges that wait for the algorithms to offer; used by the Verifier only.
    """

    def __init__(self, questions: Sequence[Question], now: float, cache: Cache) -> None:
        self.questions: Final = questions
        self.now: Final = now
        self.answers: list[Answer | None] = [None] * len(questions)
        self.is_done = False
        self.lacking: dict[Key, None] = {}
        self.found: Found = {}
        self.failures: dict[Key, Exception] = {}
        self.sources = [""] * len(questions)
        self.challenges: list[Challenge] = []
        self._cache = cache

    def results(self) -> Iterator[Answer]:
        """The answers of a finished turn, in the order of its questions."""
        answers: list[Any] = self.answers
        return iter(answers)

    def pending(self) -> Sequence[int]:
        """The indexes of the questions that have neither an answer nor a challenge that is decided."""
        decided = {challenge.place for challenge in self.challenges}
        return [n for n, answer in enumerate(self.answers) if answer is None and n not in decided]

    def value(self, key: Key) -> Any | None:
        """The value of `key`, of the type that the key's class names.

        Returns:
            The value; None if it is missing. Then the key is added to `lacking`.

        Raises:
            StoreError: the store could not be read.
            Exception: any other error with which the key could not be fetched.
        """
        value = self._cache.get(key)
        if value is None:
            value = self.found.get(key)
            if value is None:
                if key in self.failures:
                    raise self.failures[key]
                self.lacking[key] = None
        return value
