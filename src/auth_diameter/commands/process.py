"""The process of a server: its loop, the signals that end it, its addresses, its metrics."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import resource
import signal
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import auth_diameter as ad
from auth_diameter.commands.options import show


def run_loop(work: Coroutine[Any, Any, int]) -> int:
    """Runs `work` on uvloop where it is installed, else on asyncio's own loop."""
    try:
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    except ModuleNotFoundError:
        factory = asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)


def on_stop(parent: int | None = None) -> asyncio.Event:
    """An event that the first SIGTERM or SIGINT sets; a second one ends the program at once.

    :param parent: a file descriptor that becomes readable when a worker shall end.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)

    def handle() -> None:
        stop.set()
        for name in signals:
            loop.remove_signal_handler(name)
        if parent is not None:
            loop.remove_reader(parent)

    for name in signals:
        loop.add_signal_handler(name, handle)
    if parent is not None:
        loop.add_reader(parent, handle)
    return stop


def allow_connections() -> None:
    """Raises the number of files, and so of connections, to what the system allows this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextlib.contextmanager
def listening(text: str, option: str = "--listen") -> Iterator[None]:
    """Turns the errors of binding an address into one line that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ad.ConfigError(
                f"{text} is in use: stop the program that has it, or choose another with {option}"
            ) from None
        if error.errno == errno.EACCES:
            raise ad.ConfigError(f"{text}: not allowed; ports below 1024 are root's") from None
        raise ad.ConfigError(f"cannot listen on {text}: {error.strerror or error}") from None


def bind_metrics(at: tuple[str, int] | None, count: int = 1) -> list[socket.socket]:
    """Sockets for metrics, one for each process; none where there are to be none."""
    if at is None:
        return []
    try:
        from auth_diameter.metrics import bind
    except ModuleNotFoundError as error:
        raise ad.ConfigError(f"--metrics: no {error.name}; pip install 'auth-diameter[server]'") from None
    with listening(show(at), "--metrics"):
        sockets = bind(*at, count)
    ports = " and ".join(f"http://{show(sock.getsockname()[:2])}/metrics" for sock in sockets)
    logging.getLogger("auth_diameter.metrics").info("metrics at %s", ports)
    return sockets
