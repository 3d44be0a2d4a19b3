"""The questions that are held until earlier ones about the same user or source have ended."""

from __future__ import annotations

from auth_diameter._core import Question

_MOST_BYTES = 8 << 20  # limit on the bytes of their requests


class HeldQuestions:
    """Held questions in the order of their deadlines, limited in number and in bytes.

    Args:
        most: limit on their number.

    Attributes:
        size: bytes of their requests.
    """

    __slots__ = ("_most", "_questions", "size")

    def __init__(self, most: int) -> None:
        self._most = most
        self._questions: dict[Question, None] = {}
        self.size = 0

    def __len__(self) -> int:
        return len(self._questions)

    def add(self, question: Question) -> bool:
        """Adds `question`.

        Returns:
            Whether there was room for it.
        """
        size = question.request.data_size
        if len(self._questions) >= self._most or self.size + size > _MOST_BYTES:
            return False
        self._questions[question] = None
        self.size += size
        return True

    def drop(self, question: Question) -> bool:
        """Removes a question; returns whether it was held."""
        if question not in self._questions:
            return False
        del self._questions[question]
        self.size -= question.request.data_size
        return True

    def first(self) -> Question | None:
        """The question with the earliest deadline; None: none is held."""
        return next(iter(self._questions), None)

    def clear(self) -> list[Question]:
        """Removes all questions.

        Returns:
            The questions that were held.
        """
        questions = list(self._questions)
        self._questions.clear()
        self.size = 0
        return questions
