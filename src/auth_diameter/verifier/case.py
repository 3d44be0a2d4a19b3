"""Credentials that are to be judged."""

from __future__ import annotations

from auth_diameter._core import Attempt, Credentials, Question


class Case:
    """Credentials that are to be judged.

    Attributes:
        index: place of their question.
        ha1s: what they may have been made with.
        ha1: what they were made with, once that is known.
        known: whether there is such a user.
        again: whether they were judged before: a retransmission.
        attempt: what they are to those who count guesses; None: they are not counted.
    """

    __slots__ = (
        "again",
        "algorithm",
        "attempt",
        "credentials",
        "ha1",
        "ha1s",
        "index",
        "known",
        "question",
    )

    def __init__(
        self,
        index: int,
        question: Question,
        credentials: Credentials,
        algorithm: str,
        known: bool,
        ha1s: tuple[str, ...],
    ) -> None:
        self.index = index
        self.question = question
        self.credentials = credentials
        self.algorithm = algorithm
        self.known = known
        self.ha1s = ha1s
        self.ha1 = ""
        self.again = False
        self.attempt: Attempt | None = None

    def item(self, ha1: str) -> tuple[Credentials, str, str] | tuple[Credentials, str, str, bytes, bytes]:
        """What `verify_many` takes: whether they were made with this HA1."""
        credentials, question = self.credentials, self.question
        if credentials.protection == "auth-int":
            return credentials, question.method, ha1, b"", question.body_hash or b""
        return credentials, question.method, ha1
