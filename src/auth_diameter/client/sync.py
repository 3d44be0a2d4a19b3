"""The three functions; see `diameter.sync`."""

from __future__ import annotations

from auth_diameter.diameter.sync import AuthDiameter

__all__ = ["AuthDiameter"]
