"""The command line as a whole: what it prints, where, and with which exit status.

0 done; 1 refused; 2 unusable arguments or configuration, and then one line on stderr that says what
and where.
"""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from kit.process import OURS, Done, assert_one_line, run_command, run_ours, run_python

import auth_diameter as ad
from auth_diameter import __main__ as main_module
from auth_diameter import signals
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.hashes import Hashes

SCRIPT = str(Path(sys.executable).with_name("auth-diameter"))


def ignore_ctrl_c():
    """In a child, before it becomes the program."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


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
    assert run_ours("--version") == (0, f"auth-diameter {ad.__version__}\n", "")


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
    signals.release()
    assert_one_line(
        Done(end.value.code, *capsys.readouterr()), package, "pip install 'auth-diameter[server]'"
    )


def test_an_error_that_nobody_expected_is_not_hidden(cli, monkeypatch):
    """A defect of ours shows its traceback: it must be found."""
    monkeypatch.setattr(Accounts, "open", lambda *args, **more: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli("user", "list", "--db", "x")


def test_a_reader_that_has_seen_enough_is_no_traceback(db):
    """auth-diameter user list | head -1"""
    with Accounts.open(db, writable=True) as store, store.session.changing():
        for number in range(20_000):  # more than any buffer, Python 3.14's of 128 KiB among them
            store.put(f"user{number}", "siphub.net", Hashes("0" * 32, "0" * 32), exists=False)
    with subprocess.Popen(
        [*OURS, "user", "list", "--db", str(db)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 1
    assert err == b""


# What the program imports, in this order: while the package is imported, and while its commands are.
@pytest.mark.usefixtures("ctrl_c_is_heeded")
@pytest.mark.parametrize("module", ["ssl", "click", None], ids=["package", "commands", "end"])
@pytest.mark.parametrize(
    "command", [(*OURS, "user", "list"), (*OURS, "serve"), (SCRIPT, "disc")], ids=" ".join
)
def test_ctrl_c_while_python_starts_or_ends_is_130_without_a_word(tmp_path, module, command):
    """Somebody who sees that he mistyped is faster than the imports."""
    press = "import os, signal; os.kill(os.getpid(), signal.SIGINT)\n"
    if module is None:
        text = "import atexit\natexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))\n"
        (tmp_path / "sitecustomize.py").write_text("import os, signal\n" + text)
        command = (*command, "--help")
    else:
        (tmp_path / f"{module}.py").write_text(press)
    done = run_command(*command, env={"PYTHONPATH": str(tmp_path)})
    assert (done.status, done.err) == (130, "")


def test_ctrl_c_does_nothing_where_it_is_ignored(tmp_path):
    """A job that a shell started in the background: POSIX, 2.11 of the shell's chapter."""
    (tmp_path / "click.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)\n1 / 0\n")
    done = run_ours("user", "list", env={"PYTHONPATH": str(tmp_path)}, preexec_fn=ignore_ctrl_c)
    assert "ZeroDivisionError" in done.err


@pytest.mark.usefixtures("ctrl_c_is_heeded")
def test_a_program_of_ones_own_keeps_its_signals():
    """The package is a library there, whatever it takes to import it."""
    script = "import signal, auth_diameter; print(signal.getsignal(signal.SIGINT).__name__)"
    assert run_python(script, "serve") == (0, "default_int_handler\n", "")


def test_ctrl_c_is_130_without_a_traceback(cli, db, monkeypatch):
    """As a shell has it: 128 and the number of the signal."""

    def interrupt(*args, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(Accounts, "open", interrupt)
    done = cli("user", "list", "--db", db)
    assert (done.status, done.out, done.err.strip()) == (130, "", "")
