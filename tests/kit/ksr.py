"""Kamailio's module KSR as a script sees it, and OpenSIPS' messages: as much of both as the adapters use."""

from __future__ import annotations

import base64
import types
from typing import Any


class Kamailio:
    """A Kamailio with one current message.

    Attributes:
        log: the lines on its log, each with its level.
        replies: the replies sent: status, reason, and the header fields added before.
        variables: the script's own, such as ``$var(realm)``.
        request_uri: set by the script; None: that of the message.
        calls: the pseudo-variables that were read.
    """

    def __init__(self) -> None:
        self.log: list[tuple[str, str]] = []
        self.replies: list[tuple[int, str, str]] = []
        self.variables: dict[str, str | None] = {}
        self.request_uri: str | None = None
        self.calls: list[str] = []
        self._number = 0
        self._data: bytes | None = None
        self._added = ""

    def take(self, data: bytes | None, number: int | None = None) -> None:
        """Makes bytes the current message; None: there is none.

        Args:
            data: the bytes.
            number: of the message; None: the next one.
        """
        self._number = self._number + 1 if number is None else number
        self._data = data
        self._added = ""
        self.replies.clear()

    def module(self) -> types.ModuleType:
        """What ``import KSR`` gives."""
        ksr: Any = types.ModuleType("KSR")
        ksr.pv = types.SimpleNamespace(get=self.get)
        # A test may replace it.
        ksr.pvx = types.SimpleNamespace(evalx=lambda *text: self.evalx(*text))  # noqa: PLW0108
        ksr.hdr = types.SimpleNamespace(append_to_reply=self.append_to_reply)
        ksr.sl = types.SimpleNamespace(send_reply=self.send_reply)
        ksr.err = lambda text: self.log.append(("err", text))
        ksr.log = lambda level, text: self.log.append((level, text))
        return ksr

    # ------------------------------------------------------------------ what a script calls

    def get(self, name: str) -> Any:
        self.calls.append(name)
        if self._data is None:
            return None
        if name in self.variables:
            return self.variables[name]
        if name == "$mi":
            return self._number
        if name == "$mb":
            return self._data.decode()  # strictly, as Kamailio does
        if name in ("$(mb{s.encode.base64})", "$(mb{s.b64encode})"):
            return base64.b64encode(self._data).decode()
        if name == "$si":
            return "192.0.2.7"
        if name == "$ru":
            return self.request_uri or self._data.split(b" ")[1].decode()
        return None

    def evalx(self, name: str, text: str) -> int:
        for variable, value in self.variables.items():
            text = text.replace(variable, str(value))
        if "$" in text:
            return -1
        self.variables[name] = text
        return 1

    def append_to_reply(self, text: str) -> int:
        assert text.endswith("\r\n")
        self._added += text
        return 1

    def send_reply(self, status: int, reason: str) -> int:
        assert type(status) is int
        self.replies.append((status, reason, self._added))
        return 1


class OpensipsMessage:
    """A message of OpenSIPS, of which its script has another object in each call."""

    def __init__(self, server: Kamailio) -> None:
        self._server = server

    def get_pseudoVar(self, name: str) -> Any:  # noqa: N802 - its name there
        value = self._server.get(name)
        if value is None and name not in ("$mi", "$mb", "$si"):
            raise RuntimeError("unknown script variable")
        return value

    def call_function(self, name: str, *arguments: str) -> int:
        assert all(type(argument) is str for argument in arguments), "OpenSIPS takes nothing else"
        if name == "append_to_reply":
            return self._server.append_to_reply(*arguments)
        assert name == "sl_send_reply"
        return self._server.send_reply(int(arguments[0]), arguments[1])


def opensips_module(server: Kamailio) -> types.ModuleType:
    """What ``import OpenSIPS`` gives inside OpenSIPS."""
    module: Any = types.ModuleType("OpenSIPS")
    module.LM_ERR = lambda text: server.log.append(("err", text))
    return module
