"""Stateless nonces, made and recognised with a key (RFC 7616, 3.3 and 5.4).

::

    nonce = time (8 hex digits) salt (16) mac (32)
    mac   = HMAC-SHA-256(key, time salt algorithm NUL source NUL realm), its first 16 bytes

Any server with the key recognises a nonce until it expires, for its realm and algorithm, and for the
address of the UAC if the nonce is bound to one. A sequence of keys allows a change of key without effect on
users: the first key makes nonces, and all keys recognise them.

The algorithm includes -sess. A1 of a -sess algorithm is the hash of HA1, the nonce and a cnonce that the
client chooses (3.4.2). A response without -sess is a hash of HA1, the nonce and further text (3.4.1), which
could be taken for a cnonce. If one nonce were accepted for both, an overheard response could serve as A1 of
any request until the nonce expires.

`auth_diameter._core.NonceUses` remembers the nonces that came with right credentials.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import itertools
import secrets
from collections.abc import Sequence

from auth_diameter.verifier.config import NONCE_LIFETIME

CLOCK_DRIFT = 10.0  # seconds by which the clocks of servers that share a key may differ

_STAMP = 24  # hex digits before the mac: seconds since 1970 and the salt
_LENGTH = 56


class NonceState(enum.Enum):
    """The state of a nonce that a client has sent."""

    FRESH = enum.auto()
    EXPIRED = enum.auto()
    FOREIGN = enum.auto()  # of no known key, or for another realm, algorithm or source


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
    """Makes and recognises nonces.

    Args:
        keys: one secret key of at least 16 bytes, or several. The first makes nonces; all are recognised.
            None for a random key, so that after a restart all former nonces are foreign.
        lifetime: seconds for which a nonce may be used; `CLOCK_DRIFT` is added.

    Attributes:
        lifetime: seconds for which a nonce may be used, without `CLOCK_DRIFT`.
        remembered: seconds for which the uses of a nonce must be remembered.
    """

    def __init__(self, keys: bytes | Sequence[bytes] | None = None, lifetime: float = NONCE_LIFETIME) -> None:
        self.use(keys if keys is not None else secrets.token_bytes(32))
        # The mac makes a nonce unpredictable; the salt only has to be unique.
        self._salts = itertools.count(secrets.randbits(64))
        self.lifetime = lifetime
        self.remembered = lifetime + CLOCK_DRIFT

    def use(self, keys: bytes | Sequence[bytes]) -> None:
        """Replaces the keys. Nonces of keys that are not among the new ones become foreign."""
        self._keys = [_Key(key) for key in ([keys] if isinstance(keys, bytes) else keys)]

    def make(self, realm: str, now: float, algorithm: str = "MD5", source: str = "") -> str:
        """A new nonce for `realm`.

        Args:
            realm: the realm of the challenge.
            now: seconds since 1970.
            algorithm: the algorithm of the challenge.
            source: the address of the only UAC that may use the nonce; "" for any UAC.
        """
        stamp = f"{int(now) & 0xFFFFFFFF:08x}{next(self._salts) & 0xFFFFFFFFFFFFFFFF:016x}"
        return stamp + self._keys[0].mac(f"{stamp}{algorithm}\0{source}\0{realm.lower()}")

    def check(
        self, nonce: str, realm: str, now: float, algorithm: str = "MD5", source: str = ""
    ) -> NonceState:
        """The state of `nonce`.

        A nonce whose time is more than `CLOCK_DRIFT` in the future is foreign.
        """
        if len(nonce) != _LENGTH or not nonce.isascii():
            return NonceState.FOREIGN
        stamp, mac = nonce[:_STAMP], nonce[_STAMP:]
        # Neither the algorithm nor the source can contain a NUL, so different bindings give different texts.
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
        """The time when one of our nonces was made, in seconds since 1970."""
        return float(int(nonce[:8], 16))
