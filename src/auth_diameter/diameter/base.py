"""Messages of the base protocol (RFC 6733), and the rules that every answer follows.

Messages that pass for each SIP request are compiled, see ``_core/diameter``. These here pass when a
connection begins, idles, ends or fails. AVPs go by their names, whose numbers and flags the dictionary has.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from auth_diameter._core import Avp, Message, avp_code, avp_flags, command_code, result_code

REQUEST, PROXIABLE, ERROR = 0x80, 0x40, 0x20  # RFC 6733, 3: command flags
NO_STATE_MAINTAINED: Final = 1  # Auth-Session-State (RFC 6733, 8.11)

CAPABILITIES_EXCHANGE: Final = command_code("Capabilities-Exchange")
DEVICE_WATCHDOG: Final = command_code("Device-Watchdog")
DISCONNECT_PEER: Final = command_code("Disconnect-Peer")

#: Commands between neighbours, which go to no other peer and have no P flag (RFC 6733, 5.3 to 5.5).
BASE_COMMANDS: Final = frozenset({CAPABILITIES_EXCHANGE, DEVICE_WATCHDOG, DISCONNECT_PEER})

SUCCESS: Final = result_code("DIAMETER_SUCCESS")
COMMAND_UNSUPPORTED: Final = result_code("DIAMETER_COMMAND_UNSUPPORTED")
UNABLE_TO_DELIVER: Final = result_code("DIAMETER_UNABLE_TO_DELIVER")
TOO_BUSY: Final = result_code("DIAMETER_TOO_BUSY")
REALM_NOT_SERVED: Final = result_code("DIAMETER_REALM_NOT_SERVED")
APPLICATION_UNSUPPORTED: Final = result_code("DIAMETER_APPLICATION_UNSUPPORTED")
INVALID_HDR_BITS: Final = result_code("DIAMETER_INVALID_HDR_BITS")
UNKNOWN_PEER: Final = result_code("DIAMETER_UNKNOWN_PEER")
ELECTION_LOST: Final = result_code("DIAMETER_ELECTION_LOST")
INVALID_AVP_LENGTH: Final = result_code("DIAMETER_INVALID_AVP_LENGTH")
AVP_UNSUPPORTED: Final = result_code("DIAMETER_AVP_UNSUPPORTED")
INVALID_AVP_VALUE: Final = result_code("DIAMETER_INVALID_AVP_VALUE")
MISSING_AVP: Final = result_code("DIAMETER_MISSING_AVP")
TOO_MANY_TIMES: Final = result_code("DIAMETER_AVP_OCCURS_TOO_MANY_TIMES")
NO_COMMON_APPLICATION: Final = result_code("DIAMETER_NO_COMMON_APPLICATION")
UNABLE_TO_COMPLY: Final = result_code("DIAMETER_UNABLE_TO_COMPLY")
NO_COMMON_SECURITY: Final = result_code("DIAMETER_NO_COMMON_SECURITY")

_SESSION_ID: Final = avp_code("Session-Id")
_PROXY_INFO: Final = avp_code("Proxy-Info")


def avp_named(name: str, data: Any, vendor_id: int | None = None) -> Avp:
    """Makes the AVP of that name, with the flags of its definition.

    Args:
        name: as the dictionary has it.
        data: as for `Avp`.
        vendor_id: Vendor-ID; None: none.
    """
    code, flags = avp_code(name, vendor_id), avp_flags(name, vendor_id)
    return Avp(code, data, flags=flags, vendor_id=vendor_id)


class Identifiers:
    """The End-to-End Identifiers of one node: unique for four minutes, also over a restart (RFC 6733, 3).

    Args:
        now: seconds since 1970.
    """

    __slots__ = ("_next",)

    def __init__(self, now: float | None = None) -> None:
        seconds = int(time.time() if now is None else now)
        self._next = (seconds & 0xFFF) << 20 | secrets.randbits(20)

    def take(self) -> int:
        """The next one, 32 bits."""
        taken = self._next
        self._next = (taken + 1) & 0xFFFFFFFF
        return taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """This Diameter node, as it tells its neighbours (RFC 6733, 5.3).

    Attributes:
        host: its DiameterIdentity, a name with dots.
        realm: its realm.
        applications: ids of its authentication applications (RFC 6733, 2.4).
        vendor_applications: (Vendor-Id, application id) of those that vendors defined (RFC 6733, 6.11).
        state_id: Origin-State-Id, which grows with each start (RFC 6733, 8.16).
        identifiers: makes the End-to-End Identifiers.
    """

    host: str
    realm: str
    applications: Sequence[int] = ()
    vendor_applications: Sequence[tuple[int, int]] = ()
    state_id: int = field(default_factory=lambda: int(time.time()))
    identifiers: Identifiers = field(default_factory=Identifiers)

    def origin(self) -> Iterator[Avp]:
        """Origin-Host and Origin-Realm."""
        yield avp_named("Origin-Host", self.host)
        yield avp_named("Origin-Realm", self.realm)


def request(node: Node, command: int, avps: Sequence[Avp], hop_by_hop: int) -> Message:
    """Makes a request between neighbours, without the P flag."""
    return Message(command, avps, flags=REQUEST, hop_by_hop=hop_by_hop, end_to_end=node.identifiers.take())


def answer(node: Node, asked: Message, result: int | Avp, *more: Avp) -> Message:
    """Makes the answer to a request (RFC 6733, 6.2).

    A protocol error (3xxx) has the E flag and the small grammar of 7.2, to which these AVPs belong.

    Args:
        node: this node.
        asked: the request.
        result: Result-Code, or the Experimental-Result instead (7.6).
        more: further AVPs, behind those that every answer has.
    """
    is_protocol_error = isinstance(result, int) and result // 1000 == 3
    said = avp_named("Result-Code", result) if isinstance(result, int) else result
    # One that is no text does not go back: there are agents that end at the sight of it.
    session_ids = [avp for avp in asked.find_all(_SESSION_ID)[:1] if isinstance(avp.value, str)]
    avps = [*session_ids, said, *node.origin(), *more]
    avps += asked.find_all(_PROXY_INFO)
    return Message(
        asked.command,
        avps,
        application_id=asked.application_id,
        flags=(asked.flags & PROXIABLE) | (ERROR if is_protocol_error else 0),
        hop_by_hop=asked.hop_by_hop,
        end_to_end=asked.end_to_end,
    )


def failed(*avps: Avp) -> Avp:
    """Failed-AVP with the AVP at fault (RFC 6733, 7.5)."""
    return avp_named("Failed-AVP", avps)


def value_of(message: Message, name: str) -> Any:
    """The value of the first AVP of that name without a vendor; None: there is none."""
    found = message.find(avp_code(name))
    return None if found is None else found.value


def result_of(message: Message) -> int | None:
    """The Result-Code of an answer, or else its Experimental-Result-Code (RFC 6733, 7.1 and 7.6).

    None: it has neither.
    """
    result = value_of(message, "Result-Code")
    if result is None:
        group = value_of(message, "Experimental-Result")
        inner = group if isinstance(group, tuple) else ()
        result = next((avp.value for avp in inner if avp.name == "Experimental-Result-Code"), None)
    return result if isinstance(result, int) else None


def text_of(message: Message, name: str) -> str | None:
    """The value of the first AVP of that name, if it is text of one line; None: it is not there, or none."""
    value = value_of(message, name)
    return value if isinstance(value, str) and value.isprintable() else None
