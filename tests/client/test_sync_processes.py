"""The driver for threads in other processes: a forked child, a program that ends, one that was stopped.

Where a test measures time, it is the contract's: no call takes longer than its deadline.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest
from kit.disc import answer_all, say_nothing
from kit.machine import PATIENCE


def program(code, disc, tests, timeout=PATIENCE):
    """The command of a Python program of its own, in which a warning is an error."""
    prologue = f"""
import logging, os, signal, socket, sys, threading, time
sys.path.insert(0, {str(tests)!r})
import auth_diameter as ad
from kit.sip import RIGHT
logging.getLogger("auth_diameter").addHandler(logging.NullHandler())
config = ad.Config(diameter_client_host="127.0.0.1", diameter_client_port={disc.port}, timeout={timeout})
"""
    return [sys.executable, "-X", "dev", "-W", "error", "-c", prologue + code]


def run_program(code, disc, tests, **settings):
    """What it wrote."""
    command = program(code, disc, tests, **settings)
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_a_forked_child_has_connections_of_its_own(fake_disc, request):
    disc = fake_disc()
    code = """
auth = ad.AuthDiameter(config)
assert auth.diameter_www_authorize(RIGHT, "$fd")
child = os.fork()
good = all(auth.diameter_www_authorize(RIGHT, "$fd") for _ in range(50))
if not child:
    os._exit(0 if good and auth.stats().connects == 1 else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert good and auth.diameter_www_authorize(RIGHT, "$fd")
assert auth.stats().connects == 1
auth.close()
"""
    run_program(code, disc, request.path.parents[1])
    assert len(disc.connections) == 2
    ids = [question.hop_by_hop for question in disc.questions]
    assert len(set(ids)) == len(ids) == 102


def test_a_question_imports_no_module(fake_disc, request):
    """A child that was forked during an import in another thread would wait for that thread for ever."""
    code = """
imports = []
class Finder:
    def find_spec(name, path, target=None):
        imports.append(name)
sys.meta_path.insert(0, Finder)
with ad.AuthDiameter(config) as auth:
    assert auth.diameter_www_authorize(RIGHT, "$fd")
assert not imports, imports
"""
    run_program(code, fake_disc(), request.path.parents[1])


def test_a_fork_while_other_threads_ask(fake_disc, request):
    """They hold any lock at that moment, and are not there in the child."""
    code = """
auth = ad.AuthDiameter(config)
end = threading.Event()
def ask():
    while not end.is_set():
        assert auth.diameter_www_authorize(RIGHT, "$fd")
threads = [threading.Thread(target=ask) for _ in range(4)]
for thread in threads:
    thread.start()
for _ in range(10):
    child = os.fork()
    if not child:
        signal.alarm(30)
        os._exit(0 if all(auth.diameter_www_authorize(RIGHT, "$fd") for _ in range(3)) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
end.set()
for thread in threads:
    thread.join()
auth.close()
"""
    run_program(code, fake_disc(), request.path.parents[1])


@pytest.mark.parametrize("daemon", [True, False])
def test_the_program_ends_while_calls_wait(daemon, fake_disc, request):
    """Daemon threads are left where they are; the others have their time limit at most."""
    code = f"""
auth = ad.AuthDiameter(config)
for _ in range(8):
    threading.Thread(target=auth.diameter_www_authorize, args=(RIGHT, "$fd"), daemon={daemon}).start()
while (stats := auth.stats()).asked < 8 or stats.waiting:
    time.sleep(0.001)
print("end")
"""
    disc = fake_disc(say_nothing)
    assert run_program(code, disc, request.path.parents[1], timeout=1.0) == ["end"]


def test_a_process_that_was_stopped_takes_no_stale_answer(fake_disc, request):
    """The answer came while it was stopped, and its time limit passed."""
    asked = threading.Event()
    go_on = threading.Event()

    def slow(connection, questions):
        asked.set()
        if go_on.wait(PATIENCE):
            answer_all(connection, questions)

    disc = fake_disc(slow)
    code = """
auth = ad.AuthDiameter(config)
print(auth.diameter_www_authorize(RIGHT, "$fd").cause.name)
print(auth.diameter_www_authorize(RIGHT, "$fd").cause.name)
auth.close()
"""
    command = program(code, disc, request.path.parents[1], timeout=2.0)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert asked.wait(PATIENCE)
        child.send_signal(signal.SIGSTOP)
        go_on.set()
        time.sleep(2.2)
        child.send_signal(signal.SIGCONT)
        output, _ = child.communicate(timeout=PATIENCE)
    assert output.split() == ["DISC_TIMEOUT", "AUTHORIZED"]
