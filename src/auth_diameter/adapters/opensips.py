"""The three functions inside OpenSIPS, as Kamailio's C module auth_diameter has them.

OpenSIPS' module python calls the methods of the `Handler` that the script's ``mod_init`` returns, by
``python_exec("diameter_www_authorize", "$fd")``::

    from auth_diameter.adapters import opensips

    def mod_init():
        opensips.configure(diameter_client_host="localhost", diameter_client_port=3000)
        return opensips.Handler()

Each returns the C module's return code, and sends the reply that the C module sends. A fault has one line on
the log of OpenSIPS. Needed modules: sl, sipmsgops and python, of OpenSIPS 3.1 or newer.

OpenSIPS forks without a word to Python. `Handler.child_init`, which OpenSIPS calls in each process, has the
clients start afresh. A script with an object of its own calls `child_init` of this module there.

Raises:
    ImportError: this is not OpenSIPS.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from auth_diameter.adapters.scripts import ScriptFunctions, forward_log
from auth_diameter.decision import Headers
from auth_diameter.diameter.forks import after_fork

try:
    import OpenSIPS  # type: ignore[import-not-found]
except ImportError:
    raise ImportError(
        "there is no module OpenSIPS: auth_diameter.adapters.opensips works inside OpenSIPS, which loads the "
        'script by modparam("python", "script_name", "/etc/opensips/auth.py")'
    ) from None

__all__ = [
    "Handler",
    "child_init",
    "configure",
    "diameter_is_user_in",
    "diameter_proxy_authorize",
    "diameter_www_authorize",
]


class OpensipsMessage(Protocol):
    """The message that OpenSIPS hands to a method."""

    def get_pseudoVar(self, name: str, /) -> Any:  # noqa: N802
        """The value of a pseudo-variable; None: it has none."""

    def call_function(self, name: str, /, *arguments: str) -> int | None:
        """Calls a function of a module of OpenSIPS."""


class _Message:
    """A message of OpenSIPS; see `Message`."""

    __slots__ = ("_msg",)

    def __init__(self, msg: OpensipsMessage) -> None:
        self._msg = msg

    @property
    def get(self) -> Callable[[str], Any]:
        return self._msg.get_pseudoVar

    def expand(self, text: str) -> str | None:
        # It has no function for a text with several: its own script hands over what is expanded.
        try:
            value = self.get(text)
        except Exception:  # noqa: BLE001 - that is how it says that a name is unknown
            return None
        return None if value is None else str(value)

    def request_uri(self) -> str:
        return str(self.get("$ru"))

    def add_to_reply(self, headers: Headers) -> None:
        for name, value in headers:
            self._msg.call_function("append_to_reply", f"{name}: {value}\r\n")

    def reply(self, status: int, reason: str) -> None:
        self._msg.call_function("sl_send_reply", str(status), reason)


def _log(line: str) -> None:
    OpenSIPS.LM_ERR(f"{line}\n")


_functions = ScriptFunctions("OpenSIPS", "$(mb{s.b64encode})", _log)
_authorize = _functions.calls.authorize


def configure(**settings: Any) -> int:
    """Sets the configuration; to be called when the script is loaded, before OpenSIPS forks.

    Args:
        **settings: fields of `Config`; `unavailable_status` has the default 500, which the C module sends.

    Returns:
        1; or -1 after a line on the log of OpenSIPS, and then the settings before stay in use.
    """
    forward_log(lambda level, line: _log(line), {logging.WARNING: "", logging.ERROR: ""})
    return _functions.configure(settings)


def child_init() -> int:
    """Has the clients start afresh in a new process; returns 0.

    To be called by the method that OpenSIPS calls in each new process, unless that is `Handler.child_init`.
    """
    after_fork()
    return 0


def diameter_www_authorize(msg: OpensipsMessage, realm: str = "") -> int:
    """Authenticates a request by Authorization; a refusal sends 401, 403, 400 or 500.

    Args:
        msg: the message that OpenSIPS has handed over.
        realm: the realm; "": the domain of To for a REGISTER, otherwise that of From.

    Returns:
        1 the credentials are right, or the request is an ACK or CANCEL; 0 it is malformed; -5 it is refused.
    """
    return _authorize(_Message(msg), realm, proxy=False)


def diameter_proxy_authorize(msg: OpensipsMessage, realm: str = "") -> int:
    """Authenticates a request by Proxy-Authorization; a refusal sends 407, 403, 400 or 500.

    Args:
        msg: the message that OpenSIPS has handed over.
        realm: the realm; "": the domain of From.

    Returns:
        The return codes of `diameter_www_authorize`.
    """
    return _authorize(_Message(msg), realm, proxy=True)


def diameter_is_user_in(msg: OpensipsMessage, who: str, group: str) -> int:
    """Checks whether a user is in a group; sends no reply.

    Args:
        msg: the message that OpenSIPS has handed over.
        who: whose membership: ``Request-URI``, ``To``, ``From``, or ``Credentials``, those that an authorize
            call about the same message found right.
        group: the name of the group.

    Returns:
        1 for a member; -1 for others, or if DISC failed; -2 or -3 if To or From is missing or malformed; -4
        without such credentials; -5 if the URI names no user.
    """
    return _functions.is_user_in(_Message(msg), who, group)


class Handler:
    """The object whose methods ``python_exec`` calls; the script's ``mod_init`` returns it.

    The methods are the functions of this module. OpenSIPS has expanded their argument, so it is taken as it
    stands.
    """

    def child_init(self, rank: int) -> int:
        """Is called in each process of OpenSIPS; see the function of that name. Returns 0."""
        return child_init()

    def diameter_www_authorize(self, msg: OpensipsMessage, realm: str = "") -> int:
        """As the function; ``python_exec("diameter_www_authorize", "$fd")``."""
        return _authorize(_Message(msg), realm, proxy=False, is_expanded=True)

    def diameter_proxy_authorize(self, msg: OpensipsMessage, realm: str = "") -> int:
        """As the function; ``python_exec("diameter_proxy_authorize", "$fd")``."""
        return _authorize(_Message(msg), realm, proxy=True, is_expanded=True)

    def diameter_is_user_in(self, msg: OpensipsMessage, who_and_group: str = "") -> int:
        """As the function; ``python_exec("diameter_is_user_in", "Credentials,voicemail")``."""
        return _functions.is_user_in_of(_Message(msg), who_and_group)
