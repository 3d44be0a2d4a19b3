"""Messages of Cx as an HSS reads and writes them, apart from MAR (3GPP TS 29.229, 6.1).

What is wrong with a request, in the order in which it is looked for::

    the request                                                     Result-Code
    ─────────────────────────────────────────────────────────────────────────────────────────────
    has the E flag                                                  3008
    has an AVP that is not known, with the M flag                   5001 with Failed-AVP
    has an AVP twice that may occur once                            5009 with Failed-AVP
    has a number that is none, or text that is none                 5014, 5004 with Failed-AVP
    lacks an AVP                                                    5005 with Failed-AVP
    has a Destination-Host that is not ours                         3002
    has a value that is not defined, or too many public identities  5004, 5009 with Failed-AVP

As in a MAR, Vendor-Specific-Application-Id and Auth-Session-State may be missing: the header says the first,
and the second has one value.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple
from xml.sax.saxutils import escape

from auth_diameter._core import Avp, Message, ParseError, Uri, avp_code
from auth_diameter.diameter.assignment import Assignment, Authorization
from auth_diameter.diameter.base import (
    AVP_UNSUPPORTED,
    ERROR,
    INVALID_AVP_LENGTH,
    INVALID_AVP_VALUE,
    INVALID_HDR_BITS,
    MISSING_AVP,
    PROXIABLE,
    REQUEST,
    SUCCESS,
    TOO_MANY_TIMES,
    UNABLE_TO_DELIVER,
    Node,
    answer,
    avp_named,
    failed,
)
from auth_diameter.diameter.cx import (
    CX,
    LOCATION_INFO,
    PUSH_PROFILE,
    REGISTRATION_TERMINATION,
    SERVER_ASSIGNMENT,
    USER_AUTHORIZATION,
    VENDOR,
    common,
    of_3gpp,
)

_MANDATORY: Final = 0x40  # the M flag of an AVP (RFC 6733, 4.1)
_PERMANENT_TERMINATION: Final = 0  # Reason-Code (TS 29.229, 6.3.17)


#: Those that end a registration; they may be about several public identities, or all of a user.
DEREGISTRATIONS: Final = frozenset(
    {
        Assignment.TIMEOUT_DEREGISTRATION,
        Assignment.USER_DEREGISTRATION,
        Assignment.TIMEOUT_DEREGISTRATION_STORE_SERVER_NAME,
        Assignment.USER_DEREGISTRATION_STORE_SERVER_NAME,
        Assignment.ADMINISTRATIVE_DEREGISTRATION,
        Assignment.DEREGISTRATION_TOO_MUCH_DATA,
    }
)


class Refused(Exception):  # noqa: N818 - the answer to a request, and no error of ours
    """A request that is refused.

    Attributes:
        result: Result-Code, or Experimental-Result.
        why: the reason in a few words, which repeat nothing of the request.
        failed: the AVP at fault, or an example of it; None: there is none.
    """

    def __init__(self, result: int | Avp, why: str, failed_avp: Avp | None = None) -> None:
        super().__init__(why)
        self.result = result
        self.why = why
        self.failed = failed_avp


class Address(NamedTuple):
    """The user and the host of a public identity; both are empty if it is no SIP URI."""

    user: str
    host: str


class Asked(NamedTuple):
    """What a request says.

    Attributes:
        origin_host: of the S-CSCF or I-CSCF.
        origin_realm: the same.
        realm: Destination-Realm.
        user: the private identity; None: it names none.
        identities: the public identities.
        server: Server-Name, the SIP URI of the S-CSCF; None: there is none.
        authorization: what an UAR is about.
        assignment: what a SAR is about.
        has_user_data: whether the S-CSCF has User-Data already.
    """

    origin_host: str
    origin_realm: str
    realm: str
    user: str | None
    identities: tuple[str, ...]
    server: str | None
    authorization: Authorization
    assignment: Assignment
    has_user_data: bool


class Digest(NamedTuple):
    """What a MAA tells of a user: Digest-Realm and Digest-HA1."""

    realm: str
    ha1: str

    def __repr__(self) -> str:
        return f"Digest({self.realm!r}, ...)"


# ---------------------------------------------------------------------- requests

_ORIGIN = ("Session-Id", "Origin-Host", "Origin-Realm", "Destination-Realm")
_REQUIRED: Final = {
    USER_AUTHORIZATION: ("User-Name", "Public-Identity", "Visited-Network-Identifier"),
    SERVER_ASSIGNMENT: ("Server-Name", "Server-Assignment-Type", "User-Data-Already-Available"),
    LOCATION_INFO: ("Public-Identity",),
}
_TEXTS: Final = (*_ORIGIN, "Destination-Host", "User-Name", "Public-Identity", "Server-Name")
_NUMBERS: Final = ("Server-Assignment-Type", "User-Data-Already-Available", "User-Authorization-Type")
_OF_3GPP: Final = ("Public-Identity", "Server-Name", "Visited-Network-Identifier", *_NUMBERS)
_REPEATED: Final = "Public-Identity"


def _vendor(name: str) -> int | None:
    return VENDOR if name in _OF_3GPP else None


_NAMES: Final = {
    (avp_code(name, _vendor(name)), _vendor(name)): name
    for name in (*_TEXTS, *_NUMBERS, "Visited-Network-Identifier")
}


def read(node: Node, message: Message) -> Asked:
    """Reads an UAR, SAR or LIR.

    Raises:
        Refused: it is malformed, or for another server.
    """
    if message.flags & ERROR:  # RFC 6733, 3: never in a request
        raise Refused(INVALID_HDR_BITS, "a request has the E flag")
    found = _found(message)
    for name in (*_ORIGIN, *_REQUIRED[message.command]):
        if name not in found:
            raise _missing(name)
    if "User-Name" not in found and _REPEATED not in found:
        raise _missing("User-Name")
    host = _text(found, "Destination-Host")
    if host is not None and host.lower() != node.host.lower():
        raise Refused(UNABLE_TO_DELIVER, "Destination-Host is another server")
    assignment = Assignment(_number(found, "Server-Assignment-Type", len(Assignment)))
    identities = found.get(_REPEATED, [])
    if len(identities) > 1 and (message.command != SERVER_ASSIGNMENT or assignment not in DEREGISTRATIONS):
        raise Refused(TOO_MANY_TIMES, "there is more than one public identity", identities[1])
    if not identities and assignment not in DEREGISTRATIONS:
        raise _missing(_REPEATED)
    return Asked(
        origin_host=_text(found, "Origin-Host") or "",
        origin_realm=_text(found, "Origin-Realm") or "",
        realm=_text(found, "Destination-Realm") or "",
        user=_text(found, "User-Name"),
        identities=tuple(str(avp.value) for avp in identities),
        server=_text(found, "Server-Name"),
        authorization=Authorization(_number(found, "User-Authorization-Type", len(Authorization))),
        assignment=assignment,
        has_user_data=bool(_number(found, "User-Data-Already-Available", 2)),
    )


def _found(message: Message) -> dict[str, list[Avp]]:
    """The AVPs that are read, by name."""
    found: dict[str, list[Avp]] = {}
    for avp in message.avps:
        name = _NAMES.get((avp.code, avp.vendor_id))
        if name is None:
            if avp.flags & _MANDATORY and not _is_known(avp):
                raise Refused(AVP_UNSUPPORTED, "an AVP with the M flag is not supported", avp)
            continue
        if name in found and name != _REPEATED:
            raise Refused(TOO_MANY_TIMES, f"{name} occurs more than once", avp)
        if name in _NUMBERS and not isinstance(avp.value, int):
            raise Refused(INVALID_AVP_LENGTH, f"{name} has another length", _example(name))
        if name in _TEXTS and not (isinstance(avp.value, str) and avp.value and avp.value.isprintable()):
            # What is no text does not go back: there are agents that end at the sight of it.
            raise Refused(INVALID_AVP_VALUE, f"{name} is no text", _example(name))
        found.setdefault(name, []).append(avp)
    return found


def _is_known(avp: Avp) -> bool:
    try:
        return avp_code(avp.name, avp.vendor_id) == avp.code
    except KeyError:
        return False


def _text(found: dict[str, list[Avp]], name: str) -> str | None:
    return str(found[name][0].value) if name in found else None


def _number(found: dict[str, list[Avp]], name: str, values: int) -> int:
    """An Enumerated, which has the values from 0 on; 0 if it is not there."""
    if name not in found:
        return 0
    avp = found[name][0]
    value = avp.value
    if not isinstance(value, int) or not 0 <= value < values:
        raise Refused(INVALID_AVP_VALUE, f"{name} has a value that is not defined", avp)
    return value


def _missing(name: str) -> Refused:
    return Refused(MISSING_AVP, f"{name} is missing", _example(name))


def _example(name: str) -> Avp:
    """An AVP of that name with zeros (RFC 6733, 7.5)."""
    return avp_named(name, bytes(4) if name in _NUMBERS else b"", _vendor(name))


def address_of(identity: str) -> Address:
    """The user and the host of a public identity."""
    try:
        uri = Uri.parse(identity)
    except ParseError:
        return Address("", "")
    return Address(uri.user or "", uri.host or "")


@lru_cache(maxsize=16384)  # MAR come by the thousand, about the same users
def key_of(identity: str) -> str:
    """What a public identity is known by: without its scheme, its parameters and the case of its host."""
    user, host = address_of(identity)
    return f"{user}@{host.lower()}" if user and host else identity


# ---------------------------------------------------------------------- answers


def granted(node: Node, asked: Message, result: Avp | None, *more: Avp) -> Message:
    """Makes the answer to a request that is granted.

    Args:
        node: this node.
        asked: the request.
        result: Experimental-Result; None: DIAMETER_SUCCESS.
        more: further AVPs.
    """
    return answer(node, asked, SUCCESS if result is None else result, *common(), *more)


def refused(node: Node, asked: Message, refusal: Refused) -> Message:
    """Makes the answer to a request that is refused."""
    more = [avp_named("Error-Message", refusal.why)]
    if refusal.failed is not None:
        more.append(failed(refusal.failed))
    if isinstance(refusal.result, int) and refusal.result // 1000 == 3:
        return answer(node, asked, refusal.result, *more)
    return answer(node, asked, refusal.result, *common(), *more)


def user_data(user: str, identity: str) -> Avp:
    """User-Data: the smallest profile, of one public identity without services (TS 29.228, annex E)."""
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f"<IMSSubscription><PrivateID>{escape(user)}</PrivateID><ServiceProfile><PublicIdentity>"
        f"<Identity>{escape(identity)}</Identity></PublicIdentity></ServiceProfile></IMSSubscription>"
    )
    return of_3gpp("User-Data", text.encode())


# ---------------------------------------------------------------------- what an HSS asks


class To(NamedTuple):
    """Where a request of ours goes, and as which.

    Attributes:
        session: Session-Id.
        host: Destination-Host.
        realm: Destination-Realm.
        hop_by_hop: Hop-by-Hop Identifier.
    """

    session: str
    host: str
    realm: str
    hop_by_hop: int


def push_profile(node: Node, to: To, user: str, realm: str, ha1: str) -> Message:
    """Makes a PPR with the HA1 of a user for SIP Digest (TS 29.228, 6.2.2 and 6.5.2.4)."""
    digest = (
        avp_named("Digest-Realm", realm),
        avp_named("Digest-Algorithm", "MD5"),
        avp_named("Digest-Qop", "auth"),
        avp_named("Digest-HA1", ha1),
    )
    item = (of_3gpp("SIP-Authentication-Scheme", "SIP Digest"), of_3gpp("SIP-Digest-Authenticate", digest))
    return _request(node, PUSH_PROFILE, to, user, of_3gpp("SIP-Auth-Data-Item", item))


def registration_termination(node: Node, to: To, user: str, identities: Iterable[str]) -> Message:
    """Makes a RTR for a user who is gone (TS 29.228, 6.1.3).

    Without identities it is about all those of the user, which is as good; but Kamailio wants them named.
    """
    reason = (of_3gpp("Reason-Code", _PERMANENT_TERMINATION),)
    named = [of_3gpp("Public-Identity", identity) for identity in identities]
    return _request(
        node, REGISTRATION_TERMINATION, to, user, *named, of_3gpp("Deregistration-Reason", reason)
    )


def _request(node: Node, command: int, to: To, user: str, *more: Avp) -> Message:
    avps = [
        avp_named("Session-Id", to.session),
        *common(),
        *node.origin(),
        avp_named("Destination-Host", to.host),
        avp_named("Destination-Realm", to.realm),
        avp_named("User-Name", user),
        *more,
    ]
    return Message(
        command,
        avps,
        application_id=CX,
        flags=REQUEST | PROXIABLE,
        hop_by_hop=to.hop_by_hop,
        end_to_end=node.identifiers.take(),
    )
