"""Tells each client in a forked process to start afresh, without the connections of its parent.

Python calls the hook here after `os.fork`, and so do programs in C by ``PyOS_AfterFork_Child``. Some fork
without a word to Python, such as OpenSIPS: then `after_fork` is to be called.
"""

from __future__ import annotations

import os
import random
import weakref
from typing import Protocol

from auth_diameter._core import restart_msgids


class Forked(Protocol):
    """A client that has connections."""

    def _after_fork(self) -> None:
        """Drops what belongs to the parent; called in the child, where no other thread runs."""


_clients: weakref.WeakSet[Forked] = weakref.WeakSet()


def register(client: Forked) -> None:
    """Has `client` told in each forked child. It is not kept alive."""
    _clients.add(client)


def after_fork() -> None:
    """Has all clients start afresh in this process, which was forked without Python's knowledge.

    They drop the connections of the parent, which stay open there. To be called once in each forked process
    before it asks anything, where a program embeds Python and forks without ``PyOS_AfterFork_Child``.
    """
    restart_msgids()
    random.seed()
    _after_fork()


def _after_fork() -> None:
    for client in list(_clients):
        client._after_fork()


os.register_at_fork(after_in_child=_after_fork)
