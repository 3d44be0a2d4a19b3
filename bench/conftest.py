"""Lets the modules here import `common` and `pairs` beside them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
