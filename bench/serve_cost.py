"""What a request costs `serve`, in instructions outside of the kernel: whatever else the machine does.

    python bench/serve_cost.py [--base FOLDER]

Runs `auth-diameter serve` under `valgrind --tool=callgrind` between the load and the stub of end_to_end.py,
with few requests and with many, and takes the difference. With --base, another version is counted, too:
`pip install --target FOLDER CHECKOUT[server]` brings it there.
"""

import argparse
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import common

FEW, MANY = 1_000, 7_000  # requests
WINDOW = 64


def count(tools: Path, disc: common.Stub, requests: int, folder: str | None) -> int:
    """Instructions of a process from its start to its end."""
    # Outside of any virtual environment, where an editable install would come first.
    python = sys.executable if folder is None else os.path.realpath(sys.executable)
    command = [
        *("env", f"PYTHONPATH={folder or ''}"),
        *("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"),
        *(python, "-P", "-m", "auth_diameter", "serve"),
        *("--listen", f"{common.LOOPBACK}:0", "--disc", f"{common.LOOPBACK}:{disc.port}"),
    ]
    with common.Program(command) as server:
        result = common.sipload(tools, server.port, disc, requests, WINDOW, resend=8.0)
        if result["resent"]:
            raise SystemExit(f"bench: {result['resent']} requests were sent again, which cost something else")
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(60)
        collected = re.search(r"Collected : (\d+)", server.output())
    if collected is None:
        raise SystemExit(f"bench: serve under valgrind said: {server.output()}")
    return int(collected[1])


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--base", metavar="FOLDER", help="an installation to compare with")
    options = parser.parse_args(arguments)
    figures = []
    with common.tools("sipload", "discstub") as tools, common.Stub(tools) as disc:
        for folder in (None, *([options.base] if options.base else [])):
            few, many = (count(tools, disc, requests, folder) for requests in (FEW, MANY))
            figures.append((many - few) // (MANY - FEW))
    rows = [("right credentials, let through", *(f"{figure:,}" for figure in figures))]
    if options.base:
        rows = [(*rows[0], f"{figures[0] / figures[1]:.2f}")]
    common.table(("request", "instructions", *(("base", "ratio") if options.base else ())), rows)


if __name__ == "__main__":
    main()
