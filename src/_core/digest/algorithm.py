"""An algorithm of digests as a value."""

from __future__ import annotations

from typing import NamedTuple


class Algorithm(NamedTuple):
    """An algorithm of digests (RFC 7616, 6.1; RFC 8760).

    Attributes:
        name: str, as RFC 7616 spells it.
        base: str, the name without -sess: the algorithm of the HA1 that it uses (RFC 7616, 3.4.2).
        sess: bool, whether it is a -sess algorithm.
        digits: int, the hexadecimal digits of a digest.
        hash: str, the name of the hash function in hashlib.
    """

    name: str
    base: str
    sess: bool
    digits: int
    hash: str
