"""DISC and SIP hosts as processes that can be killed, frozen and started again, over the same subscribers."""

from __future__ import annotations

import contextlib
import functools
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from faults.load import KEY, RATE, AsyncLoad, Load, Record, ThreadsLoad, UdpLoad, make_database
from faults.spoken import StandardDisc, config_for, options_of_serve, unavailable
from kit.process import OURS, UNBUFFERED, Server

from auth_diameter import Config

_T = TypeVar("_T")


class Metronome:
    """A thread that wants to wake up every few milliseconds, and notes how late it was.

    Attributes:
        latest: the worst of all, in seconds.
    """

    _BEAT = 0.005

    def __init__(self) -> None:
        self.latest = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="metronome", daemon=True)

    def _beat(self) -> None:
        due = time.monotonic() + self._BEAT
        while not self._over.wait(max(0.0, due - time.monotonic())):
            now = time.monotonic()
            self.latest = max(self.latest, now - due)
            due = now + self._BEAT

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@functools.cache
def _database() -> bytes:
    with tempfile.TemporaryDirectory(prefix="auth-diameter-") as folder:
        path = Path(folder) / "users.sqlite"
        make_database(path)
        return path.read_bytes()


class World:
    """A folder, a database with all subscribers, and the daemons of one row; all gone with the block.

    Args:
        application: what is spoken between clients and DISC.

    Attributes:
        application: the same.
        unavailable: the SIP status when no DISC answers.
        folder: for what a row keeps.
        db: the database of `disc`.
        daemons: all, as they came.
    """

    def __init__(self, application: str = "disc") -> None:
        self.application = application
        self.unavailable = unavailable(application)
        self._stack = contextlib.ExitStack()
        self.daemons: list[Server] = []

    def __enter__(self) -> Self:
        # Clients, the proxy and many threads share one interpreter here: none is to wait long for its turn.
        sys.setswitchinterval(0.0005)
        self.folder = Path(tempfile.mkdtemp(prefix="auth-diameter-"))
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.db = self.folder / "users.sqlite"
        self.db.write_bytes(_database())
        self.key = self.folder / "nonce.key"
        self.key.write_bytes(KEY)
        self.key.chmod(0o600)
        self._metronome = self.enter(Metronome())
        return self

    def lateness(self) -> float:
        """Seconds by which this machine was late to wake up a thread, at worst, since the beginning."""
        return self._metronome.latest

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def enter(self, context: contextlib.AbstractContextManager[_T]) -> _T:
        """Enters a context for as long as this world lasts."""
        return self._stack.enter_context(context)

    def daemon(
        self, *arguments: object, env: dict[str, str] | None = None, prefix: Sequence[str] = ()
    ) -> Server:
        """One of our commands, up.

        Args:
            prefix: a command that runs the command.
        """
        server = self.enter(Server(*arguments, env={**UNBUFFERED, **(env or {})}, program=[*prefix, *OURS]))
        self.daemons.append(server)
        return server

    def disc(self, *arguments: object, env: dict[str, str] | None = None) -> Server:
        """A DISC that runs; all of a world accept each other's challenges."""
        common = ("disc", "--db", self.db, "--nonce-key", self.key, *arguments)
        if self.application == "disc":
            return self.daemon(*common, env=env)
        server = self.enter(StandardDisc(len(self.daemons), self.application, *common, env=env))
        self.daemons.append(server)
        return server

    def serve(self, *ports: int, env: dict[str, str] | None = None) -> Server:
        """A SIP host that asks DISC at these ports and runs.

        All subscribers call from one address, and one of four with a wrong password: without
        ``--no-penalty`` that is somebody who guesses.
        """
        options = options_of_serve(self.application, self.key, *ports)
        return self.daemon("serve", "--no-penalty", *options, env=env)

    def config(self, *ports: int, who: str = "threads", **settings: Any) -> Config:
        """Settings of a client in this process for the DISC at these ports, see `config_for`."""
        return config_for(*ports, application=self.application, who=who, **settings)

    def asking(self, record: Record) -> Record:
        """Those about which DISC is asked: with "cx" the client makes challenges by itself."""
        if self.application != "cx":
            return record
        return Record(entry for entry in record if entry.subscriber.expected != 401)

    def loads(
        self,
        *ports: int,
        kinds: Sequence[str] = ("threads", "asyncio", "serve"),
        settings: dict[str, Any] | None = None,
        env: dict[str, str] | None = None,
        rate: float = RATE,
    ) -> list[Load]:
        """A load on each kind of client, all with the DISC at these ports, from now on.

        Args:
            settings: of the clients in this process.
            env: of the process of `serve`.
        """

        def config(who: str) -> Config:
            return self.config(*ports, who=who, **(settings or {}))

        made: dict[str, Callable[[], Load]] = {
            "threads": lambda: self.enter(ThreadsLoad(config("threads"), rate)),
            "asyncio": lambda: self.enter(AsyncLoad(config("asyncio"), rate)),
            "serve": lambda: self.telephones(self.serve(*ports, env=env), rate),
        }
        return [made[kind]() for kind in kinds]

    def telephones(self, serve: Server, rate: float = RATE, **options: Any) -> UdpLoad:
        """A load on a SIP host.

        Args:
            options: of `UdpLoad`.
        """
        load = self.enter(UdpLoad(serve.port, rate, **options))
        # Ends before the load does, lest a late reply go to whoever then has the load's port.
        self._stack.callback(serve.end)
        return load
