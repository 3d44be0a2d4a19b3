"""Names that a database server, or an HSS, can be sent.

One name with a NUL, or one that UTF-8 cannot encode, would fail the statement for all users in it. A name may
be as long as a SIP message, but no column has room for such a name.
"""

from __future__ import annotations

from typing import Final

#: Characters of a name; Kamailio's columns have room for 64.
_LONGEST: Final = 255
#: What stands for a name that nobody can have. Its row is compared with the name itself, so it is nobody's.
_NOBODY: Final = ""


def sendable(names: list[str], but: str = "\0") -> list[str]:
    """The names, with "" in place of each that nobody can have.

    Args:
        names: the names.
        but: a character that no name has, besides NUL.
    """
    if _is_sendable("".join(names), but) and max(map(len, names), default=0) <= _LONGEST:
        return names
    return [name if len(name) <= _LONGEST and _is_sendable(name, but) else _NOBODY for name in names]


def _is_sendable(text: str, but: str) -> bool:
    try:
        return b"\0" not in text.encode() and but not in text
    except UnicodeEncodeError:
        return False
