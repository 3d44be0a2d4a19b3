"""The verifier: takes questions and answers them, or names the keys that it needs for them. It does no I/O.

The rules are compiled (``_core/path/verify.pyx``); the table of `auth_diameter.verifier.outcome` has the
verdict for each case. Here is what is Python about it: its parts, and who is told of outcomes and errors.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol

from auth_diameter._core import (
    CLOCK_DRIFT,
    Batch,
    Judge,
    Nonces,
    NonceUses,
    Penalties,
    Question,
    Received,
    Sharing,
)
from auth_diameter.store.cache import Cache
from auth_diameter.verifier.config import VerifierConfig
from auth_diameter.verifier.outcome import Outcome

# Bytes of what is remembered about strangers.
_WRONG_ROOM = 6 << 20  # the numbers of wrong credentials in a row
_FOLLOWING_ROOM = 6 << 20  # the next nonces that were told, since a retransmission must get the same

# More is as good as no limit.
MOST_NONCES = 1 << 31
MOST_USES = 0xFFFFFFFF  # the highest nonce count (RFC 7616, 3.4)

_OUTCOMES: Any = (None, *Outcome)  # by their values


def sharing_of(config: VerifierConfig, key: bytes) -> Sharing:
    """How questions are told to shared state.

    Args:
        config: the settings, the same at all back ends.
        key: the first nonce key.
    """
    # A nonce may be used at a back end whose clock is late, and was made at one whose clock is early.
    return Sharing(key, config.nonce_lifetime + 2 * CLOCK_DRIFT, min(config.nonce_uses, MOST_USES))


class Observer(Protocol):
    """An observer of outcomes and errors, since the verifier itself writes no log."""

    @property
    def wants_every_outcome(self) -> bool:
        """Whether it is told every outcome, and not refusals alone."""

    def noted(self, request: Received | Question, outcome: Outcome) -> None:
        """Is told the outcome of a question."""

    def mistaken(self, error: Exception) -> None:
        """Is told an internal error because of which a question could not be answered."""


class Remembered:
    """What is remembered of credentials: the nonces that were used, and guesses.

    Forked processes share the memory that it lies in, and so count together.

    Args:
        config: the settings.

    Attributes:
        uses: the nonces that were used, and their counts.
        penalties: the guesses; None: they are not counted.
    """

    def __init__(self, config: VerifierConfig) -> None:
        lifetime = config.nonce_lifetime + CLOCK_DRIFT
        most, limit = min(config.max_nonces, MOST_NONCES), min(config.nonce_uses, MOST_USES)
        self.uses = NonceUses(lifetime, most, limit, CLOCK_DRIFT)
        self.penalties = Penalties(shared=True) if config.penalty else None


class Verifier:
    """Judges questions by what the store knows about the subscribers; for one event loop.

    Args:
        cache: what the store has said.
        observer: is told refusals, or each outcome, and each internal error.
        config: the settings; None for the defaults.
        nonces: makes and recognises the nonces; None for nonces with a random key.
        remembered: what is remembered of credentials; None: nothing so far.

    Attributes:
        counts: the number of questions by `Outcome`.
        compiled: the rules, for compiled code.
        nonces: makes and recognises the nonces.
        uses: the nonces that were used, and their counts.
    """

    def __init__(
        self,
        cache: Cache,
        observer: Observer,
        config: VerifierConfig | None = None,
        nonces: Nonces | None = None,
        remembered: Remembered | None = None,
    ) -> None:
        config = config if config is not None else VerifierConfig()
        self._observer = observer
        self.nonces = nonces if nonces is not None else Nonces(lifetime=config.nonce_lifetime)
        remembered = remembered if remembered is not None else Remembered(config)
        self.uses = remembered.uses
        self.compiled = Judge(
            cache.users, self.nonces, self.uses, remembered.penalties, config, _WRONG_ROOM, _FOLLOWING_ROOM
        )
        self.counts: Counter[Outcome] = Counter()

    def judge(self, batch: Batch) -> None:
        """Answers the questions whose values are known, and tells the observer once all are answered."""
        if batch.judge(self.compiled):
            self._tell(batch)

    def give_up(self, batch: Batch, error: Exception) -> None:
        """Ends the questions that have no answer as failed, because of an error of ours."""
        batch.give_up(self.compiled, error)
        self._tell(batch)

    def lacking(self, batch: Batch) -> list[tuple[str, ...]]:
        """The keys that are missing: the parts of each, and the name of its kind."""
        return batch.lacking(self.compiled)

    def _tell(self, batch: Batch) -> None:
        try:
            self._report(batch)
        except Exception as error:  # noqa: BLE001 - the questions have their answers
            self._observer.mistaken(error)

    def _report(self, batch: Batch) -> None:
        tally, named, mistakes = batch.report(self._observer.wants_every_outcome)
        for number, count in tally:
            self.counts[_OUTCOMES[number]] += count
        for error in mistakes:
            self._observer.mistaken(error)
        for request, number in named:
            self._observer.noted(request, _OUTCOMES[number])
