"""The process of a server: its loop, its log, the signals that it obeys, its addresses, its metrics."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import resource
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeAlias

import auth_diameter as ad
from auth_diameter import signals
from auth_diameter.addresses import show
from auth_diameter.logs import Formatter, JsonFormatter, LogFile

log = logging.getLogger("auth_diameter.process")

#: Reads one thing anew, or raises ConfigError; what it returns puts it in place, and cannot fail.
Part: TypeAlias = Callable[[], Callable[[], object]]


def log_to(log_format: str, file: str | None) -> list[Part]:
    """From here on the log goes there; what is to be done to it when the server reads anew.

    Raises:
        ConfigError: the file cannot be opened.
    """
    handler = LogFile(file) if file is not None else logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else Formatter())
    root = logging.getLogger()
    for before in root.handlers[:]:
        if isinstance(before.formatter, Formatter):  # the one that every command begins with
            root.removeHandler(before)
    root.addHandler(handler)
    return [handler.reopen] if isinstance(handler, LogFile) else []


def read_anew(parts: Sequence[Part], level: int = logging.INFO) -> bool:
    """Reads all parts, and puts them in place together: where one cannot be read, all stay as they are.

    Args:
        level: of the line that says so; what cannot be read is an error.
    """
    try:
        changes = [part() for part in parts]
    except ad.ConfigError as error:
        log.error("SIGHUP: nothing was changed: %s", error)
        return False
    except (Exception, asyncio.CancelledError):  # a route script can raise anything, and must not end us
        log.exception("SIGHUP: nothing was changed")
        return False
    for change in changes:
        change()
    log.log(level, "SIGHUP: all was read anew")
    return True


def on_hup(parts: Sequence[Part], level: int = logging.INFO) -> None:
    """Reads anew in a turn of the running loop, for each SIGHUP."""
    loop = asyncio.get_running_loop()

    def act() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: this is the end
            loop.call_soon_threadsafe(read_anew, parts, level)

    signals.on_hup(act)


def run_loop(work: Coroutine[Any, Any, int]) -> int:
    """Runs `work` on uvloop where it is installed, else on asyncio's own loop."""
    try:
        try:
            import uvloop

            factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
        except ModuleNotFoundError:
            factory = asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(work)
    finally:
        work.close()  # it has not begun where ^C came first, and Python would warn that nobody awaited it


def on_stop(parent: int | None = None) -> asyncio.Event:
    """An event that the first SIGTERM or SIGINT sets; a second one ends the program at once.

    Args:
        parent: a file descriptor that becomes readable when a worker shall end.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    ends = (signal.SIGTERM, signal.SIGINT)

    def handle() -> None:
        stop.set()
        signals.ignore_hup()
        for name in ends:
            loop.remove_signal_handler(name)
        if parent is not None:
            loop.remove_reader(parent)

    for name in ends:
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
        package = (error.name or "").partition(".")[0]
        raise ad.ConfigError(f"--metrics: no {package}; pip install 'auth-diameter[server]'") from None
    with listening(show(*at), "--metrics"):
        sockets = bind(*at, count)
    ports = " and ".join(f"http://{show(*sock.getsockname()[:2])}/metrics" for sock in sockets)
    logging.getLogger("auth_diameter.metrics").info("metrics at %s", ports)
    return sockets
