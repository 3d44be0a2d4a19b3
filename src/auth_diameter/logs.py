"""Log lines that strangers can cause at will: kept to a bearable number, and to what acts on nothing."""

from __future__ import annotations

import logging
import re
from types import TracebackType
from typing import TypeAlias

_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f]")  # C0 but for the tab, DEL, C1
_EVERY = 1.0  # seconds for which one line of a kind stands

REFUSAL = "refusal"  # the attribute of a record of `Refusals`: its fields, by name

_ExcInfo: TypeAlias = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)


def visible(text: str) -> str:
    r"""`text` with control characters, line ends among them, as escapes such as ``\x1b``."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def quoted(text: str) -> str:
    r"""A stranger's `text` as the value of one field of a line, whatever it holds: one word in single quotes.

    Spaces, quotes, backslashes and what cannot be printed are escapes such as ``\x20``.
    """
    return "'" + "".join(char if _is_plain(char) else _escape(char) for char in text) + "'"


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

    :param log: where to.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._kinds: dict[object, tuple[float, int]] = {}  # when the next may come, how many were left out

    def warning(self, kind: object, now: float, message: str, *arguments: object) -> None:
        """Logs, or counts what it did not log.

        :param kind: what shares a line; of a small set that strangers do not choose. :param now: seconds
            of a clock that never goes back.
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
