"""Usernames, realms, groups and passwords: what they may hold, how they compare, HA1.

Each ``*_flaw`` says what is wrong as the end of a sentence, so that whoever calls it puts the place
in front; none repeats the text it was given.
"""

from __future__ import annotations

import hashlib
import re
import string
from typing import Final, NamedTuple

from auth_diameter._core import ConfigError

# C0, DEL and C1 controls; lone surrogates, which UTF-8 cannot carry.
_NOT_TEXT: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_ASCII_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def fold_realm(realm: str) -> str:
    """Give the realm in the form under which realms are compared: ASCII letters in lower case."""
    return realm.lower() if realm.isascii() else realm.translate(_ASCII_LOWER)


def is_text(value: str) -> bool:
    """Whether the text could be stored at all: UTF-8 can carry it, and no control is in it."""
    return not _NOT_TEXT.search(value)


def split_account(account: str) -> tuple[str, str]:
    """Split ``user@domain`` at its last ``@``, for a domain never holds one.

    :raises ConfigError: there is no ``@`` or nothing on one side of it.
    """
    username, _, domain = account.rpartition("@")
    if not username or not domain:
        raise ConfigError(f"user {account!r}: must be written user@domain")
    return username, domain


def username_flaw(username: str) -> str | None:
    """Say what keeps this text from being a username, or None when nothing does."""
    if ":" in username:
        return "holds ':', which ends the username where HA1 is hashed (RFC 7616 3.4.2)"
    return _name_flaw(username)


def domain_flaw(domain: str) -> str | None:
    """Say what keeps this text from being a domain, or None when nothing does."""
    for character in '"\\@':
        if character in domain:
            return f"holds {character!r}, which a domain cannot have"
    return _name_flaw(domain)


def group_flaw(group: str) -> str | None:
    """Say what keeps this text from being a group's name, or None when nothing does."""
    if ";" in group:
        return "holds ';', which separates groups"
    return _name_flaw(group)


def password_flaw(password: str) -> str | None:
    """Say what keeps this text from being a password, or None; the text itself is not repeated."""
    if not password:
        return "is empty, which would let anybody in"
    return _character_flaw(password)


def _name_flaw(name: str) -> str | None:
    if not name:
        return "is empty"
    if name[0].isspace() or name[-1].isspace():
        return "begins or ends with a space"
    return _character_flaw(name)


def _character_flaw(value: str) -> str | None:
    found = _NOT_TEXT.search(value)
    return f"holds the character U+{ord(found[0]):04X}" if found else None


#: Of each algorithm of RFC 7616 6.1 its name in hashlib.
HASHES: Final = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}


def compute_ha1(username: str, realm: str, password: str | bytes, algorithm: str = "MD5") -> str:
    """``H(username ":" realm ":" password)`` in lower-case hex digits (RFC 7616 3.4.2).

    For ``ha1b``, pass ``user@domain`` for the username.

    :raises UnicodeEncodeError: a name holds a lone surrogate.
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
        """Hash a password for every algorithm. :raises UnicodeEncodeError: a name holds a lone surrogate."""
        return cls(
            compute_ha1(username, realm, password),
            compute_ha1(f"{username}@{realm}", realm, password),
            compute_ha1(username, realm, password, "SHA-256"),
            compute_ha1(username, realm, password, "SHA-512-256"),
        )


#: The column with the HA1 of each algorithm, and how many hex digits it has.
HA1_COLUMNS: Final = {"MD5": "ha1", "SHA-256": "ha1_sha256", "SHA-512-256": "ha1_sha512t256"}
HA1_LENGTHS: Final = {"ha1": 32, "ha1b": 32, "ha1_sha256": 64, "ha1_sha512t256": 64}
