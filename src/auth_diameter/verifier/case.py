"""Credentials to verify."""

from __future__ import annotations

from auth_diameter._core import Attempt, Credentials, Question
from auth_diameter.store.store import Candidates, HashedCandidates


class Case:
    """Credentials to verify, with what is known about them.

    Args:
        index: the index of their question in the turn.
        question: the question with the credentials.
        credentials: the credentials.
        realm: their realm.
        algorithm: their algorithm, in its canonical spelling.
        found: what the store knows about their user.
        ha1s: the HA1 with which they may have been computed, one by one.

    Attributes:
        known: whether the user exists.
        ha1: the HA1 with which they were computed; "" until it is known.
        again: whether they are a retransmission.
        attempt: their entry in the count of guesses; None if they are not counted.
    """

    __slots__ = (
        "again",
        "algorithm",
        "attempt",
        "credentials",
        "found",
        "ha1",
        "ha1s",
        "index",
        "known",
        "question",
        "realm",
    )

    def __init__(
        self,
        index: int,
        question: Question,
        credentials: Credentials,
        realm: str,
        algorithm: str,
        found: Candidates | HashedCandidates,
        ha1s: tuple[str, ...],
    ) -> None:
        self.index = index
        self.question = question
        self.credentials = credentials
        self.realm = realm
        self.algorithm = algorithm
        self.found = found
        self.known = found.known
        self.ha1s = ha1s
        self.ha1 = ""
        self.again = False
        self.attempt: Attempt | None = None

    def item(self, ha1: str) -> tuple[Credentials, str, str] | tuple[Credentials, str, str, bytes, bytes]:
        """The item for `verify_many` that compares the response with this HA1."""
        credentials, question = self.credentials, self.question
        if credentials.protection == "auth-int":
            return credentials, question.method, ha1, b"", question.body_hash or b""
        return credentials, question.method, ha1
