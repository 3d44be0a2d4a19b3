"""Tells each client in a forked process to start afresh, without the connections of its parent."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable

_methods: set[weakref.WeakMethod[Callable[[], None]]] = set()


def register(after_fork: Callable[[], None]) -> None:
    """Has `after_fork` called in each forked child, where no other thread runs.

    Args:
        after_fork: a bound method that drops what belongs to the parent. Its object is not kept alive.
    """
    _methods.add(weakref.WeakMethod(after_fork, _methods.discard))


def _after_fork() -> None:
    for method in list(_methods):
        after_fork = method()
        if after_fork is not None:
            after_fork()


os.register_at_fork(after_in_child=_after_fork)
