"""Signals in the program, from its first moment to its last.

=======  =======================  ===============================================  ============
signal   while we start, and end  while a command works                            a server
=======  =======================  ===============================================  ============
SIGINT   status 130, no word      KeyboardInterrupt; status 130                    stops
SIGHUP   of a server: kept        ends the command                                 reads anew
=======  =======================  ===============================================  ============

The package takes longer to import than somebody who mistyped needs to press ^C, so `hold` stands in front of
all other imports. A library that is imported elsewhere leaves signals alone.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

_SERVERS = {"disc", "serve"}

_kept = False  # whether SIGHUP came before anybody could act on it
_act: Callable[[], object] | None = None  # what it is to lead to


def is_program() -> bool:
    """Whether this process is the command: the script that pip makes, or ``python -m auth_diameter``."""
    program, *_ = getattr(sys, "argv", None) or [""]
    if program == "-m":  # while the package is imported
        return not {"auth_diameter", "-mauth_diameter"}.isdisjoint(sys.orig_argv)
    return os.path.basename(str(program)) == "auth-diameter"


def hold() -> None:
    """From here on ^C ends the process without a traceback, and SIGHUP does not end a server."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored
        signal.signal(signal.SIGINT, _end)
    if not _SERVERS.isdisjoint(sys.argv) and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, _hup)


def release() -> None:
    """A command begins, and cleans up after a KeyboardInterrupt itself."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def on_hup(act: Callable[[], object]) -> None:
    """`act` is called for each SIGHUP, in the main thread between any two steps; now, if one was kept."""
    global _act  # noqa: PLW0603 - a process has its signals once
    _act = act
    signal.signal(signal.SIGHUP, _hup)
    if take_hup():
        act()


def take_hup() -> bool:
    """Whether a SIGHUP was kept; it is not any more."""
    global _kept
    kept, _kept = _kept, False
    return kept


def ignore_hup() -> None:
    """The end has begun: there is nothing to read anew."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


def _hup(number: int, frame: FrameType | None) -> None:
    global _kept  # noqa: PLW0603
    if _act is None:
        _kept = True
    else:
        _act()
