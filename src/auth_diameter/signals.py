"""The signals of the command, from its start to its exit.

=======  =======================  ===============================================  ============
signal   at start and at exit     while a command runs                             a server
=======  =======================  ===============================================  ============
SIGINT   status 130, no message   KeyboardInterrupt; status 130                    stops
SIGHUP   a server defers it       ends the command                                 reloads
=======  =======================  ===============================================  ============

The package takes so long to import that a user may press ^C meanwhile. So `hold` is called before all other
imports. In a library that another program imports, signals are left alone.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

_SERVERS = {"disc", "serve"}

_kept = False  # whether a SIGHUP came before `on_hup` was called
_act: Callable[[], object] | None = None  # called for each SIGHUP


def is_program() -> bool:
    """Whether this process is the command: the script that pip makes, or ``python -m auth_diameter``."""
    program, *_ = getattr(sys, "argv", None) or [""]
    if program == "-m":  # argv[0] while the package is imported
        return not {"auth_diameter", "-mauth_diameter"}.isdisjoint(sys.orig_argv)
    return os.path.basename(str(program)) == "auth-diameter"


def hold() -> None:
    """From here on, ^C ends the process without a traceback, and SIGHUP does not end a server."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # unless it is ignored
        signal.signal(signal.SIGINT, _end)
    if not _SERVERS.isdisjoint(sys.argv) and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, _hup)


def release() -> None:
    """Restores KeyboardInterrupt for ^C, since a command cleans up after it."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def on_hup(act: Callable[[], object]) -> None:
    """Has `act` called for each SIGHUP, and at once if one came before.

    The call is in the main thread, between any two steps of it.
    """
    global _act  # noqa: PLW0603 - a process has its signals once
    _act = act
    signal.signal(signal.SIGHUP, _hup)
    if take_hup():
        act()


def take_hup() -> bool:
    """Whether a SIGHUP came that has not been acted on; forgets it."""
    global _kept
    kept, _kept = _kept, False
    return kept


def ignore_hup() -> None:
    """Ignores SIGHUP from here on, because the server is about to end."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


def _hup(number: int, frame: FrameType | None) -> None:
    global _kept  # noqa: PLW0603
    if _act is None:
        _kept = True
    else:
        _act()
