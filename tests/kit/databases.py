"""Real database servers, each in a temporary folder of its own and on a free port of loopback.

The tables are those that Kamailio's own SQL files create.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest
from kit.machine import unused_tcp_port, wait_until
from kit.process import Program, is_stopped, living

KAMAILIO_SQL = Path("/usr/share/kamailio")
_TEMPLATE = "kamailio"  # a database with Kamailio's tables; the others of PostgreSQL are copies of it
PASSWORD = "correct horse"  # of the user that our programs connect as


def _which(name: str, *folders: str) -> str | None:
    """The path of a program; daemons are not on everybody's PATH."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *folders]))


def _no_tables(kind: str) -> str | None:
    """Why Kamailio's tables cannot be made; None if they can."""
    if (KAMAILIO_SQL / kind).is_dir():
        return None
    return f"Kamailio's tables are not there: apt install kamailio-{kind}-modules"


def _kamailio(kind: str) -> str:
    """The SQL that makes Kamailio's tables."""
    folder = KAMAILIO_SQL / kind
    return "".join((folder / f"{part}-create.sql").read_text() for part in ("standard", "auth_db", "group"))


def _account(*names: str) -> str | None:
    """The first account that there is, for a server that does not run as root; None: ours will do."""
    if os.geteuid() != 0:
        return None
    for name in names:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    return "nobody"


