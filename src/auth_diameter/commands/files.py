"""Files that hold secrets: a warning when other accounts of the machine can open them."""

from __future__ import annotations

import logging
import os
import shlex
import stat
from collections.abc import Sequence

import auth_diameter as ad

#: Permission of the group and of others to read and write.
_OTHERS = stat.S_IRGRP | stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH
_READ = stat.S_IRGRP | stat.S_IROTH


def warn_if_others_can_read(path: str, log: logging.Logger) -> None:
    """Logs a warning if the group or others may read or write a file, with the command that corrects it.

    The files that SQLite keeps beside a database, ``PATH-wal`` and ``PATH-shm``, hold the same secrets. They
    get the mode of the database, so the command names them if they are open to others as well. A path that is
    not a regular file (``":memory:"``, a pipe, nothing) is ignored; opening it reports what is wrong.

    Args:
        path: a database or a key file.
        log: where to.
    """
    modes = {name: _mode(name) for name in (path, f"{path}-wal", f"{path}-shm")}
    opened = [name for name, mode in modes.items() if mode & _OTHERS]
    if not opened:
        return
    can = "read" if modes[opened[0]] & _READ else "change"
    command = shlex.join(["chmod", "600", *(f"./{name}" if name[0] == "-" else name for name in opened)])
    log.warning(
        "%s: users other than its owner can %s it (mode %03o): %s", opened[0], can, modes[opened[0]], command
    )


def nonce_keys(files: Sequence[str], log: logging.Logger) -> list[bytes]:
    """Reads the files of ``--nonce-key``; warns if others can read one.

    Args:
        files: the paths.
        log: where warnings go.

    Raises:
        ConfigError: a file cannot be read, or is too short.
    """
    return [_nonce_key(file, log) for file in files]


def _nonce_key(file: str, log: logging.Logger) -> bytes:
    try:
        with open(file, "rb") as source:
            key = source.read(4096)  # limited, in case the file is a device without an end
    except OSError as error:
        raise ad.ConfigError(f"--nonce-key {file}: {error.strerror}") from None
    if len(key) < 16:
        raise ad.ConfigError(f"--nonce-key {file}: expected 16 secret bytes or more, not {len(key)}")
    warn_if_others_can_read(file, log)
    return key


def _mode(path: str) -> int:
    """The permissions of a regular file; 0: there is no such file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # ValueError: a path with a NUL
        return 0
    return stat.S_IMODE(status.st_mode) if stat.S_ISREG(status.st_mode) else 0
