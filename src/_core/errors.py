"""What can go wrong, split by who is at fault.

::

    Error
    ├── ConfigError   the caller: an unusable setting or argument
    ├── ParseError    whoever sent the bytes: they break the grammar
    └── DiscError     the back end: what came back, or did not, from DISC

A refused password is a ``Decision``, never an exception; so is a DISC that fails.
"""

from __future__ import annotations


class Error(Exception):
    """The root of all exceptions of this package."""


class ConfigError(Error, ValueError):
    """A setting or an argument that cannot be used; the message names it and says what fits."""


class ParseError(Error, ValueError):
    """Bytes that break the grammar they claim to follow.

    :ivar reason: what is wrong, with the RFC's name for the place; never a credential's value.
    :ivar offset: index into the input of the first byte that does not fit; for input that ends
        too early, its length.
    """

    def __init__(self, reason: str, offset: int = 0) -> None:
        super().__init__(reason, offset)
        self.reason = reason
        self.offset = offset

    def __str__(self) -> str:
        return f"{self.reason} (at byte {self.offset})"


class DiscError(Error):
    """DISC did not do its part: unreachable, too late, or with an answer that cannot be used."""
