"""What a 200 to a REGISTER says (RFC 3261, 10.3), of a registrar that keeps no bindings."""

from __future__ import annotations

from auth_diameter._core import ParseError, SipRequest

_DEFAULT_EXPIRES = 3600  # seconds, where the request says nothing, or nothing that can be read: 20.10
_MOST_EXPIRES = 2**32 - 1  # 20.19


def contact_headers(request: SipRequest) -> list[tuple[str, str]]:
    """The Contact fields of the 200: the addresses that the request registers, each with its expiry.

    An address has the ``expires`` of its own, else that of the Expires field, else an hour. What expires at
    once is removed, and so is not there; after "*" nothing is. Nothing but the URI is repeated.

    :raises ParseError: a malformed Contact; or "*" beside another, or without Expires: 0 (10.3, step 6).
    """
    usual = _seconds(request.header("Expires"), _DEFAULT_EXPIRES)
    asked = request.bindings()
    if not asked and request.has_star_contact and usual:
        raise ParseError("Contact: * without Expires: 0", header="Contact", request=request)
    bound = {uri: _seconds(expires, usual) for uri, expires in asked}
    return [("Contact", f"<{uri}>;expires={seconds}") for uri, seconds in bound.items() if seconds]


def _seconds(text: str | None, default: int) -> int:
    """delta-seconds; what is no number is an hour (20.10), and too large a number the largest."""
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()):
        return _DEFAULT_EXPIRES
    digits = text.lstrip("0") or "0"
    return min(int(digits[:11]), _MOST_EXPIRES)
