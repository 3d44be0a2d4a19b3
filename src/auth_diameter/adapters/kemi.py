"""The three functions inside Kamailio, as its C module auth_diameter has them.

In a KEMI script, which Kamailio runs with ``cfgengine "python"``::

    from auth_diameter.adapters import kemi

    kemi.configure(diameter_client_host="localhost", diameter_client_port=3000)
    ...
    if kemi.diameter_www_authorize("$fd") < 1:
        return

In a configuration in Kamailio's own language, ``python_exec("diameter_www_authorize", "$fd")`` calls the
methods of the `Handler` that the script's ``mod_init`` returns::

    def mod_init():
        kemi.configure(diameter_client_host="localhost", diameter_client_port=3000)
        return kemi.Handler()

Each function returns the C module's return code, and sends the reply that the C module sends. A fault has one
line on Kamailio's log. Needed modules: pv, sl and app_python3.

Raises:
    ImportError: this is not Kamailio.
"""

from __future__ import annotations

import logging
from typing import Any

from auth_diameter._core import ConfigError, ScriptFunction, ScriptMethod
from auth_diameter.adapters.scripts import ScriptFunctions, forward_log
from auth_diameter.decision import Headers

try:
    import KSR  # type: ignore[import-not-found]
except ImportError:
    raise ImportError(
        "there is no module KSR: auth_diameter.adapters.kemi works inside Kamailio, which loads the script "
        'by modparam("app_python3", "load", "/etc/kamailio/auth.py")'
    ) from None

__all__ = [
    "Handler",
    "configure",
    "diameter_is_user_in",
    "diameter_proxy_authorize",
    "diameter_www_authorize",
]

_value = KSR.pv.get  # of a pseudo-variable; None: it has none
_VARIABLE = "$var(auth_diameter)"  # of Kamailio, for the result of an expansion
_LEVELS = {logging.INFO: "info", logging.WARNING: "warn", logging.ERROR: "err"}
_NEEDED = {"pvx": "pv.so", "sl": "sl.so"}  # parts of KSR by the module that has them


class _Message:
    """Kamailio's current message; see `Message`."""

    get = staticmethod(_value)

    def expand(self, text: str) -> str | None:
        if KSR.pvx.evalx(_VARIABLE, text) < 0:
            return None
        return str(_value(_VARIABLE))

    def request_uri(self) -> str:
        return str(_value("$ru"))

    def add_to_reply(self, headers: Headers) -> None:
        for name, value in headers:
            KSR.hdr.append_to_reply(f"{name}: {value}\r\n")

    def reply(self, status: int, reason: str) -> None:
        if not hasattr(KSR, "sl"):
            raise ConfigError('no reply can be sent: loadmodule "sl.so" is missing in kamailio.cfg')
        KSR.sl.send_reply(status, reason)


def _missing() -> str:
    for part, module in _NEEDED.items():
        if not hasattr(KSR, part):
            return f'loadmodule "{module}" is missing in kamailio.cfg'
    return ""


def _log(line: str) -> None:
    KSR.err(f"{line}\n")


_message = _Message()
_functions = ScriptFunctions("Kamailio", "$(mb{s.encode.base64})", _log, _missing)


def configure(**settings: Any) -> int:
    """Sets the configuration; to be called when the script is loaded, before Kamailio forks.

    When the script is loaded again, new settings apply in each worker from one of its next calls on. Those of
    a database need a restart of Kamailio, since its workers count nonces and guesses together.

    Args:
        **settings: fields of `Config`; `unavailable_status` has the default 500, which the C module sends.

    Returns:
        1; or -1 after a line on Kamailio's log, and then the settings before stay in use.
    """
    forward_log(lambda level, line: KSR.log(level, f"{line}\n"), _LEVELS)
    return _functions.configure(settings)


diameter_www_authorize = ScriptFunction(_functions.calls, _message, proxy=False)
"""Authenticates the current request by Authorization; a refusal sends 401, 403, 400 or 500.

Args:
    realm: the realm, which may contain Kamailio's pseudo-variables; "", the default: the domain of To for a
        REGISTER, otherwise that of From.

Returns:
    1 the credentials are right, or the request is an ACK or CANCEL; 0 it is malformed; -5 it is refused.
"""

diameter_proxy_authorize = ScriptFunction(_functions.calls, _message, proxy=True)
"""Authenticates the current request by Proxy-Authorization; a refusal sends 407, 403, 400 or 500.

Args:
    realm: the realm, which may contain Kamailio's pseudo-variables; "", the default: the domain of From.

Returns:
    The return codes of `diameter_www_authorize`.
"""


def diameter_is_user_in(who: str, group: str) -> int:
    """Checks whether a user is in a group; sends no reply.

    Args:
        who: whose membership: ``Request-URI``, ``To``, ``From``, or ``Credentials``, those that an authorize
            call about the same message found right.
        group: the name of the group.

    Returns:
        1 for a member; -1 for others, or if DISC failed; -2 or -3 if To or From is missing or malformed; -4
        without such credentials; -5 if the URI names no user.
    """
    return _functions.is_user_in(_message, who, group)


class Handler:
    """The object whose methods ``python_exec`` calls; the script's ``mod_init`` returns it.

    The methods are the functions of this module. Kamailio has expanded their argument, so it is taken as it
    stands.
    """

    def child_init(self, rank: int) -> int:
        """Is called in each process of Kamailio; returns 0."""
        return 0

    diameter_www_authorize = ScriptMethod(_functions.calls, _message, proxy=False)
    """As the function; ``python_exec("diameter_www_authorize", "$fd")``."""

    diameter_proxy_authorize = ScriptMethod(_functions.calls, _message, proxy=True)
    """As the function; ``python_exec("diameter_proxy_authorize", "$fd")``."""

    def diameter_is_user_in(self, msg: object, who_and_group: str = "") -> int:
        """As the function; ``python_exec("diameter_is_user_in", "Credentials,voicemail")``."""
        return _functions.is_user_in_of(_message, who_and_group)
