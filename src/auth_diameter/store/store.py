"""What a store is: it knows the subscribers, their HA1 and their groups.

Whoever judges digests asks with keys and gets a value for each of them. A key is a small value that says what
is to be known: :class:`Realm`, :class:`User`, :class:`HashedUser`, :class:`Algorithms`, :class:`Member`. All
keys that one turn of the loop lacks are fetched in one call, so a store can ask its database once.

Every store keeps these rules:

- A username is compared byte for byte, a realm without regard to the case of ASCII letters (RFC 4343).
- The time of a fetch does not tell whether a user exists. A store asks the same of its database and does the
  same with what comes, whoever is asked for.
- Nothing here shows an HA1 or a password in a repr, a log line or an exception.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal, NamedTuple, Protocol

from auth_diameter._core import DiscError

# --- keys: each ends with its kind, so that keys of two kinds are never equal ----------------------------


class Realm(NamedTuple):
    """How is this realm spelled, and is it served at all? The value is a :class:`Spelling`."""

    name: str
    kind: Literal["realm"] = "realm"


class User(NamedTuple):
    """What may a digest by this username have been made with? The value is a :class:`Candidates`.

    Args:
        username: as the digest has it, with or without a domain.
        realm: as the digest has it.
        algorithm: ``"MD5"``, ``"SHA-256"`` or ``"SHA-512-256"``.
    """

    username: str
    realm: str
    algorithm: str
    kind: Literal["user"] = "user"


class HashedUser(NamedTuple):
    """The same for a hashed username (RFC 7616 3.4.4). The value is a :class:`HashedCandidates`."""

    hashed: str
    realm: str
    algorithm: str
    kind: Literal["hashed"] = "hashed"


class Algorithms(NamedTuple):
    """With what can this user be authenticated? The value is an :class:`Offer`."""

    username: str
    realm: str
    kind: Literal["algorithms"] = "algorithms"


class Member(NamedTuple):
    """Is this user in this group? The value is a bool.

    Args:
        domain: "" stands for any. A SIP server with ``use_domain`` off sends the user's name alone, and so
            says that its names are unique over all domains.
        group: compared byte for byte.
    """

    username: str
    domain: str
    group: str
    kind: Literal["member"] = "member"


Key = Realm | User | HashedUser | Algorithms | Member

# --- values: never None ----------------------------------------------------------------------------------


class Spelling(NamedTuple):
    """A realm as HA1 was made with it, to be sent in a challenge; None: nobody is in that realm."""

    realm: str | None


class Candidates(NamedTuple):
    """The HA1 with which a digest may have been made.

    Attributes:
        known: whether there is such a user. If not, no digest is right.
        ha1s: one HA1 in lower-case hex digits, or two without a gap. An HA1 that nobody has stands in the
            place of each one that is missing. The names alone say how many there are.
    """

    known: bool
    ha1s: str

    def __repr__(self) -> str:
        return "Candidates(...)"


class HashedCandidates(NamedTuple):
    """The same for a hashed username.

    Attributes:
        username: whose hash it is, or that of a neighbour.
        matches: whether it is theirs.
    """

    known: bool
    ha1s: str
    username: str
    matches: bool

    def __repr__(self) -> str:
        return "HashedCandidates(...)"


class Offer(NamedTuple):
    """The algorithms of a user, each from the weakest on.

    Attributes:
        own: with which the user can be authenticated; of a user who does not exist, or cannot be
            authenticated at all, `usual`. So challenges do not tell who exists.
        usual: with which most users of the realm can be authenticated; empty: nobody is in the realm.
    """

    own: tuple[str, ...]
    usual: tuple[str, ...]


#: A value for each key, of the type that the key's class names.
Found = dict[Key, Any]


class StoreError(DiscError):
    """The store could not be read just now; DISC answers 5012 (UNABLE_TO_COMPLY, RFC 6733 7.1.5).

    The message is one line with the store's name and the cause; no secret is in it.
    """


class Store(Protocol):
    """Whoever knows HA1. One loop uses it at a time."""

    @property
    def name(self) -> str:
        """What to call it in the log: a path, or a URL without its password."""

    async def version(self) -> int | None:
        """Give a number that is another one once :meth:`fetch` may answer otherwise than before.

        It is asked for every half second. None: this store cannot tell, so what it said gets old.

        Raises:
            StoreError: the store could not be read.
        """

    async def fetch(self, keys: Collection[Key]) -> Found:
        """Look up all keys at once; there is a value for each, also for users and realms that are not there.

        Raises:
            StoreError: the store could not be read; nothing is known of any key then.
        """
