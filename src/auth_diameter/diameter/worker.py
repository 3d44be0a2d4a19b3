"""The transport of worker processes, as in Kamailio: one question at a time, and nothing goes on in between.

A worker waits for SIP most of the time, and may keep the GIL meanwhile. So no thread connects: the question
that needs a connection does. What it leaves unfinished, the next question goes on with. The name of a peer is
looked up when the transport is made, before the fork. Later lookups have a thread, for the C library's has no
time limit; nothing depends on when that thread runs.

While a worker waits for DISC, it answers nobody else. So the workers have the breakers of the peers in common
(see `_core/state/breakers.pyx`)::

    a peer hangs                          the workers
    ──────────────────────────────────    ─────────────────────────────────────────────────────────────
    the first question in vain expires    all give up that wait for this peer, and its breaker is open
    it goes on to hang                    questions are refused at once, but for one probe a second of
                                          one of them, which waits 250 ms
    it answers again, late or in time     the breaker is closed for all
"""

from __future__ import annotations

import errno
import math
import socket
import threading
import time
from collections.abc import Sequence
from typing import Final

from auth_diameter._core import Answer, Breakers, Question
from auth_diameter.addresses import show
from auth_diameter.config import Config
from auth_diameter.decision import Cause
from auth_diameter.diameter.connecting import Connecting, wait_for
from auth_diameter.diameter.connection import PROBING, Connection
from auth_diameter.diameter.dialling import Dial
from auth_diameter.diameter.peer import PROBE_EVERY, Change, Peer, PeerState
from auth_diameter.diameter.peer_table import PATIENCE
from auth_diameter.diameter.resolver import Outcome
from auth_diameter.diameter.sync import SyncTransport, limit_time, make_ready
from auth_diameter.diameter.waiters import Waiter

_STATES: Final[tuple[PeerState, ...]] = ("new", "up", "down", "silent")  # by their numbers in `Breakers`
_READ = 65_536  # bytes
_TOLD = 0.05  # seconds within which a worker whose question has expired has told the others
_UNNOTED = 0.05  # seconds that a question waits before the other workers are told of it


