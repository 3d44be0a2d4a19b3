"""MAR of Cx as an S-CSCF sends them."""

from __future__ import annotations

from typing import Any

from kit.mar import PROXIABLE, REALM, REQUEST

from auth_diameter import Avp, Message
from auth_diameter.diameter.base import avp_named

V = 10415  # 3GPP
CX = 16777216

#: What cdp of Kamailio sends.
REGISTER = {
    "Session-Id": "scscf.siphub.net;1;2",
    "Origin-Host": "scscf.siphub.net",
    "Origin-Realm": REALM,
    "Destination-Realm": REALM,
    "Auth-Session-State": 1,
    "Public-Identity": f"sip:alice@{REALM}",
    "User-Name": f"alice@{REALM}",
    "SIP-Number-Auth-Items": 1,
    "SIP-Authentication-Scheme": "SIP Digest",
    "Server-Name": f"sip:scscf.{REALM}",
}
OF_3GPP = ("Public-Identity", "SIP-Number-Auth-Items", "SIP-Authentication-Scheme", "Server-Name")


def mar(*more: Avp, flags: int = REQUEST | PROXIABLE, **changed: Any) -> bytes:
    """A MAR, with other values for some AVPs, by name with _ for -; None: without it."""
    values = REGISTER | {name.replace("_", "-"): value for name, value in changed.items()}
    avps = [
        avp_named(name, value, V if name in OF_3GPP else None)
        for name, value in values.items()
        if value is not None and name != "SIP-Authentication-Scheme"
    ]
    if scheme := values["SIP-Authentication-Scheme"]:
        avps.append(avp_named("SIP-Auth-Data-Item", [avp_named("SIP-Authentication-Scheme", scheme, V)], V))
    return Message(303, [*avps, *more], application_id=CX, flags=flags, hop_by_hop=7, end_to_end=9).encode()
