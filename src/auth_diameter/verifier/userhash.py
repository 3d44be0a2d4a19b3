"""Hashed usernames (RFC 7616, 3.4.4): ``userhash=true`` in credentials, and the user whose hash they have.

With `VerifierConfig.userhash`, the verifier asks the store for the user with the hash (`HashedUser`).
:mod:`auth_diameter.store.userhash` has the hashes of a realm's users.
"""

from __future__ import annotations

from auth_diameter._core import Credentials
from auth_diameter.store.store import HashedCandidates, HashedUser
from auth_diameter.verifier.turn import Turn


def find(turn: Turn, credentials: Credentials, realm: str, base: str) -> HashedCandidates | None:
    """The HA1 and the username of the user with this hash; None if the key is missing.

    Args:
        turn: the turn of the credentials.
        credentials: credentials with a hashed username.
        realm: their realm.
        base: the algorithm of the HA1, which is that of the hash.
    """
    key = HashedUser(credentials.username, realm, base)
    found: HashedCandidates | None = turn.value(key)
    if found is not None:
        turn.found[key] = found  # the cache may drop the value before the username is needed
    return found


def name_of(turn: Turn, credentials: Credentials, base: str) -> str | None:
    """The username of credentials, also of those with its hash.

    Returns:
        The username; "" if no user has the hash; None if the key is missing.
    """
    if not credentials.userhash:
        return credentials.username
    found = find(turn, credentials, credentials.realm or "", base)
    return None if found is None else username(found)


def username(found: HashedCandidates) -> str:
    """The username with the hash; "" if no user has it."""
    return ("", found.username)[found.matches]  # the same time for both


def account(found: HashedCandidates, hashed: str) -> str:
    """The account at which wrong credentials are a guess: a hash that no user has is one of its own."""
    return username(found) or hashed.lower()
