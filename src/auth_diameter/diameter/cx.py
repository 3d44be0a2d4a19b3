"""What an HSS asks on Cx: Push-Profile and Registration-Termination (3GPP TS 29.228, 6.2 and 6.5)."""

from __future__ import annotations

from typing import Final

from auth_diameter._core import Avp, Message, command_code
from auth_diameter.diameter.base import SUCCESS, Node, answer, avp_named, text_of

CX: Final = 16777216  # the application id (TS 29.229, 6)
VENDOR: Final = 10415  # 3GPP

REGISTRATION_TERMINATION: Final = command_code("Registration-Termination", CX)
PUSH_PROFILE: Final = command_code("Push-Profile", CX)

_USER_UNKNOWN: Final = 5001  # an Experimental-Result-Code (TS 29.229, 6.2.2.1)
_NO_STATE_MAINTAINED: Final = 1  # Auth-Session-State (RFC 6733, 8.11)


def _common() -> tuple[Avp, Avp]:
    """What every message of Cx has behind its Session-Id."""
    inner = (avp_named("Vendor-Id", VENDOR), avp_named("Auth-Application-Id", CX))
    return (
        avp_named("Vendor-Specific-Application-Id", inner),
        avp_named("Auth-Session-State", _NO_STATE_MAINTAINED),
    )


def user_of(message: Message) -> str | None:
    """The private identity that a request is about; None: it has none."""
    return text_of(message, "User-Name")


def done(node: Node, asked: Message) -> Message:
    """Makes the answer that a request is obeyed."""
    return answer(node, asked, SUCCESS, *_common())


def not_known(node: Node, asked: Message) -> Message:
    """Makes the answer that the user is not known here."""
    inner = (avp_named("Vendor-Id", VENDOR), avp_named("Experimental-Result-Code", _USER_UNKNOWN))
    return answer(node, asked, avp_named("Experimental-Result", inner), *_common())
