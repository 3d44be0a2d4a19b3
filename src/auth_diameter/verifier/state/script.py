"""The script that counts, and the commands that run it."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from string import Template
from typing import Final

from auth_diameter._core import PENALTY_RULES, RECORDS
from auth_diameter.verifier.state.resp import command
from auth_diameter.verifier.state.urls import StateUrl


def source() -> str:
    """The script, with the names of rules and of sizes in it."""
    return (files(__package__) / "count.lua").read_text(encoding="utf-8")


_SCRIPT: Final = Template(source()).substitute(PENALTY_RULES, **RECORDS).encode()
_SHA: Final = hashlib.sha1(_SCRIPT, usedforsecurity=False).hexdigest()  # how EVALSHA names a script
_EVALSHA: Final = b"*5\r\n$7\r\nEVALSHA\r\n$40\r\n%s\r\n$1\r\n0\r\n" % _SHA.encode()


#: The command for what `warn_of_eviction` reads.
MEMORY: Final = command("INFO", "memory")


def count(records: bytes) -> bytes:
    """The command for the records of a turn."""
    return b"%s$%d\r\n%s\r\n$1\r\n0\r\n" % (_EVALSHA, len(records), records)


def load_and_count(records: bytes) -> bytes:
    """The same, for a server that does not know the script."""
    return command("EVAL", _SCRIPT, 0, records, 0)


def count_late(records: bytes, now: float) -> bytes:
    """The command for the records of a turn that was answered before; `now`: seconds since 1970."""
    return command("EVALSHA", _SHA, 0, records, int(now))


def greeting(url: StateUrl, header: bytes) -> list[bytes]:
    """The commands of a new connection: they log in, and try whether the script may count.

    Args:
        url: where the server is.
        header: records of no question.
    """
    commands: list[bytes] = []
    if url.password:
        who = (url.username,) if url.username else ()
        commands.append(command("AUTH", *who, url.password))
    if url.database:
        commands.append(command("SELECT", url.database))
    return [*commands, load_and_count(header)]


def is_unknown(error: str) -> bool:
    """Whether the server says that it does not know the script."""
    return error.startswith("NOSCRIPT")
