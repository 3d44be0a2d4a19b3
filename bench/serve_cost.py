"""What a request costs `serve`, in instructions outside of the kernel: whatever else the machine does.

    python bench/serve_cost.py [--base FOLDER]

Runs `auth-diameter serve` under `valgrind --tool=callgrind` between the load and the stub of end_to_end.py,
with few requests and with many, and takes the difference. With --base, another version is counted, too:
`pip install --target FOLDER CHECKOUT[server]` brings it there.
"""

from __future__ import annotations

import argparse
import re
import signal
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import common

from auth_diameter import Error

FEW, MANY = 1_000, 7_000  # requests
WINDOW = 64
ROUTE_WINDOW = 16  # requests to route scripts in flight: a turn accepts so many, however slow the machine is
TARGET = 14_000  # instructions of the first kind, for row 6
_VALGRIND = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null")
# Counted by `serve` where it has a slow way; a version without it has one way for all.
_SLOW = "auth_diameter_sip_slow_total"
_RECEIVED = "auth_diameter_sip_datagrams_total"


@dataclass(frozen=True)
class Kind:
    """A kind of request.

    Attributes:
        what: the kind in a few words.
        options: of `serve`.
        without_credentials: whether the request has none.
        refusing: whether DISC refuses the credentials.
        status: status of the reply.
        again: how often each request is sent again. The cost is that of the retransmissions alone.
        window: requests in flight.
    """

    what: str
    options: tuple[str, ...] = ()
    without_credentials: bool = False
    refusing: bool = False
    status: int = 200
    again: int = 0
    window: int = WINDOW


GROUP = ("--route", str(common.HERE / "data" / "group_route.py"))
RIGHT = Kind("right credentials, let through")
KINDS = [
    RIGHT,
    Kind("no credentials: a challenge", without_credentials=True, status=401),
    # All come from one address, which would not be asked for any more.
    Kind("wrong password, refused", ("--no-penalty",), refusing=True, status=403),
    Kind("retransmission", again=1),
    Kind("group check, by a route script", GROUP, window=ROUTE_WINDOW),
]


def template(kind: Kind, folder: Path) -> Path:
    """File of the request."""
    if not kind.without_credentials:
        return common.REQUEST
    path = folder / "no_credentials.sip"
    path.write_bytes(re.sub(rb"Authorization: .*\r\n", b"", common.REQUEST.read_bytes()))
    return path


@dataclass(frozen=True)
class Cost:
    """What one run cost.

    Attributes:
        instructions: of the process from its start to its end.
        slow: share of its requests that went the slow way; None: it does not say.
    """

    instructions: int
    slow: float | None


def run(tools: Path, kind: Kind, requests: int, folder: str | None) -> Cost:
    """One process, from its start to its end.

    Args:
        folder: the installation; None: this one.
    """
    with ExitStack() as stack:
        disc = stack.enter_context(common.Stub(tools, *(["-x"] if kind.refusing else [])))
        where = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="auth-diameter-bench-")))
        command = [
            *common.command_of(folder, *_VALGRIND), "serve", "--listen", f"{common.LOOPBACK}:0",
            "--disc", f"{common.LOOPBACK}:{disc.port}", "--timeout", "60", *kind.options,
            *(common.COUNTING if folder is None else ()),
        ]  # fmt: skip
        server = stack.enter_context(common.Program(command))
        result = common.sipload(
            tools, server.port, disc, requests, kind.window, template(kind, where), 8.0,
            again=kind.again, status=kind.status,
        )  # fmt: skip
        if result["resent"]:
            raise SystemExit(f"bench: {result['resent']} requests were sent again, which cost something else")
        counted = server.counters() if folder is None else {}
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(60)
        collected = re.search(r"Collected : (\d+)", server.output())
        if collected is None:
            raise SystemExit(f"bench: serve under valgrind said: {server.output()}")
    slow = counted[_SLOW] / counted[_RECEIVED] if _SLOW in counted else None
    return Cost(int(collected[1]), slow)


def cost(tools: Path, kind: Kind, folder: str | None = None) -> Cost | None:
    """What one request of a kind costs; None: that version cannot do it."""
    try:
        few, many = (run(tools, kind, requests, folder) for requests in (FEW, MANY))
    except Error:
        if folder is None:
            raise
        return None
    return Cost((many.instructions - few.instructions) // (MANY - FEW), many.slow)


def _cells(now: Cost, base: Cost | None, *, compared: bool) -> list[str]:
    cells = [f"{now.instructions:,}", "–" if now.slow is None else f"{now.slow:.2%}"]
    if compared:
        ratio = "–" if base is None else f"{now.instructions / base.instructions:.2f}"
        cells += ["–" if base is None else f"{base.instructions:,}", ratio]
    return cells


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--base", metavar="FOLDER", help="an installation to compare with")
    options = parser.parse_args(arguments)
    folders = (None, options.base) if options.base else (None,)
    rows = []
    once: dict[str | None, Cost | None] = {}  # of the first kind, by installation
    with common.tools("sipload", "discstub") as tools:
        for kind in KINDS:
            found = {folder: cost(tools, kind, folder) for folder in folders}
            for folder, one in found.items():
                first = once.setdefault(folder, one)
                if kind.again and one is not None and first is not None:
                    found[folder] = Cost(one.instructions - first.instructions, one.slow)
            now = found[None]
            assert now is not None
            rows.append((kind.what, *_cells(now, found.get(options.base), compared=bool(options.base))))
    more = ("base", "ratio") if options.base else ()
    common.table(("request", "instructions", "slow way", *more), rows)
    right = once[None]
    assert right is not None
    verdict = common.verdict(right.instructions, TARGET, at_most=True)
    print(f"\nrow 6, instructions of a request with right credentials: ≤ {TARGET:,}, {verdict}")


if __name__ == "__main__":
    main()
