"""The capabilities exchange: CER and CEA (RFC 6733, 5.3).

Whoever receives a CER decides::

    the CER                                                      Result-Code of the CEA        then
    ───────────────────────────────────────────────────────────────────────────────────────────────
    has the P flag                                               3008, E flag                  close
    has no Origin-Host, Origin-Realm, Host-IP-Address,
    Vendor-Id or Product-Name                                    5005 with Failed-AVP          close
    has an Origin-Host or Origin-Realm that is no name           5004 with Failed-AVP          close
    asks for security that is not there (Inband-Security-Id)     5017                          close
    has no application in common, and is of no relay             5010                          close
    is of a peer that is not allowed                             3010, E flag                  close
    of a peer that has a connection already                      5012                          close
    any other                                                    2001                          open

Applications are compared by their ids alone: the Vendor-Id in Vendor-Specific-Application-Id does not count.
An application may come as Auth-Application-Id, as Acct-Application-Id or in Vendor-Specific-Application-Id,
since peers differ in that. A relay has the id 0xffffffff.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from auth_diameter._core import Avp, Message, avp_code
from auth_diameter.diameter.base import (
    CAPABILITIES_EXCHANGE,
    INVALID_AVP_VALUE,
    MISSING_AVP,
    NO_COMMON_APPLICATION,
    NO_COMMON_SECURITY,
    SUCCESS,
    Node,
    answer,
    avp_named,
    failed,
    request,
    text_of,
    value_of,
)
from auth_diameter.standard import is_identity

RELAY: Final = 0xFFFFFFFF  # the application id of relays (RFC 6733, 2.4)

_PRODUCT: Final = "auth-diameter"
_NO_VENDOR: Final = 0  # Vendor-Id of a product whose maker has no number (RFC 6733, 5.3.3)
_NO_INBAND_SECURITY: Final = 0  # of Inband-Security-Id (RFC 6733, 6.10)
_MOST_APPLICATIONS: Final = 1000  # that are read of one message


class Refusal(Exception):  # noqa: N818 - the answer to a message, and no error of ours
    """A CER or CEA that opens no connection.

    Attributes:
        result: Result-Code of the answer to a CER.
        why: the reason in a few words, for the log.
        failed: the AVP at fault, or None.
    """

    def __init__(self, result: int, why: str, failed_avp: Avp | None = None) -> None:
        super().__init__(why)
        self.result = result
        self.why = why
        self.failed = failed_avp


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a neighbour tells of itself.

    Attributes:
        host: its Origin-Host, in lower case.
        realm: its Origin-Realm, in lower case.
        applications: ids of all its applications.
        state_id: its Origin-State-Id; None: it has none.
        product: its Product-Name.
    """

    host: str
    realm: str
    applications: frozenset[int]
    state_id: int | None
    product: str

    @property
    def is_relay(self) -> bool:
        """Whether it takes every application."""
        return RELAY in self.applications

    def has(self, application: int) -> bool:
        """Whether it takes that application."""
        return self.is_relay or application in self.applications


def cer(node: Node, address: str, hop_by_hop: int) -> Message:
    """Makes a CER.

    Args:
        node: this node.
        address: our IP address on the connection.
        hop_by_hop: Hop-by-Hop Identifier.
    """
    return request(node, CAPABILITIES_EXCHANGE, [*node.origin(), *_told(node, address)], hop_by_hop)


def cea(node: Node, address: str, asked: Message, refusal: Refusal | None = None) -> Message:
    """Makes the CEA to a CER.

    Args:
        node: this node.
        address: our IP address on the connection.
        asked: the CER.
        refusal: why there is to be no connection; None: it is open.
    """
    if refusal is None:
        return answer(node, asked, SUCCESS, *_told(node, address))
    more = [avp_named("Error-Message", refusal.why)]
    if refusal.failed is not None:
        more.append(failed(refusal.failed))
    if refusal.result // 1000 == 3:
        return answer(node, asked, refusal.result, *more)
    return answer(node, asked, refusal.result, *more, *_told(node, address))


