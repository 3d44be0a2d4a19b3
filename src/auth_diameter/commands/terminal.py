"""What commands write: one line for a failure, and plain letters where a terminal has no others."""

from __future__ import annotations

import codecs
import io
import sys
from typing import NoReturn

from auth_diameter.logs import visible


def fail(message: str) -> NoReturn:
    """One line on stderr, and exit status 2."""
    print(f"auth-diameter: {visible(' '.join(message.split()))}", file=sys.stderr)
    sys.exit(2)


def write_plainly() -> None:
    """From here on what a terminal cannot show of our output comes in plain letters."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="auth_diameter_plain")


_PLAIN = str.maketrans(
    {"│": "|", "─": "-", "├": "|", "┤": "|", "►": ">", "◄": "<"}
    | {"→": "->", "✓": "ok", "✗": "wrong", "–": "-", "…": "..."}
)


def _in_plain_letters(error: UnicodeError) -> tuple[str, int]:
    """What a terminal that has no UTF-8 gets for a character that it cannot show."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end].translate(_PLAIN)
    return text.encode("ascii", "backslashreplace").decode(), error.end


codecs.register_error("auth_diameter_plain", _in_plain_letters)
