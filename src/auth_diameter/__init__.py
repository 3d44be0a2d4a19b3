"""SIP digest authentication against a Diameter back end (DISC), for high-throughput SIP servers.

::

    import auth_diameter as ad

    ad.configure(diameter_client_host="localhost", diameter_client_port=3000)
    decision = ad.diameter_www_authorize(datagram, "$fd")
    if decision.reply is not None:
        sock.sendto(decision.reply, address)

Threads use these functions or an `AuthDiameter`; asyncio uses an `AsyncAuthDiameter`. The codecs below them
(`SipRequest`, `Credentials`, `verify`, `Message` …) can be used on their own.
"""

from __future__ import annotations

from auth_diameter import signals

if signals.is_program():
    signals.hold()  # before the other imports, which take a while

import threading
from collections.abc import Callable
from typing import Any

from auth_diameter._core import (
    Avp,
    Challenge,
    ConfigError,
    Credentials,
    DiscError,
    Error,
    Framer,
    Message,
    NameAddr,
    ParseError,
    SipRequest,
    Uri,
    digest_response,
    format_challenge,
    format_message,
    ha1,
    verify,
    verify_many,
)
from auth_diameter.client.aio import AsyncAuthDiameter
from auth_diameter.client.authorizer import Request
from auth_diameter.client.sync import AuthDiameter
from auth_diameter.config import Config, config_of
from auth_diameter.decision import Cause, Decision
from auth_diameter.diameter.forks import after_fork

__all__ = [
    "AsyncAuthDiameter",
    "AuthDiameter",
    "Avp",
    "Cause",
    "Challenge",
    "Config",
    "ConfigError",
    "Credentials",
    "Decision",
    "DiscError",
    "Error",
    "Framer",
    "Message",
    "NameAddr",
    "ParseError",
    "SipRequest",
    "Uri",
    "after_fork",
    "configure",
    "diameter_is_user_in",
    "diameter_proxy_authorize",
    "diameter_www_authorize",
    "digest_response",
    "format_challenge",
    "format_message",
    "ha1",
    "verify",
    "verify_many",
]

__version__ = "0.2.0"


def __dir__() -> list[str]:
    """The public names alone."""
    return sorted(__all__)


_lock = threading.Lock()
_default: AuthDiameter | None = None


def configure(**settings: Any) -> None:
    """Sets the configuration of the three module functions.

    Without a call, the defaults of `Config` apply, which are those of OpenSER's module. A second call
    replaces the first, and closes its connections.

    Args:
        **settings: fields of `Config`; a field that is left out has its default.

    Raises:
        ConfigError: a setting is unknown, or its value cannot be used.
    """
    global _default
    config = config_of(settings)
    with _lock:
        old, _default = _default, AuthDiameter(config)
    if old is not None:
        old.close()


def _instance() -> AuthDiameter:
    global _default  # noqa: PLW0603
    if _default is None:
        with _lock:
            if _default is None:
                _default = AuthDiameter(Config())
    return _default


def _call(function: Callable[[AuthDiameter], Decision]) -> Decision:
    """Calls `function` with the current client; with the new one if `configure` replaces it meanwhile."""
    while True:
        client = _instance()
        try:
            return function(client)
        except DiscError:
            if client is _default:
                raise


def diameter_www_authorize(request: Request, realm: str) -> Decision:
    """Authenticates a request by Authorization (401); see `AuthDiameter.diameter_www_authorize`."""
    return _call(lambda client: client.diameter_www_authorize(request, realm))


def diameter_proxy_authorize(request: Request, realm: str) -> Decision:
    """Authenticates a request by Proxy-Authorization (407).

    See `AuthDiameter.diameter_proxy_authorize`.
    """
    return _call(lambda client: client.diameter_proxy_authorize(request, realm))


def diameter_is_user_in(request: Request, who: str, group: str) -> Decision:
    """Checks whether a user is in a group; see `AuthDiameter.diameter_is_user_in`."""
    return _call(lambda client: client.diameter_is_user_in(request, who, group))
