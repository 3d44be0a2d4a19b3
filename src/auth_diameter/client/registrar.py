"""A registrar tells the server that delegated HA1 of the registrations that it let in itself.

This is RFC 4740, 6.3 and 8.3::

    UAC          SIP server                      RFC 4740 server
     │ REGISTER       │ MAR, with SIP-Server-URI        │
     ├───────────────►├────────────────────────────────►│
     │ 401            │ MAA, with HA1                   │
     │◄───────────────┤◄────────────────────────────────┤
     │ REGISTER       │  it is right: judged here       │
     ├───────────────►│ SAR                             │
     │ 200            ├────────────────────────────────►│
     │◄───────────────┤ SAA                             │
     │                │◄────────────────────────────────┤

The decision does not wait for the SAA. A refresh with the same nonce tells the server nothing new, so there
is one SAR for each challenge, and one for each REGISTER that removes all bindings. If a server does not take
a SAR, the next REGISTER brings another one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from auth_diameter._core import Message, ParseError, Question, SipRequest
from auth_diameter.config import Config
from auth_diameter.diameter.assignment import Assignment
from auth_diameter.diameter.base import COMMAND_UNSUPPORTED, SUCCESS, result_of
from auth_diameter.diameter.own_requests import Answered
from auth_diameter.diameter.sip import SipRequests
from auth_diameter.logs import Sparing

_log = logging.getLogger("auth_diameter.pool")

_MOST_TOLD: Final = 131_072  # nonces of registrations that servers know of; the oldest is forgotten

#: Sends a request, see `auth_diameter.diameter.aio.AioTransport.request`.
Send = Callable[[str, Callable[[int, int], Message], Answered], None]


class Registrar:
    """The registrations of one client of which servers are told; thread-safe.

    Args:
        config: the settings, with `server_uri`.
        send: sends a request.
    """

    def __init__(self, config: Config, send: Send) -> None:
        assert config.origin_host is not None
        assert config.origin_realm is not None
        assert config.server_uri is not None
        self._requests = SipRequests(
            origin_host=config.origin_host,
            origin_realm=config.origin_realm,
            destination_realm=config.destination_realm,
            destination_host=config.destination_host,
        )
        self._server_uri = config.server_uri
        self._send = send
        self._told: dict[str, None] = {}
        self._lock = threading.Lock()
        self._sparing = Sparing(_log)

    def after_fork(self) -> None:
        """Keeps in the child what servers were told by the parent."""
        self._lock = threading.Lock()

    def registered(self, question: Question) -> None:
        """Tells the server of a REGISTER whose credentials were right here; of others, does nothing."""
        kind = assignment_of(question.request)
        credentials = question.credentials
        if kind is None or credentials is None:
            return
        nonce = credentials.nonce
        with self._lock:
            if kind is Assignment.REGISTRATION:
                if nonce in self._told:
                    return
                self._told[nonce] = None
                if len(self._told) > _MOST_TOLD:
                    del self._told[next(iter(self._told))]
            else:
                self._told.pop(nonce, None)
        address = question.request.to_uri or ""
        realm, user_name = question.realm, credentials.username

        def make(hop_by_hop: int, end_to_end: int) -> Message:
            return self._requests.sar(
                hop_by_hop, end_to_end, realm, address, user_name, self._server_uri, kind
            )

        self._send(realm, make, lambda answer: self._answered(nonce, answer))

    def _answered(self, nonce: str, answer: Message | None) -> None:
        result = None if answer is None else result_of(answer)
        # A server that knows no SAR is not asked for each REGISTER.
        if result in (SUCCESS, COMMAND_UNSUPPORTED):
            return
        with self._lock:
            self._told.pop(nonce, None)
        # Without the lock: a handler of the log may call the client.
        why = "no answer" if answer is None else f"Result-Code {result}"
        self._sparing.warning("SAR", time.monotonic(), "a server was not told of a registration: %s", why)


def registrar_of(config: Config, send: Send) -> Registrar | None:
    """The Registrar of a client; None: it tells of no registrations."""
    return Registrar(config, send) if config.application == "sip" and config.server_uri is not None else None


def assignment_of(request: SipRequest) -> Assignment | None:
    """What a REGISTER does to the registration of its user; None: nothing, as it only asks for bindings.

    REGISTRATION if it adds a binding; USER_DEREGISTRATION if it removes those that it names (RFC 3261, 10.2).
    """
    try:
        if not request.has_star_contact and not request.contacts:
            return None
        return Assignment.REGISTRATION if request.contact_headers() else Assignment.USER_DEREGISTRATION
    except ParseError:
        return None
