"""Where things lie that tests read."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent  # of the checkout
VECTORS = TESTS / "vectors"
SHARED = ROOT.parent / "shared"  # where there is one; a user of the project has none
