"""Whose hashed username it is (RFC 7616, 3.4.4)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from auth_diameter._core import user_hash


class HashedNames:
    """The usernames of a realm by their hashes; one that is nobody's takes as long to look up as another.

    So it is no dict, in which only what is there has its key compared, but a search by halves.
    """

    def __init__(self, usernames: Iterable[str], realm: str, algorithm: str) -> None:
        pairs = sorted((user_hash(username, realm, algorithm), username) for username in usernames)
        self._hashes = [hashed for hashed, _ in pairs] or [""]
        self._usernames = [username for _, username in pairs] or [""]

    def find(self, hashed: str) -> tuple[str, bool]:
        """The username with that hash, or that of its neighbour; and whether it is the one with that hash."""
        hashed = hashed.lower()
        at = bisect_left(self._hashes, hashed) % len(self._hashes)
        return self._usernames[at], self._hashes[at] == hashed
