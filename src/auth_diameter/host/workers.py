"""Processes that share one address: their parent binds it, forks them, restarts those that die, and ends all.

The parent keeps the socket of each worker open. So datagrams for a worker that has died wait for its
successor. On SIGHUP the parent first reloads what later workers inherit, and then passes the signal on.

The parent blocks the signals that it handles, and waits for them one by one. It has no threads and no event
loop, since those do not survive a fork. Each worker holds the reading end of a pipe of the parent. It ends
when the parent closes the pipe, or is gone.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

from auth_diameter import signals
from auth_diameter._core import Error

log = logging.getLogger("auth_diameter.workers")

_PATIENCE = 1.7  # seconds that workers have to end before they are killed
_PAUSE = 1.0  # seconds at least between two starts of a worker, in case it dies each time
_STOP = (signal.SIGTERM, signal.SIGINT)

Work = Callable[[socket.socket, int, Callable[[], object]], int]


class Workers:
    """The parent's side.

    Args:
        sockets: one for each worker.
        work: runs the whole life of a worker in its process. ``work(sock, parent, up)`` calls `up` once it
            serves `sock`, ends when the file descriptor `parent` becomes readable, and returns the exit
            status.
        read_anew: reloads what later workers inherit, on SIGHUP; returns whether the workers are to reload,
            too.
    """

    def __init__(self, sockets: Sequence[socket.socket], work: Work, read_anew: Callable[[], bool]) -> None:
        self._sockets = sockets
        self._work = work
        self._read_anew = read_anew
        self._numbers: dict[int, int] = {}  # number of each live worker, by process id
        self._started = [0.0] * len(sockets)
        self._due: dict[int, float] = {}  # when to restart each worker that died, by its number
        self._parent, self._alive = os.pipe()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # it may be inherited as ignored
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, (*_STOP, signal.SIGCHLD, signal.SIGHUP))

    def start(self) -> None:
        """Starts all workers; returns when they serve.

        Raises:
            Error: a worker cannot start.
        """
        for number in range(len(self._sockets)):
            if not self._fork(number):
                self._stop()
                raise Error(f"worker {number} did not start")

    def run(self) -> None:
        """Restarts workers that die until SIGTERM or SIGINT; a second signal kills them at once."""
        if signals.take_hup():  # it came before the signal was blocked
            self._pass_on()
        while (came := self._wait(min(self._due.values(), default=None))) not in _STOP:
            if came == signal.SIGHUP:
                self._pass_on()
            for pid, ended in self._reap():
                number = self._numbers.pop(pid)
                self._due[number] = self._started[number] + _PAUSE
                log.error("worker %d (process %d) %s", number, pid, ended)
            now = time.monotonic()
            for number in [number for number, when in self._due.items() if when <= now]:
                del self._due[number]
                if self._fork(number):
                    log.info("worker %d started again", number)
        self._stop()

    def _pass_on(self) -> None:
        if self._read_anew():
            for pid in self._numbers:
                os.kill(pid, signal.SIGHUP)

    def _fork(self, number: int) -> bool:
        """Starts a worker.

        Returns:
            Whether it serves; if not, it has ended.
        """
        reader, writer = os.pipe()
        self._started[number] = time.monotonic()
        sys.stdout.flush()
        pid = os.fork()
        if not pid:
            os.close(reader)
            os.close(self._alive)
            self._live(number, writer)
        os.close(writer)
        self._numbers[pid] = number
        serves = os.read(reader, 1) != b""
        os.close(reader)
        return serves

    def _live(self, number: int, writer: int) -> None:
        """Runs a worker in its process, from fork to exit."""
        status = 1
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            status = self._work(self._sockets[number], self._parent, partial(os.write, writer, b"\n"))
            sys.stdout.flush()
        except KeyboardInterrupt:
            pass
        except Exception:
            log.exception("worker %d failed", number)
        finally:
            os._exit(status)  # without the parent's exit handlers

    def _wait(self, until: float | None) -> int:
        """Waits for the next signal; returns 0 if none comes before `until`."""
        awaited = (*_STOP, signal.SIGCHLD, signal.SIGHUP)
        if until is None:
            return signal.sigwaitinfo(awaited).si_signo
        found = signal.sigtimedwait(awaited, max(0.0, until - time.monotonic()))
        return found.si_signo if found is not None else 0

    def _reap(self) -> list[tuple[int, str]]:
        """The process ids of workers that have ended since the last call, and how they ended."""
        found = []
        for pid in self._numbers:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                how = f"ended with status {code}" if code >= 0 else f"was ended by {_name(-code)}"
                found.append((pid, how))
        return found

    def _stop(self) -> None:
        signals.ignore_hup()
        os.close(self._alive)
        until = time.monotonic() + _PATIENCE
        while self._numbers:
            for pid, _ in self._reap():
                del self._numbers[pid]
            if self._numbers and self._wait(until) not in (signal.SIGCHLD, signal.SIGHUP):
                for pid in self._numbers:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                self._numbers.clear()
        os.close(self._parent)
        for sock in self._sockets:
            sock.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"
