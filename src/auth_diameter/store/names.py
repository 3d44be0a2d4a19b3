"""Usernames, realms, groups and passwords: which characters they may have, and how they are compared.

Each ``*_flaw`` function returns a flaw as the end of a sentence. The caller adds the subject. The text itself
is never quoted.
"""

from __future__ import annotations

import re
import string
from typing import Final

from auth_diameter._core import ConfigError

# C0, DEL and C1 control characters, and lone surrogates, which UTF-8 cannot encode.
_NOT_TEXT: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_ASCII_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def fold_realm(realm: str) -> str:
    """The realm with ASCII letters in lower case, the form in which realms are compared."""
    return realm.lower() if realm.isascii() else realm.translate(_ASCII_LOWER)


def is_text(value: str) -> bool:
    """Whether a store could have this text: UTF-8 can encode it, and it has no control character."""
    return not _NOT_TEXT.search(value)


def split_account(account: str) -> tuple[str, str]:
    """Splits ``user@domain`` at its last ``@``, since a domain never contains one.

    Raises:
        ConfigError: there is no ``@``, or the part before or after it is empty.
    """
    username, _, domain = account.rpartition("@")
    if not username or not domain:
        raise ConfigError(f"user {account!r}: must be written user@domain")
    return username, domain


def user_part(username: str, realm: str) -> str | None:
    """The ``user`` of a digest username ``user@domain`` whose domain is the realm.

    A username with another domain does not stand for ``user``: the digest would prove the password of one
    account and name another.

    Returns:
        The user part; None if the username has no domain or another one.
    """
    user, at, domain = username.rpartition("@")
    return user if at and fold_realm(domain) == fold_realm(realm) else None


def username_flaw(username: str) -> str | None:
    """Why the text is not a valid username; None if it is valid."""
    if ":" in username:
        return "holds ':', which no username can (RFC 7616, 3.4.2)"
    return _name_flaw(username)


def domain_flaw(domain: str) -> str | None:
    """Why the text is not a valid domain; None if it is valid."""
    for character in '"\\@':
        if character in domain:
            return f"holds {character!r}, which a domain cannot have"
    return _name_flaw(domain)


def group_flaw(group: str) -> str | None:
    """Why the text is not a valid name of a group; None if it is valid."""
    if ";" in group:
        return "holds ';', which separates groups"
    return _name_flaw(group)


def password_flaw(password: str) -> str | None:
    """Why the text is not a valid password; None if it is valid."""
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
