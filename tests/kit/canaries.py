"""Forty secrets of all kinds, and what finds them, or anything like them, where none may be.

The suite looks into every log record and into the stderr of every command: `decode` and `demo --full`,
which show messages whole, do so on stdout.
"""

from __future__ import annotations

import hashlib
import logging
import re
import traceback


def _hex(kind: str, count: int, size: int = 32) -> list[str]:
    return [hashlib.sha256(f"canary {kind} {n}".encode()).hexdigest()[:size] for n in range(count)]


PASSWORDS = [f"canary-password-{n}" for n in range(10)]
HA1S = _hex("ha1", 8)
NONCES = _hex("nonce", 6, 56)
CNONCES = [f"canary-cnonce-{n}" for n in range(5)]
RESPONSES = _hex("response", 8)
OPAQUES = [f"canary-opaque-{n}" for n in range(1)]
NONCE_KEYS = ["canary-nonce-key-0", "canary-nonce-key-1"]
CANARIES = [*PASSWORDS, *HA1S, *NONCES, *CNONCES, *RESPONSES, *OPAQUES, *NONCE_KEYS]
assert len(set(CANARIES)) == 40

# Passwords of other tests; an HA1, a response or a nonce by its looks.
_KNOWN = re.compile(r"canary-[a-z]|wonderland|looking-glass|\b(?=[A-Fa-f]*[0-9])[0-9A-Fa-f]{32,64}\b")


def secrets_in(text: str) -> list[str]:
    """The canaries in a text, and what looks like a secret; [] where there is none."""
    return [canary for canary in CANARIES if canary in text] or _KNOWN.findall(text)


def told(error: BaseException) -> str:
    """All that an exception can tell: its text, its arguments, and the traceback with all causes."""
    lines = traceback.format_exception(error)
    return "\n".join([str(error), repr(error), repr(error.args), *lines])


class Net(logging.Handler):
    """Catches the log records in which a secret is, as a program would write them."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
        self.caught: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps it where there is one."""
        text = self.format(record)
        if secrets_in(text):
            self.caught.append(text)
