"""Nonces that need no memory: made and recognised with a key (RFC 7616, 3.3 and 5.4).

::

    nonce = time (8 hex digits) salt (16) mac (32)
    mac   = HMAC-SHA-256(key, time salt realm), its first 16 bytes

Anyone who has the key recognises the nonce, for the realm it was made for, until it expires.
"""

from __future__ import annotations

import enum
import hmac
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
        self._key = key if key is not None else secrets.token_bytes(32)
        self.lifetime = lifetime

    def _mac(self, stamp: str, realm: str) -> str:
        message = f"{stamp}{realm.lower()}".encode("utf-8", "surrogateescape")
        return hmac.digest(self._key, message, "sha256")[:16].hex()

    def make(self, realm: str, now: float) -> str:
        """A new nonce for `realm`. :param now: seconds since 1970."""
        stamp = f"{int(now) & 0xFFFFFFFF:08x}{secrets.token_hex(8)}"
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
