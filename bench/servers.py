"""The servers that `serve` is compared with: Kamailio, and a responder in C that does the least.

Each is up and answering when its function returns, and ends with the stack.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import common
from kit.uac import Uac

TLSF = ("-X", "tlsf", "-x", "tlsf")
"""Kamailio's options for its fastest allocator, of private and of shared memory; the default is fm and qm."""

SKIPPED = "skipped: the comparison with Kamailio, which is not installed (Debian: kamailio)"


def kamailio_path() -> str | None:
    """Where Kamailio is; Debian keeps servers where a plain user's PATH does not look."""
    return shutil.which("kamailio") or shutil.which("kamailio", path="/usr/sbin:/usr/local/sbin")


def kamailio(stack: ExitStack, config: str, *options: str) -> common.Program:
    """Kamailio with a configuration of `data/`.

    Args:
        options: of its command line.
    """
    path = kamailio_path()
    assert path is not None
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="auth-diameter-bench-"))
    port = common.unused_udp_port()
    command = [
        path, "-f", common.HERE / "data" / config, "-DD", "-E", "-m", "64", "-M", "64", "-P", f"{folder}/pid",
        "-w", folder, "-Y", folder, "-l", f"udp:{common.LOOPBACK}:{port}", *options,
    ]  # fmt: skip
    program = stack.enter_context(common.Program(command, wait=False))
    program.port = port
    with Uac((common.LOOPBACK, port)) as probe:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and program.process.poll() is None:
            probe.send(probe.request("OPTIONS"))
            if (probe.receive_bytes(0.1) or b"").startswith(b"SIP/2.0 2"):
                return program
    raise SystemExit(f"bench: Kamailio did not come up:\n{program.output()}")


def canned(stack: ExitStack, folder: Path, *options: str) -> common.Program:
    """The responder, whose program is in `folder`."""
    return stack.enter_context(common.Program([folder / "canned", *options]))
