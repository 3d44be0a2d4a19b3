"""What version 0.2.0 replied: tests/vectors/serve-0.2.0, whose README.md says how it was made."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, NamedTuple

from kit.places import VECTORS

_FILE = VECTORS / "serve-0.2.0" / "replies.txt"
_FOLDED_LINES = re.compile(rb"\r\n(?![ \t])")
_COPIED = re.compile(rb"(?i)(via|v|from|f|to|t|call-id|i|cseq)[ \t]*:")
_TO = re.compile(rb"(?i)to?[ \t]*:")
_OUR_TAG = re.compile(rb";tag=[0-9a-f]{16}$")

NONE = ""  # in the place of both parts, where there is no reply


class Parts(NamedTuple):
    """A reply in two parts, which make it up again."""

    copy: str  # a hash of where it goes, and of the fields that it copies from its request
    own: str  # the status line, and all behind those fields


def parts_of(reply: tuple[bytes, tuple[Any, ...]] | None) -> Parts:
    """The parts of a reply, with a * for the tag of To, whose key each process has of its own."""
    if reply is None:
        return Parts(NONE, NONE)
    data, address = reply
    status, *fields = _FOLDED_LINES.split(data)
    n = 0
    while _COPIED.match(fields[n]):
        n += 1
    copied, own = fields[:n], [status, *fields[n:]]
    assert not any(map(_COPIED.match, own))
    tagged = [_OUR_TAG.sub(b";tag=*", line) if _TO.match(line) else line for line in copied]
    text = "{} {}\r\n".format(*address[:2]).encode() + b"\r\n".join(tagged)
    return Parts(hashlib.sha256(text).hexdigest()[:12], b"\r\n".join(own).decode("latin-1"))


def key_of(data: bytes) -> str:
    """What a datagram is found by."""
    return hashlib.sha256(data).hexdigest()[:12]


class Recorded(NamedTuple):
    """The replies to one datagram, from both sources: IPv4 and IPv6."""

    name: str
    copies: tuple[str, str]  # of `Parts`; the same whatever DISC answers
    own: tuple[dict[str, str], dict[str, str]]  # of `Parts`, by the name of DISC's answer


def read_recorded() -> dict[str, Recorded]:
    """All that was recorded, by `key_of` the datagram."""
    head, *lines = _FILE.read_text(encoding="ascii").splitlines()
    answers: list[str] = json.loads(head)
    owns: list[str] = []
    found = {}
    for line in lines:
        if line.startswith('"'):
            owns.append(json.loads(line))
            continue
        key, copy_4, own_4, copy_6, own_6, name = line.split(" ", 5)

        def by_answer(numbers: str) -> dict[str, str]:
            each = numbers.split(",")
            if len(each) == 1:
                each *= len(answers)
            return {answer: owns[int(number)] for answer, number in zip(answers, each, strict=True)}

        copies = tuple(copy if copy != "-" else NONE for copy in (copy_4, copy_6))
        own = by_answer(own_4), by_answer(own_6 if own_6 != "=" else own_4)
        found[key] = Recorded(name, copies, own)  # type: ignore[arg-type]
    return found
