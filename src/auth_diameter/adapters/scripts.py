"""What adapters for servers with routing scripts have in common: a call ends with an int, whatever happens.

The server calls from a script, about one message at a time. An exception would be the script's end there, and
a value that is no int can stop the server's next call as well. So each fault has one line on the log of the
server, and the reply that a fault of DISC has.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from auth_diameter._core import ConfigError, DiscError, ParseError, Question, ScriptCalls, SipRequest
from auth_diameter.client import group_check
from auth_diameter.client.authorizer import malformed
from auth_diameter.client.worker import Common, WorkerAuthDiameter
from auth_diameter.config import config_of
from auth_diameter.decision import REASONS, RULINGS, Cause, Decision, Headers, refuse

_DEFAULTS: Final = {"unavailable_status": 500}  # as the C module replies
_FAULT: Final = RULINGS[Cause.DISC_REFUSED]  # what a script sees of a fault of ours
_REPLY: Final = b"SIP/2.0 "

_NULL: Final = "<null>"  # what becomes of a pseudo-variable without a value in a text, as $fd of a tel: URI


class Message(Protocol):
    """The SIP message that a script is called for."""

    @property
    def get(self) -> Callable[[str], Any]:
        """The server's function of the name of a pseudo-variable, see `ScriptCalls`."""

    def expand(self, text: str) -> str | None:
        """A text with the server's pseudo-variables, expanded; None: it has an unknown one."""

    def request_uri(self) -> str:
        """The Request-URI, which the script may have changed."""

    def add_to_reply(self, headers: Headers) -> None:
        """Adds header fields to the reply that will be sent."""

    def reply(self, status: int, reason: str) -> None:
        """Sends a reply."""


class ScriptFunctions:
    """The three functions for the worker processes of one server.

    Args:
        server: its name, for messages.
        encoded: its pseudo-variable that is a message in base64.
        log: writes an error on its log.
        missing: function that returns what the server lacks for us, for a message; "": nothing.

    Attributes:
        calls: the authorize calls, whose policy this is; `configure` says who decides.
    """

    def __init__(
        self,
        server: str,
        encoded: str,
        log: Callable[[str], object],
        missing: Callable[[], str] = lambda: "",
    ) -> None:
        self._server = server
        self.calls = ScriptCalls(self, encoded)
        self._log = log
        self._missing = missing
        self._settings: dict[str, Any] | None = None
        self._auth: WorkerAuthDiameter | None = None
        self._common: Common | None = None
        self._made_by = 0  # the process that made `_common`
        self._has_failed = False  # the last `configure` that there was before there is a client

    # ------------------------------------------------------------------ configuration

    def configure(self, settings: Mapping[str, Any]) -> int:
        """Sets the configuration; to be called when the script is loaded, before the server forks.

        The same settings again, as when a script is loaded again, change nothing.

        Args:
            settings: fields of `Config`; `unavailable_status` has the default 500.

        Returns:
            1; or -1 after a line on the log, and then the settings before stay in use.
        """
        try:
            self._configure({**_DEFAULTS, **settings})
        except BaseException as error:  # noqa: BLE001 - the server must not see it
            self._tell("configure", error)
            self._has_failed = True
            return -1
        return 1

    def _configure(self, settings: dict[str, Any]) -> None:
        if self._auth is not None and settings == self._settings:
            return
        if missing := self._missing():
            raise ConfigError(missing)
        config = config_of(settings)
        if self._common is None:
            self._common, self._made_by = Common(), os.getpid()
        elif config.db is not None and self._made_by != os.getpid():
            # Each worker would have a nonce key, counts and guesses of its own.
            raise ConfigError(f"db: its settings change when {self._server} is restarted")
        old, self._auth = self._auth, WorkerAuthDiameter(config, self._common)
        self._settings = settings
        self._auth.serve(self.calls)
        if old is not None:
            old.close()

    def _client(self) -> WorkerAuthDiameter:
        if self._auth is None:
            if self._has_failed:
                raise ConfigError("configure() has failed: see its line on the log")
            raise ConfigError("call configure() first, when the script is loaded")
        return self._auth

    # ------------------------------------------------------------------ the functions

    def prepare(self, message: Message, realm: str, is_expanded: bool) -> str | None:
        """The realm that `calls` could not take as it is, for our functions; None: it has no value.

        Args:
            message: the request.
            realm: text with pseudo-variables.
            is_expanded: whether the server has expanded it; what it has put in may be a stranger's.

        Raises:
            ConfigError: it cannot be used, or there is no client.
        """
        self._client()
        if realm is None:
            return None
        if not isinstance(realm, str):
            raise ConfigError(f"realm: expected text, not {realm!r}")
        if "$" in realm:
            realm = (realm if is_expanded else _expanded(message, realm)).replace("$", "$$")
        return None if realm == _NULL else realm

    def go_on(
        self,
        message: Message,
        outcome: Question | Decision | None,
        realm: str | None,
        proxy: bool,
    ) -> int:
        """Decides on what `calls` has not just let in, and sends the reply; the return code."""
        auth = self._client()
        if realm is None:
            return self._send(message, _without_realm(self.calls.request_of(message.get)))
        assert self.calls.request is not None
        return self._send(message, auth.go_on(outcome, self.calls.request, realm, proxy=proxy))

    def _send(self, message: Message, decision: Decision) -> int:
        """Sends what a decision is to be answered with."""
        if decision.headers:
            message.add_to_reply(decision.headers)
        if decision.status is not None:
            message.reply(decision.status, decision.reason or "")
        return decision.return_code

    def refuse(self, message: Message, proxy: bool, error: BaseException) -> int:
        """Sends a 400 to a malformed request, and the reply of a fault to others; never raises."""
        function = "diameter_proxy_authorize" if proxy else "diameter_www_authorize"
        try:
            if isinstance(error, ParseError):
                self._require_request()
                return self._send(message, malformed(error))
        except BaseException as fault:  # noqa: BLE001 - the server must not see it
            error = fault
        self._tell(function, error)
        self._reply_fault(message)
        return _FAULT.return_code

    def is_user_in(self, message: Message, who: str, group: str) -> int:
        """Checks whether a user is in a group; sends no reply.

        Args:
            message: the request.
            who: ``Request-URI``, ``To``, ``From`` or ``Credentials``.
            group: the name of the group.

        Returns:
            The return code of the C module: 1, or -1 to -5; -1 after a fault.
        """
        return self._guarded_check(message, lambda: (who, group))

    def is_user_in_of(self, message: Message, argument: str) -> int:
        """As `is_user_in`, with both arguments in one: ``Credentials,voicemail``."""
        return self._guarded_check(message, lambda: _split(argument))

    def _guarded_check(self, message: Message, arguments: Callable[[], tuple[str, str]]) -> int:
        try:
            return self._is_user_in(message, *arguments()).return_code
        except BaseException as error:  # noqa: BLE001 - the server must not see it
            self._tell("diameter_is_user_in", error)
            return _FAULT.group_code

    def _is_user_in(self, message: Message, who: str, group: str) -> Decision:
        auth = self._client()
        try:
            request = self.calls.request_of(message.get)
        except ParseError as error:
            self._require_request()
            return group_check.malformed(error)
        if group_check.source_of(who, group) == "request-uri":
            uri = message.request_uri()
            if uri != request.request_uri:
                request = _with_uri(request, uri, self.calls.data or b"")
        return auth.diameter_is_user_in(request, who, group)

    # ------------------------------------------------------------------ the message

    def _is_reply(self) -> bool:
        """Whether the message of the last call is a reply."""
        return (self.calls.data or b"").startswith(_REPLY)

    def _require_request(self) -> None:
        """Raises ConfigError if the message is no request."""
        if self._is_reply():
            raise ConfigError("the message is no SIP request; call it in the route of a request")

    # ------------------------------------------------------------------ faults

    def _tell(self, function: str, error: BaseException) -> None:
        """Writes one line about an error on the log of the server."""
        with contextlib.suppress(BaseException):  # there is nobody left to tell
            if isinstance(error, ConfigError | DiscError):
                text = str(error)
            else:
                # Only where it happened: its text may repeat what the message says.
                text = f"{type(error).__name__} at {_place_of(error)}"
            self._log(f"auth_diameter: {function}: {' '.join(text.split())}")

    def _reply_fault(self, message: Message) -> None:
        """Sends the reply to a request that could not be judged."""
        assert _FAULT.status is not None
        with contextlib.suppress(BaseException):  # the fault may have come before the message was read
            self.calls.request_of(message.get)
        try:
            if not self._is_reply():
                message.reply(_FAULT.status, REASONS[_FAULT.status])
        except BaseException as error:  # noqa: BLE001 - the server must not see it
            self._tell("reply", error)


