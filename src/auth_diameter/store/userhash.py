"""The users of a realm by their hashed usernames (RFC 7616, 3.4.4)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

from auth_diameter._core import user_hash

#: Realms whose usernames are kept hashed where a table has no domains, and so no bound of its own: the sender
#: of a request names the realm.
MOST_REALMS: Final = 8


class HashedNames:
    """The usernames of a realm by their hashes.

    A look-up takes the same time for any hash, known or unknown. So this is a binary search: a dict would
    compare the keys only if it has the hash.

    Args:
        usernames: all usernames of the realm.
        realm: the realm as challenges spell it.
        algorithm: ``"MD5"``, ``"SHA-256"`` or ``"SHA-512-256"``.
    """

    def __init__(self, usernames: Iterable[str], realm: str, algorithm: str) -> None:
        pairs = sorted((user_hash(username, realm, algorithm), username) for username in usernames)
        self._hashes = [hashed for hashed, _ in pairs] or [""]
        self._usernames = [username for _, username in pairs] or [""]

    def find(self, hashed: str) -> tuple[str, bool]:
        """The username with that hash, or a neighbour's, and whether it has that hash."""
        hashed = hashed.lower()
        at = bisect_left(self._hashes, hashed) % len(self._hashes)
        return self._usernames[at], self._hashes[at] == hashed
