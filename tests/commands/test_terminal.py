"""What commands write where a terminal has no UTF-8."""

import pytest
from kit.process import run_ours

from auth_diameter.store.accounts import Accounts


@pytest.mark.parametrize(
    "env",
    [{"PYTHONIOENCODING": "latin-1"}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}],
    ids=" ".join,
)
def test_where_there_is_no_utf_8_plain_characters_do(env, db):
    done = run_ours("demo", env=env)
    assert (done.status, done.err) == (0, "")
    with Accounts.open(db, writable=True) as store:
        store.add_user("ünal", "siphub.net", "x")
    done = run_ours("user", "list", "--db", db, env=env)
    assert (done.status, len(done.out.splitlines())) == (0, 2)
