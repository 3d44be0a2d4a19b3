"""Questions that are judged together, and what must be known for that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, cast

from auth_diameter._core import Answer, Question
from auth_diameter.store.cache import Cache
from auth_diameter.store.store import Found, Key
from auth_diameter.verifier.outcome import Outcome


class Challenge(NamedTuple):
    """A challenge that is decided on; what the user can be offered is lacking."""

    place: int  # of the question
    username: str | None  # of the credentials; None: there were none
    realm: str
    outcome: Outcome


class Turn:
    """The questions of one turn of the loop.

    `Verifier.judge` answers those of which all is at hand, and leaves the keys of what is lacking. Whoever
    fetches them puts the values into `found`, or errors into `failures`, and has the turn judged again.

    Args:
        now: seconds since 1970.
        cache: what is at hand.

    Attributes:
        answers: to each question; None: not yet.
        is_done: whether there is one to each.
        lacking: keys whose values are to be fetched, in the order in which they were missed.
        found: what has been fetched for this turn.
        failures: why a key could not be fetched.
        challenges: what is left to be said to questions that have been judged; the Verifier's.
    """

    def __init__(self, questions: Sequence[Question], now: float, cache: Cache) -> None:
        self.questions: Final = questions
        self.now: Final = now
        self.answers: list[Answer | None] = [None] * len(questions)
        self.is_done = False
        self.lacking: dict[Key, None] = {}
        self.found: Found = {}
        self.failures: dict[Key, Exception] = {}
        self.challenges: list[Challenge] = []
        self._cache = cache

    def told(self) -> Iterator[Answer]:
        """The answers of a turn that is done, in the order of its questions."""
        return iter(cast(list[Answer], self.answers))

    def pending(self) -> Sequence[int]:
        """The questions that have neither an answer nor a challenge decided on."""
        decided = {challenge.place for challenge in self.challenges}
        return [n for n, answer in enumerate(self.answers) if answer is None and n not in decided]

    def value(self, key: Key) -> Any | None:
        """The value of `key`, of the type that its class names; None: it is lacking, and noted as such.

        Raises:
            Exception: that for which it could not be fetched; StoreError: the store cannot be read.
        """
        value = self._cache.get(key)
        if value is None:
            value = self.found.get(key)
            if value is None:
                if key in self.failures:
                    raise self.failures[key]
                self.lacking[key] = None
        return value
