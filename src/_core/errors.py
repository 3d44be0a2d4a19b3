"""The exceptions of this package, by the side at fault.

::

    Error             the root
    ├── ConfigError   the caller: an unusable setting or argument
    ├── ParseError    the sender: bytes that break the grammar
    └── DiscError     the back end: an unusable answer, or none

A refused password is a ``Decision``, never an exception, and so is a failure of DISC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auth_diameter._core.sip.request import SipRequest


class Error(Exception):
    """The root of all exceptions of this package."""


class ConfigError(Error, ValueError):
    """An unusable setting or argument; the message names it and says what is expected."""


class ParseError(Error, ValueError):
    """Bytes that break the grammar they claim to follow.

    Attributes:
        reason: the fault, with the RFC's name for the place; never the value of a credential.
        offset: index into the input of the first wrong byte; the length of input that ends too early.
        header: name of the SIP header field at fault, or None.
        parameter: "qop", "nc" or "response", if that parameter of the credentials is at fault, or None.
        status: the SIP status for a reply: 400, or 505 for another SIP version.
        request: the readable part of a SIP request; its ``reply(status, reason)`` makes a reply to send,
            empty if it cannot be addressed. None for other input.
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
    """DISC is unreachable, too late, or sent an unusable answer."""
