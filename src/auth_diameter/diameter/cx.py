"""What all messages of Cx have in common, and the answers to what an HSS asks (3GPP TS 29.228 and 29.229).

An HSS asks with Push-Profile and Registration-Termination (29.228, 6.2.2 and 6.1.3).
"""

from __future__ import annotations

from typing import Any, Final

from auth_diameter._core import Avp, Message, command_code
from auth_diameter.diameter.base import NO_STATE_MAINTAINED, SUCCESS, Node, answer, avp_named, text_of

CX: Final = 16777216  # the application id (TS 29.229, 6)
VENDOR: Final = 10415  # 3GPP

USER_AUTHORIZATION: Final = command_code("User-Authorization", CX)
SERVER_ASSIGNMENT: Final = command_code("Server-Assignment", CX)
LOCATION_INFO: Final = command_code("Location-Info", CX)
MULTIMEDIA_AUTH: Final = command_code("Multimedia-Auth", CX)
REGISTRATION_TERMINATION: Final = command_code("Registration-Termination", CX)
PUSH_PROFILE: Final = command_code("Push-Profile", CX)

# Experimental-Result-Codes (TS 29.229, 6.2)
FIRST_REGISTRATION: Final = 2001
SUBSEQUENT_REGISTRATION: Final = 2002
USER_UNKNOWN: Final = 5001
IDENTITIES_DONT_MATCH: Final = 5002
IDENTITY_NOT_REGISTERED: Final = 5003
IDENTITY_ALREADY_REGISTERED: Final = 5005


def of_3gpp(name: str, data: Any) -> Avp:
    """Makes the AVP of 3GPP with that name, with the flags of its definition."""
    return avp_named(name, data, VENDOR)


def common() -> tuple[Avp, Avp]:
    """What every message of Cx has behind its Session-Id."""
    inner = (avp_named("Vendor-Id", VENDOR), avp_named("Auth-Application-Id", CX))
    return (
        avp_named("Vendor-Specific-Application-Id", inner),
        avp_named("Auth-Session-State", NO_STATE_MAINTAINED),
    )


def experimental(code: int) -> Avp:
    """Experimental-Result with a code of 3GPP (TS 29.229, 6.2)."""
    inner = (avp_named("Vendor-Id", VENDOR), avp_named("Experimental-Result-Code", code))
    return avp_named("Experimental-Result", inner)


def user_of(message: Message) -> str | None:
    """The private identity that a message is about; None: it has none."""
    return text_of(message, "User-Name")


def done(node: Node, asked: Message) -> Message:
    """Makes the answer that a request is obeyed."""
    return answer(node, asked, SUCCESS, *common())


def not_known(node: Node, asked: Message) -> Message:
    """Makes the answer that the user is not known here."""
    return answer(node, asked, experimental(USER_UNKNOWN), *common())
