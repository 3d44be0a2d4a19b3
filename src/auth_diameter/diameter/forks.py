"""Tells each client in a forked process to start afresh, without the connections of its parent."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forked(Protocol):
    """A client that has connections."""

    def _after_fork(self) -> None:
        """Drops what belongs to the parent; called in the child, where no other thread runs."""


_clients: weakref.WeakSet[Forked] = weakref.WeakSet()


def register(client: Forked) -> None:
    """Has `client` told in each forked child. It is not kept alive."""
    _clients.add(client)


def _after_fork() -> None:
    for client in list(_clients):
        client._after_fork()


os.register_at_fork(after_in_child=_after_fork)
