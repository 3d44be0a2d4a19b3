"""The CSV import: what a file may hold, and that a bad one changes nothing."""

import contextlib
import io
import os
import signal
import sqlite3
import subprocess
import sys
import time
import tracemalloc

import pytest
from commands import OURS
from tables import HA1, HA1B

from auth_diameter._core.errors import ConfigError
from auth_diameter.disc import schema
from auth_diameter.disc.csvimport import (
    MAX_LINE,
    MAX_PROBLEMS,
    CsvError,
    Imported,
    import_csv,
)
from auth_diameter.disc.names import Hashes, compute_ha1
from auth_diameter.disc.store import Store


def run(store, content, **options):
    data = content if isinstance(content, bytes) else content.encode()
    return import_csv(store, io.BytesIO(data), name="users.csv", **options)


def problems(store, content, **options):
    with pytest.raises(CsvError) as error:
        run(store, content, **options)
    assert "\n" not in str(error.value)
    return error.value.problems


# --- what is taken --------------------------------------------------------------------------------


def test_passwords_are_hashed(store):
    result = run(store, "username,domain,password\nalice,siphub.net,secret\n")
    assert result == Imported(added=1, replaced=0, unchanged=0, memberships=0)
    assert store.ha1_candidates("alice@siphub.net", "siphub.net") == (HA1B, HA1)


def test_hashes_of_sha_2_are_taken_and_may_be_missing(store):
    sha_256, sha_512 = (compute_ha1("alice", "siphub.net", "secret", a) for a in ("SHA-256", "SHA-512-256"))
    run(
        store,
        "username,domain,ha1,ha1_sha256,ha1_sha512t256\n"
        f"alice,siphub.net,{HA1},{sha_256.upper()},{sha_512}\n"
        f"bob,siphub.net,{HA1},,\n",
    )
    assert store.ha1("alice", "siphub.net", "SHA-256") == sha_256
    assert store.ha1("alice", "siphub.net", "SHA-512-256") == sha_512
    assert store.algorithms("bob", "siphub.net") == ("MD5",)
    found = problems(store, f"username,domain,ha1,ha1_sha256\ncarol,siphub.net,{HA1},{HA1}\n")
    assert found == ("users.csv, line 2: column ha1_sha256: must be 64 hex digits",)


def test_hashes_are_taken_in_either_case_with_or_without_ha1b(store):
    run(store, f"username,domain,ha1,ha1b\nalice,siphub.net,{HA1.upper()},{HA1B}\n")
    run(store, f"username,domain,ha1\nalice,a.net,{HA1}\n")
    run(store, f"username,domain,ha1,ha1b\nalice,b.net,{HA1},\n")
    assert store.ha1_candidates("alice@siphub.net", "siphub.net") == (HA1B, HA1)
    assert store.ha1_candidates("alice@a.net", "a.net") == (HA1,)
    assert store.ha1_candidates("alice@b.net", "b.net") == (HA1,)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfusername,domain,password\nalice,siphub.net,secret\n",
        b"username,domain,password\r\nalice,siphub.net,secret\r\n",
        b"username,domain,password\nalice,siphub.net,secret",
        b"username,domain,password\n\nalice,siphub.net,secret\n\n",
        b" Password ,DOMAIN,UserName\nsecret,SIPHub.net,alice\n",
        b'"username","domain","password"\n"alice","siphub.net","secret"\n',
    ],
    ids=["byte order mark", "CRLF", "no last newline", "empty lines", "order and case", "quotes"],
)
def test_forms_of_the_same_file(store, content):
    run(store, content)
    assert store.ha1("alice", "siphub.net") == HA1


def test_a_password_may_hold_what_csv_can_quote(store):
    run(store, 'username,domain,password\nalice,siphub.net,"a,""b"": ö "\n')
    assert store.ha1("alice", "siphub.net") == compute_ha1("alice", "siphub.net", 'a,"b": ö ')


