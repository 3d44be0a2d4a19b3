"""What an HSS remembers: which S-CSCF serves an identity, and of whom each was told HA1 (3GPP TS 29.228).

It is kept in memory, and the oldest is forgotten first. An identity is in one of three states::

    state           S-CSCF                    how it comes to that
    ──────────────────────────────────────────────────────────────────────────────────────────────────
    NOT_REGISTERED  none, or that of a MAR    no SAR so far, or one of a deregistration
    UNREGISTERED    that of the SAR           UNREGISTERED_USER, or a deregistration that keeps the name
    REGISTERED      that of the SAR           REGISTRATION, RE_REGISTRATION
"""

from __future__ import annotations

import enum
import hashlib
import secrets
from collections import OrderedDict
from typing import Final, NamedTuple

MOST: Final = 100_000  # registrations, and users that an S-CSCF was told of; some 50 MB in all


class State(enum.Enum):
    """The state of a public identity (TS 29.228, 6.1.1 and 6.1.2)."""

    NOT_REGISTERED = enum.auto()
    UNREGISTERED = enum.auto()
    REGISTERED = enum.auto()


class Registration(NamedTuple):
    """The S-CSCF of a public identity.

    Attributes:
        key: what the public identity is known by.
        identity: the same as the S-CSCF spells it.
        user: the private identity.
        server: Server-Name, the SIP URI of the S-CSCF.
        host: Origin-Host of the S-CSCF.
        state: what the S-CSCF has said of it.
    """

    key: str
    identity: str
    user: str
    server: str
    host: str
    state: State


class Holder(NamedTuple):
    """An S-CSCF that has HA1 of a user.

    Attributes:
        user: the private identity, as the S-CSCF spells it.
        host: Origin-Host of the S-CSCF.
    """

    user: str
    host: str


class Told(NamedTuple):
    """What an S-CSCF was last told of a user.

    Attributes:
        peer: the peer on whose connection it is reached: itself, or a relay.
        peer_realm: Origin-Realm of the S-CSCF.
        realm: Digest-Realm.
        mark: of HA1, see `Registrations.mark`.
    """

    peer: str
    peer_realm: str
    realm: str
    mark: bytes

    def __repr__(self) -> str:
        return f"Told(peer={self.peer!r}, realm={self.realm!r}, ...)"


class Registrations:
    """The registrations of one HSS.

    Args:
        most: of each kind that are remembered.

    Attributes:
        told: what each S-CSCF was told, the oldest first; see `note`.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[str, Registration] = OrderedDict()
        self._of_user: dict[str, dict[str, None]] = {}  # keys, the oldest first
        self.told: OrderedDict[Holder, Told] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: str) -> Registration | None:
        """The registration of a public identity; None: there is none."""
        return self._known.get(key)

    def of_user(self, user: str) -> list[Registration]:
        """All registrations of a private identity."""
        return [self._known[key] for key in self._of_user.get(user, ())]

    def put(self, registration: Registration) -> None:
        """Remembers a registration in the place of a former one, and forgets the oldest beyond the bound."""
        self.forget(registration.key)
        self._known[registration.key] = registration
        self._of_user.setdefault(registration.user, {})[registration.key] = None
        while len(self._known) > self._most:
            self.forget(next(iter(self._known)))

    def forget(self, key: str) -> None:
        """Forgets the registration of a public identity, if there is one."""
        registration = self._known.pop(key, None)
        if registration is not None:
            its = self._of_user[registration.user]
            del its[key]
            if not its:
                del self._of_user[registration.user]

    def note(self, holder: Holder, told: Told) -> None:
        """Remembers what an S-CSCF was told, and forgets the oldest beyond the bound."""
        self.told[holder] = told
        self.told.move_to_end(holder)
        while len(self.told) > self._most:
            self.told.popitem(last=False)

    def mark(self, ha1: str) -> bytes:
        """What an HA1 is recognised by without being kept: a hash with a key of this process."""
        return hashlib.blake2b(ha1.encode(), digest_size=16, key=self._key).digest()
