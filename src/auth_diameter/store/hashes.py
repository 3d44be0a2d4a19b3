"""HA1: how it is computed, and in which columns a table keeps it.

An HA1 is as good as a password to whoever reads it: neither is ever in a repr, a log line or an exception.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from typing import Final, NamedTuple

from auth_diameter.store.store import Candidates

#: Of each algorithm of RFC 7616 6.1 its name in hashlib.
HASHES: Final = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}


def compute_ha1(username: str, realm: str, password: str | bytes, algorithm: str = "MD5") -> str:
    """``H(username ":" realm ":" password)`` in lower-case hex digits (RFC 7616 3.4.2).

    For ``ha1b``, pass ``user@domain`` for the username.

    Raises:
        UnicodeEncodeError: a name holds a lone surrogate.
    """
    secret = password if isinstance(password, bytes) else password.encode()
    material = f"{username}:{realm}:".encode() + secret
    return hashlib.new(HASHES[algorithm], material, usedforsecurity=False).hexdigest()


class Hashes(NamedTuple):
    """What ``subscriber`` keeps of a password, each in its column; "" where there is none.

    Kamailio's table has the first two, OpenSIPS' the first and the last two. All are as good as the
    password to whoever reads them.
    """

    ha1: str
    ha1b: str = ""
    ha1_sha256: str = ""
    ha1_sha512t256: str = ""

    def __repr__(self) -> str:
        return "Hashes(...)"

    @classmethod
    def of(cls, username: str, realm: str, password: str) -> Hashes:
        """Hash a password for every algorithm.

        Raises:
            UnicodeEncodeError: a name holds a lone surrogate.
        """
        return cls(
            compute_ha1(username, realm, password),
            compute_ha1(f"{username}@{realm}", realm, password),
            compute_ha1(username, realm, password, "SHA-256"),
            compute_ha1(username, realm, password, "SHA-512-256"),
        )


#: Hex digits of an HA1, by algorithm (RFC 7616 6.1).
HA1_DIGITS: Final = {"MD5": 32, "SHA-256": 64, "SHA-512-256": 64}
#: The column with the HA1, by algorithm.
HA1_COLUMNS: Final = {"MD5": "ha1", "SHA-256": "ha1_sha256", "SHA-512-256": "ha1_sha512t256"}
#: Hex digits of an HA1, by column; ``ha1b`` is an MD5, too.
HA1_LENGTHS: Final = {"ha1b": 32, **{column: HA1_DIGITS[one] for one, column in HA1_COLUMNS.items()}}
#: What an HA1 may look like in a table, by its number of digits.
HEX_DIGITS: Final = {digits: re.compile(rb"[0-9A-Fa-f]{%d}" % digits) for digits in (32, 64)}

_NOBODYS: Final = secrets.token_hex(32)


def candidates(places: Sequence[str | None], algorithm: str) -> Candidates:
    """Put the HA1 of one user together; an HA1 that nobody has fills each gap.

    Where an object lies in memory shows in its time. So every user, known or unknown, gets a string of its
    own: lower() makes it.

    Args:
        places: one HA1 or two in hex digits; None stands for each one that is missing.
    """
    nobodys = _NOBODYS[: HA1_DIGITS[algorithm]]
    return Candidates(any(places), "".join([ha1 or nobodys for ha1 in places]).lower())
