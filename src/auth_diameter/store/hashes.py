"""HA1: how it is computed, and which column of a table has it.

An HA1 is equivalent to the password for anyone who obtains it. Neither is ever in a repr, a log line or an
exception.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from typing import Final, NamedTuple

from auth_diameter._core import ALGORITHMS
from auth_diameter.store.store import Candidates


def compute_ha1(username: str, realm: str, password: str | bytes, algorithm: str = "MD5") -> str:
    """``H(username ":" realm ":" password)`` in lower-case hex digits (RFC 7616, 3.4.2).

    Args:
        username: the username; for ``ha1b``, ``user@domain``.
        realm: the realm as the challenge spells it.
        password: the password; a string is encoded in UTF-8.
        algorithm: ``"MD5"``, ``"SHA-256"`` or ``"SHA-512-256"``.

    Raises:
        UnicodeEncodeError: an argument contains a lone surrogate.
    """
    secret = password if isinstance(password, bytes) else password.encode()
    material = f"{username}:{realm}:".encode() + secret
    return hashlib.new(ALGORITHMS[algorithm].hash, material, usedforsecurity=False).hexdigest()


class Hashes(NamedTuple):
    """The hashes of a password, one for each column of ``subscriber``; "" for a column without one.

    Kamailio's table has the first two columns. OpenSIPS' table has the first and the last two.
    """

    ha1: str
    ha1b: str = ""
    ha1_sha256: str = ""
    ha1_sha512t256: str = ""

    def __repr__(self) -> str:
        return "Hashes(...)"

    @classmethod
    def of(cls, username: str, realm: str, password: str) -> Hashes:
        """Hashes a password for every algorithm.

        Raises:
            UnicodeEncodeError: an argument contains a lone surrogate.
        """
        return cls(
            compute_ha1(username, realm, password),
            compute_ha1(f"{username}@{realm}", realm, password),
            compute_ha1(username, realm, password, "SHA-256"),
            compute_ha1(username, realm, password, "SHA-512-256"),
        )


#: Hex digits of an HA1, by algorithm (RFC 7616, 6.1).
HA1_DIGITS: Final = {one.name: one.digits for one in ALGORITHMS.values() if not one.sess}
#: The column with the HA1, by algorithm.
HA1_COLUMNS: Final = {"MD5": "ha1", "SHA-256": "ha1_sha256", "SHA-512-256": "ha1_sha512t256"}
#: Hex digits of an HA1, by column; ``ha1b`` is an MD5 hash, too.
HA1_LENGTHS: Final = {
    "ha1b": HA1_DIGITS["MD5"],
    **{column: HA1_DIGITS[algorithm] for algorithm, column in HA1_COLUMNS.items()},
}
#: The form of an HA1 in a table, by its number of digits.
HEX_DIGITS: Final = {digits: re.compile(rf"[0-9A-Fa-f]{{{digits}}}") for digits in HA1_DIGITS.values()}

#: What an HA1 begins with that is nobody's, and must not be told; compiled code knows it as well.
_NO_HEX: Final = "x"
#: An HA1 that matches no password, by algorithm.
_NOBODYS: Final = {
    algorithm: _NO_HEX + secrets.token_hex(digits // 2)[1:] for algorithm, digits in HA1_DIGITS.items()
}


def candidates(places: Sequence[str | None], algorithm: str) -> Candidates:
    """Combines the HA1 of one user; an HA1 that matches no password takes the place of each missing one.

    The memory location of an object affects the time to read it. So ``lower()`` makes a new string for each
    user, known or unknown.

    Args:
        places: one or two HA1 in hex digits; None for a missing one.
        algorithm: ``"MD5"``, ``"SHA-256"`` or ``"SHA-512-256"``.
    """
    ha1s, nobodys = "", _NOBODYS[algorithm]  # looked up whether it is needed or not
    for ha1 in places:
        ha1s += ha1 or nobodys
    return Candidates._make((any(places), ha1s.lower()))


def ha1_to_tell(found: Candidates) -> str | None:
    """The HA1 by MD5 that an S-CSCF may be told, that of the username as it is spelled.

    Args:
        found: of MD5.

    Returns:
        The HA1; None: there is no such user, or the database has none for this spelling.
    """
    known, ha1s = found
    return ha1s[: HA1_DIGITS["MD5"]] if known and not ha1s.startswith(_NO_HEX) else None
