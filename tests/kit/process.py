"""Commands of ours, in processes of their own too, for several test modules."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from typing import NamedTuple

import pytest
from kit.canaries import secrets_in
from kit.machine import PATIENCE

OURS = [sys.executable, "-m", "auth_diameter"]
ACCOUNT = "alice@siphub.net"


class Done(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


def assert_one_line(done, *parts):
    """Status 2, nothing on stdout, and one line on stderr with these parts in it."""
    assert done.status == 2, done
    assert done.out == ""
    assert done.err.startswith("auth-diameter: ")
    assert done.err.count("\n") == 1, done.err
    assert done.err.endswith("\n")
    for part in parts:
        assert str(part) in done.err


class Server:
    """A command that runs until it is stopped."""

    def __init__(self, *args, env=None, **options):
        self.process = subprocess.Popen(
            [*OURS, *map(str, args)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})},
            **options,
        )
        self.line = self._read_line()
        found = re.search(r"listening on (\S+):(\d+)", self.line)
        assert found, self.line
        self.host, self.port = found[1].strip("[]"), int(found[2])

    def _read_line(self):
        deadline, data = time.monotonic() + PATIENCE, b""
        while not data.endswith(b"\n"):
            ready, _, _ = select.select([self.process.stdout], [], [], deadline - time.monotonic())
            assert ready, "the readiness line did not come"
            got = os.read(self.process.stdout.fileno(), 4096)
            if not got:
                pytest.fail(self.process.stderr.read().decode())
            data += got
        return data.decode()

    def stop(self, how=signal.SIGTERM):
        """Send a signal; how it ended."""
        self.process.send_signal(how)
        out, err = self.process.communicate(timeout=PATIENCE)
        assert secrets_in(err.decode()) == [], err.decode()
        return Done(self.process.returncode, out.decode(), err.decode())

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=PATIENCE)
