"""Fuzzes what Python does with the messages of a neighbour, guided by coverage: `pip install atheris`.

    python fuzz/peers.py capabilities|machine [OPTION OF LIBFUZZER | DIRECTORY]...

`capabilities` reads bytes as CER and CEA, `machine` plays bytes as things that happen to a peer. What must
hold is in tests/kit/peer_targets.py. The package is to be installed, and not as an editable one.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

with atheris.instrument_imports(include=["auth_diameter.diameter", "auth_diameter.standard"]):
    from kit.peer_targets import MESSAGES, read_capabilities, run_machine

TARGETS = {"capabilities": read_capabilities, "machine": run_machine}


def main() -> None:
    """Fuzzes one target until its options say stop; its seeds go to the first DIRECTORY."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(__doc__)
    target = TARGETS[sys.argv.pop(1)]
    folders = [Path(word) for word in sys.argv[1:] if not word.startswith("-")]
    if folders and target is read_capabilities:
        folders[0].mkdir(parents=True, exist_ok=True)
        for number, message in enumerate(MESSAGES):
            (folders[0] / f"seed-{number}").write_bytes(message.encode())
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


main()
