"""Fixtures of several test modules."""

from __future__ import annotations

import io
import logging
import os
import signal
import socket
import sqlite3
import sys
import time

import pytest
from hypothesis import HealthCheck, settings
from kit.canaries import Net
from kit.disc import FakeDisc, Script, answer_all
from kit.machine import PATIENCE
from kit.process import Done, Program, Server
from kit.tables import KAMAILIO, run_sql

from auth_diameter import logs
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.sqlite import SqliteStore

# How long an example takes says more about the machine than about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_xdist_auto_num_workers():
    """Two more processes than there are cores: many tests wait for a time limit."""
    return len(os.sched_getaffinity(0)) + 2


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows what the programs said beside a test that failed."""
    report = yield
    if report.failed:
        report.sections += [(program.name, program.output()[-6000:]) for program in Program.live]
    # What a name that is no text leaves in a log must not stop the report on its way from a worker.
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report


def pytest_sessionfinish():
    """Database servers that tests share end with the session, in each process of it."""
    if "kit.stores" in sys.modules:
        sys.modules["kit.stores"].end_servers()


@pytest.fixture(autouse=True)
def _no_secret_in_the_log():
    """Whatever a test is about: no log record of it holds a secret."""
    net = Net()
    logging.getLogger().addHandler(net)
    yield
    logging.getLogger().removeHandler(net)
    assert net.caught == []


@pytest.fixture
def ctrl_c_is_heeded():
    """SIGINT as in a terminal's foreground; what a shell starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def one_line_of_each_kind(monkeypatch):
    """However long a test takes, its log has no second line of what is told once a second."""
    monkeypatch.setattr(logs, "_EVERY", 2 * PATIENCE)


@pytest.fixture
def fake_disc():
    """A function that starts a FakeDisc with a script; all are stopped after the test."""
    started = []

    def start(script: Script = answer_all) -> FakeDisc:
        disc = FakeDisc(script).start()
        started.append(disc)
        return disc

    yield start
    for disc in started:
        disc.stop()


@pytest.fixture
def free_port():
    """A TCP port of loopback where nobody listens, and nobody else will."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@pytest.fixture
def path(tmp_path):
    """Where DISC's database is to be."""
    return tmp_path / "disc.sqlite"


@pytest.fixture
def store(path):
    """A new one there, open for writing."""
    with Accounts.create(path) as created:
        yield created


@pytest.fixture
def kamailio(tmp_path):
    """Insert rows into a database that Kamailio's scripts made; then open it for reading."""
    path, opened = tmp_path / "kamailio.sqlite", []
    run_sql(path, KAMAILIO)

    def with_rows(*rows, table="subscriber (username, domain, password, ha1, ha1b)"):
        connection = sqlite3.connect(path)
        try:
            for row in rows:
                connection.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(row))})", row)
            connection.commit()
        finally:
            connection.close()
        if not opened:
            opened.append(SqliteStore.open(path))
        return opened[0]

    with_rows.path = path
    yield with_rows
    for store in opened:
        store.close()


@pytest.fixture
def cli(monkeypatch, capsys):
    """Run one command to its end."""

    from auth_diameter import cli as cli_module  # only here: the library alone needs no click

    def run(*args, stdin=b""):
        monkeypatch.setattr(sys, "argv", ["auth-diameter", *map(str, args)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), "utf-8"))
        capsys.readouterr()
        status = 0
        handlers = logging.getLogger().handlers[:]
        try:
            cli_module.run()
        except SystemExit as end:
            status = end.code or 0
        finally:
            logging.getLogger().handlers[:] = handlers  # a server's log is its own
        return Done(status, *capsys.readouterr())

    return run


def _add_alice(path):
    with Accounts.create(path) as store:
        store.add_user("alice", "siphub.net", "wonderland")
        store.add_group("alice", "siphub.net", "voicemail")
    return path


@pytest.fixture
def db(tmp_path):
    """A database with alice, whose password is wonderland, in the group voicemail."""
    return _add_alice(tmp_path / "users.sqlite")


@pytest.fixture(scope="module")
def disc(tmp_path_factory):
    """A DISC that knows alice, for all tests of a module that only ask it."""
    path = _add_alice(tmp_path_factory.mktemp("disc") / "users.sqlite")
    with Server("disc", "--db", path) as server:
        yield server


@pytest.fixture
def silent_listener():
    """An address whose backlog is full: no attempt to connect is answered."""
    with socket.socket() as sock, socket.socket() as one, socket.socket() as two:
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        for filler in (one, two):
            filler.setblocking(False)
            filler.connect_ex(sock.getsockname())
        time.sleep(0.01)
        yield sock.getsockname()
