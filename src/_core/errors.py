"""What can go wrong, split by who is at fault.

::

Error:
    ├── ConfigError   the caller: an unusable setting or argument
    ├── ParseError    whoever sent the bytes: they break the grammar
    └── DiscError     the back end: what came back, or did not, from DISC

A refused password is a ``Decision``, never an exception; so is a DISC that fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auth_diameter._core.sip.request import SipRequest


class Error(Exception):
    """The root of all exceptions of this package."""


class ConfigError(Error, ValueError):
    """A setting or an argument that cannot be used; the message names it and says what fits."""


class ParseError(Error, ValueError):
    """Bytes that break the grammar they claim to follow.

    Attributes:
        reason: what is wrong, with the RFC's name for the place; never a credential's value.
        offset: index into the input of the first byte that does not fit; for input that ends too early, its
            length.
        header: name of the SIP header field at fault, or None.
        parameter: of digest credentials "qop", "nc" or "response" where it is that one, or None.
        status: the SIP status that says so: 400, or 505 for another SIP version.
        request: of a SIP request, what could be read: its ``reply(status, reason)`` is a reply that can be
            sent, or empty where none can be addressed. None for anything else.
    """

    def __init__(
        self,
        reason: str,
        offset: int = 0,
        *,
        header: str | None = None,
        parameter: str | None = None,
        status: int = 400,
        request: SipRequest | None = None,
    ) -> None:
        super().__init__(reason, offset)
        self.reason = reason
        self.offset = offset
        self.header = header
        self.parameter = parameter
        self.status = status
        self.request = request

    def __str__(self) -> str:
        return f"{self.reason} (at byte {self.offset})"


class DiscError(Error):
    """DISC did not do its part: unreachable, too late, or with an answer that cannot be used."""
