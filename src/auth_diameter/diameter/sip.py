"""The commands of RFC 4740 that a client sends beside MAR, about registrations (8.1 to 8.6).

::

    UAR   may this user register here, and with which server?     UAA   SIP-Server-URI or its capabilities
    SAR   this user is registered with me, or no longer           SAA   the result
    LIR   with which server is this user registered?              LIA   SIP-Server-URI or its capabilities

They are few, unlike MAR, which is compiled.
"""

from __future__ import annotations

import enum
import itertools
import secrets
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from auth_diameter._core import Avp, Message, avp_code, command_code
from auth_diameter.diameter.assignment import Assignment, Authorization
from auth_diameter.diameter.base import (
    NO_STATE_MAINTAINED,
    PROXIABLE,
    REQUEST,
    avp_named,
    result_of,
    text_of,
    value_of,
)

SIP: Final = 6  # RFC 4740, 7: the application id

USER_AUTHORIZATION: Final = command_code("User-Authorization", SIP)
SERVER_ASSIGNMENT: Final = command_code("Server-Assignment", SIP)
LOCATION_INFO: Final = command_code("Location-Info", SIP)

_CAPABILITIES: Final = "SIP-Server-Capabilities"


class UserData(enum.IntEnum):
    """SIP-User-Data-Already-Available (RFC 4740, 9.13): whether the server has the user's profile."""

    NOT_AVAILABLE = 0
    ALREADY_AVAILABLE = 1


class Servers(NamedTuple):
    """What a UAA or LIA says of the SIP server of a user.

    Attributes:
        result: Result-Code; None: there is none.
        uri: SIP-Server-URI (RFC 4740, 9.2.1); None: the user has no server.
        mandatory: what a server to be chosen must be capable of (9.3.1); numbers that an operator defines.
        optional: what it should be capable of (9.3.2).
    """

    result: int | None
    uri: str | None
    mandatory: tuple[int, ...]
    optional: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SipRequests:
    """Makes the requests of one client.

    Attributes:
        origin_host: DiameterIdentity of the client.
        origin_realm: its realm.
        destination_realm: realm of the servers; None: that of the user.
        destination_host: DiameterIdentity of the server that must answer; None: any of the realm.
    """

    origin_host: str
    origin_realm: str
    destination_realm: str | None = None
    destination_host: str | None = None
    _start: int = field(default_factory=lambda: secrets.randbits(32), repr=False)
    _sessions: itertools.count[int] = field(default_factory=itertools.count, repr=False)

    def sar(
        self,
        hop_by_hop: int,
        end_to_end: int,
        realm: str,
        address: str,
        user_name: str,
        server_uri: str,
        kind: Assignment,
        data: UserData = UserData.ALREADY_AVAILABLE,
    ) -> Message:
        """Server-Assignment-Request (RFC 4740, 8.3).

        Args:
            hop_by_hop: its Hop-by-Hop Identifier.
            end_to_end: its End-to-End Identifier.
            realm: realm of the user.
            address: SIP-AOR, a SIP URI.
            user_name: username of the digest.
            server_uri: SIP URI of the server that the user is registered with.
            kind: why it is sent.
            data: whether the user's profile is at hand; if not, the answer may have it.
        """
        return self._request(
            SERVER_ASSIGNMENT,
            hop_by_hop,
            end_to_end,
            realm,
            avp_named("SIP-Server-Assignment-Type", kind),
            avp_named("SIP-User-Data-Already-Available", data),
            avp_named("User-Name", user_name),
            avp_named("SIP-Server-URI", server_uri),
            avp_named("SIP-AOR", address),
        )

    def uar(
        self,
        hop_by_hop: int,
        end_to_end: int,
        realm: str,
        address: str,
        user_name: str | None = None,
        kind: Authorization | None = None,
        visited_network: str | None = None,
    ) -> Message:
        """User-Authorization-Request (RFC 4740, 8.1).

        Args:
            hop_by_hop: its Hop-by-Hop Identifier.
            end_to_end: its End-to-End Identifier.
            realm: realm of the user.
            address: SIP-AOR, a SIP URI.
            user_name: username of the digest; None: it is not known.
            kind: what is to be authorized; None: REGISTRATION.
            visited_network: name of the network in which the user is; None: the home network.
        """
        avps = [avp_named("SIP-AOR", address)]
        if user_name is not None:
            avps.append(avp_named("User-Name", user_name))
        if visited_network is not None:
            avps.append(avp_named("SIP-Visited-Network-Id", visited_network))
        if kind is not None:
            avps.append(avp_named("SIP-User-Authorization-Type", kind))
        return self._request(USER_AUTHORIZATION, hop_by_hop, end_to_end, realm, *avps)

    def lir(self, hop_by_hop: int, end_to_end: int, realm: str, address: str) -> Message:
        """Location-Info-Request (RFC 4740, 8.5); the arguments are those of `uar`."""
        return self._request(LOCATION_INFO, hop_by_hop, end_to_end, realm, avp_named("SIP-AOR", address))

    def _request(self, command: int, hop_by_hop: int, end_to_end: int, realm: str, *avps: Avp) -> Message:
        # RFC 6733, 8.8. A MAR has no fourth part, so that none has the same.
        session = f"{self.origin_host};{self._start};{next(self._sessions)};registration"
        head = [
            avp_named("Session-Id", session),
            avp_named("Auth-Application-Id", SIP),
            avp_named("Auth-Session-State", NO_STATE_MAINTAINED),
            avp_named("Origin-Host", self.origin_host),
            avp_named("Origin-Realm", self.origin_realm),
            avp_named("Destination-Realm", self.destination_realm or realm),
        ]
        if self.destination_host is not None:
            head.append(avp_named("Destination-Host", self.destination_host))
        return Message(
            command,
            [*head, *avps],
            application_id=SIP,
            flags=REQUEST | PROXIABLE,
            hop_by_hop=hop_by_hop,
            end_to_end=end_to_end,
        )


def servers_of(message: Message) -> Servers:
    """Reads a UAA or LIA (RFC 4740, 8.2 and 8.6); what has another form is left out."""
    capabilities = value_of(message, _CAPABILITIES)
    inner = capabilities if isinstance(capabilities, tuple) else ()

    def numbers(name: str) -> tuple[int, ...]:
        code = avp_code(name)
        return tuple(avp.value for avp in inner if avp.code == code and isinstance(avp.value, int))

    return Servers(
        result_of(message),
        text_of(message, "SIP-Server-URI"),
        numbers("SIP-Mandatory-Capability"),
        numbers("SIP-Optional-Capability"),
    )
