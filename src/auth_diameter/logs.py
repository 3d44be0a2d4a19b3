"""Log lines that strangers can cause at will: kept to a bearable number, and to what acts on nothing."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TypeAlias

from auth_diameter._core import ConfigError

_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f]")  # C0 but for the tab, DEL, C1
_EVERY = 1.0  # seconds for which one line of a kind stands

REFUSAL = "refusal"  # the attribute of a record of `Refusals`: its fields, by name

_ExcInfo: TypeAlias = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)


def visible(text: str) -> str:
    r"""`text` with control characters, line ends among them, as escapes such as ``\x1b``."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def one_word(text: str) -> str:
    r"""A stranger's `text` as the value of one field of a line, whatever it holds.

    Spaces, quotes, backslashes and what cannot be printed are escapes such as ``\x20``.
    """
    return "".join(char if _is_plain(char) else _escape(char) for char in text)


def _is_plain(char: str) -> bool:
    return char.isprintable() and char not in " '\"\\"


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class Formatter(logging.Formatter):
    """A message is one line; a traceback has lines of its own, which are indented.

    So no line that begins as one of the log's own is anything else, whatever a request, a database or
    a script's exception holds. Nor does a script that logs a stranger's text write a refusal: fail2ban would
    ban whom the stranger names.
    """

    def __init__(self, text: str = "%(asctime)s %(levelname)s %(message)s") -> None:
        super().__init__(text)

    def format(self, record: logging.LogRecord) -> str:
        """The lines."""
        record.exc_text = None  # as another formatter may have left it
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """The message as one line."""
        record.message = message_of(record)
        return visible(super().formatMessage(record))

    def formatException(self, ei: _ExcInfo) -> str:  # noqa: N802 - logging's own name
        """The traceback, indented."""
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - logging's own name
        """The stack, indented."""
        return _indented(super().formatStack(stack_info))


class JsonFormatter(Formatter):
    """A record is one JSON object on one line, in ASCII, without control characters even in its texts.

    Its fields: time, level, logger, message; those of a refusal; exception, with the traceback.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The object."""
        zone = time.strftime("%z", time.localtime(record.created))
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(record.created))
        fields: dict[str, object] = {
            "time": f"{when}.{int(record.msecs):03d}{zone[:3]}:{zone[3:]}",
            "level": record.levelname,
            "logger": record.name,
            "message": visible(message_of(record)),
            **getattr(record, REFUSAL, {}),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)


class LogFile(logging.Handler):
    """Appends to a file, each record in one write: several processes may have the same file.

    Raises:
        ConfigError: it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self._file = self._open()

    def emit(self, record: logging.LogRecord) -> None:
        """Writes it; on stderr where the file takes no more."""
        try:
            line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
        except Exception:  # noqa: BLE001 - as logging's own handlers do: its arguments are somebody's mistake
            self.handleError(record)
            return
        try:
            os.write(self._file, line)
        except OSError as error:
            print(f"{self._path}: {error.strerror}", line.decode(), sep="\n", end="", file=sys.stderr)

    def close(self) -> None:
        """Nothing is written any more."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        super().close()

    def reopen(self) -> Callable[[], None]:
        """Opens what has the path now, for the old file may have been moved away; the result changes over.

        Raises:
            ConfigError: it cannot be opened.
        """
        new = self._open()

        def change() -> None:
            with self.lock or contextlib.nullcontext():
                old, self._file = self._file, new
            os.close(old)

        return change

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except (OSError, ValueError) as error:  # ValueError: a path with a NUL
            raise ConfigError(f"--log-file {self._path}: {getattr(error, 'strerror', error)}") from None


def message_of(record: logging.LogRecord) -> str:
    """Its message; one that only looks like a refusal is marked as somebody's text."""
    message = record.getMessage()
    forged = message.startswith("refused user=") and not hasattr(record, REFUSAL)
    return f"text: {message}" if forged else message


def _indented(text: str) -> str:
    return "\n".join(f"  {visible(line)}" for line in text.split("\n"))


class Sparing:
    """Writes one line of each kind a second; the next one says how many it stands for.

    Nothing is lost by that: what is logged here is counted, too.

    Args:
        log: where to.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._kinds: dict[object, tuple[float, int]] = {}  # when the next may come, how many were left out

    def warning(self, kind: object, now: float, message: str, *arguments: object) -> None:
        """Logs, or counts what it did not log.

        Args:
            kind: what shares a line; of a small set that strangers do not choose.
            now: seconds of a clock that never goes back.
        """
        self._write(logging.WARNING, kind, now, message, arguments, None)

    def exception(self, error: BaseException, now: float, message: str) -> None:
        """The same for an error, with its traceback; those of one class and message share a line."""
        self._write(logging.ERROR, (type(error), message), now, message, (), error)

    def _write(
        self,
        level: int,
        kind: object,
        now: float,
        message: str,
        arguments: tuple[object, ...],
        error: BaseException | None,
    ) -> None:
        due, left_out = self._kinds.get(kind, (now, 0))
        if now < due:
            self._kinds[kind] = (due, left_out + 1)
            return
        self._kinds[kind] = (now + _EVERY, 0)
        more = f" (and {left_out} more before)" if left_out else ""
        self._log.log(level, message + "%s", *arguments, more, exc_info=error)
