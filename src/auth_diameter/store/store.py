"""The interface of a store, which knows the subscribers, their HA1 and their groups.

The verifier asks with keys and gets a value for each. A key is a small value that says what to look up:
:class:`Realm`, :class:`User`, :class:`HashedUser`, :class:`Algorithms`, :class:`Member`. All keys that are
missing in one turn of the event loop are fetched in one call, so a store can query its database once.

Every store keeps these rules:

- A username is compared byte for byte, a realm without regard to the case of ASCII letters (RFC 4343).
- The time of a fetch does not tell whether a user exists. A store makes the same queries for any user, and
  processes the results in the same way.
- No HA1 and no password is ever in a repr, a log line or an exception.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal, NamedTuple, Protocol

from auth_diameter._core import DiscError

# --- keys: each ends with its kind, so that keys of different kinds are never equal ----------------------


class Realm(NamedTuple):
    """The key for a realm: whether it is served, and how it is spelled. The value is a :class:`Spelling`."""

    name: str
    kind: Literal["realm"] = "realm"


class User(NamedTuple):
    """The key for the HA1 of a user. The value is a :class:`Candidates`.

    Attributes:
        username: as in the credentials, with or without a domain.
        realm: as in the credentials.
        algorithm: ``"MD5"``, ``"SHA-256"`` or ``"SHA-512-256"``.
    """

    username: str
    realm: str
    algorithm: str
    kind: Literal["user"] = "user"


class HashedUser(NamedTuple):
    """The key for the HA1 of a hashed username (RFC 7616, 3.4.4).

    The value is a :class:`HashedCandidates`.
    """

    hashed: str
    realm: str
    algorithm: str
    kind: Literal["hashed"] = "hashed"

    def __repr__(self) -> str:
        # A client may send anything as a hash, an HA1 too; so it is shown as in the log.
        return f"HashedUser(hashed='{self.hashed[:16]}…', realm={self.realm!r}, algorithm={self.algorithm!r})"


class Algorithms(NamedTuple):
    """The key for the algorithms that a user can use. The value is an :class:`Offer`."""

    username: str
    realm: str
    kind: Literal["algorithms"] = "algorithms"


class Member(NamedTuple):
    """The key for a group membership. The value is a bool.

    Attributes:
        username: compared byte for byte.
        domain: the user's domain; "" for any. A SIP server with ``use_domain`` off sends the username alone,
            and so declares that its usernames are unique over all domains.
        group: compared byte for byte.
    """

    username: str
    domain: str
    group: str
    kind: Literal["member"] = "member"


Key = Realm | User | HashedUser | Algorithms | Member

#: The classes of keys, by the name of their kind.
KEYS: dict[str, type[Any]] = {
    "realm": Realm,
    "user": User,
    "hashed": HashedUser,
    "algorithms": Algorithms,
    "member": Member,
}

# --- values: never None ----------------------------------------------------------------------------------


class Spelling(NamedTuple):
    """A realm in the spelling with which HA1 was computed, for challenges; None if it has no subscribers."""

    realm: str | None


class Candidates(NamedTuple):
    """The HA1 with which a digest may have been computed.

    Attributes:
        known: whether the user exists. If not, no digest is right.
        ha1s: one HA1 in lower-case hex digits, or two without a separator. An HA1 that matches no password
            takes the place of a missing one. The number depends only on the username and the realm.
    """

    known: bool
    ha1s: str

    def __repr__(self) -> str:
        return "Candidates(...)"


class HashedCandidates(NamedTuple):
    """The same for a hashed username.

    Attributes:
        known: whether the user exists. If not, no digest is right.
        ha1s: as in `Candidates`.
        username: the username with this hash, or a neighbour's.
        matches: whether the username has this hash.
    """

    known: bool
    ha1s: str
    username: str
    matches: bool

    def __repr__(self) -> str:
        return "HashedCandidates(...)"


class Offer(NamedTuple):
    """The algorithms to offer to a user, each tuple from the weakest on.

    Attributes:
        own: the algorithms for which the user has an HA1. For a user who does not exist or has none, the same
            as `usual`, so that challenges do not tell who exists.
        usual: the algorithms for which most users of the realm have an HA1; empty if the realm has no
            subscribers.
    """

    own: tuple[str, ...]
    usual: tuple[str, ...]


#: A value for each key, of the type that the key's class names; or a StoreError, see `Store.fetch`.
Found = dict[Key, Any]


class StoreError(DiscError):
    """The store could not be read; questions that need it fail.

    The message is one line with the store's name and the cause, and contains no secret.
    """


class StoreBusyError(StoreError):
    """The store can be read, but not for these keys, or not fast enough; others may have values."""


class Changed(Protocol):
    """Whoever is told that a database has changed."""

    def __call__(self, keys: Collection[Key] | None = None, *, expired: bool = False) -> None:
        """Takes the keys whose values have changed; None: any may have.

        Args:
            keys: the keys.
            expired: whether only the lifetime of their values has ended, and no change is known of.
        """


class Store(Protocol):
    """A source of subscribers. Only one event loop may use a store at a time."""

    @property
    def name(self) -> str:
        """The name of the store in the log: a path, or a URL without its password."""

    @property
    def waits(self) -> bool:
        """Whether the two methods below wait for I/O; if not, they never yield to the event loop."""

    def watch(self, changed: Changed) -> None:
        """Has `changed()` called when the database tells that it has changed; most tell nothing."""

    async def version(self) -> int:
        """A number that changes when results of :meth:`fetch` may have changed.

        The cache calls this every half second. A store that cannot tell changes it every second.

        Raises:
            StoreError: the store could not be read.
        """

    async def fetch(self, keys: Collection[Key]) -> Found:
        """Looks up all keys at once. Every key gets a value, even an unknown user or realm.

        Args:
            keys: the keys to look up.

        Returns:
            A value for each key. If a lookup of one key alone fails, its StoreError is in place of the value.

        Raises:
            StoreError: the store could not be read; there is no value for any key.
        """
