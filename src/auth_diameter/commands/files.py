"""Files that hold secrets: a warning where other accounts of the machine can open them."""

from __future__ import annotations

import logging
import os
import shlex
import stat

#: Read and write, of the group and of everybody.
_OTHERS = stat.S_IRGRP | stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH
_READ = stat.S_IRGRP | stat.S_IROTH


def warn_if_others_can_read(path: str, log: logging.Logger) -> None:
    """Log one warning when group or others may read or write a file, with the command that mends it.

    What SQLite keeps beside a database, ``PATH-wal`` and ``PATH-shm``, holds the same secrets and has its
    mode from the database, so it is in the command when it is open to others as well. A path that is no
    file of its own (``":memory:"``, a pipe, nothing) is passed over: opening it says what is wrong.

    Args:
        path: of a database or of a key.
        log: whose warning it is.
    """
    modes = {name: _mode(name) for name in (path, f"{path}-wal", f"{path}-shm")}
    opened = [name for name, mode in modes.items() if mode & _OTHERS]
    if not opened:
        return
    can = "read" if modes[opened[0]] & _READ else "change"
    command = shlex.join(["chmod", "600", *(f"./{name}" if name[0] == "-" else name for name in opened)])
    log.warning(
        "%s: others than its owner can %s it (mode %03o): %s", opened[0], can, modes[opened[0]], command
    )


def _mode(path: str) -> int:
    """The permissions of a regular file; 0 where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # ValueError: a path with a NUL
        return 0
    return stat.S_IMODE(status.st_mode) if stat.S_ISREG(status.st_mode) else 0
