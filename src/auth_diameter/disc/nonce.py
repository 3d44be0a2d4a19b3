"""Nonces that need no memory: made and recognised with a key (RFC 7616, 3.3 and 5.4).

::

    nonce = time (8 hex digits) salt (16) mac (32)
    mac   = HMAC-SHA-256(key, time salt realm), its first 16 bytes

Anyone who has the key recognises the nonce, for the realm it was made for, until it expires.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import itertools
import secrets

_STAMP = 24  # hex digits before the mac: seconds since 1970, and a salt
_LENGTH = 56


class NonceState(enum.Enum):
    """What a nonce that came back is worth."""

    FRESH = enum.auto()
    EXPIRED = enum.auto()
    FOREIGN = enum.auto()


class Nonces:
    """Makes nonces and recognises them.

    :param key: at least 16 secret bytes; None: random ones, so that a restart makes all nonces foreign.
    :param lifetime: seconds for which one may be used.
    """

    def __init__(self, key: bytes | None = None, lifetime: float = 300.0) -> None:
        if key is None:
            key = secrets.token_bytes(32)
        elif len(key) > 64:
            key = hashlib.sha256(key).digest()
        # HMAC (RFC 2104) with the two states that the key leads to at hand: a third of hmac.digest's time.
        padded = key.ljust(64, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))
        # The mac makes a nonce unforeseeable; the salt only has to differ from every other one.
        self._salts = itertools.count(secrets.randbits(64))
        self.lifetime = lifetime

    def _mac(self, stamp: str, realm: str) -> str:
        inner = self._inner.copy()
        inner.update(f"{stamp}{realm.lower()}".encode("utf-8", "surrogateescape"))
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.hexdigest()[:32]

    def make(self, realm: str, now: float) -> str:
        """A new nonce for `realm`. :param now: seconds since 1970."""
        stamp = f"{int(now) & 0xFFFFFFFF:08x}{next(self._salts) & 0xFFFFFFFFFFFFFFFF:016x}"
        return stamp + self._mac(stamp, realm)

    def check(self, nonce: str, realm: str, now: float) -> NonceState:
        """What `nonce` is worth. A time in the future is foreign, but for a second of clock drift."""
        if len(nonce) != _LENGTH:
            return NonceState.FOREIGN
        stamp = nonce[:_STAMP]
        if not nonce.isascii() or not hmac.compare_digest(nonce[_STAMP:], self._mac(stamp, realm)):
            return NonceState.FOREIGN
        age = now - int(stamp[:8], 16)
        if age < -1.0:
            return NonceState.FOREIGN
        return NonceState.FRESH if age <= self.lifetime else NonceState.EXPIRED
