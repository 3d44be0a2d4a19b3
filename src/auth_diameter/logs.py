"""The log: lines that strangers can cause or fill are limited in number, and cannot forge other lines."""

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

_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f]")  # C0 except the tab, DEL, C1
_EVERY = 1.0  # seconds between two lines of a kind

REFUSAL = "refusal"  # attribute of a log record of `Refusals`, with its fields by name

_ExcInfo: TypeAlias = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)


def visible(text: str) -> str:
    r"""`text` with control characters, such as line ends, as escapes such as ``\x1b``."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def one_word(text: str) -> str:
    r"""A stranger's `text` as one word, to be the value of a field of a log line.

    Spaces, quotes, backslashes and characters that cannot be printed become escapes such as ``\x20``.
    """
    return "".join(char if _is_plain(char) else _escape(char) for char in text)


def _is_plain(char: str) -> bool:
    return char.isprintable() and char not in " '\"\\"


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class Formatter(logging.Formatter):
    """Writes a message as one line, and a traceback as indented lines below it.

    So no text of a request, a database or an exception can look like a line of the log. Nor can a route
    script that logs a stranger's text forge a refusal, for which fail2ban would ban the address in that text.

    Args:
        text: format of a line, see `logging.Formatter`.
    """

    def __init__(self, text: str = "%(asctime)s %(levelname)s %(message)s") -> None:
        super().__init__(text)

    def format(self, record: logging.LogRecord) -> str:
        """Formats a record as a line, and a traceback if it has one."""
        record.exc_text = None  # another formatter may have set it
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """Formats the message as one line."""
        record.message = message_of(record)
        return visible(super().formatMessage(record))

    def formatException(self, ei: _ExcInfo) -> str:  # noqa: N802 - logging's own name
        """Formats the traceback, indented."""
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - logging's own name
        """Formats the stack, indented."""
        return _indented(super().formatStack(stack_info))


class JsonFormatter(Formatter):
    """Writes a record as one JSON object on one line, in ASCII; control characters in texts are escaped.

    Its fields are time, level, logger, message, those of a refusal, and exception, which holds the traceback.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Formats a record as a JSON object."""
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
    """Appends to a file, each record in one write, so that several processes can share the file.

    Args:
        path: the file.

    Raises:
        ConfigError: the file cannot be opened.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self._file = self._open()

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a record; on stderr if the file cannot be written to."""
        try:
            line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
        except Exception:  # noqa: BLE001 - as logging's own handlers do, for wrong arguments of a log call
            self.handleError(record)
            return
        try:
            os.write(self._file, line)
        except OSError as error:
            with contextlib.suppress(OSError, ValueError):  # stderr may be lost as well; the program goes on
                print(f"{self._path}: {error.strerror}", line.decode(), sep="\n", end="", file=sys.stderr)

    def close(self) -> None:
        """Closes the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        super().close()

    def reopen(self) -> Callable[[], None]:
        """Opens the path anew, for example after the old file was moved away.

        Returns:
            A function that switches to the new file.

        Raises:
            ConfigError: the file cannot be opened.
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
    """The message of a record; a message that only looks like a refusal is marked as text."""
    message = record.getMessage()
    forged = message.startswith("refused user=") and not hasattr(record, REFUSAL)
    return f"text: {message}" if forged else message


def _indented(text: str) -> str:
    return "\n".join(f"  {visible(line)}" for line in text.split("\n"))


class Sparing:
    """Writes one line of each kind a second; the next line gives the number of those left out.

    What is logged here is counted in metrics as well, so no event goes uncounted.

    Args:
        log: where to.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._kinds: dict[object, tuple[float, int]] = {}  # when the next line may come, lines left out

    def warning(self, kind: object, now: float, message: str, *arguments: object) -> None:
        """Logs a warning, or counts it as left out.

        Args:
            kind: lines of one kind share the limit; the kinds must be few, and not chosen by strangers.
            now: seconds, monotonic.
            message: the format of the message.
            *arguments: arguments of the format.
        """
        self._write(logging.WARNING, kind, now, message, arguments, None)

    def info(self, kind: object, now: float, message: str, *arguments: object) -> None:
        """Logs what is no trouble; see `warning`."""
        self._write(logging.INFO, kind, now, message, arguments, None)

    def exception(self, error: BaseException, now: float, message: str) -> None:
        """Logs an error with its traceback; errors of one class and message are one kind, see `warning`."""
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
