"""Replies as tests read them, strictly and without this package."""

from __future__ import annotations

import re


def lines(reply: bytes) -> list[str]:
    """A reply's header fields; it is a whole message: each line ends with CRLF, then an empty one."""
    text = reply.decode()
    assert text.endswith("\r\n\r\n")
    found = text[:-4].split("\r\n")
    assert all(found)
    assert not re.search(r"[\r\n]", "".join(found))
    return found


def field(reply: bytes, name: str) -> str:
    (value,) = [line.partition(": ")[2] for line in lines(reply) if line.startswith(f"{name}: ")]
    return value
