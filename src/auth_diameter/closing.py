"""What is closed at the end of a `with` block."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self


class Closing:
    """The base of what has a method `close`: the end of a `with` block calls it."""

    __slots__ = ()

    @abstractmethod
    def close(self) -> None:
        """Ends its use. A second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
