"""The command line as a whole: what it prints, where, and with which exit status.

0 done; 1 refused; 2 unusable arguments or configuration, and then one line on stderr that says what
and where.
"""

import subprocess
import sys

import pytest
from commands import OURS, Done, assert_one_line

import auth_diameter as ad
from auth_diameter import __main__ as main_module
from auth_diameter.disc.names import Hashes
from auth_diameter.disc.store import Store

COMMANDS = [
    (),
    ("bench",),
    ("check",),
    ("decode",),
    ("demo",),
    ("disc",),
    ("group",),
    ("group", "add"),
    ("group", "del"),
    ("group", "list"),
    ("serve",),
    ("user",),
    ("user", "add"),
    ("user", "del"),
    ("user", "import"),
    ("user", "list"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(cli, command, option):
    done = cli(*command, option)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(" ".join(["Usage: auth-diameter", *command]))


@pytest.mark.parametrize("command", [(), ("user",), ("group",)])
def test_without_a_command_the_help_comes_on_stderr(cli, command):
    """Nothing was done, which is no success for a script either."""
    done = cli(*command)
    assert (done.status, done.out) == (2, "")
    assert done.err == cli(*command, "--help").out


def test_version(cli):
    assert cli("--version") == (0, f"auth-diameter {ad.__version__}\n", "")


def test_python_m_is_the_same_command():
    done = subprocess.run([*OURS, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"auth-diameter {ad.__version__}\n"


@pytest.mark.parametrize(("package", "command"), [("click", "--version"), ("rich", "demo")])
def test_without_its_packages_the_command_says_how_to_get_them(monkeypatch, capsys, package, command):
    """The library alone needs none; the command says what it misses, in one line."""
    monkeypatch.setattr(sys, "argv", ["auth-diameter", command])
    monkeypatch.delitem(sys.modules, "auth_diameter.cli", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(ad, "cli", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SystemExit) as end:
        main_module.main()
    assert_one_line(
        Done(end.value.code, *capsys.readouterr()), package, "pip install 'auth-diameter[server]'"
    )


def test_an_error_that_nobody_expected_is_not_hidden(cli, monkeypatch):
    """A defect of ours shows its traceback: it must be found."""
    monkeypatch.setattr(Store, "open", lambda *args, **more: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli("user", "list", "--db", "x")


def test_a_reader_that_has_seen_enough_is_no_traceback(db):
    """auth-diameter user list | head -1"""
    with Store.open(db, writable=True) as store, store.changing():
        for number in range(5000):
            store.put(f"user{number}", "siphub.net", Hashes("0" * 32, "0" * 32), exists=False)
    with subprocess.Popen(
        [*OURS, "user", "list", "--db", str(db)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 1
    assert err == b""


def test_ctrl_c_is_130_without_a_traceback(cli, db, monkeypatch):
    """As a shell has it: 128 and the number of the signal."""

    def interrupt(*args, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "open", interrupt)
    done = cli("user", "list", "--db", db)
    assert (done.status, done.out, done.err.strip()) == (130, "", "")
