"""Usernames, realms, groups and passwords: what they may hold, and how they compare.

Each ``*_flaw`` says what is wrong as the end of a sentence, and the caller puts the place in front. None
repeats the text that it was given.
"""

from __future__ import annotations

import re
import string
from typing import Final

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

    Raises:
        ConfigError: there is no ``@`` or nothing on one side of it.
    """
    username, _, domain = account.rpartition("@")
    if not username or not domain:
        raise ConfigError(f"user {account!r}: must be written user@domain")
    return username, domain


def user_part(username: str, realm: str) -> str | None:
    """Give ``user`` of a digest username ``user@domain``, where the domain is the realm.

    With another domain it is never ``user``: the digest would prove the password of one account while it
    names another.

    Returns:
        None where the username has no domain, or another one.
    """
    user, at, domain = username.rpartition("@")
    return user if at and fold_realm(domain) == fold_realm(realm) else None


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
