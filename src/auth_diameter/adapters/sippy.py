"""The three functions for sippy's B2BUA and other programs on its stack, without blocking its loop.

sippy calls ``recvRequest(req, sip_t)``, and until that returns it reads no other message. So each function
returns at once. Later it calls `done` in sippy's loop, with the C module's return code and the response::

    from auth_diameter.adapters import sippy

    sippy.configure(diameter_client_host="localhost", diameter_client_port=3000)

    class CallMap:
        def recvRequest(self, req, sip_t):
            def done(code, response):
                result = (response, None, None) if response else self.register(req, sip_t)
                sippy.answer(self.tm, sip_t, result)

            return sippy.diameter_www_authorize(req, "$fd", done)

If DISC fails, the code is -5 and the response a 503. sippy does not keep the bytes of a request, so it is put
together from its parts. With qop=auth-int that fails if sippy writes the body otherwise than it came.

Raises:
    ImportError: sippy is not installed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeAlias

from auth_diameter._core import ParseError, SipRequest
from auth_diameter.client import group_check
from auth_diameter.client.authorizer import malformed
from auth_diameter.client.sync import AuthDiameter
from auth_diameter.config import config_of
from auth_diameter.decision import Decision

try:
    from sippy.Core.EventDispatcher import ED2  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from sippy.SipGenericHF import SipGenericHF  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from sippy.SipHeader import SipHeader  # type: ignore[import-not-found,import-untyped,unused-ignore]
except ImportError as error:
    raise ImportError(f"auth_diameter.adapters.sippy needs sippy: pip install sippy ({error})") from None

__all__ = [
    "answer",
    "configure",
    "diameter_is_user_in",
    "diameter_proxy_authorize",
    "diameter_www_authorize",
]

Done: TypeAlias = Callable[[int, Any], object]
Later: TypeAlias = tuple[None, None, None]

_LATER: Later = (None, None, None)  # what recvRequest returns when the response comes later
_KEPT = "_auth_diameter_request"  # attribute of sippy's request

_lock = threading.Lock()
_auth: AuthDiameter | None = None


def configure(**settings: Any) -> None:
    """Sets the configuration of the three functions; without a call, the defaults of `Config` apply.

    A second call replaces the first, and closes its connections.

    Args:
        **settings: fields of `Config`.

    Raises:
        ConfigError: a setting is unknown, or its value cannot be used.
    """
    global _auth
    new = AuthDiameter(config_of(settings))
    with _lock:
        old, _auth = _auth, new
    if old is not None:
        old.close()


def _client() -> AuthDiameter:
    global _auth  # noqa: PLW0603
    with _lock:
        if _auth is None:
            _auth = AuthDiameter()
        return _auth


def diameter_www_authorize(req: Any, realm: str, done: Done) -> Later:
    """Authenticates a request by Authorization.

    Args:
        req: sippy's SipRequest.
        realm: the realm, which may contain pseudo-variables such as ``$fd``; "": the domain of To for a
            REGISTER, otherwise that of From.
        done: function of the return code and the response, called later in sippy's loop. The code is 1 if the
            credentials are right or the request is an ACK or CANCEL, 0 if it is malformed, -5 if it is
            refused. The response is sippy's SipResponse of 401, 403, 400, 500 or 503; None if the code is 1.

    Returns:
        What ``recvRequest`` returns when its response comes later.

    Raises:
        ConfigError: `realm` has an unknown pseudo-variable.
    """
    return _authorize(req, realm, done, proxy=False)


def diameter_proxy_authorize(req: Any, realm: str, done: Done) -> Later:
    """Authenticates a request by Proxy-Authorization; a challenge is a 407.

    Args:
        req: sippy's SipRequest.
        realm: the realm, as in `diameter_www_authorize`; "": the domain of From.
        done: as in `diameter_www_authorize`.

    Returns:
        As `diameter_www_authorize`.

    Raises:
        ConfigError: `realm` has an unknown pseudo-variable.
    """
    return _authorize(req, realm, done, proxy=True)


def _authorize(req: Any, realm: str, done: Done, *, proxy: bool) -> Later:
    try:
        request = _request_of(req)
    except ParseError as error:
        _finish(req, malformed(error), done)
    else:
        _client().ask(request, realm, _in_loop(req, done), proxy=proxy)
    return _LATER


def diameter_is_user_in(req: Any, who: str, group: str, done: Done) -> Later:
    """Checks whether a user is in a group.

    Args:
        req: sippy's SipRequest; for ``Credentials`` the one that was authenticated.
        who: whose membership: ``Request-URI``, ``To``, ``From``, or ``Credentials``, those that an authorize
            call found right.
        group: the name of the group.
        done: function of the return code and None, called later in sippy's loop. The code is 1 for a
            member; -1 for others, or if DISC failed; -2 or -3 if To or From is missing or malformed; -4
            without such credentials; -5 if the URI names no user.

    Returns:
        As `diameter_www_authorize`.

    Raises:
        ConfigError: `who` is not one of the four sources, or `group` is empty.
    """
    try:
        request = _request_of(req)
    except ParseError as error:
        _finish(req, group_check.malformed(error), done)
    else:
        _client().ask_user_in(request, who, group, _in_loop(req, done))
    return _LATER


def answer(tm: Any, sip_t: Any, result: Any) -> None:
    """Does later what sippy does with the value that ``recvRequest`` returns.

    Args:
        tm: sippy's SipTransactionManager.
        sip_t: the transaction that ``recvRequest`` got.
        result: the response or None, and the two callbacks for a cancellation and for a missing ACK.
    """
    if result is None:
        return
    response, sip_t.cancel_cb, sip_t.noack_cb = result
    if response is not None:
        tm.sendResponse(response, sip_t)


def _in_loop(req: Any, done: Done) -> Callable[[Decision], object]:
    """A callback that has `done` called in sippy's loop."""
    return lambda decision: ED2.callFromThread(_finish, req, decision, done)


def _finish(req: Any, decision: Decision, done: Done) -> None:
    response = None
    if decision.status is not None:
        response = req.genResponse(decision.status, decision.reason)
        for name, value in decision.headers:
            response.appendHeader(SipHeader(name=name, body=SipGenericHF(value, name)))
    done(decision.return_code, response)


def _request_of(req: Any) -> SipRequest:
    """The SipRequest of sippy's request, the same for all calls about it.

    Raises:
        ParseError: the request breaks the grammar of SIP.
    """
    kept: SipRequest | None = getattr(req, _KEPT, None)
    if kept is not None:
        return kept
    fields = [_pair(str(header)) for header in req.headers]
    body = b""
    if req.body is not None:
        fields.append(("Content-Type", str(req.body.mtype)))
        body = str(req.body).encode("utf-8", "surrogateescape")
    host, port = req.getSource()
    request = SipRequest.from_parts(
        req.getMethod(), str(req.getRURI()), fields, body, (host.strip("[]"), port)
    )
    setattr(req, _KEPT, request)
    return request


def _pair(header: str) -> tuple[str, str]:
    name, _, value = header.partition(":")
    return name, value.strip()