def test_groups_are_separated_by_semicolons(store):
    result = run(
        store,
        "username,domain,groups,password\n"
        "alice,siphub.net, staff;voicemail; ;staff,secret\n"
        "bob,siphub.net,,secret\n",
    )
    assert result == Imported(added=2, replaced=0, unchanged=0, memberships=2)
    assert store.groups("alice", "siphub.net") == ("staff", "voicemail")
    assert store.groups("bob", "siphub.net") == ()


def test_a_header_alone_imports_nothing(store):
    assert run(store, "username,domain,password\n") == Imported(0, 0, 0, 0)


def test_existing_users_are_replaced_when_asked_for_and_keep_their_groups(store):
    store.add_user("alice", "siphub.net", "former")
    store.add_group("alice", "siphub.net", "staff")
    content = "username,domain,password,groups\nalice,SIPHub.net,secret,vip\nbob,b.net,x,\n"
    assert run(store, content, replace=True) == Imported(added=1, replaced=1, unchanged=0, memberships=1)
    assert store.ha1("alice", "siphub.net") == HA1
    assert store.groups("alice", "siphub.net") == ("staff", "vip")


def test_users_join_a_realm_in_the_spelling_it_has(store):
    with store.changing():
        store.put("bob", "SIPHub.NET", Hashes(HA1), exists=False)
    run(store, "username,domain,password\nalice,siphub.net,secret\n")
    assert store.served_realms() == {"SIPHub.NET"}
    assert store.ha1("alice", "siphub.net") == compute_ha1("alice", "SIPHub.NET", "secret")


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("", "line 1: column username: missing, for the file is empty"),
        ("username,password", "column domain: is missing in the header"),
        ("domain,password", "column username: is missing in the header"),
        ("username,domain", "column password: is missing in the header, and so is ha1"),
        ("username,domain,password,ha1", "column password: cannot stand next to ha1"),
        ("username,domain,password,password", "column password: is there twice"),
        ("alice,siphub.net,topsecret", "column 1: the header names none of"),
    ],
)
def test_headers_that_do_not_fit(store, header, why):
    (problem,) = problems(store, header)
    assert why in problem
    assert "topsecret" not in problem


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("a:b,siphub.net,topsecret", "column username: holds ':'"),
        (",siphub.net,topsecret", "column username: is empty"),
        ("alice,,topsecret", "column domain: is empty"),
        ("alice, siphub.net,topsecret", "column domain: begins or ends with a space"),
        ("alice,siphub.net,", "column password: is empty"),
        ('alice,siphub.net,"top\nsecret"', "column password: holds the character U+000A"),
        ("alice,siphub.net", "has 2 columns, the header has 3"),
        ("alice,siphub.net,topsecret,", "has 4 columns, the header has 3"),
        ('alice,siphub.net,"topsecret"x', "is not CSV"),
        ('alice,siphub.net,"topsecret', "is not CSV"),
        ("alice,siphub.net,topsecret\r\0", "is not CSV"),
    ],
)
def test_a_bad_row_is_named_by_line_and_column_without_its_values(store, row, why):
    (problem,) = problems(store, f"username,domain,password\nbob,b.net,x\n{row}")
    assert problem.startswith("users.csv, line 3: ")
    assert why in problem
    assert "topsecret" not in problem
    assert store.count_users() == 0


@pytest.mark.parametrize("value", ["", "g" * 32, HA1[1:], HA1 + " "])
def test_a_hash_must_be_32_hex_digits(store, value):
    (problem,) = problems(store, f"username,domain,ha1\nalice,siphub.net,{value}\n")
    assert problem == "users.csv, line 2: column ha1: must be 32 hex digits"


def test_a_group_is_checked(store):
    (problem,) = problems(store, "username,domain,password,groups\na,a.net,x,g\0h\n")
    assert problem.startswith("users.csv, line 2: ")