class WorkerTransport(SyncTransport):
    """Questions and answers of one process, and of those that are forked from it, one at a time in each.

    To be made before the fork.

    Args:
        config: the settings; the DISC dialect is spoken.
        breakers: what all workers know of the peers.
    """

    def __init__(self, config: Config, breakers: Breakers) -> None:
        self._breakers = breakers
        self._places = [breakers.place_of(show(*address)) for address in config.addresses()]
        self._connecting: list[Connecting] = []
        super().__init__(config)
        self._usual_limit = min(_UNNOTED, self._timeout)
        self._look_up_names()

    def _begin(self) -> None:
        super()._begin()
        for connecting in self._connecting:
            connecting.close()
        self._connecting = []
        self._seen = -1  # the version of the breakers
        # When the first probe was sent on a connection on which nothing has come since
        self._probed: dict[Connection, float] = {}

    def _look_up_names(self) -> None:
        """Waits for the addresses of all peers, up to the time limit of a connection."""
        until = time.monotonic() + self._config.connect_timeout
        for peer in self.pool.peers:
            known = threading.Event()

            def done(outcome: Outcome, known: threading.Event = known) -> None:
                known.set()

            self._resolver.look_up(peer.host, peer.port, done)
            known.wait(max(until - time.monotonic(), 0.0))

    # ------------------------------------------------------------------ before a question

    def ask(self, question: Question) -> Answer | Cause:
        """Asks DISC, and waits for its answer until the deadline.

        Args:
            question: the question.

        Returns:
            The answer, or the Cause why there is none.

        Raises:
            DiscError: this transport is closed.
        """
        now = time.monotonic()
        if self._connecting:
            self._go_on_connecting(0.0)
        if self._seen != self._breakers.version:
            with self._lock:
                self._learn(now)
        if any(peer.in_doubt for peer in self.pool.peers):
            claimed = self._prepare_probes(now)
            if all(peer.in_doubt for peer in self.pool.peers) and not self.closed:
                if not claimed:
                    return self.pool.refuse_in_doubt()
                question.deadline = now + min(PATIENCE, self._timeout)
        return super().ask(question)

    @property
    def places(self) -> Sequence[int]:
        """The places of the peers among the breakers, in the order of their numbers; -1: it has none."""
        return self._places

    @property
    def seen(self) -> int:
        """The version of the breakers that was taken over."""
        return self._seen

    def calm_until(self) -> float:
        """Until when a question on an idle connection needs nothing from here; seconds, monotonic."""
        if self.closed or self._connecting or self.pool.waiting:
            return -math.inf
        return -math.inf if any(peer.state == "new" for peer in self.pool.peers) else self.pool.due

    def resume(self, question: Question, error: int) -> Answer | Cause:
        """Waits for the answer to a question that compiled code has written.

        Args:
            question: the question, which is in flight.
            error: errno of the socket; 0: none; -1: the peer has closed the connection.

        Returns:
            The answer, or the Cause why there is none.
        """
        result: Answer | Cause | None = None
        if error == errno.EAGAIN and time.monotonic() >= question.deadline:
            result = self._timed_out(question.connection, question, question.deadline)
        elif error not in (0, errno.EINTR, errno.EAGAIN):
            result = self._broken(question.connection, question)
        return result if result is not None else self._go_on(question)

    def judge(self, connection: Connection) -> None:
        """Judges a connection on which more came to compiled code than an answer."""
        with self._lock:
            now = time.monotonic()
            self.pool.judge(connection, now)
            self._act(now)

    def _learn(self, now: float) -> None:
        """Takes over what other workers have found out."""
        self._seen = self._breakers.version
        for place, peer in zip(self._places, self.pool.peers, strict=True):
            if place < 0:
                continue
            number, rest_until = self._breakers.look(place)
            state = _STATES[number]
            if state != "new" and peer.in_doubt != (state in ("down", "silent")):
                self.pool.learn(peer, state, rest_until)
        self._act(now)

    def _prepare_probes(self, now: float) -> bool:
        """Looks for late answers of peers in doubt, and claims the probes that are due.

        Returns:
            Whether there is a probe.
        """
        claimed = False
        with self._lock:
            self._probed = {one: at for one, at in self._probed.items() if one in self.pool.connections}
            for connection in list(self.pool.connections):
                if connection.peer.in_doubt:
                    self._read_late(connection, now)
            for place, peer in zip(self._places, self.pool.peers, strict=True):
                if not peer.in_doubt or peer.rest_until > now or peer.opening:
                    continue
                if place >= 0:
                    peer.rest_until = self._breakers.claim_probe(place, now, now + PROBE_EVERY)
                if peer.rest_until > now:
                    self.pool.be_due(peer.rest_until)
                else:
                    claimed = True
        return claimed

    def _read_late(self, connection: Connection, now: float) -> None:
        """Takes what came on a connection since its question has ended."""
        sock: socket.socket = connection.transport
        try:
            data = sock.recv(_READ, socket.MSG_DONTWAIT)
        except BlockingIOError:
            if now - self._probed.get(connection, now) >= self._timeout:
                self._drop(connection)  # the network may have lost it
            return
        except OSError:
            data = b""
        if data:
            self.pool.received_on(connection, data, now)
            self._heard(connection, now)
            self._act(now)
        else:
            self._drop(connection)

    # ------------------------------------------------------------------ one question

    def _until(self, connection: Connection, question: Question) -> float:
        """As for threads; but first until a worker that has asked the peer in vain tells of that."""
        until = super()._until(connection, question)
        place = self._places[connection.peer.number]
        if place < 0 or connection.state is PROBING or connection.peer.in_doubt:
            return until
        now = time.monotonic()
        since = question.deadline - self._timeout
        first = self._breakers.asked(place, since, now, self._timeout)
        return min(until, max(first + self._timeout + _TOLD, since + PATIENCE))

    def _await_answer(self, connection: Connection, question: Question, until: float) -> Answer | None:
        """As for threads; goes on if no other worker has told that the peer hangs."""
        answer = super()._await_answer(connection, question, until)
        goes_on = answer is None and until < question.deadline and not connection.peer.in_doubt
        if goes_on and not self._is_told_to_hang(connection.peer):
            answer = super()._await_answer(connection, question, question.deadline)
        if answer is not None:
            self._heard(connection, time.monotonic())
        return answer

    def _heard(self, connection: Connection, now: float) -> None:
        self._probed.pop(connection, None)
        place = self._places[connection.peer.number]
        if place >= 0:
            self._breakers.heard(place, now)

    def _timed_out(self, connection: Connection, question: Question, until: float) -> Cause | None:
        """As for threads; but the answer to a probe may come late, and other workers wait no longer."""
        now = time.monotonic()
        if connection.state is PROBING and until >= question.deadline:
            with self._lock:
                limit_time(connection.transport, self._usual_limit)
                self._probed.setdefault(connection, now)
                return self.pool.expire_one(question, now)
        place = self._places[connection.peer.number]
        if place < 0 or connection.peer.in_doubt:
            return super()._timed_out(connection, question, until)
        asked_at = question.deadline - self._timeout
        if self._breakers.heard_since(place, asked_at) or self._is_told_to_hang(connection.peer):
            with self._lock:
                cause = self.pool.expire_one(question, now, is_alone=True)
                self._drop(connection)
                return cause
        return super()._timed_out(connection, question, question.deadline)

    def _is_told_to_hang(self, peer: Peer) -> bool:
        """Whether another worker has opened the breaker of a peer."""
        place = self._places[peer.number]
        return place >= 0 and _STATES[self._breakers.look(place)[0]] == "silent"

    def _drop(self, connection: Connection) -> None:
        self._probed.pop(connection, None)
        super()._drop(connection)

    def _note(self, change: Change, now: float) -> None:
        """Takes a change of a peer, for the log and for the other workers."""
        super()._note(change, now)
        for place, peer in zip(self._places, self.pool.peers, strict=True):
            if place >= 0 and repr(peer) == change.address:
                self._breakers.change(place, _STATES.index(change.state), now + change.rest)

    # ------------------------------------------------------------------ connecting

    def _start_opening(self, peer: Peer, now: float) -> None:
        dial = Dial(peer, self._resolver, self._config.connect_timeout, time.monotonic)
        self._connecting.append(Connecting(peer, dial, now))

    def _rest(self, waiter: Waiter, seconds: float) -> None:
        self._go_on_connecting(seconds)

    def _go_on_connecting(self, seconds: float) -> None:
        """Goes on with the connections that are being opened, for so many seconds at most."""
        if not self._look_at_connecting() and seconds:
            first = min((one.until for one in self._connecting), default=math.inf)
            wait_for(self._connecting, min(seconds, first - time.monotonic()))
            self._look_at_connecting()

    def _look_at_connecting(self) -> bool:
        """Returns whether one of the connections is open now, or cannot be opened."""
        now = time.monotonic()
        ended = False
        for one in self._connecting[:]:
            try:
                sock = one.go_on(now)
                if sock is None:
                    continue
                make_ready(sock, self._usual_limit)
            except OSError as error:
                one.close()
                self._connecting.remove(one)
                self._not_opened(one.peer, error)
            else:
                self._connecting.remove(one)
                self._opened(one.peer, sock)
            ended = True
        return ended

    def close(self) -> None:
        """Closes all connections; questions under way end with the Cause DISC_LOST."""
        super().close()
        for connecting in self._connecting:
            connecting.close()
        self._connecting = []
