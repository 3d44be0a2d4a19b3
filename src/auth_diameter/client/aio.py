"""The three functions; see `diameter.aio`."""

from __future__ import annotations

from auth_diameter.diameter.aio import AsyncAuthDiameter

__all__ = ["AsyncAuthDiameter"]