def test_bytes_that_are_not_utf_8_are_named_by_line(store):
    content = b"username,domain,password\nbob,b.net,x\nal\xefce,siphub.net,topsecret\n"
    (problem,) = problems(store, content)
    assert problem == "users.csv, line 3: is not UTF-8 from byte 2 of the line"


def test_a_file_that_is_no_csv_at_all_takes_no_memory(store):
    (problem,) = problems(store, b"username,domain,password\n" + b"x" * (MAX_LINE + 1))
    assert problem == f"users.csv, line 2: is longer than {MAX_LINE} bytes"


def test_a_user_twice_in_the_file_names_both_lines(store):
    content = "username,domain,password\na,a.net,x\nb,a.net,x\na,A.net,y\n"
    (problem,) = problems(store, content, batch=1)
    assert problem == "users.csv, line 4: column username: user a@a.net is in line 2 already"
    assert store.count_users() == 0


def test_an_existing_user_is_refused(store):
    store.add_user("alice", "siphub.net", "secret")
    (problem,) = problems(store, "username,domain,password\nalice,SIPHub.net,other\n")
    assert problem == (
        "users.csv, line 2: column username: user alice@siphub.net exists already with another password"
    )
    assert store.ha1("alice", "siphub.net") == HA1


def test_a_user_who_is_there_just_as_in_the_file_is_no_conflict(store):
    content = "username,domain,password,groups\nalice,siphub.net,secret,vip\nbob,siphub.net,x,\n"
    assert run(store, content) == Imported(added=2, replaced=0, unchanged=0, memberships=1)
    store.delete_group("alice", "siphub.net", "vip")
    assert run(store, content) == Imported(added=0, replaced=0, unchanged=2, memberships=1)
    assert store.groups("alice", "siphub.net") == ("vip",)


def test_a_plain_password_in_the_row_is_a_conflict(store):
    """Else it would stay there after an import that stores hashes alone."""
    run(store, "username,domain,password\nalice,siphub.net,secret\n")
    with store.changing() as connection:
        connection.execute("UPDATE subscriber SET password = 'secret'")
    (problem,) = problems(store, "username,domain,password\nalice,siphub.net,secret\n")
    assert "exists already" in problem


def test_many_bad_rows_are_named_up_to_a_bound(store):
    content = "username,domain,password\n" + "a:b,a.net,x\n" * 1000
    found = problems(store, content)
    assert len(found) == MAX_PROBLEMS
    assert found[1].startswith("users.csv, line 3: ")


def test_good_batches_before_a_bad_row_are_not_written(store):
    content = "username,domain,password\n" + "".join(f"u{n},a.net,x\n" for n in range(50))
    problems(store, content + "a:b,a.net,x\n", batch=10)
    assert store.count_users() == 0
    assert run(store, content, batch=10).added == 50  # and the store is still good


def test_a_store_open_for_reading_takes_no_import(store, path):
    with Store.open(path) as reader, pytest.raises(ConfigError, match="for reading only"):
        run(reader, "username,domain,password\n")


# --- size, progress, interruption -----------------------------------------------------------------


class Rows(io.RawIOBase):
    """A file of so many rows that is nowhere whole."""

    def __init__(self, count):
        self._lines = (f"user{number},siphub.net,x\n".encode() for number in range(count))
        self._header = [b"username,domain,password\n"]

    def readline(self, size=-1):
        return self._header.pop() if self._header else next(self._lines, b"")


def test_progress_is_reported_after_each_batch(store):
    seen = []
    import_csv(store, Rows(250), name="-", batch=100, progress=lambda *now: seen.append(now))
    assert seen == [
        ("check", 100, None),
        ("check", 200, None),
        ("check", 250, None),
        ("write", 100, 250),
        ("write", 200, 250),
        ("write", 250, 250),
    ]


def test_memory_does_not_grow_with_the_file(store):
    tracemalloc.start()
    try:
        import_csv(store, Rows(20_000), name="-")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000
    assert store.count_users() == 20_000


