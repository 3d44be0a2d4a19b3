"""The process of a server: its loop, log, signals, addresses and metrics."""

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
from typing import TYPE_CHECKING, Any, TypeAlias

import auth_diameter as ad
from auth_diameter import signals
from auth_diameter.addresses import show
from auth_diameter.logs import Formatter, JsonFormatter, LogFile

if TYPE_CHECKING:
    from auth_diameter.verifier.config import VerifierConfig
    from auth_diameter.verifier.state.redis import RedisState

log = logging.getLogger("auth_diameter.process")

#: Reloads one thing, or raises ConfigError. The function that it returns puts the thing in place, and cannot
#: fail.
Part: TypeAlias = Callable[[], Callable[[], object]]


def log_to(log_format: str, file: str | None) -> list[Part]:
    """Sends the log to a file or to stderr from here on.

    Args:
        log_format: ``text`` or ``json``.
        file: path of the file; None: stderr.

    Returns:
        What to reload on SIGHUP, see `reload`.

    Raises:
        ConfigError: the file cannot be opened.
    """
    handler = LogFile(file) if file is not None else logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else Formatter())
    root = logging.getLogger()
    for before in root.handlers[:]:
        if isinstance(before.formatter, Formatter):  # the handler that every command starts with
            root.removeHandler(before)
    root.addHandler(handler)
    return [handler.reopen] if isinstance(handler, LogFile) else []


def reload(parts: Sequence[Part], level: int = logging.INFO) -> bool:
    """Reloads all parts, or none if one of them cannot be reloaded.

    Args:
        parts: what to reload.
        level: level of the log line on success; a failure is an error.

    Returns:
        Whether all were reloaded.
    """
    try:
        changes = [part() for part in parts]
    except ad.ConfigError as error:
        log.error("SIGHUP: nothing was changed: %s", error)
        return False
    except (Exception, asyncio.CancelledError):  # a route script can raise anything; the server goes on
        log.exception("SIGHUP: nothing was changed")
        return False
    for change in changes:
        change()
    log.log(level, "SIGHUP: everything was reloaded")
    return True


def on_hup(parts: Sequence[Part], level: int = logging.INFO) -> None:
    """Reloads on each SIGHUP, in a turn of the running loop.

    Args:
        parts: see `reload`.
        level: see `reload`.
    """
    loop = asyncio.get_running_loop()

    def act() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the server is about to end
            loop.call_soon_threadsafe(reload, parts, level)

    signals.on_hup(act)


def run_loop(work: Coroutine[Any, Any, int]) -> int:
    """Runs `work` on uvloop if it is installed, else on asyncio's own loop; returns its result."""
    try:
        try:
            import uvloop

            factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
        except ModuleNotFoundError:
            factory = asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(work)
    finally:
        work.close()  # if ^C came before it began, Python would warn that it was never awaited


def on_stop(parent: int | None = None) -> asyncio.Event:
    """An event that the first SIGTERM or SIGINT sets; a second one ends the program at once.

    Args:
        parent: file descriptor that becomes readable when a worker is to end; None: this is no worker.
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
    """Raises the limit on open files, and so on connections, to the hard limit of this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextlib.contextmanager
def listening(text: str, option: str = "--listen") -> Iterator[None]:
    """Turns an error of binding an address into one line that says what to do.

    Args:
        text: the address, for the message.
        option: the option that names the address.

    Raises:
        ConfigError: the address cannot be bound.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ad.ConfigError(
                f"{text} is in use: stop the program that has it, or choose another with {option}"
            ) from None
        if error.errno == errno.EACCES:
            raise ad.ConfigError(f"{text}: permission denied; ports below 1024 need root") from None
        raise ad.ConfigError(f"cannot listen on {text}: {error.strerror or error}") from None


def shared_state(url: str | None, keys: Sequence[bytes], config: VerifierConfig) -> RedisState | None:
    """The state of --state, which is not connected so far; None without it.

    Args:
        url: the value of the option.
        keys: those of --nonce-key.
        config: the settings of the verifier.

    Raises:
        ConfigError: the URL cannot be used, or there is no key.
    """
    if url is None:
        return None
    from auth_diameter.verifier.state.redis import RedisState
    from auth_diameter.verifier.state.urls import parse_url
    from auth_diameter.verifier.verifier import sharing_of

    if not keys:
        raise ad.ConfigError(
            "--state: needs a --nonce-key, the same for all, or they refuse each other's nonces"
        )
    try:
        return RedisState(parse_url(url), sharing_of(config, keys[0]))
    except ad.ConfigError as error:
        raise ad.ConfigError(f"--{error}") from None


def bind_metrics(at: tuple[str, int] | None, count: int = 1) -> list[socket.socket]:
    """Binds the sockets for metrics, one for each process.

    Args:
        at: address of the first; None: there are no metrics.
        count: number of processes.

    Raises:
        ConfigError: the package for metrics is missing, or an address cannot be bound.
    """
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