def _told(node: Node, address: str) -> Iterator[Avp]:
    yield avp_named("Host-IP-Address", ip_address(address))
    yield avp_named("Vendor-Id", _NO_VENDOR)
    yield avp_named("Product-Name", _PRODUCT)
    yield avp_named("Origin-State-Id", node.state_id)
    for vendor in sorted({vendor for vendor, _ in node.vendor_applications}):
        yield avp_named("Supported-Vendor-Id", vendor)
    for application in node.applications:
        yield avp_named("Auth-Application-Id", application)
    for vendor, application in node.vendor_applications:
        inner = (avp_named("Vendor-Id", vendor), avp_named("Auth-Application-Id", application))
        yield avp_named("Vendor-Specific-Application-Id", inner)


def read_cer(node: Node, message: Message) -> Capabilities:
    """Reads a CER.

    Raises:
        Refusal: the peer cannot be a neighbour of this node; see the table at the top of this file.
    """
    for name in ("Host-IP-Address", "Vendor-Id", "Product-Name"):
        if message.find(avp_code(name)) is None:
            raise _missing(name)
    found = _capabilities(message)
    asked = [avp.value for avp in message.find_all(avp_code("Inband-Security-Id"))]
    if asked and _NO_INBAND_SECURITY not in asked:
        # TLS after the CER is the way of RFC 3588; here TLS comes first, or not at all.
        raise Refusal(NO_COMMON_SECURITY, "TLS after the CER is not supported")
    _check_common(node, found)
    return found


def read_cea(node: Node, message: Message, names: Collection[str] | None) -> Capabilities:
    """Reads a CEA.

    Args:
        node: this node.
        message: the CEA.
        names: the names in the peer's certificate, in lower case, of which its DiameterIdentity must be one;
            None: it has none.

    Raises:
        Refusal: the peer refuses, or is another one, or has no application in common.
    """
    result = value_of(message, "Result-Code")
    if result != SUCCESS:
        reason = text_of(message, "Error-Message")
        raise Refusal(
            result if isinstance(result, int) else MISSING_AVP,
            f"it answers the CER with {result}" + (f" ({reason[:100]})" if reason else ""),
        )
    found = _capabilities(message)
    if names is not None and found.host not in names:
        raise Refusal(INVALID_AVP_VALUE, f"it says that it is {found.host}, which its certificate does not")
    _check_common(node, found)
    return found


def _missing(name: str) -> Refusal:
    """The refusal of a message without a required AVP; an example of it has zeros (RFC 6733, 7.5)."""
    sizes = {"Host-IP-Address": 6, "Vendor-Id": 4, "Result-Code": 4}
    return Refusal(MISSING_AVP, f"{name} is missing", avp_named(name, bytes(sizes.get(name, 0))))


def _identity(message: Message, name: str) -> str:
    avp = message.find(avp_code(name))
    if avp is None:
        raise _missing(name)
    text = avp.value
    if not isinstance(text, str) or not is_identity(text):
        raise Refusal(INVALID_AVP_VALUE, f"{name} is no DiameterIdentity", avp)
    return text.lower()


def _capabilities(message: Message) -> Capabilities:
    host, realm = _identity(message, "Origin-Host"), _identity(message, "Origin-Realm")
    state_id = value_of(message, "Origin-State-Id")
    return Capabilities(
        host,
        realm,
        frozenset(_applications(message.avps)),
        state_id if isinstance(state_id, int) else None,
        text_of(message, "Product-Name") or "",
    )


def _applications(avps: Sequence[Avp]) -> Iterator[int]:
    ids = (avp_code("Auth-Application-Id"), avp_code("Acct-Application-Id"))
    vendor_specific = avp_code("Vendor-Specific-Application-Id")
    for avp in avps[:_MOST_APPLICATIONS]:
        if avp.vendor_id is not None:
            continue
        if avp.code in ids and isinstance(avp.value, int):
            yield avp.value
        elif avp.code == vendor_specific and isinstance(avp.value, tuple):
            yield from (
                inner.value
                for inner in avp.value
                if inner.code in ids and inner.vendor_id is None and isinstance(inner.value, int)
            )


def _check_common(node: Node, found: Capabilities) -> None:
    ours = {*node.applications, *(application for _, application in node.vendor_applications)}
    if not found.is_relay and not ours & found.applications:
        raise Refusal(NO_COMMON_APPLICATION, f"{found.host} has no application in common with this node")
