"""What an HSS tells S-CSCF unasked: new passwords (PPR) and users who are gone (RTR).

See 3GPP TS 29.228, 6.2.2 and 6.1.3. The store is looked at twice a second for changes. After one, all users
that an S-CSCF was told of are looked up again, some at a time, and it is told of those whose HA1 has changed.
A peer has a bounded number of such requests under way, and gets more when it has answered. One that is away
is told once it is back.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import Counter
from typing import Final

from auth_diameter._core import Message, next_hop_by_hop
from auth_diameter.diameter.base import result_of, value_of
from auth_diameter.diameter.cx import USER_UNKNOWN
from auth_diameter.disc.cx import To, push_profile, registration_termination
from auth_diameter.disc.peers import Peers
from auth_diameter.disc.registrations import Holder, Registration, Registrations, Told
from auth_diameter.disc.server import Disc
from auth_diameter.logs import Sparing
from auth_diameter.store.cache import CHECK_SECONDS
from auth_diameter.store.hashes import ha1_to_tell
from auth_diameter.store.pace import Pace
from auth_diameter.store.store import StoreError, User

log = logging.getLogger("auth_diameter.disc")

_LOOKED_UP: Final = 128  # users that are looked up together
_UNDER_WAY: Final = 32  # requests to a peer that have no answer so far
_PATIENCE: Final = 10.0  # seconds for an answer


class Pushes:
    """Pushes what has changed; for one event loop.

    Args:
        disc: knows the subscribers.
        peers: the peers of this DISC.
        registrations: whom each S-CSCF was told of.

    Attributes:
        answers: the number of answers to what was pushed, by command and Result-Code; that is 0 if none came.
    """

    def __init__(self, disc: Disc, peers: Peers, registrations: Registrations) -> None:
        self._disc = disc
        self._peers = peers
        self._registrations = registrations
        self._compared: int | None = None  # `Disc.changes` when all were compared; None: they are to be
        self._pace = Pace()
        self._due: dict[str, dict[Holder, str | None]] = {}  # by peer: what to push, HA1 or None: is gone
        self._away: set[str] = set()  # peers that could not be told something
        self._warned: set[tuple[str, int]] = set()  # peers and commands that were logged, for this connection
        # Whoever waits for an answer, by the peer and the Hop-by-Hop Identifier
        self._waiting: dict[tuple[str, int], asyncio.Future[Message]] = {}
        self._sessions = itertools.count(1)
        self._sparing = Sparing(log)
        self._watching: asyncio.Task[None] | None = None
        self._telling: set[asyncio.Task[None]] = set()
        self.answers: Counter[tuple[str, int]] = Counter()

    def begin(self) -> None:
        """Looks for changes from now on."""
        if self._watching is None:
            self._watching = asyncio.get_running_loop().create_task(self._watch())

    def close(self) -> None:
        """Pushes nothing more."""
        for task in (self._watching, *self._telling):
            if task is not None:
                task.cancel()

    def compare_again(self) -> None:
        """Has all users compared, although no change may be noticed."""
        self._compared = None

    def opened(self, peer: str) -> None:
        """Notes that a peer has a connection."""
        self._warned = {each for each in self._warned if each[0] != peer}
        if peer in self._away:
            self._away.discard(peer)
            self.compare_again()

    def answered(self, peer: str, message: Message) -> None:
        """Takes a PPA or RTA of a peer; one that nobody waits for is nothing."""
        waiting = self._waiting.get((peer, message.hop_by_hop))
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    # ------------------------------------------------------------------ what has changed

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                await self._look()
            except StoreError:  # the driver of the store has logged it; a change may have been missed
                self._compared = None
            except Exception as error:  # noqa: BLE001 - the next change may do better
                self._sparing.exception(error, time.monotonic(), "could not look for changes")

    async def _look(self) -> None:
        told = self._registrations.told
        if not told:
            return
        changes = await self._disc.notice_changes(time.time())
        if changes == self._compared or not self._pace.allows():
            return
        self._compared = changes
        holders = list(told)
        took = 0.0
        for start in range(0, len(holders), _LOOKED_UP):
            began = time.monotonic()
            await self._compare(holders[start : start + _LOOKED_UP])
            took += time.monotonic() - began
            await asyncio.sleep(0)  # others have their turn
        self._pace.done(took)

    async def _compare(self, holders: list[Holder]) -> None:
        told = self._registrations.told
        keys = {holder: User(holder.user, told[holder].realm, "MD5") for holder in holders if holder in told}
        found = await self._disc.look_up(set(keys.values()), time.time())
        for holder, key in keys.items():
            if isinstance(found[key], StoreError):
                self.compare_again()
            elif holder in told:  # still
                self._decide(holder, told[holder], ha1_to_tell(found[key]))

    def _decide(self, holder: Holder, told: Told, ha1: str | None) -> None:
        """Has a holder told if HA1 is not what it was told."""
        due = self._due.get(told.peer)
        if ha1 is not None and self._registrations.mark(ha1) == told.mark:
            if due is not None:
                due.pop(holder, None)
        elif self._peers.that_is_told_ha1(told.peer) is None:
            self._away.add(told.peer)
        elif due is not None:
            due[holder] = ha1
        else:
            self._due[told.peer] = {holder: ha1}
            task = asyncio.get_running_loop().create_task(self._tell(told.peer))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    # ------------------------------------------------------------------ what is pushed

    async def _tell(self, peer: str) -> None:
        """Pushes what is due to a peer, the latest first, until that is nothing more or the peer is away."""
        due = self._due[peer]
        try:
            goes_on = True
            while due and goes_on:
                part = [due.popitem() for _ in range(min(_UNDER_WAY, len(due)))]
                goes_on = all(await asyncio.gather(*(self._push(*each) for each in part)))
        finally:
            del self._due[peer]

    async def _push(self, holder: Holder, ha1: str | None) -> bool:
        """Pushes one user; returns False if the peer is away."""
        told = self._registrations.told.get(holder)
        if told is None:
            return True
        peer = self._peers.that_is_told_ha1(told.peer)
        if peer is None:
            self._away.add(told.peer)
            return False
        request = self._request(holder, told, ha1)
        if ha1 is None:
            after = None
            del self._registrations.told[holder]
        else:
            after = self._registrations.told[holder] = told._replace(mark=self._registrations.mark(ha1))
        place = peer.name, request.hop_by_hop
        waiting = self._waiting[place] = asyncio.get_running_loop().create_future()
        peer.connection.transmit(request)
        try:
            async with asyncio.timeout(_PATIENCE):
                answer = await waiting
        except TimeoutError:
            self.answers[request.name, 0] += 1
            if self._peers.that_is_told_ha1(peer.name) is peer:
                self._warn(peer.name, request, "no answer")
            if self._registrations.told.get(holder) is after:
                self._registrations.told[holder] = told  # so that it is told again
            self._away.add(peer.name)
            return True  # it may answer another command
        finally:
            del self._waiting[place]
        self._take(holder, after, peer.name, request, answer)
        return True

    def _take(self, holder: Holder, after: Told | None, peer: str, request: Message, answer: Message) -> None:
        result = result_of(answer) or 0
        self.answers[answer.name, result] += 1
        if after is None:
            for registration in self._of(holder):
                self._registrations.forget(registration.key)
        if result // 1000 == 2:
            return
        if result != USER_UNKNOWN or value_of(answer, "Result-Code") is not None:
            self._warn(peer, request, f"the answer {result}")
        # It has the user no longer, or takes no such request: it is not told of the user again.
        if after is not None and self._registrations.told.get(holder) is after:
            del self._registrations.told[holder]

    def _warn(self, peer: str, request: Message, what: str) -> None:
        text = "peer %s: gave %s to a %s: it may go on with what it was told before"
        if (peer, request.command) not in self._warned:
            self._warned.add((peer, request.command))
            log.warning(text, peer, what, request.name)

    def _of(self, holder: Holder) -> list[Registration]:
        """The registrations of a user that an S-CSCF has."""
        return [each for each in self._registrations.of_user(holder.user) if each.host == holder.host]

    def _request(self, holder: Holder, told: Told, ha1: str | None) -> Message:
        node = self._peers.cx_node
        session = f"{node.host};{node.state_id};{next(self._sessions)}"
        to = To(session, holder.host, told.peer_realm, next_hop_by_hop())
        if ha1 is None:
            identities = [registration.identity for registration in self._of(holder)]
            return registration_termination(node, to, holder.user, identities)
        return push_profile(node, to, holder.user, told.realm, ha1)
