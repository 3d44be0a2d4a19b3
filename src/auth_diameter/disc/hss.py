"""DISC as an HSS: what UAR, SAR and LIR get (3GPP TS 29.228, 6.1). MAR are judged by `Turns`.

The rules, in the order in which they are looked for, by the state of the public identity (`State`). It is
another S-CSCF's if it has another Server-Name than the SAR, and is not NOT_REGISTERED::

    asked                        about an identity that is      answer                 then it is
    ────────────────────────────────────────────────────────────────────────────────────────────────────
    any of the three             of a realm not served          3003                   the same
                                 unknown                        E 5001                 the same
                                 another user's                 E 5002                 the same
    UAR  REGISTRATION            without an S-CSCF              E 2001 (first)         the same
                                 any other                      E 2002, Server-Name    the same
         DEREGISTRATION          NOT_REGISTERED                 E 5003                 the same
                                 any other                      2001, Server-Name      the same
         …_AND_CAPABILITIES      any                            2001                   the same
    SAR  (RE_)REGISTRATION       another S-CSCF's               E 5005                 the same
                                 any other                      2001, User-Data        REGISTERED
         UNREGISTERED_USER       another S-CSCF's               E 5005                 the same
                                 any other                      2001, User-Data        UNREGISTERED
         NO_ASSIGNMENT           the S-CSCF's                   2001, User-Data        the same
                                 any other                      5012                   the same
         …_DEREGISTRATION        of another S-CSCF              5012                   the same
                                 any other                      2001                   forgotten
         …_STORE_SERVER_NAME     the same two                   5012, 2001             UNREGISTERED
         AUTHENTICATION_…        NOT_REGISTERED, the S-CSCF's   2001                   forgotten
                                 any other                      2001                   the same
    LIR                          NOT_REGISTERED                 E 5003                 the same
                                 any other                      2001, Server-Name      the same

E marks an Experimental-Result. While the store cannot be read, all get 5012. A MAR that gets HA1 notes the
name of its S-CSCF, even if another one has the identity: so a new S-CSCF takes it over (8.1).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from typing import NamedTuple, TypeAlias

from auth_diameter._core import Avp, CxMarRequest, Message, cx_digest_of
from auth_diameter.diameter.assignment import Assignment, Authorization
from auth_diameter.diameter.base import REALM_NOT_SERVED, UNABLE_TO_COMPLY, avp_named
from auth_diameter.diameter.cx import (
    FIRST_REGISTRATION,
    IDENTITIES_DONT_MATCH,
    IDENTITY_ALREADY_REGISTERED,
    IDENTITY_NOT_REGISTERED,
    LOCATION_INFO,
    SERVER_ASSIGNMENT,
    SUBSEQUENT_REGISTRATION,
    USER_AUTHORIZATION,
    USER_UNKNOWN,
    experimental,
    of_3gpp,
)
from auth_diameter.disc.cx import (
    DEREGISTRATIONS,
    Address,
    Asked,
    Digest,
    Refused,
    address_of,
    granted,
    key_of,
    read,
    refused,
    user_data,
)
from auth_diameter.disc.peers import Peer, Peers
from auth_diameter.disc.pushes import Pushes
from auth_diameter.disc.registrations import Holder, Registration, Registrations, State, Told
from auth_diameter.disc.server import Disc
from auth_diameter.store.hashes import ha1_to_tell
from auth_diameter.store.names import fold_realm
from auth_diameter.store.store import Found, Key, Realm, StoreError, User


class _Subscriber(NamedTuple):
    """A user that exists.

    Attributes:
        name: the private identity.
        realm: its realm, as the database spells it.
        ha1: what a MAA would tell; None: the database has none.
    """

    name: str
    realm: str
    ha1: str | None


#: Experimental-Result, or None for DIAMETER_SUCCESS; and further AVPs.
_Granted: TypeAlias = tuple[Avp | None, list[Avp]]


class Hss:
    """An HSS; for one event loop.

    Args:
        disc: knows the subscribers.
        peers: the peers of this DISC.

    Attributes:
        registrations: what is remembered.
        pushes: tells S-CSCF what has changed.
    """

    def __init__(self, disc: Disc, peers: Peers) -> None:
        self._disc = disc
        self._peers = peers
        self._node = peers.cx_node
        self._loop = asyncio.get_running_loop()
        self._answers = {
            USER_AUTHORIZATION: self._authorize,
            SERVER_ASSIGNMENT: self._assign,
            LOCATION_INFO: self._locate,
        }
        self.registrations = Registrations()
        self.pushes = Pushes(disc, peers, self.registrations)

    def answers(self, message: Message) -> bool:
        """Whether `answer` has an answer to a request of Cx."""
        return message.command in self._answers

    async def answer(self, message: Message, peer: Peer) -> Message:
        """Answers an UAR, SAR or LIR of a peer that is told HA1."""
        try:
            asked = read(self._node, message)
            result, more = await self._answers[message.command](asked, peer)
        except Refused as refusal:
            return refused(self._node, message, refusal)
        except StoreError:  # the driver of the store has logged it
            return refused(self._node, message, _UNABLE)
        except Exception as error:  # noqa: BLE001 - whoever asked gets an answer
            said = {"message": f"{message.name} could not be answered", "exception": error}
            self._loop.call_exception_handler(said)
            return refused(self._node, message, _UNABLE)
        return granted(self._node, message, result, *more)

    @property
    def changes(self) -> int:
        """As `Disc.changes`; see `told`."""
        return self._disc.changes

    def told(self, asked: CxMarRequest, said: bytes, since: int, peer: Peer) -> None:
        """Notes whose HA1 an S-CSCF was told, and its name (TS 29.228, 6.3.1).

        Args:
            asked: a MAR.
            said: its MAA.
            since: `changes` when the MAR came.
            peer: the peer that asked.
        """
        digest = cx_digest_of(said)
        if digest is None:
            return
        host, realm = asked.sender
        user, identity = asked.identities
        self._note(Holder(user, host), realm, Digest(*digest), peer)
        if since != self._disc.changes:  # what it was told may be older than the change
            self.pushes.compare_again()
        server = asked.server_name
        if server is not None:
            self._name(Registration(key_of(identity), identity, user, server, host, State.NOT_REGISTERED))

    def _name(self, asking: Registration) -> None:
        """Notes the name of the S-CSCF that authenticates a user."""
        known = self.registrations.get(asking.key)
        if known is None or (known.state is State.NOT_REGISTERED and known != asking):
            self.registrations.put(asking)
        elif known.server != asking.server:  # whose it is says a SAR alone
            self.registrations.put(known._replace(server=asking.server, host=asking.host))

    def _note(self, holder: Holder, peer_realm: str, digest: Digest, peer: Peer) -> None:
        told = Told(peer.name, peer_realm, digest.realm, self.registrations.mark(digest.ha1))
        self.registrations.note(holder, told)
        self.pushes.begin()

    # ------------------------------------------------------------------ what each command gets

    async def _authorize(self, asked: Asked, peer: Peer) -> _Granted:
        """User registration status query (TS 29.228, 6.1.1)."""
        assert asked.user is not None
        identity = asked.identities[0]
        await self._check(asked, asked.user, identity)
        known = self.registrations.get(key_of(identity))
        if asked.authorization is Authorization.REGISTRATION_AND_CAPABILITIES:
            return None, []
        if asked.authorization is Authorization.DEREGISTRATION:
            if known is None or known.state is State.NOT_REGISTERED:
                raise _refused(IDENTITY_NOT_REGISTERED)
            return None, [_server(known)]
        if known is None:
            return experimental(FIRST_REGISTRATION), []
        return experimental(SUBSEQUENT_REGISTRATION), [_server(known)]

    async def _assign(self, asked: Asked, peer: Peer) -> _Granted:
        """S-CSCF registration and deregistration notification (TS 29.228, 6.1.2)."""
        user = asked.user or self._owner(asked.identities[0])
        subscriber = None if asked.identities else await self._find(asked, user, "")
        for identity in asked.identities:
            subscriber = await self._check(asked, user, identity)
        assert subscriber is not None
        name = avp_named("User-Name", user)
        if asked.assignment in DEREGISTRATIONS:
            self._deregister(asked, user)
            return None, [name]
        identity = asked.identities[0]
        key = key_of(identity)
        known = self.registrations.get(key)
        server = asked.server or ""
        is_its = known is not None and known.server == server
        match asked.assignment:
            case Assignment.AUTHENTICATION_FAILURE | Assignment.AUTHENTICATION_TIMEOUT:
                # Whoever guesses a password must not end the registration of somebody who knows it.
                if known is not None and is_its and known.state is State.NOT_REGISTERED:
                    self.registrations.forget(key)
                return None, [name]
            case Assignment.NO_ASSIGNMENT:
                if not is_its:
                    raise Refused(UNABLE_TO_COMPLY, "the identity is not assigned to this S-CSCF")
            case _:
                if known is not None and not is_its and known.state is not State.NOT_REGISTERED:
                    raise _refused(IDENTITY_ALREADY_REGISTERED)
                unregistered = asked.assignment is Assignment.UNREGISTERED_USER
                state = State.UNREGISTERED if unregistered else State.REGISTERED
                self.registrations.put(Registration(key, identity, user, server, asked.origin_host, state))
                holder = Holder(user, asked.origin_host)
                if subscriber.ha1 is not None and holder not in self.registrations.told:
                    # What it was told before a restart is not known.
                    self._note(holder, asked.origin_realm, Digest(subscriber.realm, subscriber.ha1), peer)
        return None, [name] if asked.has_user_data else [name, user_data(user, identity)]

    def _deregister(self, asked: Asked, user: str) -> None:
        """Ends the registration of these identities, or of all of a user; or keeps the name of the S-CSCF."""
        if asked.identities:
            keys = map(key_of, asked.identities)
            known = [registration for key in keys if (registration := self.registrations.get(key))]
        else:
            known = self.registrations.of_user(user)
        if asked.identities and any(registration.server != asked.server for registration in known):
            raise Refused(UNABLE_TO_COMPLY, "the identity is assigned to another S-CSCF")
        keeps = asked.assignment in (
            Assignment.TIMEOUT_DEREGISTRATION_STORE_SERVER_NAME,
            Assignment.USER_DEREGISTRATION_STORE_SERVER_NAME,
        )
        for registration in known:
            if registration.server != asked.server:
                continue
            if keeps:
                self.registrations.put(registration._replace(state=State.UNREGISTERED))
            else:
                self.registrations.forget(registration.key)

    async def _locate(self, asked: Asked, peer: Peer) -> _Granted:
        """User location query (TS 29.228, 6.1.4)."""
        identity = asked.identities[0]
        await self._check(asked, self._owner(identity), identity)
        known = self.registrations.get(key_of(identity))
        if known is None or known.state is State.NOT_REGISTERED:
            raise _refused(IDENTITY_NOT_REGISTERED)
        return None, [_server(known)]

    # ------------------------------------------------------------------ subscribers

    def _owner(self, identity: str) -> str:
        """The private identity of a public one: whoever registered it, or else who has it for their own."""
        known = self.registrations.get(key_of(identity))
        if known is not None:
            return known.user
        user, host = address_of(identity)
        return f"{user}@{host}"

    async def _check(self, asked: Asked, user: str, identity: str) -> _Subscriber:
        """Looks a user up by the rules of `cx_server.pyx`: both identities exist, and belong together.

        Raises:
            Refused: they do not.
            StoreError: the store cannot be read.
        """
        address = address_of(identity)
        found = await self._find(asked, user, address.host)
        if self._peers.config.own_addresses and not _is_own(address, found):
            raise _refused(IDENTITIES_DONT_MATCH)
        return found

    async def _find(self, asked: Asked, user: str, host: str) -> _Subscriber:
        """Looks a user up in the first realm that is served: its own, that of the public identity, or ours.

        Raises:
            Refused: there is no such user.
            StoreError: the store cannot be read.
        """
        now = time.time()
        realms = dict.fromkeys(realm for realm in (user.partition("@")[2], host, asked.realm) if realm)
        keys: list[Key] = [Realm(realm) for realm in realms]
        spellings = await self._look_up(keys, now)
        served = {key.name: spellings[key][0] for key in keys if isinstance(key, Realm)}
        if fold_realm(asked.realm) != fold_realm(self._node.realm) and served[asked.realm] is None:
            raise Refused(REALM_NOT_SERVED, "Destination-Realm has no subscribers")
        realm = next((served[each] for each in realms if served[each] is not None), None)
        if realm is None:
            raise _refused(USER_UNKNOWN)
        key = User(user, realm, "MD5")
        found = (await self._look_up([key], now))[key]
        if not found[0]:
            raise _refused(USER_UNKNOWN)
        return _Subscriber(user, realm, ha1_to_tell(found))

    async def _look_up(self, keys: Collection[Key], now: float) -> Found:
        """As `Disc.look_up`, but every key has a value.

        Raises:
            StoreError: one of them has none.
        """
        found = await self._disc.look_up(keys, now)
        for value in found.values():
            if isinstance(value, StoreError):
                raise value
        return found


def _is_own(address: Address, subscriber: _Subscriber) -> bool:
    """Whether an address is the user's own: the same user, and the realm as its host."""
    user, _, domain = subscriber.name.partition("@")
    host = fold_realm(address.host)
    is_of_realm = host == fold_realm(subscriber.realm) and (not domain or host == fold_realm(domain))
    return user == address.user and is_of_realm


_UNABLE = Refused(UNABLE_TO_COMPLY, "no decision is possible now")
_WHY = {
    USER_UNKNOWN: "the user is unknown",
    IDENTITIES_DONT_MATCH: "the public identity is another user's",
    IDENTITY_NOT_REGISTERED: "the public identity is not registered",
    IDENTITY_ALREADY_REGISTERED: "the public identity is registered with another S-CSCF",
}


def _refused(code: int) -> Refused:
    return Refused(experimental(code), _WHY[code])


def _server(registration: Registration) -> Avp:
    return of_3gpp("Server-Name", registration.server)
