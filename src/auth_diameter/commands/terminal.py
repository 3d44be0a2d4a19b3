"""The output of commands: one line for a failure, and ASCII for a terminal without UTF-8."""

from __future__ import annotations

import codecs
import io
import sys
from typing import NoReturn

from auth_diameter.logs import visible


def fail(message: str) -> NoReturn:
    """Prints one line on stderr and exits with status 2."""
    print(f"auth-diameter: {visible(' '.join(message.split()))}", file=sys.stderr)
    sys.exit(2)


def write_plainly() -> None:
    """From here on, prints ASCII in place of characters that the terminal cannot show."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="auth_diameter_plain")


_PLAIN = str.maketrans(
    {"│": "|", "─": "-", "├": "|", "┤": "|", "►": ">", "◄": "<"}
    | {"→": "->", "✓": "ok", "✗": "wrong", "–": "-", "…": "..."}
)


def _in_plain_letters(error: UnicodeError) -> tuple[str, int]:
    """The ASCII replacement for characters that a terminal cannot show; an error handler of codecs."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end].translate(_PLAIN)
    return text.encode("ascii", "backslashreplace").decode(), error.end


codecs.register_error("auth_diameter_plain", _in_plain_letters)
