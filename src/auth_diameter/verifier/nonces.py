"""Nonces, made and recognised with a key, and how far the clocks of servers that share a key may differ."""

from auth_diameter._core import CLOCK_DRIFT, Nonces, NonceState

__all__ = ["CLOCK_DRIFT", "NonceState", "Nonces"]