class DatabaseServer(Program):
    """A server of databases; it ends with the block, and its folder is gone.

    Attributes:
        folder: where its data are.
        port: where it listens, on 127.0.0.1.
    """

    kind: ClassVar[str]
    accounts: ClassVar[tuple[str, ...]]

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix=f"{self.kind}-", ignore_cleanup_errors=True)
        self.folder = Path(self._folder.name)
        self.account = _account(*self.accounts)
        if self.account is not None:
            shutil.chown(self.folder, self.account)
        self.port = unused_tcp_port()
        self._databases = 0
        self.prepare()
        super().__init__(*self.command())
        self.wait_until(self.is_up, "the server")
        self.set_up()

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot run here; None: it can."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Makes what the server needs before its first start."""
        raise NotImplementedError

    def command(self) -> list[object]:
        """What starts it."""
        raise NotImplementedError

    def is_up(self) -> bool:
        """Whether it takes statements."""
        try:
            return self.run("SELECT 1") == "1\n"
        except AssertionError:
            return False

    def set_up(self) -> None:
        """Makes the user that our programs connect as."""
        raise NotImplementedError

    def run(self, sql: str, database: str | None = None) -> str:
        """Has the server execute SQL, as its administrator; returns what it says, tab-separated."""
        raise NotImplementedError

    def url(self, database: str, *, password: bool = True, options: str = "") -> str:
        """The URL of a database of it."""
        user = f"ours:{PASSWORD.replace(' ', '%20')}" if password else "ours"
        return f"{self.kind}://{user}@127.0.0.1:{self.port}/{database}{options}"

    def database(self, *, tables: bool = True) -> str:
        """A new database, with Kamailio's tables; its name."""
        raise NotImplementedError

    def end_sessions(self) -> None:
        """Ends the connections of our programs."""
        raise NotImplementedError

    def _run(self, command: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            env=self._env,
            start_new_session=True,
            user=self.account,
            cwd=self.folder,
        )

    def _call(self, *command: object, stdin: str = "") -> str:
        """A program of the server's package, as the account that owns the data."""
        done = subprocess.run(
            [str(word) for word in command],
            input=stdin.encode("utf-8", "surrogateescape"),
            capture_output=True,
            user=self.account,
            cwd=self.folder,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stderr.decode(errors='replace')}"
        return done.stdout.decode(errors="replace")

    def start(self) -> Self:
        """Starts it again, with its data, where it listened before."""
        assert not self.running
        self.process = self._run(self.command())
        self.wait_until(self.is_up, "the server")
        return self

    def _all(self) -> list[int]:
        """Its processes."""
        parents = living()
        found = [self.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def freeze(self) -> None:
        """Stops all its processes: the kernel takes what is sent to it, and nothing comes back."""
        self._signal(signal.SIGSTOP)
        wait_until(lambda: all(map(is_stopped, self._all())))

    def thaw(self) -> None:
        """Lets it go on after `freeze`."""
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """Kills all its processes."""
        self._signal(signal.SIGKILL)
        super().end()

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._all():
            with contextlib.suppress(ProcessLookupError):  # one may end meanwhile
                os.kill(pid, number)

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._folder.cleanup()


class PostgreSql(DatabaseServer):
    """PostgreSQL, with users `postgres` (the administrator) and `ours`."""

    kind = "postgresql"
    accounts = ("postgres",)

    @staticmethod
    def _program(name: str) -> str | None:
        # Debian's /usr/bin/psql is a script, which takes longer than the program that it starts.
        folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
        there = (str(folder / name) for folder in folders if (folder / name).exists())
        return next(there, shutil.which(name))

    @classmethod
    def missing(cls) -> str | None:
        if not all(map(cls._program, ("postgres", "initdb", "psql"))):
            return "PostgreSQL is not installed: apt install postgresql"
        return _no_tables("postgres")

    def prepare(self) -> None:
        self._call(
            self._program("initdb"), "--pgdata", self.folder / "data", "--username", "postgres",
            "--encoding", "UTF8", "--locale", "C", "--auth-local", "trust", "--auth-host", "scram-sha-256",
            "--no-sync",
        )  # fmt: skip

    def command(self) -> list[object]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.folder,
            "fsync": "off",
            "max_connections": 40,
            "shared_buffers": "256MB",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [self._program("postgres"), "-D", self.folder / "data", *options]

    def end_sessions(self) -> None:
        self.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ours'")

    def set_up(self) -> None:
        self.run(f"CREATE ROLE ours LOGIN PASSWORD '{PASSWORD}'")
        self.run(f"CREATE DATABASE {_TEMPLATE}")
        granted = "".join(
            f"GRANT ALL ON ALL {what} IN SCHEMA public TO ours;" for what in ("TABLES", "SEQUENCES")
        )
        self.run(_kamailio("postgres") + granted, _TEMPLATE)

    def run(self, sql: str, database: str | None = None) -> str:
        return self._call(
            self._program("psql"), "-X", "-q", "-At", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-h", self.folder,
            "-p", self.port, "-U", "postgres", database or "postgres", stdin=sql,
        )  # fmt: skip

    def database(self, *, tables: bool = True) -> str:
        self._databases += 1
        name = f"kamailio{self._databases}"
        template = _TEMPLATE if tables else "template1"
        self.run(f"CREATE DATABASE {name} OWNER ours TEMPLATE {template}")
        return name


class MariaDb(DatabaseServer):
    """MariaDB, with users `root` (the administrator) and `ours`."""

    kind = "mysql"
    accounts = ("mysql",)

    @staticmethod
    def _program(name: str) -> str | None:
        return _which(name, "/usr/sbin", "/usr/bin")

    @classmethod
    def missing(cls) -> str | None:
        if not all(map(cls._program, ("mariadbd", "mariadb-install-db", "mariadb"))):
            return "MariaDB is not installed: apt install mariadb-server"
        return _no_tables("mysql")

    def prepare(self) -> None:
        self._call(
            self._program("mariadb-install-db"), "--no-defaults", f"--datadir={self.folder}/data",
            "--auth-root-authentication-method=normal", "--skip-test-db", f"--tmpdir={self.folder}",
        )  # fmt: skip

    def command(self) -> list[object]:
        return [
            self._program("mariadbd"), "--no-defaults", f"--datadir={self.folder}/data",
            f"--port={self.port}", "--bind-address=127.0.0.1", f"--socket={self.folder}/sock",
            f"--pid-file={self.folder}/pid",
            f"--tmpdir={self.folder}", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=512M",
            "--max-connections=40", "--skip-name-resolve", "--log-warnings=0",
            "--character-set-server=utf8mb4",
        ]  # fmt: skip

    def end_sessions(self) -> None:
        self.run("KILL USER ours")

    def set_up(self) -> None:
        self.run(f"CREATE USER ours@'%' IDENTIFIED BY '{PASSWORD}'")

    def run(self, sql: str, database: str | None = None) -> str:
        return self._call(
            self._program("mariadb"), "--no-defaults", f"--socket={self.folder}/sock", "--user=root",
            "--batch", "--skip-column-names", "--default-character-set=utf8mb4",
            *([database] if database else []),
            stdin=sql,
        )  # fmt: skip

    def database(self, *, tables: bool = True) -> str:
        self._databases += 1
        name = f"kamailio{self._databases}"
        self.run(f"CREATE DATABASE {name} CHARACTER SET utf8mb4; GRANT ALL ON {name}.* TO ours@'%'")
        if tables:
            self.run(_kamailio("mysql"), name)
        return name


def running(kind: type[DatabaseServer]) -> Iterator[DatabaseServer]:
    """A server for the tests of one module; they are skipped where it is not installed."""
    why = kind.missing()
    if why is not None:
        pytest.skip(why)
    with kind() as server:
        yield server
