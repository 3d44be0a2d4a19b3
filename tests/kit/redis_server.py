"""A redis-server or valkey-server of the test's own, in a temporary folder, on a free port of loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Self

import pytest
from kit.process import Program

PROGRAMS = ("redis-server", "valkey-server")


def program() -> str:
    """Where the server is; AUTH_DIAMETER_REDIS names another one. Skips the test if there is none."""
    names = (os.environ["AUTH_DIAMETER_REDIS"],) if "AUTH_DIAMETER_REDIS" in os.environ else PROGRAMS
    for name in names:
        if found := shutil.which(name):
            return found
    pytest.skip(f"{' or '.join(names)} is not installed")


class ServerError(Exception):
    """What the server answers to a command that it refuses; it is returned, not raised."""


class RedisServer:
    """The server, up; it is killed at the end of the block.

    Args:
        options: as in its configuration file: ``maxmemory="1mb"``.

    Attributes:
        port: where it listens.
        process: its Program.
    """

    def __init__(self, **options: str) -> None:
        self._program = program()
        self._options = options
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._stack = contextlib.ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="redis-")))
        self.process = self._start()

    def _start(self) -> Program:
        words = {
            "port": self.port,
            "bind": "127.0.0.1",
            "save": "",
            "dir": self.folder,
            "dbfilename": "d.rdb",
        }
        words["unixsocket"] = self.socket
        for name, value in self._options.items():
            words[name.replace("_", "-")] = value
        started = Program(self._program, *(x for name, value in words.items() for x in (f"--{name}", value)))
        self._stack.enter_context(started)
        started.wait_until(self._answers, "an answer to PING")
        return started

    def _answers(self) -> bool:
        try:
            return self.say("PING") == b"PONG"
        except OSError:
            return False

    @property
    def socket(self) -> Path:
        """Its Unix socket."""
        return self.folder / "redis.sock"

    @property
    def url(self) -> str:
        """As --state takes it."""
        return f"redis://127.0.0.1:{self.port}/0"

    def say(self, *words: str | bytes | int) -> object:
        """A command, on a connection of its own; returns what it answers: bytes, int, list or None."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as sock, sock.makefile("rb") as replies:
            if password := self._options.get("requirepass"):
                sock.sendall(encode("AUTH", password))
                read(replies)
            sock.sendall(encode(*words))
            return read(replies)

    def commands(self) -> int:
        """The number of commands so far, that of this question not included."""
        info = self.say("INFO", "commandstats")
        assert isinstance(info, bytes)
        return sum(
            int(line.split(b"calls=")[1].split(b",")[0])
            for line in info.splitlines()
            if line.startswith((b"cmdstat_evalsha:", b"cmdstat_eval:"))
        )

    def contents(self) -> dict[bytes, bytes]:
        """All keys, and what DUMP says of each; with the time to live of each checked: there is one."""
        keys = self.say("KEYS", "*")
        assert isinstance(keys, list)
        found = {}
        for key in keys:
            ttl = self.say("PTTL", key)
            assert isinstance(ttl, int)
            assert ttl != -1, f"{key!r} has no time to live"
            value = self.say("DUMP", key)
            found[key] = value if isinstance(value, bytes) else b""
        return found

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.running

    def freeze(self) -> None:
        """Stops it: its kernel takes what is sent to it, and nothing comes back."""
        self.process.freeze()

    def thaw(self) -> None:
        """Lets it go on after `freeze`."""
        self.process.thaw()

    def kill(self) -> None:
        """Kills it; nothing is saved."""
        self.process.kill()

    def start(self) -> Self:
        """Starts it again after `kill`, empty, where it was."""
        self.process = self._start()
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()


def encode(*words: str | bytes | int) -> bytes:
    out = b"*%d\r\n" % len(words)
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        out += b"$%d\r\n%s\r\n" % (len(data), data)
    return out


def read(replies) -> object:  # type: ignore[no-untyped-def]
    line = replies.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionError("the server has closed the connection")
    kind, rest = line[:1], line[1:-2]
    if kind == b"$":
        return replies.read(int(rest) + 2)[:-2] if int(rest) >= 0 else None
    if kind == b"*":
        return [read(replies) for _ in range(int(rest))]
    return int(rest) if kind == b":" else rest if kind == b"+" else ServerError(rest.decode())
