"""Tries what Python does with the messages of a neighbour.

    python fuzz/peers.py capabilities|machine|cx [OPTION OF LIBFUZZER | DIRECTORY]...
    python fuzz/peers.py states [SECONDS]

`capabilities` reads bytes as CER and CEA, `machine` plays bytes as things that happen to a peer, and `cx`
takes bytes as UAR, SAR, LIR, PPR or RTR. They are guided by coverage: `pip install atheris`, and install the
package, not as an editable one. `states` has everything happen in every state that a peer can get into, with
time in steps of SECONDS (0.5). What must hold is in tests/kit/peer_targets.py and cx_targets.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))


def walk(step: float) -> None:
    """Goes through all states of a peer, and tells how many there are."""
    from kit.peer_targets import every_state

    found = every_state(step)
    print(f"{found.states:,} states, {found.happened:,} things happened, {found.dead_ends:,} dead ends")
    sys.exit(found.dead_ends > 0)


def fuzz() -> None:
    """Fuzzes one target until its options say stop; its seeds go to the first DIRECTORY."""
    import atheris

    ours = ["auth_diameter.diameter", "auth_diameter.disc", "auth_diameter.standard", "auth_diameter.store"]
    with atheris.instrument_imports(include=ours):
        from kit.cx_targets import SEEDS, take_cx
        from kit.peer_targets import MESSAGES, read_capabilities, run_machine

    target, seeds = {
        "capabilities": (read_capabilities, [message.encode() for message in MESSAGES]),
        "machine": (run_machine, []),
        "cx": (take_cx, SEEDS),
    }[sys.argv.pop(1)]
    folders = [Path(word) for word in sys.argv[1:] if not word.startswith("-")]
    if folders:
        folders[0].mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(seeds):
            (folders[0] / f"seed-{number}").write_bytes(seed)
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


match sys.argv[1:]:
    case ["states"]:
        walk(0.5)
    case ["states", seconds]:
        walk(float(seconds))
    case ["capabilities" | "machine" | "cx", *_]:
        fuzz()
    case _:
        sys.exit(__doc__)
