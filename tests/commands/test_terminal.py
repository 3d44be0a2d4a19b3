"""What commands write where a terminal has no UTF-8."""

import os
import subprocess

import pytest
from kit.machine import PATIENCE
from kit.process import OURS, Done

from auth_diameter.store.accounts import Accounts


def run_process(*args, env=None, **more):
    done = subprocess.run(
        [*OURS, *map(str, args)],
        capture_output=True,
        timeout=PATIENCE,
        check=False,
        env={**os.environ, **(env or {})},
        **more,
    )
    return Done(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


@pytest.mark.parametrize(
    "env",
    [{"PYTHONIOENCODING": "latin-1"}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}],
    ids=" ".join,
)
def test_where_there_is_no_utf_8_plain_characters_do(env, db):
    done = run_process("demo", env=env)
    assert (done.status, done.err) == (0, "")
    with Accounts.open(db, writable=True) as store:
        store.add_user("ünal", "siphub.net", "x")
    done = run_process("user", "list", "--db", db, env=env)
    assert (done.status, len(done.out.splitlines())) == (0, 2)
