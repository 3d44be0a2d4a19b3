"""SIGHUP from the first moment of a server to its last, each in a process of its own."""

import subprocess
import sys

import pytest

BEGIN = """
import os, signal, sys
from auth_diameter import signals
sys.argv = ["auth-diameter", "serve"]
def send():
    os.kill(os.getpid(), signal.SIGHUP)
def act():
    print("read anew", flush=True)
signals.hold()
"""


@pytest.mark.parametrize(
    ("what", "times"),
    [
        ("send(); send(); signals.on_hup(act)", 1),  # kept until somebody can act on it
        ("send(); signals.on_hup(act); assert not signals.take_hup()", 1),
        ("send(); assert signals.take_hup(); assert not signals.take_hup(); signals.on_hup(act)", 0),
        ("signals.on_hup(act); send(); send(); assert not signals.take_hup()", 2),
        ("signals.on_hup(act); signals.ignore_hup(); send()", 0),
    ],
)
def test_each_leads_to_one_reload_but_not_at_the_end(what, times):
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + what], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["read anew"] * times