def test_readers_go_on_during_an_import(store, path):
    store.add_user("alice", "siphub.net", "secret")
    with Store.open(path) as reader:
        counts = []

        def look(stage, done, total):
            assert reader.ha1("alice", "siphub.net") == HA1
            counts.append((stage, reader.count_users() - 1))

        import_csv(store, Rows(300), name="-", batch=100, progress=look)
    assert counts == [("check", 0)] * 4 + [("write", 100), ("write", 200), ("write", 300)]


def test_a_lock_in_the_second_pass_says_how_far_it_came(path, monkeypatch):
    monkeypatch.setattr(schema, "WRITER_WAIT", 0.05)
    with Store.create(path) as store, Store.open(path, writable=True) as other:

        def lock(stage, done, total):
            if stage == "write" and done == 100:
                other._connection.execute("BEGIN IMMEDIATE")

        with pytest.raises(ConfigError, match=r"locked .*\(100 of 300 users are imported\)"):
            import_csv(store, Rows(300), name="-", batch=100, progress=lock)
        other._connection.execute("ROLLBACK")
        assert store.count_users() == 100
        result = import_csv(store, Rows(300), name="-")
        assert result == Imported(added=200, replaced=0, unchanged=100, memberships=0)


def test_a_user_who_appears_between_the_passes_stops_the_import(store, path):
    with Store.open(path, writable=True) as other:

        def add(stage, done, total):
            if stage == "check" and done == 3 and other.count_users() == 0:
                other.add_user("user1", "siphub.net", "theirs")

        with pytest.raises(ConfigError, match=r"refuses a row.*\(0 of 3 users are imported\)"):
            import_csv(store, Rows(3), name="-", progress=add)
    assert store.count_users() == 1


_KILLED = """
import os, signal, sys
from auth_diameter.disc.csvimport import import_csv
from auth_diameter.disc.store import Store

def kill(stage, done, total):
    if stage == "write" and done == 200:
        os.kill(os.getpid(), signal.SIGKILL)

store = Store.open(sys.argv[1], writable=True)
import_csv(store, open(sys.argv[2], "rb"), name="-", batch=100, progress=kill)
"""


def test_a_kill_in_the_second_pass_leaves_whole_batches(store, path, tmp_path):
    source = tmp_path / "users.csv"
    source.write_text("username,domain,password\n" + "".join(f"u{n},a.net,x\n" for n in range(500)))
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, path, source],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert store.count_users() == 200
    with source.open("rb") as file:
        result = import_csv(store, file, name="users.csv")
    assert result == Imported(added=300, replaced=0, unchanged=200, memberships=0)


def test_an_import_killed_anywhere_is_completed_by_the_same_command(tmp_path):
    """Ten kills at moments spread over the import; `faults/campaign.py` has a hundred, while DISC reads."""
    count = 2000
    source, path = tmp_path / "users.csv", tmp_path / "users.sqlite"
    source.write_text(
        "username,domain,password,groups\n" + "".join(f"u{n},a.net,x,staff\n" for n in range(count))
    )
    command = [*OURS, "user", "import", source, "--db", path]
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    took = time.monotonic() - began
    for number in range(10):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executescript("DELETE FROM subscriber WHERE id > 10; DELETE FROM grp")
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(took * (0.3 + 0.07 * number))
        process.kill()
        process.wait()
        with contextlib.closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert whole_users(connection)
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert " 0 changed" in done.stdout
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert whole_users(connection) == count


def whole_users(connection):
    """How many users there are; each has both hashes and, but for those that were left, its group."""
    users = connection.execute(
        "SELECT s.id, length(ha1), length(ha1b), grp FROM subscriber s LEFT JOIN grp USING (username, domain)"
    ).fetchall()
    assert {(ha1, ha1b) for _, ha1, ha1b, _ in users} == {(32, 32)}
    assert {group for number, _, _, group in users if number > 10} <= {"staff"}
    return len(users)