def forward_log(log: Callable[[str, str], object], levels: Mapping[int, str]) -> None:
    """Hands the log of this package on to the server, once; the arguments are those of `ServerLog`."""
    logger = logging.getLogger("auth_diameter")
    if not any(isinstance(handler, ServerLog) for handler in logger.handlers):
        logger.addHandler(ServerLog(log, levels))
        logger.setLevel(min(levels))
        logger.propagate = False


class ServerLog(logging.Handler):
    """Hands the log of this package on to the server.

    Args:
        log: function of the server's name of a level, and of a line.
        levels: the server's names of the levels, by those of `logging`.
    """

    def __init__(self, log: Callable[[str, str], object], levels: Mapping[int, str]) -> None:
        super().__init__()
        self._write = log
        self._levels = levels

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a record; never raises."""
        try:
            level = self._levels.get(record.levelno, self._levels[logging.ERROR])
            self._write(level, f"auth_diameter: {' '.join(record.getMessage().split())}")
        except Exception:  # noqa: BLE001 - a log must not stop the server
            self.handleError(record)


def _split(argument: object) -> tuple[str, str]:
    """The two arguments of `diameter_is_user_in` in one, as ``Credentials,voicemail``.

    Raises:
        ConfigError: there are not two.
    """
    who, comma, group = argument.partition(",") if isinstance(argument, str) else ("", "", "")
    if not comma:
        raise ConfigError(f'expected "who,group", such as "Credentials,voicemail", not {argument!r}')
    return who.strip(), group.strip()


def _expanded(message: Message, realm: str) -> str:
    """A realm with pseudo-variables of the server, expanded; raises ConfigError."""
    text = message.expand(realm)
    if text is None:
        raise ConfigError(f"realm {realm!r}: unknown pseudo-variable; a dollar sign is written $$")
    return text


def _without_realm(request: SipRequest) -> Decision:
    """The decision on a request for which the realm has no value: the URI that it comes from has no host."""
    if request.is_ack_or_cancel:
        return Decision(RULINGS[Cause.BYPASSED].return_code, Cause.BYPASSED)
    return refuse(request, Cause.NO_IDENTITY)


def _with_uri(request: SipRequest, uri: str, data: bytes) -> SipRequest:
    """A request with the Request-URI that the script has set; raises ConfigError."""
    _, _, rest = data.partition(b"\r\n")
    line = f"{request.method} {uri} SIP/2.0\r\n".encode("utf-8", "surrogateescape")
    try:
        return SipRequest(line + rest, request.source, max_size=len(line) + len(data), max_headers=len(data))
    except ParseError as error:
        raise ConfigError(f"the Request-URI that the script has set: {error}") from None


def _place_of(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "an unknown place"
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
