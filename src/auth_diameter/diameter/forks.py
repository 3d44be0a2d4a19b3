"""What a process that was forked does about the connections of its parent: each client begins anew."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable

_methods: set[weakref.WeakMethod[Callable[[], None]]] = set()


def register(after_fork: Callable[[], None]) -> None:
    """Sees to it that `after_fork` is called in each child, where there is no other thread.

    Args:
        after_fork: a bound method, which lets go of what belongs to the parent. Its object is not kept alive.
    """
    _methods.add(weakref.WeakMethod(after_fork, _methods.discard))


def _after_fork() -> None:
    for method in list(_methods):
        after_fork = method()
        if after_fork is not None:
            after_fork()


os.register_at_fork(after_in_child=_after_fork)
