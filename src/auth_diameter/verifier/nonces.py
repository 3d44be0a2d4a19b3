"""Nonces that need no memory until one comes back: made and recognised with a key (RFC 7616, 3.3 and 5.4).

::

    nonce = time (8 hex digits) salt (16) mac (32)
    mac   = HMAC-SHA-256(key, time salt algorithm NUL source NUL realm), its first 16 bytes

Anyone who has the key recognises the nonce until it expires, for the realm and the algorithm that it
was made for, and for the address of the UAC if it was bound to one. A ring of keys makes a change of
key unnoticeable: the first makes nonces, all of them are recognised.

The algorithm is the whole one, with -sess or without: A1 of a -sess algorithm is the hash of HA1, nonce and
a cnonce of the client's choice (3.4.2), and so is a response without -sess, all that follows the nonce in it
taken for a cnonce (3.4.1). Were one nonce good for both, a response that was overheard would be a key to
any request, as long as the nonce lives.

What came back with right credentials is remembered by `auth_diameter._core.NonceUses`.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import itertools
import secrets
from collections.abc import Sequence

CLOCK_DRIFT = 10.0  # seconds that the clocks of DISC which share a key may differ, without any effect

_STAMP = 24  # hex digits before the mac: seconds since 1970, and a salt
_LENGTH = 56


class NonceState(enum.Enum):
    """What a nonce that came back is worth."""

    FRESH = enum.auto()
    EXPIRED = enum.auto()
    FOREIGN = enum.auto()


class _Key:
    """HMAC-SHA-256 (RFC 2104) with a key, whose two hash states are kept.

    ``hmac.new(key).copy()`` is the same in one line, but adds 12 % to the instructions of a challenge.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = (key if len(key) <= 64 else hashlib.sha256(key).digest()).ljust(64, b"\0")
        self._inner = hashlib.sha256(block.translate(hmac.trans_36))
        self._outer = hashlib.sha256(block.translate(hmac.trans_5C))

    def mac(self, text: str) -> str:
        inner = self._inner.copy()
        inner.update(text.encode("utf-8", "surrogateescape"))
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.hexdigest()[:32]


class Nonces:
    """Makes nonces and recognises them.

    Args:
        keys: secret bytes, at least 16, or several of them: the first makes nonces, all are recognised. None:
            random ones, so that a restart makes all nonces foreign.
        lifetime: seconds for which one may be used, and `CLOCK_DRIFT` more.

    Attributes:
        remembered: seconds for which its use has to be remembered.
    """

    def __init__(self, keys: bytes | Sequence[bytes] | None = None, lifetime: float = 300.0) -> None:
        self.use(keys if keys is not None else secrets.token_bytes(32))
        # The mac makes a nonce unforeseeable; the salt only has to differ from every other one.
        self._salts = itertools.count(secrets.randbits(64))
        self.lifetime = lifetime
        self.remembered = lifetime + CLOCK_DRIFT

    def use(self, keys: bytes | Sequence[bytes]) -> None:
        """Other keys from now on: nonces of a key that is not among them are foreign."""
        self._keys = [_Key(key) for key in ([keys] if isinstance(keys, bytes) else keys)]

    def make(self, realm: str, now: float, algorithm: str = "MD5", source: str = "") -> str:
        """A new nonce for `realm`.

        Args:
            now: seconds since 1970.
            algorithm: that of its challenge.
            source: address of the UAC, which alone may use it; "": any may.
        """
        stamp = f"{int(now) & 0xFFFFFFFF:08x}{next(self._salts) & 0xFFFFFFFFFFFFFFFF:016x}"
        return stamp + self._keys[0].mac(f"{stamp}{algorithm}\0{source}\0{realm.lower()}")

    def check(
        self, nonce: str, realm: str, now: float, algorithm: str = "MD5", source: str = ""
    ) -> NonceState:
        """What `nonce` is worth. A time in the future is foreign, but for `CLOCK_DRIFT`."""
        if len(nonce) != _LENGTH or not nonce.isascii():
            return NonceState.FOREIGN
        stamp, mac = nonce[:_STAMP], nonce[_STAMP:]
        # Neither algorithm nor source can hold a NUL: no two bindings read the same.
        text = f"{stamp}{algorithm}\0{source}\0{realm.lower()}"
        ours = False
        for key in self._keys:
            ours |= hmac.compare_digest(mac, key.mac(text))
        if not ours:
            return NonceState.FOREIGN
        age = now - int(stamp[:8], 16)
        if age < -CLOCK_DRIFT:
            return NonceState.FOREIGN
        return NonceState.FRESH if age <= self.remembered else NonceState.EXPIRED

    def made_at(self, nonce: str) -> float:
        """When a nonce of ours was made: seconds since 1970."""
        return float(int(nonce[:8], 16))
