"""Nonces that need no memory until one comes back: made and recognised with a key (RFC 7616, 3.3 and 5.4).

::

    nonce = time (8 hex digits) salt (16) mac (32)
    mac   = HMAC-SHA-256(key, time salt algorithm NUL source NUL realm), its first 16 bytes

Anyone who has the key recognises the nonce until it expires, for the realm and the algorithm that it
was made for, and for the address of the UAC if it was bound to one. A ring of keys makes a change of
key unnoticeable: the first makes nonces, all of them are recognised.

What came back with right credentials is remembered, so that it is not taken twice: see `NonceUses`.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import itertools
import secrets
from collections import deque
from collections.abc import Sequence

_STAMP = 24  # hex digits before the mac: seconds since 1970, and a salt
_LENGTH = 56
_WINDOW = 64  # nonce counts that may come out of order: more requests than one UA has under way
_MASK = (1 << _WINDOW) - 1
_RETRANSMITTED = 32.0  # seconds in which a request may come again: 64 × T1 (RFC 3261, 17.1.2.2)
_RECENT = 65_536  # uses that are kept for that; some 16 MB


class NonceState(enum.Enum):
    """What a nonce that came back is worth."""

    FRESH = enum.auto()
    EXPIRED = enum.auto()
    FOREIGN = enum.auto()


class _Key:
    """HMAC (RFC 2104) with the two states that a key leads to at hand: a third of hmac.digest's time."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        padded = (key if len(key) <= 64 else hashlib.sha256(key).digest()).ljust(64, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))

    def mac(self, stamp: str, binding: str) -> str:
        inner = self._inner.copy()
        inner.update(f"{stamp}{binding}".encode("utf-8", "surrogateescape"))
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.hexdigest()[:32]


class Nonces:
    """Makes nonces and recognises them.

    :param keys: secret bytes, at least 16, or several of them: the first makes nonces, all are
        recognised. None: random ones, so that a restart makes all nonces foreign.
    :param lifetime: seconds for which one may be used.
    """

    def __init__(self, keys: bytes | Sequence[bytes] | None = None, lifetime: float = 300.0) -> None:
        if keys is None:
            keys = secrets.token_bytes(32)
        self._keys = [_Key(key) for key in ([keys] if isinstance(keys, bytes) else keys)]
        # The mac makes a nonce unforeseeable; the salt only has to differ from every other one.
        self._salts = itertools.count(secrets.randbits(64))
        self.lifetime = lifetime

    def make(self, realm: str, now: float, algorithm: str = "MD5", source: str = "") -> str:
        """A new nonce for `realm`.

        :param now: seconds since 1970. :param algorithm: that of its challenge, without -sess.
        :param source: address of the UAC, which alone may use it; "": any may.
        """
        stamp = f"{int(now) & 0xFFFFFFFF:08x}{next(self._salts) & 0xFFFFFFFFFFFFFFFF:016x}"
        return stamp + self._keys[0].mac(stamp, _binding(realm, algorithm, source))

    def check(
        self, nonce: str, realm: str, now: float, algorithm: str = "MD5", source: str = ""
    ) -> NonceState:
        """What `nonce` is worth. A time in the future is foreign, but for a second of clock drift."""
        if len(nonce) != _LENGTH or not nonce.isascii():
            return NonceState.FOREIGN
        stamp, mac = nonce[:_STAMP], nonce[_STAMP:]
        binding = _binding(realm, algorithm, source)
        ours = False
        for key in self._keys:
            ours |= hmac.compare_digest(mac, key.mac(stamp, binding))
        if not ours:
            return NonceState.FOREIGN
        age = now - int(stamp[:8], 16)
        if age < -1.0:
            return NonceState.FOREIGN
        return NonceState.FRESH if age <= self.lifetime else NonceState.EXPIRED


def _binding(realm: str, algorithm: str, source: str) -> str:
    """Neither algorithm nor source can hold a NUL: no two bindings read the same."""
    return f"{algorithm}\0{source}\0{realm.lower()}"


class Use(enum.Enum):
    """What coming back with a nonce count means."""

    FIRST = enum.auto()
    AGAIN = enum.auto()  # the retransmission of a request that was judged before
    REPLAYED = enum.auto()


class NonceUses:
    """Which nonce counts of which nonces were used (RFC 7616, 3.4: the server's check against replays).

    For each nonce the highest count and the 64 below it: requests may come out of order, but none
    twice. Memory is bounded. Nonces that do not fit any more are not forgotten one by one: of those as
    old as them none counts as unused any longer, so that being out of memory never lets a replay in.

    :param lifetime: seconds for which a nonce may be used, and has to be remembered.
    :param most: nonces that are remembered; each takes some 200 bytes.
    """

    def __init__(self, lifetime: float = 300.0, most: int = 262_144) -> None:
        self._lifetime = lifetime
        self._most = most
        # By stamp, as a number (time of making, then salt): the highest count above a window of bits, of
        # which the lowest stands for the highest count. The queues have the keys in the order of coming:
        # to take the first out of a dict again and again costs time for each that was taken before.
        self._used: dict[int, int] = {}
        self._order: deque[int] = deque()
        self._forgotten = 0  # the latest time of making among the nonces that are remembered no more
        self._recent: dict[tuple[int, int], tuple[int, float]] = {}
        self._recent_order: deque[tuple[int, int]] = deque()

    def __len__(self) -> int:
        return len(self._used)

    def use(self, nonce: str, count: int, mark: int, now: float) -> Use:
        """Notes a use; only for a nonce that is ours and fresh, after its digest was found right.

        :param count: nc, from 1 on; without qop there is none, and 1 is meant.
        :param mark: of the whole question, the same for a retransmission; 0: it cannot be told.
        :param now: seconds since 1970.
        """
        stamp = int(nonce[:_STAMP], 16)
        state = self._used.get(stamp)
        if state is None:
            # After a step back of the clock, what was forgotten lies in the future, and is foreign.
            if stamp >> 64 <= self._forgotten <= now:
                return Use.REPLAYED  # it may have been used: nobody knows any more
            self._remember(stamp, now)
            highest = window = 0
        else:
            highest, window = state >> _WINDOW, state & _MASK
        if count > highest:
            ahead = count - highest
            window = ((window << ahead) & _MASK if ahead < _WINDOW else 0) | 1
            highest = count
        elif highest - count >= _WINDOW or window >> (highest - count) & 1:
            return self._again(stamp, count, mark, now)
        else:
            window |= 1 << (highest - count)
        self._used[stamp] = highest << _WINDOW | window
        if mark:
            self._recent[stamp, count] = mark, now
            self._recent_order.append((stamp, count))
            if len(self._recent_order) > _RECENT:
                del self._recent[self._recent_order.popleft()]
        return Use.FIRST

    def _remember(self, stamp: int, now: float) -> None:
        """Room for another nonce: those that expired go, and then the ones that came first."""
        order = self._order
        order.append(stamp)
        for _ in range(2):
            if len(order) <= self._most and now - (order[0] >> 64) <= self._lifetime:
                break
            oldest = order.popleft()
            del self._used[oldest]
            self._forgotten = max(self._forgotten, oldest >> 64)

    def _again(self, stamp: int, count: int, mark: int, now: float) -> Use:
        seen = self._recent.get((stamp, count))
        if mark and seen is not None and seen[0] == mark and 0 <= now - seen[1] <= _RETRANSMITTED:
            return Use.AGAIN
        return Use.REPLAYED
